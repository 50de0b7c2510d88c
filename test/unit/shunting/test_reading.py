"""GET and HEAD through the filter: when a remote is asked (semantics 9), and that clients cannot tell."""
from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import pytest
from swift.common.swob import HTTPConflict, HTTPPreconditionFailed, HTTPServiceUnavailable, Request, Response
from swift.common.utils import Timestamp

from s3_sync.concurrency import Event, sleep, spawn
from s3_sync.errors import ConnectionFailed, Forbidden, TemporaryError, Throttled
from s3_sync.shunting.reading import UNAVAILABLE
from s3_sync.shunting.remotes import RemoteUnavailable
from s3_sync.timestamps import RowTimes, marked
from s3_sync.types import ObjectMeta
from test.unit.shunting.reads_world import ACCOUNT, OLD, Stored, World

DATA = b'0123456789abcdef'
ETAG = hashlib.md5(DATA, usedforsecurity=False).hexdigest()


@pytest.fixture
def world() -> World:
    made = World()
    made.remote.hold('o', DATA, user_metadata={'colour': 'blue'}, headers={'content-encoding': 'gzip'})
    return made


def at(seconds: float) -> Timestamp:
    return Timestamp(float(OLD) + seconds)


# -- local hits -------------------------------------------------------------------------------

def test_a_local_hit_asks_no_remote_and_passes_its_iterator_untouched(world: World) -> None:
    body = [b'here']
    world.cluster.answers['c', 'o'] = lambda request: Raw(request, body)
    answer = world.get()
    assert answer.body is body
    assert answer.headers['x-1space-source'] == 'local'
    assert world.remote.asked == []


class Raw:
    """A response whose iterator is a certain one."""

    def __init__(self, request: Request, body: list[bytes]) -> None:
        self.headers: dict[str, str] = {}
        self._body = body

    def __call__(self, env: dict[str, object], start_response: Callable[..., object]) -> list[bytes]:
        start_response('200 OK', [('Content-Length', '4'), ('Etag', 'x')])
        return self._body


@pytest.mark.parametrize(('data_time', 'source'), [
    (marked(RowTimes(OLD, OLD, OLD), 1_700_000_000), 'restored'), (OLD, 'local')])
def test_a_restored_object_is_told_by_a_time_of_ours_not_by_sysmeta_alone(
        world: World, data_time: Timestamp, source: str) -> None:
    world.cluster.objects['c', 'o'] = Stored(b'x', {
        'X-Object-Sysmeta-1space-Restored': OLD.internal, 'X-Backend-Data-Timestamp': data_time.internal})
    assert world.get().headers['x-1space-source'] == source


@pytest.mark.parametrize('status', [200, 304, 403, 409, 412, 500, 503])
def test_only_a_missing_object_is_looked_for_elsewhere(world: World, status: int) -> None:
    world.cluster.answers['c', 'o'] = lambda request: Response(request=request, status=status,
                                                               headers={'Etag': 'x', 'X-Timestamp': OLD.normal})
    assert world.get().status == status
    assert world.remote.asked == []


# -- what the remote has ----------------------------------------------------------------------

def test_what_is_only_at_the_remote_looks_as_if_it_were_here(world: World) -> None:
    answer = world.get()
    assert (answer.status, answer.read()) == (200, DATA)
    wanted = {'etag': ETAG, 'content-length': '16', 'content-type': 'text/plain', 'content-encoding': 'gzip',
              'x-object-meta-colour': 'blue', 'x-timestamp': OLD.normal, 'accept-ranges': 'bytes',
              'last-modified': 'Sun, 13 Sep 2020 12:26:40 GMT', 'x-1space-source': 'remote'}
    assert {k: v for k, v in answer.headers.items() if k in wanted} == wanted


def test_a_head_tells_what_a_get_would(world: World) -> None:
    got, head = world.get(), world.get(method='HEAD')
    assert head.headers == got.headers
    assert (head.status, head.read()) == (200, b'')
    got.close()


@pytest.mark.parametrize('method', ['GET', 'HEAD'])
def test_an_empty_object_is_served(world: World, method: str) -> None:
    world.remote.hold('empty', b'')
    answer = world.get('empty', method=method)
    assert (answer.status, answer.headers['content-length'], answer.read()) == (200, '0', b'')


def test_what_nobody_has_is_the_clusters_own_404(world: World) -> None:
    answer = world.get('nowhere')
    assert answer.status == 404
    assert 'x-1space-source' not in answer.headers


def test_browsers_may_see_what_they_may_see_of_a_local_object(world: World) -> None:
    answer = world.get(origin='http://a.example')
    assert answer.headers['access-control-allow-origin'] == '*'
    assert {'etag', 'x-object-meta-colour'} <= set(answer.headers['access-control-expose-headers'].split(', '))
    answer.close()


def test_no_header_of_the_client_reaches_the_remote_but_range(world: World) -> None:
    world.get(range='bytes=0-3', x_auth_token='secret', cookie='a=b', x_object_meta_a='b', if_match=ETAG).close()
    assert [dict(request.headers) for request in world.remote.asked] == [
        {'x-1space-via': 'here', 'range': 'bytes=0-3'}]


def test_the_clusters_a_request_came_through_are_told_on(world: World) -> None:
    world.get(x_1space_via='there').close()
    assert world.remote.asked[0].headers['x-1space-via'] == 'there, here'


def test_only_ids_of_clusters_are_told_on(world: World) -> None:
    world.get(x_1space_via='other, ü\r\n x,' + 'y' * 300 + ',' + 'z,' * 50).close()
    assert world.remote.asked[-1].headers == {'x-1space-via': ', '.join(['z'] * 16 + ['here'])}
    world.get('p', x_1space_via='other, \xff\xfe, a b').close()
    assert world.remote.asked[-1].headers == {'x-1space-via': 'other, a b, here'}


# -- deleted, expired, other versions ---------------------------------------------------------

@pytest.mark.parametrize(('deleted', 'status'), [(at(0), 404), (at(1), 404), (at(-1), 200)])
def test_what_was_deleted_here_stays_deleted_unless_the_remote_has_a_later_version(
        world: World, deleted: Timestamp, status: int) -> None:
    world.cluster.deleted['c', 'o'] = deleted
    answer = world.get()
    assert answer.status == status
    answer.close()
    assert world.remote.open_bodies == 0


def test_our_own_tombstone_means_archived(world: World) -> None:
    late = marked(RowTimes(at(5), at(5), at(5)), 1_700_000_000)
    world.cluster.deleted['c', 'o'] = late
    assert world.get().read() == DATA


def test_after_our_own_tombstone_a_name_is_asked_for_even_if_it_was_missing_a_moment_ago(world: World) -> None:
    assert world.get('new').status == 404
    world.remote.hold('new', b'new')
    assert world.get('new').status == 404
    world.cluster.deleted['c', 'new'] = marked(RowTimes(OLD, OLD, OLD), 1_700_000_000)
    assert world.get('new').read() == b'new'


@pytest.mark.parametrize(('marker', 'status'), [(at(0), 404), (at(1), 404), (at(-1), 200)])
@pytest.mark.parametrize('method', ['GET', 'HEAD'])
def test_a_marker_hides_what_is_not_newer(world: World, marker: Timestamp, status: int, method: str) -> None:
    world.cluster.mark('c', 'o', marker)
    answer = world.get(method=method)
    assert answer.status == status
    answer.close()
    assert world.remote.open_bodies == 0


def test_a_marker_that_cannot_be_read_is_503(world: World) -> None:
    world.cluster.mark('c', 'o', at(1))
    hidden, = [place for place in world.cluster.objects if place[0].startswith('\0')]
    world.cluster.answers[hidden] = lambda request: HTTPServiceUnavailable(request=request)
    answer = world.get()
    assert answer.status == 503
    assert answer.headers['retry-after']
    assert world.remote.open_bodies == 0


def test_the_marker_is_looked_for_while_the_remote_thinks(world: World) -> None:
    world.cluster.mark('c', 'o', at(1))
    world.remote.answer_gate = Event()
    client = spawn(world.get)
    for _ in range(20):
        sleep(0)
    hidden = [name for method, container, name in world.cluster.requests if container.startswith('\0') and name]
    assert hidden, 'it waits for the remote'
    world.remote.answer_gate.send()
    assert client.wait().status == 404


@pytest.mark.parametrize(('delete_at', 'status'), [(-1, 404), (0, 404), (1, 200)])
def test_an_expired_remote_object_is_not_there(world: World, delete_at: int, status: int) -> None:
    world.remote.hold('o', DATA, delete_at=int(world.clock.now()) + delete_at)
    answer = world.get()
    assert answer.status == status
    answer.close()


@pytest.mark.parametrize(('version', 'asked'), [('null', True), ('1600000000.00000', False), ('', False)])
def test_a_version_with_an_id_is_never_remote(world: World, version: str, asked: bool) -> None:
    world.get(query=f'version-id={version}').close()
    assert bool(world.remote.asked) == asked


# -- links ------------------------------------------------------------------------------------

def test_a_link_to_an_archived_object_shows_the_target(world: World) -> None:
    world.cluster.links['c', 'link'] = ('c', 'o')
    world.remote.hold('link', b'the link itself')
    answer = world.get('link')
    assert answer.read() == DATA
    assert answer.headers['content-location'] == f'/v1/{ACCOUNT}/c/o'
    assert [request.key for request in world.remote.asked] == ['o']


def test_a_link_opens_nothing_that_its_target_does_not(world: World) -> None:
    world.cluster.containers.update({'public': 'stranger', 'c': ''})
    world.cluster.links['public', 'link'] = ('c', 'o')
    assert world.get('link', container='public', user='stranger').status == 403
    assert world.remote.asked == []


# -- conditions and ranges --------------------------------------------------------------------

@pytest.mark.parametrize('method', ['GET', 'HEAD'])
@pytest.mark.parametrize(('headers', 'status'), [
    ({'if_match': ETAG}, 200), ({'if_match': f'"{ETAG}"'}, 200), ({'if_match': '*'}, 200), ({'if_match': 'other'}, 412),
    ({'if_none_match': ETAG}, 304), ({'if_none_match': '*'}, 304), ({'if_none_match': 'other'}, 200),
    ({'if_modified_since': 'Sun, 13 Sep 2020 12:26:40 GMT'}, 304),
    ({'if_modified_since': 'Sun, 13 Sep 2020 12:26:39 GMT'}, 200),
    ({'if_unmodified_since': 'Sun, 13 Sep 2020 12:26:40 GMT'}, 200),
    ({'if_unmodified_since': 'Sun, 13 Sep 2020 12:26:39 GMT'}, 412)])
def test_conditions_mean_the_same_as_here(world: World, method: str, headers: dict[str, str], status: int) -> None:
    local = World()
    local.cluster.objects['c', 'o'] = Stored(DATA)
    wanted = local.get(method=method, **headers)
    answer = world.get(method=method, **headers)
    assert answer.status == wanted.status == status
    assert answer.read() == wanted.read()
    assert world.remote.open_bodies == 0


def test_if_match_any_finds_what_only_the_remote_has(world: World) -> None:
    world.cluster.answers['c', 'o'] = lambda request: HTTPPreconditionFailed(
        request=request, headers={'X-Backend-Timestamp': at(-1).internal})
    assert world.get(if_match='*').read() == DATA


def test_whoever_only_wants_news_costs_no_transfer(world: World) -> None:
    assert world.get(if_none_match=ETAG).status == 304
    assert world.remote.methods == ['HEAD']
    assert world.get(if_none_match='other').read() == DATA


@pytest.mark.parametrize('header', [
    'bytes=0-3', 'bytes=4-', 'bytes=-5', 'bytes=0-0', 'bytes=10-100', 'bytes=0-3,8-9', 'bytes=0-3,-2',
    'bytes=16-', 'bytes=100-200', 'bytes=5-3', 'bytes=', 'bytes=a-b', 'lines=1-2', 'bytes=-0', 'bytes=0-3,100-200'])
@pytest.mark.parametrize('data', [DATA, b''])
def test_ranges_mean_the_same_as_here(world: World, header: str, data: bytes) -> None:
    world.remote.hold('o', data)
    local = World()
    local.cluster.objects['c', 'o'] = Stored(data, {'Content-Type': 'text/plain'})
    wanted, answer = local.get(range=header), world.get(range=header)
    assert answer.status == wanted.status
    for name in ('content-length', 'content-range'):
        assert answer.headers.get(name) == wanted.headers.get(name), name
    assert unbounded(answer.headers, answer.read()) == unbounded(wanted.headers, wanted.read())
    assert world.remote.open_bodies == 0


def unbounded(headers: dict[str, str], body: bytes) -> bytes:
    """Without the boundary, which chance makes."""
    _, _, boundary = headers.get('content-type', '').partition('boundary=')
    return body.replace(boundary.encode(), b'-') if boundary else body


def test_several_ranges_fetch_nothing_but_these(world: World) -> None:
    world.get(range='bytes=0-3,8-9').read()
    assert list(zip(world.remote.methods, world.remote.ranges, strict=True)) == [
        ('HEAD', ''), ('GET', 'bytes=0-3'), ('GET', 'bytes=8-9')]


def test_a_store_that_ignores_ranges_is_cut_here(world: World) -> None:
    world.remote.hold('o', DATA)
    heed = world.remote.shunt_object

    def ignore(request: object) -> object:
        request.headers.pop('range', None)  # type: ignore[attr-defined]
        return heed(request)  # type: ignore[arg-type]
    world.remote.shunt_object = ignore  # type: ignore[method-assign, assignment]
    answer = world.get(range='bytes=5-9')
    assert (answer.status, answer.headers['content-range'], answer.read()) == (206, 'bytes 5-9/16', b'56789')


@pytest.mark.parametrize(('asked', 'names', 'status'), [
    ('d41d8cd98f00b204e9800998ecf8427e-3', 'X-Object-Sysmeta-Other,X-Object-Sysmeta-S3api-Etag', 304),
    (ETAG, 'X-Object-Sysmeta-S3api-Etag', 200),
    ('d41d8cd98f00b204e9800998ecf8427e-3', '', 200), (ETAG, '', 304), (ETAG, 'X-Object-Sysmeta-Other', 304)])
def test_conditions_of_s3_clients_are_judged_by_the_etag_that_they_see(
        world: World, asked: str, names: str, status: int) -> None:
    world.remote.hold('o', DATA, etag='d41d8cd98f00b204e9800998ecf8427e-3', large_object='multipart', source_etag=ETAG)
    answer = world.get(if_none_match=asked, **({'x_backend_etag_is_at': names} if names else {}))
    assert answer.status == status
    answer.close()


# -- parts and manifests ----------------------------------------------------------------------

def test_parts_and_manifests_are_asked_for_and_other_parameters_not(world: World) -> None:
    for query in ('multipart-manifest=get&format=raw', 'part-number=2', 'format=json&temp_url_sig=x&prefix=a',
                  'multipart-manifest=put'):
        world.remote.hold(query, DATA)
        world.get(query, query=query).close()
    assert [dict(request.query) for request in world.remote.asked] == [
        {'multipart-manifest': 'get', 'format': 'raw'}, {'part-number': '2'}, {}, {}]


def test_parameters_that_are_no_utf8_can_be_sent_on(world: World) -> None:
    world.get(query='part-number=%ff').close()
    assert world.remote.asked[-1].query['part-number'].encode() == '\ufffd'.encode()


@pytest.mark.parametrize(('query', 'headers', 'status', 'text'), [
    ('part-number=1', {}, 206, b''), ('part-number=0', {}, 400, b'greater than 0'),
    ('part-number=x', {}, 400, b'greater than 0'), ('part-number=9', {}, 416, b'not satisfiable'),
    ('part-number=1', {'range': 'bytes=0-1'}, 400, b'Range requests'),
    ('multipart-manifest=get', {}, 409, b'manifest')])
@pytest.mark.parametrize('method', ['GET', 'HEAD'])
def test_what_slo_would_refuse_is_refused_in_its_words(
        world: World, method: str, query: str, headers: dict[str, str], status: int, text: bytes) -> None:
    world.remote.hold('slo', DATA, etag=ETAG, large_object='slo')
    if status != 409:
        world.remote.store.manifests['bucket', 'slo'] = json.dumps(
            [{'name': '/s/1', 'bytes': 10, 'hash': 'a' * 32}, {'name': '/s/2', 'bytes': 6, 'hash': 'b' * 32}]).encode()
    answer = world.get('slo', method=method, query=query, **headers)
    assert answer.status == status
    if status == 206:
        assert (answer.headers['content-range'], answer.headers['x-parts-count']) == ('bytes 0-9/16', '2')
        assert answer.headers['content-length'] == '10'
        assert answer.read() == (DATA[:10] if method == 'GET' else b'')
    else:
        assert answer.headers['content-length'] == (str(len(body)) if (body := answer.read()) else '0')
        assert text in body or method == 'HEAD'
    world.cluster.mark('c', 'slo', at(1))
    assert world.get('slo', method=method, query=query, **headers).status == 404


@pytest.mark.parametrize('method', ['GET', 'HEAD'])
def test_dlo_knows_no_several_ranges(world: World, method: str) -> None:
    world.remote.hold('dlo', DATA, large_object='dlo')
    answer = world.get('dlo', method=method, range='bytes=0-1,3-4')
    assert (answer.status, answer.headers['content-length']) == (200, '16')
    assert answer.read() == (DATA if method == 'GET' else b'')


# -- remotes in trouble -----------------------------------------------------------------------

@pytest.mark.parametrize('error', [
    ConnectionFailed('refused'), TemporaryError('broken', status=500), Throttled('slow down', status=503),
    Throttled('enough', status=429), Forbidden('no', status=403)])
@pytest.mark.parametrize('method', ['GET', 'HEAD'])
def test_a_remote_that_cannot_be_asked_is_503_never_404(world: World, error: Exception, method: str) -> None:
    world.remote.errors = [error]
    answer = world.get(method=method)
    assert answer.status == 503
    assert int(answer.headers['retry-after']) >= 1
    assert b'refused' not in answer.read(), 'the remote\'s own words'


def test_the_remotes_wish_to_be_left_alone_is_passed_on(world: World) -> None:
    error = Throttled('enough', status=429)
    error.retry_after = 41.5
    world.remote.errors = [error]
    assert world.get().headers['retry-after'] == '42'


@pytest.mark.parametrize('first', ['missing', 'there', 'down'])
@pytest.mark.parametrize('second', ['missing', 'there', 'down'])
@pytest.mark.parametrize('on_error', ['fail', 'partial'])
def test_several_remotes_are_asked_in_order(first: str, second: str, on_error: str) -> None:
    world = World({'on_remote_error': on_error}, {})
    for number, state in enumerate((first, second), 1):
        if state == 'there':
            world.remote_of(number).hold('o', b'remote %d' % number)
        elif state == 'down':
            world.remote_of(number).errors = [ConnectionFailed('refused')]
    answer = world.get()
    stops = first == 'there' or (first == 'down' and on_error == 'fail')
    asked = [first] if stops else [first, second]
    if 'there' in asked:
        assert answer.read() == (b'remote 1' if first == 'there' else b'remote 2')
    else:
        assert answer.status == (503 if 'down' in asked else 404)
    assert bool(world.remote_of(2).asked) != stops


def test_a_name_that_was_missing_a_moment_ago_is_not_asked_for_again(world: World) -> None:
    for _ in range(3):
        assert world.get('nowhere').status == 404
    assert len(world.remote.asked) == 1
    world.clock.advance(5.1)
    world.get('nowhere')
    assert len(world.remote.asked) == 2


def test_a_remote_that_changes_between_two_looks_is_asked_for_later(world: World) -> None:
    heed = world.remote.shunt_object

    def change(request: object) -> object:
        answer = heed(request)  # type: ignore[arg-type]
        world.remote.hold('o', b'another version')
        return answer
    world.remote.shunt_object = change  # type: ignore[method-assign, assignment]
    assert world.get(range='bytes=0-3,5-6').status == 503
    assert world.remote.open_bodies == 0


def test_a_segment_whose_remote_is_down_is_503_though_slo_says_409(world: World) -> None:
    def answer(request: Request) -> Response:
        request.environ['swift.infocache'][UNAVAILABLE] = RemoteUnavailable('m1', 'connection')
        return HTTPConflict(request=request)
    world.cluster.answers['c', 'o'] = answer
    assert world.get().status == 503
    world.cluster.answers['c', 'o'] = lambda request: HTTPConflict(request=request)
    assert world.get().status == 409


# -- what operators see -----------------------------------------------------------------------

def test_each_decision_is_logged_and_counted_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.remote.hold('new\nline é', b'x')
    world.get('new\nline é').read()
    world.remote.errors = [Forbidden('the secret words of the store')]
    world.get().close()
    world.get('nowhere').close()
    world.get('nowhere').close()  # known by now: nothing was decided
    lines = [record.getMessage() for record in caplog.records if record.name == 'test.shunt']
    assert lines == [
        'remote GET AUTH_a/c/new%0Aline%20%C3%A9 outcome=served mapping=m1 reason=status 200',
        'remote GET AUTH_a/c/o outcome=unavailable mapping=m1 reason=forbidden',
        'remote GET AUTH_a/c/nowhere outcome=absent mapping=m1']
    counts = {sample.labels: sample.values for sample in world.metrics.drain()}
    assert counts == {('GET', outcome, 'm1'): [1] for outcome in ('served', 'unavailable', 'absent')}


def test_the_version_that_is_shown_is_the_copys_source_time(world: World) -> None:
    meta: ObjectMeta = world.remote.hold('o', DATA, data_time=at(-100), last_modified=float(at(500)))
    assert meta.data_time == at(-100)
    answer = world.get()
    assert answer.headers['x-timestamp'] == at(-100).normal
    answer.close()
