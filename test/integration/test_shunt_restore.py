"""Restore on GET: what was read in whole is here afterwards, as it was, and no client has waited for that."""
from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import quote

import pytest
import requests

from s3_sync.trial.s3_endpoint import S3Endpoint, s3_client
from test.servers.fault_proxy import Stall, Truncate
from test.servers.merged import SHUNT, MergedContainer, MergedWorld, archive, each, merged_world
from test.servers.sync_daemon import eventually

# Swift replaces the log handler of a pipeline that is loaded again, and forgets to close its UDP socket.
pytestmark = [pytest.mark.filterwarnings('ignore:unclosed <socket.socket .*type=2:ResourceWarning'),
              # So does its proxy application with a connection that was refused.
              pytest.mark.filterwarnings(r'ignore:unclosed <socket.socket \[closed\]:ResourceWarning')]

SMALL = os.urandom(100_000)
LARGE = os.urandom(3_000_000)
OF_THE_OBJECT = ('etag', 'last-modified', 'x-timestamp', 'content-length', 'content-type', 'content-disposition',
                 'x-object-meta-colour', 'x-delete-at', 'x-static-large-object', 'x-object-manifest')
BOTH = ('s3', 'swift')
PARTS = [os.urandom(700_000), os.urandom(900_000), b'end']
OBJECTS = {
    'small': SMALL, 'large': LARGE, 'empty': b'', 'part': SMALL, 'overwritten-100000': SMALL,
    'overwritten-3000000': LARGE, 'deleted-100000': SMALL, 'deleted-3000000': LARGE, 'huge': bytes(21 << 20),
    'left': os.urandom(15 << 20), 'slow': os.urandom(15 << 20), 'breaks-100000': SMALL, 'breaks-3000000': LARGE,
    'crowd': SMALL, 'large-crowd': LARGE}
"""What is archived before the tests begin; each has its own."""


@pytest.fixture(scope='module')
def world(s3: S3Endpoint) -> Iterator[MergedWorld]:
    with merged_world(s3, shunt_options={'max_restore_size': '20MiB', 'restore_concurrency': 8}) as made:
        for kind in BOTH:
            made.add(kind, kind=kind, restore_object=True, retain_local=False, coalesce_size='1MiB',
                     propagate_expiration=kind == 'swift')
            made.add(f'{kind}-migration', kind=kind, migration=True, create=False, coalesce_size='1MiB')
        made.add('full', kind='s3', restore_object=True, coalesce_size='1MiB')
        made.configure()
        yield made


@pytest.fixture(scope='module')
def before(world: MergedWorld) -> dict[tuple[str, str], dict[str, str]]:
    """What the headers of objects were while they were here; now they are away."""
    found = {}
    for kind in BOTH:
        at = world[kind]
        for name, data in OBJECTS.items():
            at.put_here(name, data, **{
                'X-Object-Meta-Colour': 'blau', 'Content-Type': 'text/x-a', 'Content-Disposition': 'inline',
                'X-Delete-At': str(int(time.time()) + 100_000)})
        for name in ('_segments', '-other'):
            put_large(at, kind + name)
        large = [f'{large} {kind}{end}' for large in ('slo', 'dlo') for end in ('_segments', '-other')]
        for name in (*OBJECTS, *large):
            found[kind, name] = facts(at.ask('HEAD', name))
    archive(world['s3'], world['swift'], segments_grace=0)
    for kind, name in found:
        assert not world[kind].is_here(name)
    return found


def put_large(at: MergedContainer, segments: str) -> None:
    """An SLO and a DLO whose segments lie in that container."""
    plain = at.world.plain
    plain.put_container(segments)
    for kind in ('slo', 'dlo'):
        etags = [plain.put_object(segments, f'{kind}/{number}', part) for number, part in enumerate(PARTS)]
        manifest = json.dumps([{'path': f'/{segments}/{kind}/{number}', 'etag': etag}
                               for number, etag in enumerate(etags)])
        headers = {'X-Object-Meta-Colour': 'blau'}
        if kind == 'slo':
            plain.put_object(at.name, f'slo {segments}', manifest, query_string='multipart-manifest=put',
                             headers=headers)
        else:
            plain.put_object(at.name, f'dlo {segments}', b'', headers={
                **headers, 'X-Object-Manifest': f'{segments}/dlo/'})


def facts(answer: requests.Response) -> dict[str, str]:
    return {name: answer.headers[name] for name in OF_THE_OBJECT if name in answer.headers}


def source(at: MergedContainer, name: str) -> str:
    return at.ask('HEAD', name).headers.get('x-1space-source', '')


def outcomes(at: MergedContainer, name: str) -> list[str]:
    """How restores of an object ended, from the proxy's log."""
    return [line.split('outcome=')[1].split(' ')[0] + line.partition('reason=')[2].partition(' ')[0].join(('/', ''))
            for line in at.world.log() if line.startswith(f'restore AUTH_test/{at.name}/{quote(name)} ')]


def restored(at: MergedContainer, name: str) -> None:
    eventually(lambda: 'restored/' in outcomes(at, name), f'{name} is restored: {outcomes(at, name)}', seconds=20)
    assert at.is_here(name)


# -- there and back -----------------------------------------------------------------------------

@each('s3', 'swift')
@pytest.mark.parametrize('name', ['small', 'large', 'empty'])
def test_the_first_get_is_remote_the_second_local_and_the_object_as_it_was(
        at: MergedContainer, before: dict[tuple[str, str], dict[str, str]], name: str) -> None:
    wanted = before[at.name, name]
    first = at.ask('GET', name)
    assert (first.content, first.headers['x-1space-source'], facts(first)) == (OBJECTS[name], 'remote', wanted)
    restored(at, name)
    second = at.ask('GET', name)
    assert (second.content, second.headers['x-1space-source'], facts(second)) == (OBJECTS[name], 'restored', wanted)
    assert [request.method for request in at.asked(name) if request.status == 200].count('GET') == 1


@each('s3', 'swift')
def test_only_a_whole_get_restores(
        at: MergedContainer, before: dict[tuple[str, str], dict[str, str]]) -> None:
    md5 = before[at.name, 'part']['etag']
    for method, headers in (('HEAD', {}), ('GET', {'Range': 'bytes=0-9'}), ('GET', {'Range': f'bytes=0-{len(SMALL)}'}),
                            ('GET', {'If-None-Match': md5}), ('GET', {'If-Match': 'other'})):
        at.ask(method, 'part', headers=headers)
    at.ask('GET', 'part', query='?multipart-manifest=get')
    time.sleep(0.5)
    assert outcomes(at, 'part') == []
    assert not at.is_here('part')


@each('s3-migration', 'swift-migration')
def test_a_get_migrates_and_makes_the_container(at: MergedContainer) -> None:
    at.remote.put('first', LARGE, colour='blau')
    answer = at.ask('GET', 'first')
    assert answer.content == LARGE
    restored(at, 'first')
    again = at.ask('GET', 'first')
    assert (again.headers['x-1space-source'], facts(again)) == ('restored', facts(answer))
    listing = json.loads(at.ask('GET', '', query='?format=json').content)
    assert [entry['name'] for entry in listing] == ['first']


@each('s3-migration')
def test_an_s3_multipart_object_keeps_the_etag_its_clients_know(at: MergedContainer) -> None:
    at.remote.put_in_parts('parts', LARGE + bytes(5 << 20), b'end')
    client = s3_client(at.world.cluster.proxy_url(SHUNT), 'test:tester', 'testing')
    with closing(client):
        before = client.head_object(Bucket=at.name, Key='parts')['ETag']
        assert client.get_object(Bucket=at.name, Key='parts')['Body'].read() == LARGE + bytes(5 << 20) + b'end'
        restored(at, 'parts')
        assert client.head_object(Bucket=at.name, Key='parts')['ETag'] == before


# -- large objects ------------------------------------------------------------------------------

@each('s3', 'swift')
@pytest.mark.parametrize('kind', ['slo', 'dlo'])
@pytest.mark.parametrize('where', ['_segments', '-other'])
def test_a_large_object_comes_back_whole(
        at: MergedContainer, before: dict[tuple[str, str], dict[str, str]], kind: str, where: str) -> None:
    segments = at.name + where
    name = f'{kind} {segments}'
    remote = at.ask('GET', name)
    assert (remote.content, remote.headers['x-1space-source']) == (b''.join(PARTS), 'remote')
    wanted = before[at.name, name]
    assert facts(remote) == wanted
    restored(at, name)
    headers, body = at.world.plain.get_object(at.name, name)
    assert body == b''.join(PARTS)
    if kind == 'dlo':  # these are of its newest segment
        wanted = {name: value for name, value in wanted.items() if name not in ('last-modified', 'x-timestamp')}
    assert {name: headers.get(name) for name in wanted} == wanted
    assert [entry['name'] for entry in at.world.plain.get_container(segments, prefix=kind)[1]] == [
        f'{kind}/0', f'{kind}/1', f'{kind}/2']


# -- users win ----------------------------------------------------------------------------------

@each('s3')
@pytest.mark.parametrize('data', [SMALL, LARGE], ids=['small', 'large'])
@pytest.mark.usefixtures('before')
def test_a_write_meanwhile_wins(at: MergedContainer, data: bytes) -> None:
    name = f'overwritten-{len(data)}'
    stall = at.faults.fail(Stall(1), method='GET', path=f'/{name}')
    reader = _reading(at, name)
    eventually(lambda: stall.hits, 'the remote is asked')
    at.put_here(name, b'newer')
    assert reader() == data
    eventually(lambda: outcomes(at, name), 'the restore ends')
    assert (at.body(name), source(at, name)) == (b'newer', 'local')


@each('s3')
@pytest.mark.parametrize('data', [SMALL, LARGE], ids=['small', 'large'])
@pytest.mark.usefixtures('before')
def test_a_delete_meanwhile_wins_and_is_remembered(at: MergedContainer, data: bytes) -> None:
    name = f'deleted-{len(data)}'
    stall = at.faults.fail(Stall(1), method='GET', path=f'/{name}')
    reader = _reading(at, name)
    eventually(lambda: stall.hits, 'the remote is asked')
    at.put_here(name, b'x')
    at.world.plain.delete_object(at.name, name)  # past the shunt, so that nobody has written a marker
    assert reader() == data
    eventually(lambda: 'deleted/' in outcomes(at, name), 'the restore finds the tombstone', seconds=10)
    assert at.markers[name] == at.deleted_here(name)
    assert at.status('GET', name) == 404


def _reading(at: MergedContainer, name: str) -> Callable[[], object]:
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(at.body(name)))
    thread.start()

    def joined() -> object:
        thread.join()
        return found[0]
    return joined


# -- nobody waits -------------------------------------------------------------------------------

@each('full')
@pytest.mark.parametrize('data', [SMALL, LARGE], ids=['small', 'large'])
def test_a_restore_obeys_quotas_and_the_download_never_notices(at: MergedContainer, data: bytes) -> None:
    at.world.plain.post_container(at.name, {'X-Container-Meta-Quota-Bytes': '1000'})
    name = f'over-{len(data)}'
    at.remote.put(name, data)
    for _ in range(3):
        answer = at.ask('GET', name)
        assert (answer.status_code, answer.content, answer.headers['x-1space-source']) == (200, data, 'remote')
        time.sleep(0.3)
    eventually(lambda: len(outcomes(at, name)) >= 1, 'the restore ends')
    assert not at.is_here(name)
    assert outcomes(at, name)[0] == 'failed/too-large'
    assert set(outcomes(at, name)[1:]) <= {'failed/failed-lately'}, 'it is tried again and again'


@each('s3')
@pytest.mark.usefixtures('before')
def test_what_is_too_large_to_restore_is_only_read(at: MergedContainer) -> None:
    assert at.body('huge') == OBJECTS['huge']
    time.sleep(0.3)
    assert outcomes(at, 'huge') == []
    assert not at.is_here('huge')


@each('s3', 'swift')
@pytest.mark.usefixtures('before')
def test_a_client_that_goes_leaves_nothing_half_way(at: MergedContainer) -> None:
    with closing(at.open_raw('left')) as client:
        assert b'200 OK' in client.recv(1000)
    eventually(lambda: outcomes(at, 'left'), 'the restore ends', seconds=10)
    assert outcomes(at, 'left') == ['failed/client-gone']
    assert not at.is_here('left')
    assert at.body('left') == OBJECTS['left']
    restored(at, 'left')


@each('s3')
@pytest.mark.usefixtures('before')
def test_a_slow_clients_object_is_restored_in_the_background(at: MergedContainer) -> None:
    with closing(at.open_raw('slow')) as client:
        assert b'200 OK' in client.recv(1000)
        restored(at, 'slow')
        assert outcomes(at, 'slow') == ['failed/slow-client', 'restored/']
        assert len([request for request in at.asked('slow') if request.method == 'GET']) == 2


@each('s3', 'swift')
@pytest.mark.parametrize('data', [SMALL, LARGE], ids=['small', 'large'])
@pytest.mark.usefixtures('before')
def test_a_body_that_breaks_is_restored_right_all_the_same(at: MergedContainer, data: bytes) -> None:
    name = f'breaks-{len(data)}'
    at.faults.fail(Truncate(50_000), method='GET', path=f'/{name}', times=2)
    assert at.body(name) == data
    restored(at, name)
    assert (at.body(name), source(at, name)) == (data, 'restored')


# -- a crowd ------------------------------------------------------------------------------------

@each('s3', 'swift')
@pytest.mark.usefixtures('before')
def test_a_thousand_clients_cost_one_remote_get_and_one_restore(at: MergedContainer) -> None:
    token, url = at.world.token('owner'), at.url('crowd')
    mine = threading.local()

    def read(_: int) -> tuple[int, str, bool]:
        mine.session = getattr(mine, 'session', None) or requests.Session()
        answer = mine.session.get(url, headers={'X-Auth-Token': token, 'Connection': 'close'}, timeout=120)
        return answer.status_code, answer.headers.get('x-1space-source', ''), answer.content == SMALL
    with ThreadPoolExecutor(100) as clients:
        got = Counter(clients.map(read, range(1000)))
    assert sum(count for (status, _, right), count in got.items() if status == 200 and right) == 1000, got
    assert [request.method for request in at.asked('crowd')].count('GET') == 1
    restored(at, 'crowd')
    assert Counter(outcomes(at, 'crowd')) == {'restored/': 1}


@each('s3')
@pytest.mark.usefixtures('before')
def test_a_crowd_at_a_large_object_costs_one_restore(at: MergedContainer) -> None:
    token, url = at.world.token('owner'), at.url('large-crowd')

    def read(_: int) -> tuple[int, bool]:
        answer = requests.get(url, headers={'X-Auth-Token': token}, timeout=120)
        return answer.status_code, answer.content == LARGE
    with ThreadPoolExecutor(30) as clients:
        got = Counter(clients.map(read, range(60)))
    assert set(got) <= {(200, True), (503, False)}, got
    restored(at, 'large-crowd')
    assert Counter(outcomes(at, 'large-crowd'))['restored/'] == 1


# -- afterwards ---------------------------------------------------------------------------------

@each('s3', 'swift')
@pytest.mark.usefixtures('before')
def test_what_was_restored_is_not_sent_back_nor_archived_again_at_once(at: MergedContainer) -> None:
    at.ask('GET', 'small')
    at.ask('GET', 'large')
    for name in ('small', 'large'):
        eventually(lambda name=name: at.is_here(name), 'it is restored')  # type: ignore[misc]
    at.faults.clear()
    archive(at, segments_grace=0)
    for name in ('small', 'large'):
        assert [request for request in at.asked(name) if request.method != 'HEAD'] == []
        assert source(at, name) == 'restored', 'it is archived before restore_days'
