"""Names that operators' dashboards depend on."""
from __future__ import annotations

import socket
import urllib.request

from s3_sync import metric_defs
from s3_sync.config import Mapping, Remote, Secret, Settings
from s3_sync.stats import PrometheusMetrics, Statsd, statsd_path


def mapping(**changes: object) -> Mapping:
    remote = {'aws_bucket': 'bucket', 'aws_endpoint': 'http://127.0.0.1:5000', 'aws_identity': 'i',
              'aws_secret': Secret('s')}
    return Mapping.model_validate({'account': 'AUTH_a.b', 'container': 'ü c', 'remote': Remote.model_validate(remote),
                                   **changes})


def test_statsd_names_are_the_predecessors() -> None:
    assert statsd_path(mapping()) == 'http%3A%2F%2F127%2E0%2E0%2E1%3A5000.AUTH_a%2Eb.bucket.%C3%BC%20c'
    assert statsd_path(mapping(custom_prefix='x/y')).split('.')[2] == 'bucket%2Fx%2Fy'


def test_statsd_counts_arrive_with_the_prefix_and_without_a_host_nothing_is_sent() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(('127.0.0.1', 0))
        receiver.settimeout(5)
        settings = Settings(statsd_host='127.0.0.1', statsd_port=receiver.getsockname()[1], statsd_prefix='pre')
        statsd = Statsd(settings)
        statsd.count(mapping(), 'copied_objects', 3)
        assert receiver.recv(1000).decode() == f'pre.{statsd_path(mapping())}.copied_objects:3|c'
        statsd.close()
    Statsd(Settings()).count(mapping(), 'copied_objects', 3)


def test_every_metric_is_scraped_and_counts() -> None:
    metrics = PrometheusMetrics()
    metrics.add(metric_defs.OBJECTS, 'm', 'copied', '', value=2)
    metrics.set(metric_defs.LAG, 'm', value=7)
    metrics.observe(metric_defs.POLL_SECONDS, value=0.1)
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    server = metrics.serve('127.0.0.1', port)
    try:
        with urllib.request.urlopen(f'http://127.0.0.1:{port}/metrics') as page:
            text = page.read().decode()
    finally:
        server.shutdown()
        server.server_close()
    assert 'onespace_objects_total{mapping="m",outcome="copied",reason=""} 2.0' in text
    assert 'onespace_lag_seconds{mapping="m"} 7.0' in text
    assert '_created' not in text
    for definition in metric_defs.ALL:
        assert f'# HELP {definition.name.removesuffix("_total")}' in text, definition.name
