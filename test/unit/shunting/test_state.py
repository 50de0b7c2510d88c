"""The configuration of a running proxy: replaced when it is good, never by a request, never by a broken file."""
from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from s3_sync.clock import SystemClock
from s3_sync.concurrency import sleep
from s3_sync.errors import ConfigError
from s3_sync.metrics import NoMetrics
from s3_sync.shunting.call import bypass_signature
from s3_sync.shunting.options import Options
from s3_sync.shunting.state import Setup, ShuntState

Make = Callable[..., ShuntState]
LOGGER = logging.getLogger('test.shunt')
MAPPING = {'aws_endpoint': 'http://s3.example:9000', 'aws_identity': 'id', 'aws_secret': 'secret', 'account': 'AUTH_a',
           'container': 'c', 'aws_bucket': 'bucket', 'merge_namespaces': True}


class Hurried(SystemClock):
    """Waits of seconds take thousandths."""

    def sleep(self, seconds: float) -> None:
        sleep(seconds / 1000)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def written(text: str | None = None, **keys: Any) -> Path:
        path = tmp_path / 'sync.json'
        new = tmp_path / 'new'
        new.write_text(text if text is not None else json.dumps({'status_dir': str(tmp_path), **keys}))
        new.chmod(0o600)
        new.rename(path)
        return path
    return written


@pytest.fixture
def make() -> Iterator[Callable[..., ShuntState]]:
    made: list[ShuntState] = []

    def new(path: Path, **options: Any) -> ShuntState:
        made.append(ShuntState(Options(conf_file=str(path), **options), metrics=NoMetrics(), logger=LOGGER,
                               clock=Hurried(), aside=lambda check: check()))
        return made[-1]
    yield new
    for state in made:
        state.close()


def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        sleep(0.005)
    pytest.fail('it never came')


def test_a_file_that_cannot_be_used_keeps_the_proxy_from_starting(
        make: Make, write: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='cannot be read'):
        make(tmp_path / 'missing.json')
    with pytest.raises(ConfigError, match='workers'):
        make(write(workers=0))


def test_a_change_comes_into_use_beside_the_requests(make: Make, write: Callable[..., Path]) -> None:
    state = make(write())
    state.watch()
    assert state.setup.table.accounts == frozenset()
    write(containers=[MAPPING])
    until(lambda: state.setup.table.accounts == {'AUTH_a'})


def test_a_broken_file_changes_nothing_and_a_mended_one_counts(
        make: Make, write: Callable[..., Path], expected_warnings: Callable[..., None]) -> None:
    expected_warnings('configuration not reloaded')
    state = make(write(containers=[MAPPING]))
    state.watch()
    good = state.setup
    write('{ broken')
    sleep(0.1)
    assert state.setup is good
    write(containers=[{**MAPPING, 'account': 'AUTH_b'}])
    until(lambda: state.setup.table.accounts == {'AUTH_b'})


def test_whoever_asks_hears_of_every_configuration(make: Make, write: Callable[..., Path]) -> None:
    state = make(write())
    heard: list[Setup] = []
    state.on_setup(heard.append)
    assert heard == [], 'nothing runs before the first request: the proxy may still fork'
    state.watch()
    until(lambda: len(heard) == 1)
    write(containers=[MAPPING])
    until(lambda: len(heard) == 2)
    assert heard[1] is state.setup
    late: list[Setup] = []
    state.on_setup(late.append)
    until(lambda: late == [state.setup])


def test_the_proxys_own_option_counts_where_the_file_says_nothing(make: Make, write: Callable[..., Path]) -> None:
    path = write(containers=[MAPPING, {**MAPPING, 'container': 'd', 'on_remote_error': 'fail'}],
                 migrations=[{**{k: v for k, v in MAPPING.items() if k != 'merge_namespaces'}, 'container': 'e',
                              'aws_bucket': 'e'}])
    state = make(path, on_remote_error='partial')
    said = {name: state.setup.table.lookup('AUTH_a', name) for name in 'cde'}
    assert {name: merged.targets[0].mapping.on_remote_error for name, merged in said.items() if merged} == {
        'c': 'partial', 'd': 'fail', 'e': 'partial'}


def test_a_request_of_our_own_cluster_is_not_merged(make: Make, write: Callable[..., Path]) -> None:
    state = make(write(containers=[MAPPING], cluster_id='here'))
    env = {'REQUEST_METHOD': 'GET', 'PATH_INFO': '/v1/AUTH_a/c/o'}
    assert not state.setup.answers_locally(env)
    assert not state.setup.answers_locally({**env, 'HTTP_X_1SPACE_VIA': 'there, hereabouts'})
    assert state.setup.answers_locally({**env, 'HTTP_X_1SPACE_VIA': 'there, here'})


def test_a_signed_bypass_counts_and_no_other(make: Make, write: Callable[..., Path]) -> None:
    env = {'REQUEST_METHOD': 'GET', 'PATH_INFO': '/v1/AUTH_a/c/o'}
    signed = {**env, 'HTTP_X_CLOUD_SYNC_SHUNT_BYPASS': bypass_signature('key', 'GET', '/v1/AUTH_a/c/o')}
    assert make(write(containers=[MAPPING], bypass_key='key')).setup.answers_locally(signed)
    assert not make(write(containers=[MAPPING], bypass_key='key')).setup.answers_locally(
        {**env, 'HTTP_X_CLOUD_SYNC_SHUNT_BYPASS': 'true'})
    assert not make(write(containers=[MAPPING])).setup.answers_locally(signed)
