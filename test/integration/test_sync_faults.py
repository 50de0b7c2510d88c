"""A remote that goes wrong in every way on the wire: nothing is lost, nothing else is held up, all of it is told."""
from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator

import pytest
from swiftclient import Connection

from s3_sync.ledger.ledger import FILE_NAME
from s3_sync.remote_health import HELD_FACT
from s3_sync.trial.s3_endpoint import S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster
from test.servers.fault_proxy import (
    Answer,
    Fault,
    FaultProxy,
    LoseAnswer,
    ResetRequest,
    ResetResponse,
    Stall,
    throttled,
)
from test.servers.scene import Scene, pointers, waiting
from test.servers.sync_daemon import SyncDaemon, eventually, swift_mapping

ERROR_DOCUMENT = b'<?xml version="1.0"?><Error><Code>InternalError</Code><Message>inside a 200</Message></Error>'
WRONG_ETAG = Answer(200, {'ETag': '"0123456789abcdef0123456789abcdef"'})
FOREVER = 3600.0


@pytest.fixture
def scene(swift: SwiftCluster, s3: S3Endpoint, bucket: str, fresh_name: Callable[[str], str]) -> Iterator[Scene]:
    with Scene(swift, s3, fresh_name('container'), bucket) as made:
        yield made


# -- one request goes wrong ---------------------------------------------------------------


def test_whatever_goes_wrong_once_is_mended_at_once_and_each_object_stored_once(scene: Scene) -> None:
    faults: dict[str, Fault] = {
        'reset-in-body': ResetRequest(after=1000), 'reset-before-answer': ResetResponse(), 'answer-lost': LoseAnswer(),
        'throttled': throttled(503), 'too-many': throttled(429, 1), 'server-error': Answer(500),
        'error-inside-200': Answer(200, {}, ERROR_DOCUMENT), 'wrong-etag': WRONG_ETAG, 'slow': Stall(2)}
    for name in (*faults, 'unharmed'):
        scene.put(name, data=name.encode() * 20_000)
    rules = {name: scene.proxy.fail(fault, method='PUT', path=scene.path(name)) for name, fault in faults.items()}
    scene.daemon().once()
    assert {name: rule.hits for name, rule in rules.items()} == dict.fromkeys(faults, 1)
    assert scene.remote_names() == {*faults, 'unharmed'}
    for name in faults:
        assert scene.remote_get(name) == name.encode() * 20_000
    # What arrived though its answer did not is found, not sent over: its second PUT is refused.
    arrived = {'reset-before-answer', 'answer-lost'}
    genuine = scene.stored
    genuine.subtract(('error-inside-200', 'wrong-etag'))  # these two 200s were the fault's own
    assert +genuine == dict.fromkeys({*faults, 'unharmed'} - arrived, 1)
    for name in arrived:
        assert scene.proxy.count('HEAD', scene.path(name)) == 1


def test_deletes_that_fail_once_or_whose_answer_is_lost_are_done(scene: Scene) -> None:
    scene.put('a', 'b', 'kept')
    sync = scene.daemon()
    sync.once()
    scene.delete('a', 'b')
    lost = scene.proxy.fail(LoseAnswer(), method='POST', path='delete')
    broken = scene.proxy.fail(Answer(500), method='POST', path='delete')
    sync.once()
    assert (lost.hits, broken.hits) == (1, 1)
    assert scene.remote_names() == {'kept'}


# -- one object goes wrong for good ---------------------------------------------------------


def test_what_the_remote_refuses_is_listed_and_waits_while_all_others_are_copied(scene: Scene) -> None:
    faults: dict[str, tuple[Fault, str]] = {
        'later': (throttled(503, 120), 'throttled'), 'too-many': (throttled(429, 90), 'throttled'),
        'server-error': (Answer(500), 'remote-5xx'), 'forbidden': (Answer(403), 'forbidden'),
        'wrong-etag': (WRONG_ETAG, 'checksum'), 'error-inside-200': (Answer(200, {}, ERROR_DOCUMENT), 'remote-5xx'),
        'reset': (ResetRequest(after=10), 'connection')}
    others = {f'other-{i}' for i in range(10)}
    scene.put(*faults, *others, data=b'x' * 70_000)
    for name, (fault, _) in faults.items():
        scene.proxy.fail(fault, method='PUT', path=scene.path(name), times=None)
    sync = scene.daemon()
    said = sync.once(expect=3)
    assert scene.remote_names() == others
    assert waiting(sync) == {name: ('failed', reason) for name, (_, reason) in faults.items()}
    assert all(repr(f'AUTH_test/{scene.container}/{name}') in said for name in faults)
    with sync.ledger() as ledger:
        waits = {w.row.name: w.due - w.updated for w in ledger.failures()}
    assert waits['later'] >= 119 and waits['too-many'] >= 89  # the answer came a moment before the entry

    before = scene.proxy.count('PUT', scene.path('later'))
    sync.once(expect=3)
    assert scene.proxy.count('PUT', scene.path('later')) == before, 'it was sent before the time the remote asked for'
    scene.proxy.clear()
    with sync.ledger() as ledger:
        ledger.retry()
    sync.once()
    assert scene.remote_names() == others | set(faults)
    assert waiting(sync) == {}


def test_a_request_without_an_answer_times_out_and_others_go_on(scene: Scene) -> None:
    scene.put('silent', data=b'x' * 1_500_000)  # larger ones are asked about before they are sent
    scene.put('other', data=b'x' * 1_500_000)
    scene.proxy.fail(Stall(FOREVER), method='HEAD', path=scene.path('silent'), times=None)
    sync = scene.daemon(remote_timeout=1)
    said = sync.once(expect=3)
    assert scene.remote_names() == {'other'}
    assert waiting(sync) == {'silent': ('failed', 'connection')} and 'no answer in time' in said


# -- everything goes wrong ----------------------------------------------------------------


def held(daemon: SyncDaemon) -> dict[str, str]:
    if not (daemon.status_dir / FILE_NAME).exists():
        return {}
    with daemon.ledger() as ledger:
        return dict(ledger.fact(HELD_FACT) or {})


def test_a_remote_that_fails_everything_is_held_without_running_ahead_and_recovers_by_itself(scene: Scene) -> None:
    names = [f'o{i:02}' for i in range(60)]
    scene.put(*names)
    scene.proxy.fail(Answer(500), times=None)
    sync = scene.daemon()
    sync.start()
    eventually(lambda: held(sync), 'the mapping held')
    noted = waiting(sync)
    assert all(entry == ('failed', 'remote-5xx') for entry in noted.values())
    for pointer in pointers(sync):
        assert set(names[:pointer]) <= set(noted), 'the pointer passed work that is neither done nor in the ledger'
    assert len(noted) < 60, 'the ledger was filled with all rows'
    scene.proxy.clear()
    scene.arrived(set(names))
    eventually(lambda: not held(sync) and not waiting(sync), 'nothing held or failed any more')
    assert sync.stop() == 0
    assert max(scene.stored.values()) == 1
    assert (sync.said.count('held, its rows wait: the remote does not work'), sync.said.count('works again')) == (1, 1)


def test_once_names_a_remote_that_cannot_be_reached_and_loses_nothing(
        swift: SwiftCluster, bucket: str, s3: S3Endpoint, fresh_name: Callable[[str], str]) -> None:
    with Scene(swift, s3, fresh_name('container'), bucket) as scene:
        names = {f'o{i:02}' for i in range(40)}
        scene.put(*names)
        gone = FaultProxy(s3.url)
        port = gone.port
        sync = scene.daemon(name='the-mapping', aws_endpoint=gone.url)
        gone.close()
        said = sync.once(expect=3)
        assert 'the-mapping: the remote does not work' in said and 'ECONNREFUSED' in said
        # Another way to the same endpoint would be another mapping; a proxy of the same address comes back.
        with FaultProxy(s3.url, port=port):
            with sync.ledger() as ledger:
                ledger.retry()
            sync.once()
        assert scene.remote_names() == names


# -- listings that lie ----------------------------------------------------------------------


def page(prefix: str, *entries: tuple[str, int, str], truncated: bool = False, token: str = '') -> bytes:
    """A listing's page of (name, size, ETag), all of them young enough to count."""
    contents = ''.join(f'<Contents><Key>{prefix}/{name}</Key><Size>{size}</Size><ETag>"{etag}"</ETag>'
                       '<LastModified>2099-01-01T00:00:00.000Z</LastModified></Contents>'
                       for name, size, etag in entries)
    more = f'<NextContinuationToken>{token}</NextContinuationToken>' if token else ''
    return (f'<?xml version="1.0"?><ListBucketResult><KeyCount>{len(entries)}</KeyCount>'
            f'<IsTruncated>{str(truncated).lower()}</IsTruncated>{more}{contents}</ListBucketResult>').encode()


@pytest.fixture(params=['s3', 'moto'])
def any_scene(request: pytest.FixtureRequest, swift: SwiftCluster, fresh_name: Callable[[str], str]) -> Iterator[Scene]:
    """On an endpoint that lists as it likes, and on one that lists in order."""
    endpoint = request.getfixturevalue(request.param)
    with Scene(swift, endpoint, fresh_name('container'), endpoint.make_bucket(fresh_name('bucket'))) as made:
        yield made


def test_a_listing_that_lies_proves_nothing_that_is_not_there(any_scene: Scene) -> None:
    scene = any_scene
    names = {f'o{i:02}' for i in range(12)}
    missing = {'o03', 'o07'}
    scene.put(*names)
    put = time.time()
    size, etag = len(b'data'), hashlib.md5(b'data').hexdigest()
    one = ('o05', size, etag)
    xml = {'Content-Type': 'application/xml', 'Server': scene.server}
    lies: dict[str, Callable[[str], Fault]] = {
        'empty': lambda p: Answer(200, xml, page(p)),
        'short': lambda p: Answer(200, xml, page(p, one)),
        'repeated': lambda p: Answer(200, xml, page(p, one, truncated=True, token='again')),
        'no-way-on': lambda p: Answer(200, xml, page(p, one, truncated=True)),
        'other-contents': lambda p: Answer(200, xml, page(p, *((name, size, '0' * 32) for name in sorted(names)))),
        'other-sizes': lambda p: Answer(200, xml, page(p, *((name, 77, etag) for name in sorted(names)))),
        'other-keys': lambda p: Answer(200, xml, page('another', one)),
        'no-listing': lambda p: Answer(200, xml, b'<html>welcome</html>'),
        'error-inside-200': lambda p: Answer(200, xml, ERROR_DOCUMENT),
        'cut-off': lambda p: ResetResponse(after=200),
        'true': lambda p: Stall(0.1)}
    # Uploads that are hardly younger than their objects prove nothing: clocks may differ.
    eventually(lambda: time.time() > put + 4, 'the objects old enough')
    sync = scene.daemon()
    sync.configure([scene.mapping(name=lie, custom_prefix=lie) for lie in lies])
    sync.once()
    (sync.status_dir / FILE_NAME).write_bytes(b'not a database' * 1000)  # all will be compared again
    scene.proxy.clear()
    rules = {lie: scene.proxy.fail(fault(lie), method='GET', path=f'prefix={lie}%2F', times=None)
             for lie, fault in lies.items()}
    keys = {f'{lie}/{name}' for lie in lies for name in names}
    gone = {f'{lie}/{name}' for lie in lies for name in missing}
    scene.delete_keys(*gone)
    sync.once()
    assert all(rule.hits for rule in rules.values())
    assert scene.remote_keys() == keys
    sent = {r.path.removeprefix(f'/{scene.bucket}/') for r in scene.proxy.requests if r.method == 'PUT'}
    assert {key for key in sent if '.1space' not in key} == gone
    # What a true listing proves is not even asked about.
    assert scene.proxy.count('HEAD', f'/{scene.bucket}/true/o05') == 0
    assert scene.proxy.count('HEAD', f'/{scene.bucket}/empty/o05') == 1


# -- copies that were not finished -------------------------------------------------------------


def test_an_object_deleted_after_its_copy_broke_leaves_no_ghost(scene: Scene) -> None:
    scene.put('broken', 'whole', data=b'x' * 300_000)
    scene.proxy.fail(ResetRequest(after=100_000), method='PUT', path=scene.path('broken'), times=None)
    sync = scene.daemon()
    sync.once(expect=3)
    scene.delete('broken')
    sync.once()
    scene.proxy.clear()
    # The store may yet carry out the write that was cut off: a second delete some minutes later.
    assert waiting(sync) == {'broken': ('deferred', 'delete-again')}
    with sync.ledger() as ledger:
        ledger.retry(kind='deferred')
    sync.once()
    assert scene.remote_names() == {'whole'} and waiting(sync) == {}


def test_an_object_deleted_while_it_is_being_copied_leaves_no_ghost(scene: Scene) -> None:
    sync = scene.daemon()
    slow = scene.proxy.fail(Stall(4), method='PUT', path=scene.path('brief'))
    sync.start()
    scene.put('brief')
    eventually(lambda: slow.seen, 'the copy begun')
    scene.delete('brief')
    # The tombstone has the second row; it waits for the copy of the first.
    eventually(lambda: pointers(sync) == [2], 'both rows done')
    assert scene.remote_names() == set() and waiting(sync) == {}
    assert scene.stored == {'brief': 1}, 'the copy was not under way when the delete came'
    assert sync.stop() == 0


# -- tokens -----------------------------------------------------------------------------------


def test_a_token_that_dies_in_the_middle_is_renewed_unnoticed(
        fault_proxy: Callable[[str], FaultProxy], make_swift_cluster: Callable[..., SwiftCluster], swift: SwiftCluster,
        fresh_name: Callable[[str], str]) -> None:
    far = make_swift_cluster(memcached=False)
    container, target = fresh_name('container'), fresh_name('target')
    far_client: Connection = far.client(user='test2:tester2', key='testing2', retries=3)
    local = swift.client()
    try:
        far_client.put_container(target)
        local.put_container(container)
        proxy = fault_proxy(far.url)
        mapping = {**swift_mapping(far, container, target), 'aws_endpoint': f'{proxy.url}/auth/v1.0'}
        with SyncDaemon(swift, [mapping]) as sync:
            sync.start()
            local.put_object(container, 'before', b'data')
            eventually(lambda: proxy.count('PUT', f'/{target}/before'), 'the first copy')
            logins = proxy.count('GET', '/auth/')
            far.stop_server('proxy-server-0')
            far.start_server('proxy-server-0')  # its tokens were in its memory
            for i in range(10):
                local.put_object(container, f'after-{i}', b'data')
            wanted = {'before', *(f'after-{i}' for i in range(10))}
            eventually(lambda: {e['name'] for e in far_client.get_container(target)[1]} == wanted, 'all copies')
            eventually(lambda: not sync.failures(), 'no failure left')
            assert sync.stop() == 0
            assert 401 in {r.status for r in proxy.requests}, 'the old token was still good'
            # Once in each process: green threads share the new one.
            assert 1 <= proxy.count('GET', '/auth/') - logins <= 3
            assert 'failed' not in sync.said and 'forbidden' not in sync.said
    finally:
        far_client.close()
        local.close()
