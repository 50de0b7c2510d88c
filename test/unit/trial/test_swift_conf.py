from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path

import pytest

from s3_sync.trial.swift_conf import (
    ClusterConf,
    KeystoneAccess,
    internal_client_conf,
    proxy_conf,
    render,
    shunt_filters,
    storage_conf,
    swift_conf,
)
from s3_sync.trial.swift_rings import Node, Policy, write_rings

NODE = Node(0, '127.0.0.1', Path('/n/127.0.0.1'), Path('/r/127.0.0.1'), 1, 2, 3, ('d1', 'd2'))


def conf(**options: object) -> ClusterConf:
    return ClusterConf(Path('/s'), 514, hash_prefix='p', hash_suffix='s', **options)  # type: ignore[arg-type]


def pipeline(cluster: ClusterConf) -> list[str]:
    return str(proxy_conf(cluster, 'proxy', '127.0.0.1', 80)['pipeline:main']['pipeline']).split()


def test_a_percent_sign_survives_the_reader() -> None:
    parser = ConfigParser()
    parser.read_string(render({'a': {'key': '50%'}}))
    assert parser['a']['key'] == '50%'


def test_policies_keep_their_order_as_index() -> None:
    policies = (Policy('a'), Policy('b', default=True), Policy('c', kind='erasure_coding', ec_data=4, ec_parity=2))
    sections = swift_conf(conf(policies=policies))
    assert [sections[f'storage-policy:{i}']['name'] for i in range(3)] == ['a', 'b', 'c']
    assert sections['storage-policy:1']['default'] == 'yes'
    assert sections['storage-policy:2']['ec_num_data_fragments'] == 4


@pytest.mark.parametrize('cluster', [
    conf(), conf(encryption_secret='x' * 44), conf(memcached='127.0.0.1:1'),
    conf(keystone=KeystoneAccess('http://k/v3', 'u', 'p', 'j'))])
def test_every_filter_of_the_pipelines_has_a_section(cluster: ClusterConf) -> None:
    for sections in (proxy_conf(cluster, 'proxy', '127.0.0.1', 80), internal_client_conf(cluster)):
        *filters, app = str(sections['pipeline:main']['pipeline']).split()
        assert {f'filter:{name}' for name in filters} <= sections.keys()
        assert f'app:{app}' in sections


def test_encryption_is_in_both_pipelines_or_in_none() -> None:
    for cluster, expected in ((conf(), False), (conf(encryption_secret='x' * 44), True)):
        internal = str(internal_client_conf(cluster)['pipeline:main']['pipeline']).split()
        assert ('encryption' in internal, 'encryption' in pipeline(cluster)) == (expected, expected)


def test_an_extra_filter_goes_right_before_the_named_one() -> None:
    sections = proxy_conf(conf(), 'proxy', '127.0.0.1', 80, filters=[('mine', {'use': 'egg:x#y'}, 'container-quotas')])
    names = str(sections['pipeline:main']['pipeline']).split()
    assert names[names.index('mine') + 1] == 'container-quotas'
    assert sections['filter:mine'] == {'use': 'egg:x#y'}


def test_the_shunt_stands_where_it_belongs() -> None:
    sections = proxy_conf(conf(), 'proxy', '127.0.0.1', 80, filters=shunt_filters(Path('/c'), {'on_remote_error': 'x'}))
    names = str(sections['pipeline:main']['pipeline']).split()
    assert names[names.index('copy'):names.index('container-quotas') + 1] == ['copy', 'cloud-shunt', 'container-quotas']
    assert names[names.index('dlo'):names.index('versioned_writes') + 1] == [
        'dlo', 'cloud-shunt-segments', 'versioned_writes']
    assert [sections[f'filter:{name}'] for name in ('cloud-shunt', 'cloud-shunt-segments')] == [
        {'use': f'egg:swift-s3-sync#{name}', 'conf_file': Path('/c'), 'on_remote_error': 'x'}
        for name in ('cloud-shunt', 'cloud-shunt-segments')]


def test_options_are_added_to_those_a_filter_has() -> None:
    plain = proxy_conf(conf(), 'proxy', '127.0.0.1', 80)
    changed = proxy_conf(conf(), 'proxy', '127.0.0.1', 80, options={
        's3api': {'s3_acl': 'true'}, 'DEFAULT': {'workers': 2}, 'proxy-server': {'node_timeout': 1}})
    assert changed['filter:s3api'] == {**plain['filter:s3api'], 's3_acl': 'true'}
    assert (changed['DEFAULT']['workers'], changed['app:proxy-server']['node_timeout']) == (2, 1)


def test_the_servers_of_a_node_listen_on_its_address_and_ports() -> None:
    found = [storage_conf(conf(), NODE, kind)['DEFAULT'] for kind in ('account', 'container', 'object')]
    assert [(values['bind_ip'], values['bind_port'], values['devices']) for values in found] == [
        ('127.0.0.1', port, NODE.folder) for port in (1, 2, 3)]


def test_secrets_do_not_print() -> None:
    shown = repr(conf(encryption_secret='hidden-root', keystone=KeystoneAccess('u', 'u', 'hidden-password', 'j')))
    assert 'hidden' not in shown


def test_a_ring_that_wants_more_devices_than_there_are_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='needs 3 devices, the cluster has 2'):
        write_rings(tmp_path, [NODE], [Policy('gold', default=True)], 3)
