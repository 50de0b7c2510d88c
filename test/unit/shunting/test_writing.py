"""PUT and POST: what a remote is asked, told and never told."""
from __future__ import annotations

import pytest
from swift.common.utils import Timestamp

from s3_sync.base_sync import ProviderResponse
from s3_sync.errors import ConnectionFailed, LimitExceeded, PreconditionFailed
from s3_sync.metric_defs import SHUNT
from s3_sync.timestamps import RowTimes, marked
from test.unit.shunting.reads_world import Stored
from test.unit.shunting.writes_world import WriteWorld

DOWN = ConnectionFailed('down')
ABSENT = {'IF_NONE_MATCH': '*'}
META = {'X_OBJECT_META_COLOUR': 'blue'}


def test_an_ordinary_put_asks_nobody() -> None:
    world = WriteWorld()
    world.hold(b'there')
    assert world.status('PUT', data=b'here') == 201
    assert world.remote.asked == []
    assert world.shown() == b'here'


def test_a_put_that_wants_nothing_there_is_412_when_a_remote_shows_it() -> None:
    world = WriteWorld({}, {})
    world.hold(b'there', 2)
    assert world.status('PUT', data=b'here', **ABSENT) == 412
    assert ('c', 'o') not in world.cluster.objects
    assert world.remote.methods == world.remote_of(2).methods == ['HEAD']


def test_what_was_missing_a_moment_ago_is_asked_for_again() -> None:
    world = WriteWorld()
    world.get()
    world.hold(b'there')
    assert world.status('PUT', data=b'here', **ABSENT) == 412


def test_what_is_here_is_the_clusters_to_refuse() -> None:
    world = WriteWorld()
    world.put_here(b'here')
    assert world.status('PUT', data=b'new', **ABSENT) == 412
    assert world.remote.asked == []


@pytest.mark.parametrize('hidden', ['deleted', 'expired'])
def test_what_is_not_shown_is_not_there(hidden: str) -> None:
    world = WriteWorld({'delete_policy': 'tombstone'})
    world.hold(b'there', delete_at=int(world.clock.now()) - 1 if hidden == 'expired' else None)
    if hidden == 'deleted':
        world.status('DELETE')
    assert world.status('POST', **META) == 404
    assert world.status('PUT', data=b'here', **ABSENT) == 201


def test_a_put_that_wants_nothing_there_is_503_when_that_cannot_be_told() -> None:
    world = WriteWorld({}, {})
    world.remote.errors = [DOWN]
    answer = world.ask('PUT', data=b'here', **ABSENT)
    assert (answer.status, 'retry-after' in answer.headers) == (503, True)
    assert ('c', 'o') not in world.cluster.objects


def test_a_post_goes_to_the_remote_that_is_shown_with_metadata_only() -> None:
    world = WriteWorld({}, {})
    world.hold(b'there', 2)
    world.hold(b'hidden', 1, delete_at=1)
    answer = world.ask('POST', X_AUTH_TOKEN='secret', COOKIE='secret', X_FORWARDED_FOR='1.2.3.4', HOST='here',
                       X_CONTAINER_META_A='b', CONTENT_LANGUAGE='en', X_DELETE_AFTER='10', ORIGIN='http://a', **META)
    assert (answer.status, answer.headers['access-control-allow-origin']) == (202, '*')
    [sent] = world.remote_of(2).written
    assert sent.headers == {'x-object-meta-colour': 'blue', 'content-language': 'en', 'x-delete-after': '10',
                            'x-1space-via': 'here'}
    assert world.remote_of(1).written == []
    assert world.metrics.value(SHUNT, 'POST', 'updated', 'm2') == 1


def test_a_post_to_what_is_here_stays_here() -> None:
    world = WriteWorld()
    world.put_here(b'here')
    world.hold(b'there')
    assert world.status('POST', **META) == 202
    assert world.remote.asked == world.remote_of(1).written == []


def test_a_post_of_headers_that_are_no_utf8_is_refused() -> None:
    world = WriteWorld()
    world.hold(b'there')
    assert world.status('POST', CONTENT_DISPOSITION='\xff\xfe') == 400
    assert world.remote_of(1).written == []
    assert world.status('POST', CONTENT_DISPOSITION='\xc3\xbc') == 202


def test_a_post_reaches_what_was_restored_meanwhile_as_well() -> None:
    world = WriteWorld()
    there = world.hold(b'there')
    time = Timestamp(there.last_modified or 0)
    restored = marked(RowTimes(time, time, time), world.clock.now())

    def restore() -> None:
        world.cluster.objects['c', 'o'] = Stored(b'there', {
            'X-Backend-Data-Timestamp': restored.internal, 'X-Object-Sysmeta-1space-Restored': '1'})
    world.remote_of(1).before_write = restore
    assert world.status('POST', **META) == 202
    assert len(world.remote_of(1).written) == 1
    assert [request for request in world.cluster.requests if request[0] == 'POST'] == [('POST', 'c', 'o')] * 2


def test_a_post_may_be_forbidden_by_the_mapping() -> None:
    world = WriteWorld({'post_archived': 'deny'})
    world.hold(b'there')
    answer = world.ask('POST', **META)
    assert (answer.status, b'kept at the remote of m1' in answer.read()) == (409, True)
    assert world.remote_of(1).written == []


def test_a_post_that_cannot_be_told_or_done_now_is_503() -> None:
    world = WriteWorld()
    world.hold(b'there')
    world.remote.errors = [DOWN]
    assert world.status('POST', **META) == 503
    world.remote_of(1).write_errors = [DOWN]
    assert world.status('POST', **META) == 503
    assert world.metrics.value(SHUNT, 'POST', 'unavailable', 'm1') == 2


def test_a_post_is_repeated_when_somebody_else_was_quicker() -> None:
    world = WriteWorld()
    world.hold(b'there')
    world.remote_of(1).write_errors = [PreconditionFailed('changed')]
    assert world.status('POST', **META) == 202
    world.remote_of(1).write_errors = [PreconditionFailed('changed')] * 10
    assert world.status('POST', **META) == 503


def test_what_a_remote_can_never_take_is_409_and_says_why() -> None:
    world = WriteWorld()
    world.hold(b'there')
    world.remote_of(1).write_errors = [LimitExceeded('too much metadata')]
    answer = world.ask('POST', **META)
    assert (answer.status, b'limit' in answer.read()) == (409, True)


def test_an_object_that_vanishes_before_the_post_is_404() -> None:
    world = WriteWorld()
    world.hold(b'there')
    world.remote_of(1).before_write = lambda: world.remote_of(1).store.buckets['bucket'].clear()
    assert world.status('POST', **META) == 404


def test_a_remotes_own_refusal_is_told() -> None:
    world = WriteWorld()
    world.hold(b'there')
    world.remote_of(1).shunt_post = lambda request: ProviderResponse(  # type: ignore[method-assign]
        409, {}, iter([b'over 5 GiB']))
    answer = world.ask('POST', **META)
    assert (answer.status, b'over 5 GiB' in answer.read()) == (409, True)


def test_a_post_to_what_the_cluster_deleted_is_404() -> None:
    world = WriteWorld()
    world.hold(b'there')
    world.cluster.deleted['c', 'o'] = Timestamp(world.clock.now())
    assert world.status('POST', **META) == 404
    assert world.remote_of(1).written == []


def test_bytes_that_are_no_utf8_are_not_sent_on() -> None:
    world = WriteWorld()
    world.hold(b'there')
    assert world.status('POST', CONTENT_LANGUAGE='\xff') == 400
    assert world.remote_of(1).written == []


@pytest.mark.parametrize('method', ['POST', 'DELETE'])
def test_a_status_of_the_cluster_proves_no_permission(method: str) -> None:
    world = WriteWorld()
    world.hold(b'there')
    world.cluster.fault = lambda asked, container, name: 404 if asked == method and container == 'c' else None
    assert world.status(method, user='stranger', **META) == 404
    assert world.remote.asked == world.remote_of(1).written == []
