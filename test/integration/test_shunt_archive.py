"""Archive and shunt together: the daemon sends objects away, the proxy shows them and brings back what is read."""
from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import pytest
import requests

from s3_sync.trial.s3_endpoint import S3Endpoint
from test.servers.large_objects import cheap_bytes, names, put_dlo, put_slo, stored_manifest
from test.servers.merged import MergedContainer, MergedWorld, S3Side, archive, merged_world
from test.servers.scene import waiting
from test.servers.sync_daemon import SyncDaemon, eventually, s3_mapping

# Swift replaces the log handler of a pipeline that is loaded again, and forgets to close its UDP socket.
pytestmark = [pytest.mark.filterwarnings('ignore:unclosed <socket.socket .*type=2:ResourceWarning'),
              # So does its proxy application with a connection that was refused.
              pytest.mark.filterwarnings(r'ignore:unclosed <socket.socket \[closed\]:ResourceWarning')]

KINDS = ('s3', 'swift')
DATA = cheap_bytes(300_000)
NAME = 'folder/ü ☃ %41'
HEADERS = {'X-Object-Meta-Colour': 'bläu', 'Content-Type': 'text/x-a; charset=utf-8', 'Content-Encoding': 'x-own',
           'Content-Disposition': 'attachment; filename="a b"', 'Cache-Control': 'no-cache'}
NOT_COMPARED = {'date', 'x-trans-id', 'x-openstack-request-id', 'x-1space-source', 'connection', 'keep-alive'}
# Names of DESIGN 8 that SeaweedFS refuses are another Swift's only.
TAME_NAMES = ['%41', 'new\nline', '\ufffd', '😀/astral', 'a b+c&d=e?f#g', 'ü/é']
AWKWARD_NAMES = [*TAME_NAMES, '//', '/leading', 'double//slash', 'end/', 'x' * 1024]


@pytest.fixture(scope='module')
def world(s3: S3Endpoint) -> Iterator[MergedWorld]:
    with merged_world(s3) as made:
        for kind in KINDS:
            keys: dict[str, Any] = {'retain_local': False, 'restore_object': True}
            if kind == 's3':
                keys['custom_prefix'] = None  # keys with a hash before them, as most archives have
            remote: Any = kind
            made.add(kind, remote, **keys)
            made.add(f'{kind}-chosen', remote, selection_criteria={'x-object-meta-archive': 'yes'}, **keys)
            made.add(f'{kind}-large', remote, segments_grace=0, **keys)
        made.configure()
        yield made


def shown(answer: requests.Response) -> tuple[int, dict[str, str], bytes]:
    return (answer.status_code, {name.lower(): value for name, value in answer.headers.items()
                                 if name.lower() not in NOT_COMPARED}, answer.content)


def source(answer: requests.Response) -> str:
    return str(answer.headers['x-1space-source'])


def entries(container: MergedContainer, **query: str) -> dict[str, dict[str, Any]]:
    answer = container.ask('GET', '', query='?' + '&'.join(['format=json', *(f'{k}={v}' for k, v in query.items())]))
    return {entry['name']: entry for entry in answer.json()}


def back(container: MergedContainer, name: str) -> None:
    """Waits until it is here, and the restore has looked at the remote for the last time."""
    line = f'restore AUTH_test/{container.name}/{quote(name)} outcome=restored '
    eventually(lambda: any(found.startswith(line) for found in container.world.log()), f'{name} restored', seconds=20)
    eventually(lambda: container.is_here(name), f'{name} here', seconds=20)


def asked(container: MergedContainer, name: str) -> list[str]:
    """Methods of the requests about an object that reached the remote, whatever its key looks like there."""
    return [request.method for request in container.faults.requests
            if request.path.partition('?')[0].endswith(f'/{quote(name)}')]


# -- plain objects (the predecessor's test_s3_archive, test_swift_archive and their relatives) ----


def test_archived_objects_are_listed_with_their_place_and_tell_their_own_headers(
        world: MergedWorld, kind: str) -> None:
    container = world[kind]
    for name in (NAME, 'shown'):
        container.put_here(name, DATA, **HEADERS)
    before = {name: shown(container.ask('HEAD', name)) for name in (NAME, 'shown')}
    listing = entries(container)
    archive(container)
    assert names(world.plain, kind) == set()
    after = entries(container)
    assert set(after) == set(listing) == {NAME, 'shown'}
    assert all(len(entry['content_location']) == 1 and entry['content_location'][0] != 'swift'
               and container.remote.bucket in entry['content_location'][0] for entry in after.values())
    assert {name: (entry['hash'], entry['bytes']) for name, entry in after.items()} == {
        name: (entry['hash'], entry['bytes']) for name, entry in listing.items()}
    for name in (NAME, 'shown'):
        answer = container.ask('HEAD', name)
        assert (shown(answer), source(answer)) == (before[name], 'remote')
        assert not container.is_here(name), 'a HEAD brings nothing back'


def test_only_what_was_chosen_by_its_metadata_is_away_and_all_of_it_is_shown(world: MergedWorld, kind: str) -> None:
    container = world[f'{kind}-chosen']
    container.put_here('old', b'old', **{'X-Object-Meta-Archive': 'yes'})
    container.put_here('young', b'young')
    archive(container)
    assert names(world.plain, container.name) == {'young'}
    found = entries(container)
    assert {name: len(entry.get('content_location', [])) for name, entry in found.items()} == {'old': 1, 'young': 0}
    answers = {name: container.ask('GET', name) for name in ('old', 'young')}
    assert {name: (answer.content, source(answer)) for name, answer in answers.items()} == {
        'old': (b'old', 'remote'), 'young': (b'young', 'local')}


@pytest.mark.parametrize('data', [DATA, b''], ids=['some bytes', 'empty'])
def test_the_first_get_is_remote_and_brings_it_back_and_the_second_is_local(
        world: MergedWorld, kind: str, data: bytes) -> None:
    container = world[kind]
    name = f'read {len(data)}'
    container.put_here(name, data, **HEADERS)
    before = {method: shown(container.ask(method, name)) for method in ('GET', 'HEAD')}
    archive(container)
    container.faults.clear()
    first = container.ask('GET', name)
    assert (shown(first), source(first)) == (before['GET'], 'remote')
    assert 'GET' in asked(container, name)
    back(container, name)
    container.faults.clear()
    for method in ('GET', 'HEAD'):
        answer = container.ask(method, name)
        assert (shown(answer), source(answer)) == (before[method], 'restored')
        assert not any(header.lower().startswith('remote-') for header in answer.headers)
    assert asked(container, name) == []
    location = entries(container, prefix='read')[name]['content_location']
    assert len(location) == 2 and location[1] == 'swift'


def test_ranges_are_served_and_bring_nothing_back(world: MergedWorld, kind: str) -> None:
    container = world[kind]
    container.put_here('ranged', DATA, **HEADERS)
    archive(container)
    for spec, wanted in {'bytes=5-9': DATA[5:10], 'bytes=-7': DATA[-7:]}.items():
        answer = container.ask('GET', 'ranged', headers={'Range': spec})
        assert (answer.status_code, answer.content, source(answer)) == (206, wanted, 'remote')
    assert container.ask('GET', 'ranged', headers={'If-None-Match': '*'}).status_code == 304
    container.ask('GET', 'ranged', headers={'Range': 'bytes=1-2,5-6'})
    # Restores are seen in the log, so that one which only takes its time is not missed.
    assert not any('restore' in line and 'ranged' in line for line in world.log())
    assert not container.is_here('ranged')


@pytest.mark.parametrize('side', ['swift', 's3'])
def test_awkward_names_go_and_come_under_just_that_name(world: MergedWorld, side: str) -> None:
    container = world[side]
    wanted = AWKWARD_NAMES if side == 'swift' else TAME_NAMES
    for name in wanted:
        container.put_here(name, name.encode())
    archive(container)
    assert names(world.plain, side) & set(wanted) == set()
    assert set(entries(container)) >= set(wanted)
    for name in wanted:
        assert container.ask('HEAD', name).headers['etag'] == hashlib.md5(name.encode()).hexdigest(), name
        assert container.body(name) == name.encode(), name
    for name in wanted:
        back(container, name)
    assert {name: container.body(name) for name in wanted} == {name: name.encode() for name in wanted}
    assert set(entries(container)) >= set(wanted)


# -- large objects ------------------------------------------------------------------------------


def manifest_names(manifest: bytes) -> list[str]:
    return [entry['name'] for entry in json.loads(manifest)]


@pytest.mark.parametrize('large', ['slo', 'dlo'])
def test_a_large_object_comes_back_with_its_segments(world: MergedWorld, kind: str, large: str) -> None:
    container = world[f'{kind}-large']
    segments = f'{container.name}_segments'
    put = put_slo if large == 'slo' else put_dlo
    parts = [cheap_bytes(70_000, 1), cheap_bytes(70_000, 2), b'end']
    data = put(world.plain, container.name, large, parts, headers=HEADERS)
    manifest = stored_manifest(world.plain, container.name, large)
    before = {method: shown(container.ask(method, large)) for method in ('GET', 'HEAD')}
    listed_before = entries(container)[large]
    archive(container, passes=2)
    assert not container.is_here(large)
    assert not any(name.startswith(f'{large}/') for name in names(world.plain, segments))
    first = container.ask('GET', large)
    assert (first.content, source(first)) == (data, 'remote')
    back(container, large)
    assert {name for name in names(world.plain, segments) if name.startswith(f'{large}/')} == {
        f'{large}/{number:03}' for number in range(3)}
    container.faults.clear()
    for method in ('GET', 'HEAD'):
        answer = container.ask(method, large)
        now = shown(answer)
        # The manifest itself tells the dates of its segments, which are as old as the whole now.
        for headers in (now[1], before[method][1]):
            headers.pop('x-manifest-etag', None)
        assert (now, source(answer)) == (before[method], 'restored')
        assert not any(header.lower().startswith('remote-') for header in answer.headers)
    assert asked(container, large) == []
    if large == 'slo':
        assert manifest_names(stored_manifest(world.plain, container.name, large)) == manifest_names(manifest)
    found = entries(container)[large]
    assert found['content_location'][1:] == ['swift']
    assert {key: found.get(key) for key in ('bytes', 'slo_etag', 'last_modified', 'content_type')} == {
        key: listed_before.get(key) for key in ('bytes', 'slo_etag', 'last_modified', 'content_type')}


# -- restores and the running daemon (semantics 3.2) ------------------------------------------------


def test_a_running_daemon_sends_nothing_back_and_archives_again_only_after_its_days(
        world: MergedWorld, kind: str) -> None:
    container = world[kind]
    container.put_here('chased', DATA)
    archive(container)
    with SyncDaemon(world.cluster, [container.entry(exclude_pattern='^(?!chased)')]) as daemon:
        daemon.once()
        daemon.start()
        container.faults.clear()
        assert container.body('chased') == DATA
        back(container, 'chased')
        eventually(lambda: waiting(daemon).get('chased') == ('deferred', 'restored'), 'the daemon sees the row')
        container.put_here('chased later', b'x')
        eventually(lambda: not container.is_here('chased later'), 'rows after it are done too')
        assert container.is_here('chased')
        assert daemon.stop() == 0
    assert 'GET' in asked(container, 'chased')
    assert set(asked(container, 'chased')) <= {'GET', 'HEAD'}
    assert 'PUT' in asked(container, 'chased later')
    container.faults.clear()
    archive(container, restore_days=0, exclude_pattern='^(?!chased)')
    assert not container.is_here('chased')
    assert set(asked(container, 'chased')) <= {'GET', 'HEAD'}
    assert container.body('chased') == DATA


def test_another_mapping_copies_what_the_first_one_brought_back(
        world: MergedWorld, kind: str, s3: S3Endpoint) -> None:
    container = world[kind]
    second = S3Side(s3, f'second-of-{kind}')
    try:
        container.put_here('for both', DATA)
        archive(container)
        container.ask('GET', 'for both')
        back(container, 'for both')
        container.faults.clear()
        copy = {**s3_mapping(s3, kind, second.bucket), 'name': 'copy', 'custom_prefix': '',
                'exclude_pattern': '^(?!for both)'}
        with SyncDaemon(world.cluster, [container.entry(exclude_pattern='^(?!for both)'), copy]) as daemon:
            daemon.once()
        assert second.read('for both') == DATA
        assert set(asked(container, 'for both')) <= {'GET', 'HEAD'}
        assert container.is_here('for both')
    finally:
        second.close()


def test_a_users_change_of_a_restored_object_is_sent(world: MergedWorld, kind: str) -> None:
    container = world[kind]
    container.put_here('changed', DATA, **{'X-Object-Meta-Colour': 'red'})
    archive(container)
    container.ask('GET', 'changed')
    back(container, 'changed')
    assert container.status('POST', 'changed', headers={'X-Object-Meta-Colour': 'green'}) == 202
    archive(container, restore_days=0)
    assert not container.is_here('changed')
    assert container.ask('HEAD', 'changed').headers['x-object-meta-colour'] == 'green'
    container.put_here('changed', b'new data')
    archive(container)
    answer = container.ask('GET', 'changed')
    assert (answer.content, source(answer)) == (b'new data', 'remote')


def test_restored_segments_wait_an_hour_at_least(world: MergedWorld, kind: str) -> None:
    container = world[f'{kind}-large']
    segments = f'{container.name}_segments'
    data = put_slo(world.plain, container.name, 'waits', [b'1' * 2000, b'2' * 2000])
    archive(container, passes=2)
    assert container.body('waits') == data
    back(container, 'waits')
    archive(container, passes=2, restore_days=0)
    assert not container.is_here('waits'), 'its days are over'
    assert {name for name in names(world.plain, segments) if name.startswith('waits/')} == {'waits/000', 'waits/001'}
    assert container.body('waits') == data

    def again() -> bool:  # what was brought back a moment ago is left to those who come later
        assert container.body('waits') == data
        return container.is_here('waits')
    eventually(again, 'it is back once more')


def test_a_delete_of_a_restored_object_deletes_it_everywhere(world: MergedWorld, kind: str) -> None:
    container = world[kind]
    container.put_here('deleted', DATA)
    archive(container)
    container.ask('GET', 'deleted')
    back(container, 'deleted')
    assert container.status('DELETE', 'deleted') == 204
    assert container.status('GET', 'deleted') == container.status('HEAD', 'deleted') == 404
    archive(container)
    assert container.status('GET', 'deleted') == 404
    assert 'deleted' not in entries(container)


def test_versions_alternate_between_both_sides_and_the_newest_always_shows(world: MergedWorld, kind: str) -> None:
    container = world[kind]
    with ExitStack() as stack:
        daemon = stack.enter_context(SyncDaemon(world.cluster, [container.entry(restore_days=0)]))
        daemon.start()
        for turn in range(4):
            data = f'version {turn}'.encode()
            assert container.status('PUT', 'alternating', data=data) == 201
            eventually(lambda: not container.is_here('alternating'), 'archived again')
            assert container.body('alternating') == data
            time.sleep(0.05)
        assert daemon.stop() == 0
