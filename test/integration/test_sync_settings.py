"""What a mapping's settings do on real servers, and what becomes of objects that are not plain files."""
from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from swiftclient import Connection

from s3_sync.config import Mapping as SyncMapping
from s3_sync.config import Remote, Secret, load
from s3_sync.streams import BytesBody
from s3_sync.sync_s3 import SyncS3
from s3_sync.sync_swift import SyncSwift
from s3_sync.trial.s3_endpoint import MotoEndpoint, S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster
from s3_sync.types import ObjectMeta
from s3_sync.wire.keys import KeyScheme
from test.servers.fault_proxy import FaultProxy
from test.servers.sync_daemon import SyncDaemon, s3_mapping, swift_mapping

MakeDaemon = Callable[..., SyncDaemon]


@pytest.fixture
def daemon(swift: SwiftCluster) -> Iterator[MakeDaemon]:
    made: list[SyncDaemon] = []

    def make(*mappings: dict[str, object], cluster: SwiftCluster = swift, **settings: object) -> SyncDaemon:
        made.append(SyncDaemon(cluster, mappings, **settings))
        return made[-1]
    yield make
    for one in made:
        one.close()


@pytest.fixture
def make_bucket(s3: S3Endpoint, fresh_name: Callable[[str], str]) -> Callable[[], str]:
    return lambda: s3.make_bucket(fresh_name('bucket'))


@pytest.fixture
def moto_client(moto: MotoEndpoint) -> Iterator[Any]:
    client = moto.client()
    yield client
    client.close()


def keys(client: Any, bucket: str, prefix: str = '') -> set[str]:
    pages = client.get_paginator('list_objects_v2').paginate(Bucket=bucket, Prefix=prefix)
    return {entry['Key'] for page in pages for entry in page.get('Contents', [])}


def names(client: Any, bucket: str, container: str) -> set[str]:
    """Object names of a container in a bucket."""
    scheme = KeyScheme('AUTH_test', container)
    return {key.removeprefix(scheme.prefix) for key in keys(client, bucket, scheme.prefix)}


def permanent(container: str, reason: str, *objects: str) -> dict[str, tuple[str, str]]:
    return {f'AUTH_test/{container}/{name}': ('permanent', reason) for name in objects}


def writes(proxy: FaultProxy) -> list[str]:
    """Methods of the requests that changed objects; a refused condition changed nothing."""
    return [r.method for r in proxy.requests
            if r.method not in ('GET', 'HEAD') and r.status != 412 and '/.1space/' not in r.path]


# -- which objects ------------------------------------------------------------------------


def test_selection_takes_what_it_says_and_nothing_else(daemon: MakeDaemon, s3: S3Endpoint, s3_client: Any,
                                                       swift_client: Connection, container: str,
                                                       make_bucket: Callable[[], str]) -> None:
    put = swift_client.put_object
    put(container, 'keep/blue', b'x' * 10, headers={'X-Object-Meta-Färg': 'BLÅ 1', 'X-Object-Meta-Kind': 'Keep'})
    put(container, 'keep/red', b'x' * 2000, headers={'X-Object-Meta-Kind': 'KEEP'}, content_type='image/png')
    put(container, 'other', b'x' * 2000, headers={'X-Object-Meta-Kind': 'drop'}, content_type='image/png')
    put(container, 'plain', b'')
    criteria: dict[str, tuple[dict[str, Any], set[str]]] = {
        'header': ({'x-object-meta-kind': 'keep'}, {'keep/blue', 'keep/red'}),
        'unicode': ({'X-Object-Meta-FÄRG': 'blå 1'}, {'keep/blue'}),
        'not': ({'NOT': {'X-Object-Meta-Kind': 'keep'}}, {'other', 'plain'}),
        'size': ({'SIZE': {'min': 10, 'max': '1KiB'}}, {'keep/blue'}),
        'name': ({'NAME': {'glob': ['keep/*', 'pl?in']}}, {'keep/blue', 'keep/red', 'plain'}),
        'age': ({'AGE': {'max': '1h'}}, {'keep/blue', 'keep/red', 'other', 'plain'}),
        'old': ({'AGE': {'min': '1h'}}, set()),
        'mixed': ({'AND': [{'content-type': 'image/png'}, {'SIZE': {'min': 1}},
                           {'OR': [{'NAME': {'glob': 'nothing'}}, {'x-object-meta-kind': 'KEEP'}]}]}, {'keep/red'}),
        'misspelt': ({'x-object-meta-kinf': 'keep'}, set())}
    buckets = {name: make_bucket() for name in criteria}
    sync = daemon(*[s3_mapping(s3, container, buckets[name], name=name, selection_criteria=criterion)
                    for name, (criterion, _) in criteria.items()])
    sync.once()
    assert {name: names(s3_client, buckets[name], container) for name in criteria} == {
        name: wanted for name, (_, wanted) in criteria.items()}
    # What is too young only waits.
    assert set(sync.failures().values()) == {('deferred', 'selection-age')}


def test_changed_selection_brings_what_was_left_out_and_sends_nothing_again(
        daemon: MakeDaemon, s3: S3Endpoint, s3_client: Any, swift_client: Connection, container: str, bucket: str,
        fault_proxy: Callable[[str], FaultProxy]) -> None:
    for name in ('a', 'b', 'tmp/c', 'tmp/d'):
        swift_client.put_object(container, name, b'data')
    proxy = fault_proxy(s3.url)
    mapping = {**s3_mapping(s3, container, bucket), 'aws_endpoint': proxy.url}
    sync = daemon({**mapping, 'exclude_pattern': 'tmp/'})
    sync.once()
    assert names(s3_client, bucket, container) == {'a', 'b'}
    proxy.clear()
    sync.configure([{**mapping, 'exclude_pattern': ''}])
    sync.once()
    assert names(s3_client, bucket, container) == {'a', 'b', 'tmp/c', 'tmp/d'}
    assert writes(proxy) == ['PUT', 'PUT']
    proxy.clear()
    sync.configure([{**mapping, 'storage_class': 'STANDARD_IA', 'max_requests_per_second': 50}])
    sync.once()  # settings of new copies evaluate nothing again
    assert proxy.requests == []


# -- where to -----------------------------------------------------------------------------


def test_another_bucket_is_filled_from_the_beginning_and_the_old_one_stays(
        daemon: MakeDaemon, s3: S3Endpoint, s3_client: Any, swift_client: Connection, container: str,
        make_bucket: Callable[[], str]) -> None:
    old, new = make_bucket(), make_bucket()
    for name in ('a', 'b'):
        swift_client.put_object(container, name, b'data')
    sync = daemon(s3_mapping(s3, container, old))
    sync.once()
    swift_client.put_object(container, 'c', b'data')
    swift_client.delete_object(container, 'a')
    sync.configure([s3_mapping(s3, container, new)])
    sync.once()
    assert names(s3_client, new, container) == {'b', 'c'}
    assert names(s3_client, old, container) == {'a', 'b'}
    sync.configure([s3_mapping(s3, container, old)])
    sync.once()  # the first one's state was kept: it goes on where it stopped
    assert names(s3_client, old, container) == {'b', 'c'}


def test_custom_prefixes(daemon: MakeDaemon, s3: S3Endpoint, s3_client: Any, swift_client: Connection, container: str,
                         make_bucket: Callable[[], str]) -> None:
    bare, nested = make_bucket(), make_bucket()
    for name in ('a/b', 'ü'):
        swift_client.put_object(container, name, b'data')
    sync = daemon(s3_mapping(s3, container, bare, custom_prefix=''),
                  s3_mapping(s3, container, nested, custom_prefix='/deep/er/'))
    sync.once()
    assert keys(s3_client, bare) == {'a/b', 'ü'}
    assert keys(s3_client, nested) == {'deep/er/a/b', 'deep/er/ü'}
    s3_client.put_object(Bucket=bare, Key='theirs', Body=b'stays')
    swift_client.delete_object(container, 'ü')
    swift_client.post_object(container, 'a/b', {'X-Object-Meta-A': 'B'})
    sync.once()
    assert keys(s3_client, bare) == {'a/b', 'theirs'}
    assert keys(s3_client, nested) == {'deep/er/a/b'}
    for bucket, key in ((bare, 'a/b'), (nested, 'deep/er/a/b')):
        assert s3_client.head_object(Bucket=bucket, Key=key)['Metadata']['a'] == 'B'


# -- limits of the target -----------------------------------------------------------------


def test_metadata_beyond_the_limit_of_s3_is_kept_beside_the_object_and_comes_back(
        daemon: MakeDaemon, s3: S3Endpoint, s3_client: Any, swift_client: Connection, container: str, bucket: str,
        fault_proxy: Callable[[str], FaultProxy]) -> None:
    proxy = fault_proxy(s3.url)
    large = {f'key-{i:02}': f'Värde {i:02} ' + 'x' * 20 for i in range(90)}
    assert sum(len(k) + len(v) for k, v in large.items()) > 2048
    swift_client.put_object(container, 'ü', b'data', headers={f'X-Object-Meta-{k}': v for k, v in large.items()})
    swift_client.put_object(container, 'small', b'data', headers={'X-Object-Meta-A': 'B'})
    mapping = {**s3_mapping(s3, container, bucket), 'aws_endpoint': proxy.url}
    sync = daemon(mapping)
    sync.once()
    scheme = KeyScheme('AUTH_test', container)
    assert keys(s3_client, bucket) == {scheme.key('ü'), scheme.key('small'), scheme.side_key('ü')}
    sent = [r.path for r in proxy.requests if r.method == 'PUT' and r.status == 200]
    assert sent.index(f'/{bucket}/{scheme.side_key("ü")}') < sent.index(f'/{bucket}/{quote(scheme.key("ü"))}')
    with closing(SyncS3(load(sync.config_file).containers[0])) as provider:
        assert provider.head_object('ü').user_metadata == large
        assert provider.head_object('small').user_metadata == {'a': 'B'}
    proxy.clear()
    daemon(mapping).once()  # it has forgotten everything, and finds all as it should be
    assert writes(proxy) == [], [(r.method, r.path, r.status) for r in proxy.requests]
    swift_client.delete_object(container, 'ü')
    sync.once()
    assert keys(s3_client, bucket) == {scheme.key('small')}


def test_as_many_keys_as_swift_takes_leave_no_room_for_ours_and_come_to_rest(
        daemon: MakeDaemon, swift: SwiftCluster, swift_client: Connection, container: str,
        fresh_name: Callable[[str], str], fault_proxy: Callable[[str], FaultProxy]) -> None:
    proxy = fault_proxy(swift.url)
    target = fresh_name('target')
    with closing(swift.client(user='test2:tester2', key='testing2')) as far:
        far.put_container(target)
        metadata = {f'x-object-meta-key-{i:02}': f'Value {i}' for i in range(90)}
        swift_client.put_object(container, 'o', b'data', headers=metadata)
        mapping = {**swift_mapping(swift, container, target), 'aws_endpoint': f'{proxy.url}/auth/v1.0'}
        daemon(mapping).once()
        head = far.head_object(target, 'o')
        assert {k: v for k, v in head.items() if k.startswith('x-object-meta-')} == metadata
        proxy.clear()
        daemon(mapping).once()
        assert writes(proxy) == []


def test_a_key_too_long_is_listed_and_others_go_on(daemon: MakeDaemon, s3: S3Endpoint, s3_client: Any,
                                                   swift_client: Connection, container: str, bucket: str) -> None:
    too_long = 'ü' * 500
    for name in ('a', too_long, 'z'):
        swift_client.put_object(container, name, b'data')
    sync = daemon(s3_mapping(s3, container, bucket))
    assert 'key-too-long' in sync.once(expect=3)
    assert names(s3_client, bucket, container) == {'a', 'z'}
    assert sync.failures() == permanent(container, 'key-too-long', too_long)
    sync.once(expect=3)  # still listed, still said
    swift_client.delete_object(container, too_long)
    sync.once()  # gone: nothing is left to fail
    assert sync.failures() == {}


AWKWARD = ['%41', '100%', 'a//b', '/lead', 'end/', 'a', 'a/', 'a/./b', 'a/../b', './x', '..', 'line\nbreak',
           '\ufffd', '😀', 'q?a=b&c#d', 'plus+ space', '"quote\'', '<tag>&amp;', 'back\\slash', 'tab\t', 'u\u0308',
           'ü', '~=;:,@$!*()', ' ', '\x7f', '\u2028', 'n' * 1024]
REFUSED = {'a//b', '/lead', 'end/', 'a', 'a/', 'a/./b', 'a/../b', './x', '..', 'back\\slash', 'n' * 1024}
"""What SeaweedFS, which keeps keys as paths, may change or refuse: there such names end as listed failures."""


def put_awkward(swift: SwiftCluster, container: str) -> None:
    """Past swiftclient, which removes dots from paths."""
    mapping = SyncMapping.model_validate({'account': 'AUTH_test', 'container': 'c', 'remote': Remote.model_validate({
        'protocol': 'swift', 'endpoint': swift.auth_url, 'identity': swift.user, 'secret': Secret(swift.key),
        'bucket': container})})
    with closing(SyncSwift(mapping)) as provider:
        for name in AWKWARD:
            body = BytesBody(name.encode())
            provider.put_object(name, body, ObjectMeta(name, body.size))


def bodies(sync: SyncDaemon, which: int, objects: Collection[str]) -> dict[str, bytes]:
    with closing(SyncS3(load(sync.config_file).containers[which])) as provider:
        found = {}
        for name in objects:
            with closing(provider.get_object(name).body) as body:
                found[name] = b''.join(body)
        return found


def test_awkward_names_stay_as_they_are(daemon: MakeDaemon, swift: SwiftCluster, moto: MotoEndpoint, moto_client: Any,
                                        s3: S3Endpoint, s3_client: Any, container: str, bucket: str,
                                        fresh_name: Callable[[str], str]) -> None:
    put_awkward(swift, container)
    name = fresh_name('awkward')
    moto.make_bucket(name)
    with closing(swift.s3_client()) as swift_s3:
        swift_s3.create_bucket(Bucket=name)
        swift_api = {**s3_mapping(moto, container, name, custom_prefix=''), 'aws_endpoint': swift.s3_url,
                     'aws_identity': swift.user, 'aws_secret': swift.key}
        sync = daemon(swift_api, s3_mapping(moto, container, name, custom_prefix=''),
                      s3_mapping(s3, container, bucket, custom_prefix=''))
        said = sync.once(expect=3)
        content = {name: name.encode() for name in AWKWARD}
        assert keys(swift_s3, name) == set(AWKWARD)
        assert bodies(sync, 0, AWKWARD) == content
    kept = set(AWKWARD) - {'line\nbreak'}  # for which moto has no route
    assert keys(moto_client, name) == kept
    assert bodies(sync, 1, kept) == {name: content[name] for name in kept}
    refused = {path.removeprefix(f'AUTH_test/{container}/') for path, (kind, _) in sync.failures().items()
               if kind == 'permanent'}
    assert refused <= REFUSED
    assert f"'AUTH_test/{container}/a//b': name-not-kept" in said and 'line\nbreak' not in said
    assert keys(s3_client, bucket) == set(AWKWARD) - refused
    assert bodies(sync, 2, set(AWKWARD) - refused) == {n: n.encode() for n in set(AWKWARD) - refused}


# -- expiry on S3 -------------------------------------------------------------------------


def test_remote_delete_after_is_a_rule_of_the_bucket_among_rules_of_others(
        daemon: MakeDaemon, moto: MotoEndpoint, moto_client: Any, swift_client: Connection, container: str,
        fresh_name: Callable[[str], str]) -> None:
    bucket = moto.make_bucket(fresh_name('bucket'))
    theirs = {'ID': 'logs', 'Filter': {'Prefix': 'logs/'}, 'Status': 'Enabled', 'Expiration': {'Days': 3}}
    moto_client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={'Rules': [theirs]})
    swift_client.put_object(container, 'o', b'data')

    def rules() -> dict[str, int]:
        found = moto_client.get_bucket_lifecycle_configuration(Bucket=bucket)['Rules']
        return {rule['Filter']['Prefix']: rule['Expiration']['Days'] for rule in found}

    scheme = KeyScheme('AUTH_test', container)
    manifests = dict.fromkeys(scheme.internal_prefixes(), 8)
    sync = daemon(s3_mapping(moto, container, bucket, remote_delete_after=7 * 86400))
    sync.once()
    assert names(moto_client, bucket, container) == {'o'}
    assert rules() == {'logs/': 3, scheme.prefix: 7, **manifests}
    sync.configure([s3_mapping(moto, container, bucket, remote_delete_after=30 * 86400)])
    sync.once()
    assert rules() == {'logs/': 3, scheme.prefix: 30, **dict.fromkeys(manifests, 31)}
    sync.configure([s3_mapping(moto, container, bucket)])
    sync.once()
    assert rules() == {'logs/': 3}


def test_a_rule_of_others_over_ours_is_told_and_left_alone(
        daemon: MakeDaemon, moto: MotoEndpoint, moto_client: Any, swift_client: Connection, container: str,
        fresh_name: Callable[[str], str]) -> None:
    """In the predecessor such a conflict kept the whole container from being synchronised."""
    bucket = moto.make_bucket(fresh_name('bucket'))
    all_of_it = {'ID': 'all', 'Filter': {'Prefix': ''}, 'Status': 'Enabled', 'Expiration': {'Days': 3}}
    moto_client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={'Rules': [all_of_it]})
    swift_client.put_object(container, 'o', b'data')
    sync = daemon(s3_mapping(moto, container, bucket, remote_delete_after=7 * 86400))
    assert "lifecycle rule 'all'" in sync.once(expect=3)
    assert names(moto_client, bucket, container) == {'o'}
    found = moto_client.get_bucket_lifecycle_configuration(Bucket=bucket)['Rules']
    assert [rule['ID'] for rule in found] == ['all']


def test_an_expiry_is_kept_on_s3_as_metadata_and_follows(
        daemon: MakeDaemon, s3: S3Endpoint, s3_client: Any, swift_client: Connection, container: str,
        bucket: str) -> None:
    end = int(time.time()) + 5000
    swift_client.put_object(container, 'o', b'data', headers={'X-Delete-At': str(end)})
    sync = daemon(s3_mapping(s3, container, bucket))
    key = KeyScheme('AUTH_test', container).key('o')

    def kept() -> str | None:
        found: str | None = s3_client.head_object(Bucket=bucket, Key=key)['Metadata'].get('1space-delete-at')
        return found

    sync.once()
    assert kept() == str(end)
    swift_client.post_object(container, 'o', {'X-Delete-At': str(end + 10)})
    sync.once()
    assert kept() == str(end + 10)
    swift_client.post_object(container, 'o', {'X-Object-Meta-A': 'b'})  # takes the expiry away
    sync.once()
    assert kept() is None


# -- objects that are not plain files --------------------------------------------------------


def test_erasure_coded_objects_and_links_are_copied_by_what_they_show(
        daemon: MakeDaemon, s3: S3Endpoint, s3_client: Any, swift_client: Connection, container: str,
        fresh_name: Callable[[str], str], make_bucket: Callable[[], str]) -> None:
    pieces = fresh_name('pieces')
    swift_client.put_container(pieces, headers={'X-Storage-Policy': 'pieces'})
    large = bytes(range(256)) * 8192  # several segments
    swift_client.put_object(pieces, 'large', large, headers={'X-Object-Meta-A': 'B'})
    swift_client.put_object(pieces, 'empty', b'')
    swift_client.put_object(container, 'link', b'', headers={'X-Symlink-Target': f'{pieces}/large'})
    swift_client.put_object(container, 'dangling', b'', headers={'X-Symlink-Target': f'{pieces}/nothing'})
    swift_client.put_object(container, 'plain', b'data')
    coded, linked = make_bucket(), make_bucket()
    sync = daemon(s3_mapping(s3, pieces, coded), s3_mapping(s3, container, linked))
    sync.once(expect=3)
    assert names(s3_client, coded, pieces) == {'large', 'empty'}
    assert names(s3_client, linked, container) == {'link', 'plain'}
    scheme, links = KeyScheme('AUTH_test', pieces), KeyScheme('AUTH_test', container)
    for bucket, key in ((coded, scheme.key('large')), (linked, links.key('link'))):
        found = s3_client.get_object(Bucket=bucket, Key=key)
        assert found['Body'].read() == large
        assert found['Metadata']['a'] == 'B'
    assert sync.failures() == permanent(container, 'dangling-symlink', 'dangling')
    swift_client.post_object(pieces, 'large', {'X-Object-Meta-C': 'D'})
    swift_client.delete_object(pieces, 'empty')
    swift_client.delete_object(container, 'link')
    swift_client.delete_object(container, 'dangling')
    sync.once()
    assert names(s3_client, coded, pieces) == {'large'} and names(s3_client, linked, container) == {'plain'}
    assert s3_client.head_object(Bucket=coded, Key=scheme.key('large'))['Metadata']['c'] == 'D'


def test_ciphertext_never_leaves_an_encrypted_cluster(
        daemon: MakeDaemon, make_swift_cluster: Callable[..., SwiftCluster], s3: S3Endpoint, s3_client: Any,
        make_bucket: Callable[[], str], tmp_path: Path) -> None:
    cluster = make_swift_cluster(encrypted=True)
    blind, seeing = make_bucket(), make_bucket()
    with closing(cluster.client()) as client:
        client.put_container('c')
        client.put_object('c', 'ü', b'secret data', headers={'X-Object-Meta-Colour': 'Blå'})
        client.put_object('c', 'large', b'x' * 3_000_000)
        client.put_object('c', 'empty', b'')
        without = tmp_path / 'internal-client.conf'
        without.write_text(cluster.internal_client_conf.read_text().replace(' keymaster encryption', ''))
        sync = daemon(s3_mapping(s3, 'c', blind), cluster=cluster, internal_client_path=str(without))
        assert 'encrypted' in sync.once(expect=3)
        assert sync.failures() == permanent('c', 'encrypted', 'ü', 'large')
        assert names(s3_client, blind, 'c') <= {'empty'}

        sync = daemon(s3_mapping(s3, 'c', seeing), cluster=cluster)
        sync.once()
        scheme = KeyScheme('AUTH_test', 'c')
        found = s3_client.get_object(Bucket=seeing, Key=scheme.key('ü'))
        assert found['Body'].read() == b'secret data'
        assert found['Metadata']['colour'] == '=?UTF-8?Q?Bl=C3=A5?='
        assert s3_client.get_object(Bucket=seeing, Key=scheme.key('large'))['Body'].read() == b'x' * 3_000_000
        assert names(s3_client, seeing, 'c') == {'ü', 'large', 'empty'}
        client.post_object('c', 'ü', {'X-Object-Meta-Colour': 'Red'})
        client.delete_object('c', 'large')
        sync.once()
        assert names(s3_client, seeing, 'c') == {'ü', 'empty'}
        assert s3_client.head_object(Bucket=seeing, Key=scheme.key('ü'))['Metadata']['colour'] == 'Red'
