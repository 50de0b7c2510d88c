from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from s3_sync.clock import FakeClock
from s3_sync.errors import SourceGone, SourceStale, SourceUnavailable
from s3_sync.local.backend_http import IDLE_SECONDS
from s3_sync.local.direct import NODE_REST_SECONDS, DirectSource
from s3_sync.local.placement import Placement
from s3_sync.local.versions import SMALL_BYTES, ThroughProxy
from test.unit.local.object_server import ScriptedServer, answer, missing, scripted_server, version

T = 1_600_000_000.0


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def direct(make_disks: Any, server: ScriptedServer, clock: FakeClock) -> Iterator[DirectSource]:
    """Primaries d0, d1 and far on one scripted server, handoff h."""
    disks = make_disks(port=server.port, far='127.0.0.1', handoff=True)
    server.answers = {'d0': [missing()], 'd1': [missing()], 'far': [missing()], 'h': [missing()]}
    source = DirectSource(Placement(str(disks.swift_dir), '127.0.0.200'), clock=clock)
    yield source
    source.close()


def asked(server: ScriptedServer) -> list[str]:
    return [device for _, device in server.requests]


def test_any_primary_that_covers_the_row_serves_it(direct: DirectSource, server: ScriptedServer, make_row: Any) -> None:
    for device in ('d0', 'd1', 'far'):
        server.answers = {'d0': [missing()], 'd1': [answer(503)], 'far': [version(b'old', T - 1)]}
        server.answers[device] = [version(b'body', T, X_Object_Meta_Ключ='grün')]
        found = direct.open(make_row('o', T))
        assert b''.join(found.body) == b'body'
        assert (found.origin, found.meta.user_metadata) == ('direct', {'ключ': 'grün'})


def test_the_request_names_policy_and_exact_path(direct: DirectSource, server: ScriptedServer, make_row: Any) -> None:
    name = 'a//%41?x=1&y#z\n ключ'
    server.answers = dict.fromkeys(server.answers, [version(b'', T)])
    direct.open(make_row(name, T, policy=1))
    head = server.seen[0]
    assert '/AUTH_a/c/a//%2541%3Fx%3D1%26y%23z%0A%20%D0%BA%D0%BB%D1%8E%D1%87 HTTP/1.1' in head
    assert 'X-Backend-Storage-Policy-Index: 1\r\n' in head


def test_a_stale_body_with_a_new_metadata_time_is_not_taken(direct: DirectSource, server: ScriptedServer,
                                                           make_row: Any) -> None:
    server.answers = dict.fromkeys(server.answers, [version(b'old', T - 5, T + 2)])
    with pytest.raises(SourceStale):
        direct.open(make_row('o', T, T, T + 2))


def test_a_replica_that_missed_the_content_type_is_not_taken(direct: DirectSource, server: ScriptedServer,
                                                            make_row: Any) -> None:
    row = make_row('o', T, T + 1, T + 2, content_type='text/new;charset=utf-8')
    server.answers = dict.fromkeys(server.answers, [version(b'x', T, T + 2)])
    with pytest.raises(SourceStale):
        direct.open(row)
    server.answers['far'] = [version(b'x', T, T + 2, Content_Type='text/new; charset=utf-8')]
    found = direct.open(row)
    assert (found.times, found.meta.content_type) == (row.times, 'text/new; charset=utf-8')


def test_a_content_type_that_all_replicas_have_by_a_newer_post_is_newer_than_the_row(
        direct: DirectSource, server: ScriptedServer, make_row: Any) -> None:
    row = make_row('o', T, T + 1, T + 2, content_type='text/new')
    newer = version(b'x', T, T + 9, Content_Type='text/newest')
    server.answers = dict.fromkeys(server.answers, [newer])
    assert direct.open(row).meta.content_type == 'text/newest'
    server.answers['d1'] = [missing()]
    with pytest.raises(SourceStale):
        direct.open(row)


def test_a_wrong_body_is_passed_over(direct: DirectSource, server: ScriptedServer, make_row: Any) -> None:
    wrong = version(b'evil', T, md5_of=b'good')
    server.answers = {'d0': [wrong], 'd1': [wrong], 'far': [version(b'good', T)], 'h': [missing()]}
    assert b''.join(direct.open(make_row('o', T)).body) == b'good'
    server.answers['far'] = [wrong]
    with pytest.raises(SourceUnavailable):
        direct.open(make_row('o', T))


def test_a_large_wrong_body_never_completes_and_the_next_replica_serves_the_rewind(
        direct: DirectSource, server: ScriptedServer, make_row: Any) -> None:
    good = os.urandom(2 * SMALL_BYTES)
    wrong = version(good[:-1] + bytes([good[-1] ^ 1]), T, md5_of=good)
    server.answers = {'d0': [wrong], 'd1': [wrong], 'far': [version(good, T)], 'h': [missing()]}
    found = direct.open(make_row('o', T))
    failures = 0
    for _ in range(3):
        got = bytearray()
        try:
            for chunk in found.body:
                got += chunk
            assert got == good
            break
        except SourceUnavailable:
            failures += 1
            assert len(got) < len(good)
            found.body.rewind()
    else:
        pytest.fail('no replica served the body')
    assert failures == asked(server).index('far')
    found.body.close()


def test_a_large_body_is_not_continued_with_another_version(direct: DirectSource, server: ScriptedServer,
                                                           make_row: Any) -> None:
    first, second = os.urandom(2 * SMALL_BYTES), os.urandom(2 * SMALL_BYTES)
    server.answers = dict.fromkeys(server.answers, [version(first, T)])
    found = direct.open(make_row('o', T))
    assert b''.join(found.body) == first
    server.answers = dict.fromkeys(server.answers, [version(second, T + 1)])
    found.body.rewind()
    with pytest.raises(SourceUnavailable):
        list(found.body)
    found.body.close()


@pytest.mark.parametrize('cut', [version(b'x' * 100, T)[:-1], b'', b'SSH-2.0-OpenSSH\r\n\r\n',
                                 b'HTTP/1.1 200 OK\r\n\r\n'],
                         ids=['short body', 'no answer', 'not http', 'no length'])
def test_a_cut_answer_is_silence(direct: DirectSource, server: ScriptedServer, make_row: Any, clock: FakeClock,
                                 cut: bytes) -> None:
    server.answers = {'d0': [cut], 'd1': [cut], 'far': [cut], 'h': [missing()]}
    server.hang_up_after = {'d0', 'd1', 'far'}
    with pytest.raises(SourceUnavailable):
        direct.open(make_row('o', T))
    clock.advance(NODE_REST_SECONDS)
    server.answers['far'] = [version(b'good', T)]
    server.answers['d0'] = server.answers['d1'] = [missing()]
    assert b''.join(direct.open(make_row('o', T)).body) == b'good'


def test_a_newer_tombstone_on_any_node_means_gone(direct: DirectSource, server: ScriptedServer, make_row: Any) -> None:
    server.answers['d1'] = [missing(T + 1)]
    server.answers['d0'] = [answer(503)]
    with pytest.raises(SourceGone):
        direct.open(make_row('o', T))


def test_an_older_tombstone_proves_nothing(direct: DirectSource, server: ScriptedServer, make_row: Any) -> None:
    server.answers['d1'] = [missing(T - 1)]
    with pytest.raises(SourceStale):
        direct.open(make_row('o', T))


def test_an_expired_version_is_gone(direct: DirectSource, server: ScriptedServer, make_row: Any,
                                    clock: FakeClock) -> None:
    server.answers['d1'] = [version(b'x', T, X_Delete_At=str(int(clock.now())))]
    with pytest.raises(SourceGone):
        direct.open(make_row('o', T))
    assert all('X-Backend-Open-Expired: true' in head for head in server.seen)


@pytest.mark.parametrize('status', [500, 503, 507])
def test_a_primary_without_an_answer_may_hold_the_version(direct: DirectSource, server: ScriptedServer, make_row: Any,
                                                         status: int) -> None:
    server.answers['far'] = [answer(status)]
    with pytest.raises(SourceUnavailable):
        direct.open(make_row('o', T))


def test_handoffs_are_asked_only_when_no_primary_serves(direct: DirectSource, server: ScriptedServer,
                                                       make_row: Any) -> None:
    server.answers['far'] = [answer(503)]
    server.answers['h'] = [version(b'handed off', T)]
    assert b''.join(direct.open(make_row('o', T)).body) == b'handed off'
    assert sorted(asked(server)) == ['d0', 'd1', 'far', 'h']
    server.answers['d1'] = [version(b'x', T)]
    server.requests.clear()
    direct.open(make_row('o', T))
    assert 'h' not in asked(server)


def test_devices_to_be_asked_last_are(direct: DirectSource, server: ScriptedServer, make_row: Any) -> None:
    for device, name in enumerate(('d0', 'd1', 'far')):
        server.requests.clear()
        with pytest.raises(SourceStale):
            direct.open(make_row('o', T), last=[device])
        assert asked(server)[2] == name


def test_a_connection_is_kept_and_a_dead_one_replaced(direct: DirectSource, server: ScriptedServer, make_row: Any,
                                                     clock: FakeClock) -> None:
    server.answers = dict.fromkeys(server.answers, [version(b'x', T)])
    for _ in range(5):
        direct.open(make_row('o', T))
    assert server.connections == 1
    server.hang_up()
    direct.open(make_row('o', T))
    assert server.connections == 2
    clock.advance(IDLE_SECONDS + 1)
    direct.open(make_row('o', T))
    assert server.connections == 3


def test_a_server_that_is_down_is_not_asked_for_a_while(make_disks: Any, make_row: Any, clock: FakeClock) -> None:
    with scripted_server() as server:
        disks = make_disks(port=server.port, far='127.0.0.1')
    source = DirectSource(Placement(str(disks.swift_dir), '127.0.0.200'), clock=clock)
    with pytest.raises(SourceUnavailable, match='refused'):
        source.open(make_row('o', T))
    with pytest.raises(SourceUnavailable, match='a moment ago') as error:
        source.open(make_row('o', T))
    assert 'refused' not in str(error.value)
    clock.advance(NODE_REST_SECONDS)
    with pytest.raises(SourceUnavailable, match='refused'):
        source.open(make_row('o', T))
    source.close()


def test_encrypted_and_linked_objects_go_through_the_proxy(direct: DirectSource, server: ScriptedServer,
                                                          make_row: Any) -> None:
    for header in ('X_Object_Sysmeta_Crypto_Etag', 'X_Object_Transient_Sysmeta_Crypto_Meta',
                   'X_Object_Sysmeta_Symlink_Target'):
        server.answers = dict.fromkeys(server.answers, [version(b'x', T, **{header: 'v'})])
        with pytest.raises(ThroughProxy):
            direct.open(make_row('o', T))


def test_superseded_by_one_newer_version_anywhere(direct: DirectSource, server: ScriptedServer, make_row: Any) -> None:
    row = make_row('o', T, deleted=True)
    server.answers = {'d0': [missing(T)], 'd1': [answer(503)], 'far': [version(b'x', T + 1)]}
    assert direct.superseded(row)
    assert {method for method, _ in server.requests} == {'HEAD'}


def test_not_superseded_only_when_every_primary_says_so(direct: DirectSource, server: ScriptedServer,
                                                       make_row: Any, clock: FakeClock) -> None:
    row = make_row('o', T, deleted=True)
    server.answers = {'d0': [missing(T)], 'd1': [missing()], 'far': [version(b'x', T - 1, T + 5)]}
    assert not direct.superseded(row)
    server.answers['d1'] = [answer(507)]
    with pytest.raises(SourceUnavailable):
        direct.superseded(row)


def test_what_the_disks_told_needs_no_request(direct: DirectSource, server: ScriptedServer, make_row: Any) -> None:
    row = make_row('o', T, deleted=True)
    assert direct.superseded(row, known={0: make_row('o', T + 1).times})
    assert not server.requests
    assert not direct.superseded(row, known={0: None, 1: make_row('o', T - 1).times})
    assert asked(server) == ['far']


def test_a_policy_that_swift_conf_does_not_know_is_told(disks: Any, make_row: Any) -> None:
    with pytest.raises(SourceUnavailable, match='policy 7 is not in swift.conf'):
        DirectSource(Placement(str(disks.swift_dir))).open(make_row('o', T, policy=7))
