"""Large objects whose manifest is here and whose segments are not: slo and dlo read them through the second filter."""
from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator

import pytest
import requests

from s3_sync.trial.s3_endpoint import S3Endpoint
from test.servers.fault_proxy import Answer, Truncate
from test.servers.merged import MergedContainer, MergedWorld, archive, each, merged_world

# Swift replaces the log handler of a pipeline that is loaded again, and forgets to close its UDP socket.
pytestmark = [pytest.mark.filterwarnings('ignore:unclosed <socket.socket .*type=2:ResourceWarning'),
              # So does its proxy application with a connection that was refused.
              pytest.mark.filterwarnings(r'ignore:unclosed <socket.socket \[closed\]:ResourceWarning')]

PARTS = [os.urandom(300_000), os.urandom(200_000), os.urandom(100_000)]
WHOLE = b''.join(PARTS)
OBJECTS = ('slo', 'dlo', 'nested', 'ranged')
RANGES = ('bytes=0-9', 'bytes=299990-300010', 'bytes=-5', 'bytes=100-', 'bytes=0-1,400000-400001', 'bytes=700000-')


@pytest.fixture(scope='module')
def world(s3: S3Endpoint) -> Iterator[MergedWorld]:
    """Segments are archived, and would be restored by a GET; manifests are in a container of no mapping."""
    with merged_world(s3) as made:
        for kind in ('s3', 'swift'):
            made.add(f'{kind}-parts', kind=kind, retain_local=False, restore_object=True)  # type: ignore[arg-type]
            made.plain.put_container(f'{kind}-manifests', {'X-Container-Read': 'test:tester3'})
        made.configure()
        for at in made.containers:
            _fill(at)
        archive(*made.containers, segments_grace=0)
        for at in made.containers:
            assert [entry['name'] for entry in made.plain.get_container(at.name)[1]] == [], 'segments are still here'
        yield made


def manifests(at: MergedContainer) -> MergedContainer:
    return MergedContainer(at.world, at.name.replace('parts', 'manifests'), at.remote, at.faults)


def _fill(at: MergedContainer) -> None:
    plain, where = at.world.plain, manifests(at).name
    entries = []
    for number, part in enumerate(PARTS):
        etag = plain.put_object(at.name, f'part/{number}', part)
        entries.append({'path': f'/{at.name}/part/{number}', 'etag': etag})
    _manifest(at, 'slo', entries)
    _manifest(at, 'ranged', [{**entries[0], 'range': '10-19'}, entries[1]])
    _manifest(at, 'nested', [{'path': f'/{where}/slo'}, entries[2]])
    plain.put_object(where, 'dlo', b'', headers={'X-Object-Manifest': f'{at.name}/part/'})


def _manifest(at: MergedContainer, name: str, entries: list[dict[str, str]]) -> None:
    at.world.plain.put_object(manifests(at).name, name, json.dumps(entries),
                              query_string='multipart-manifest=put')


both = each('s3-parts', 'swift-parts')
DATA = {'slo': WHOLE, 'dlo': WHOLE, 'nested': WHOLE + PARTS[2], 'ranged': PARTS[0][10:20] + PARTS[1]}


@both
@pytest.mark.parametrize('name', OBJECTS)
def test_it_reads_whole(at: MergedContainer, name: str) -> None:
    answer = manifests(at).ask('GET', name)
    assert (answer.status_code, answer.content) == (200, DATA[name])
    assert answer.headers['content-length'] == str(len(DATA[name]))


@both
@pytest.mark.parametrize('name', ['slo', 'dlo'])
@pytest.mark.parametrize('header', RANGES)
def test_ranges_reach_into_archived_segments(at: MergedContainer, name: str, header: str) -> None:
    answer = manifests(at).ask('GET', name, headers={'Range': header})
    if header == 'bytes=700000-':
        assert answer.status_code == 416
    elif ',' in header and name == 'dlo':  # dlo knows no several ranges
        assert (answer.status_code, answer.content) == (200, WHOLE)
    elif ',' in header:
        assert answer.status_code == 206
        assert WHOLE[400000:400002] in answer.content
    else:
        first, last = header.removeprefix('bytes=').split('-')
        wanted = WHOLE[int(first):int(last) + 1 if last else None] if first else WHOLE[-int(last):]
        assert (answer.status_code, answer.content) == (206, wanted)


@both
@pytest.mark.parametrize('name', ['slo', 'dlo'])
def test_conditions_are_slos_own(at: MergedContainer, name: str) -> None:
    container = manifests(at)
    etag = container.ask('HEAD', name).headers['etag']
    assert container.status('GET', name, headers={'If-Match': etag}) == 200
    assert container.status('GET', name, headers={'If-Match': '"other"'}) == 412
    assert container.status('GET', name, headers={'If-None-Match': etag}) == 304
    assert container.ask('HEAD', name).headers['content-length'] == str(len(WHOLE))


@both
def test_reading_segments_restores_none(at: MergedContainer) -> None:
    assert manifests(at).body('slo') == WHOLE
    time.sleep(0.5)
    assert not any(at.is_here(f'part/{number}') for number in range(3))
    assert [line for line in at.world.log() if line.startswith('restore ')] == []


@both
@pytest.mark.parametrize('name', ['slo', 'dlo'])
def test_who_may_not_read_the_segments_gets_none_of_them(at: MergedContainer, name: str) -> None:
    """As with segments that are here: slo says 409 then, dlo leaves nothing to see."""
    assert manifests(at).status('GET', name, user='tester3') in (401, 403, 404, 409)
    assert at.asked('part/') == []
    at.world.plain.post_container(at.name, {'X-Container-Read': 'test:tester3,.rlistings'})
    try:
        assert manifests(at).ask('GET', name, user='tester3').content == WHOLE
    finally:
        at.world.plain.post_container(at.name, {'X-Container-Read': ''})


@both
def test_a_remote_that_is_down_is_503_not_409(at: MergedContainer) -> None:
    rule = at.faults.fail(Answer(500), path='part/', times=2)
    answer = manifests(at).ask('GET', 'slo')
    assert (answer.status_code, bool(answer.headers.get('retry-after'))) == (503, True)
    assert rule.hits
    at.faults.clear()
    assert manifests(at).body('slo') == WHOLE


@both
@pytest.mark.parametrize('name', ['slo', 'dlo'])
def test_a_segment_that_breaks_is_taken_up_again(at: MergedContainer, name: str) -> None:
    rule = at.faults.fail(Truncate(50_000), method='GET', path='part/1')
    assert manifests(at).body(name) == WHOLE
    assert rule.hits


@both
def test_a_segment_that_is_lost_cuts_the_connection(at: MergedContainer) -> None:
    at.faults.fail(Truncate(10_000), method='GET', path='part/1', times=None)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        manifests(at).ask('GET', 'slo')


@both
def test_clients_own_reads_of_segments_go_through_the_first_filter(at: MergedContainer) -> None:
    answer = at.ask('GET', 'part/0', headers={'Range': 'bytes=0-4'})
    assert (answer.content, answer.headers['x-1space-source']) == (PARTS[0][:5], 'remote')
