"""DELETE over several remotes, with everything that can go wrong in between."""
from __future__ import annotations

from dataclasses import replace

import pytest
from swift.common.swob import Request, Response
from swift.common.utils import Timestamp

from s3_sync.errors import ConnectionFailed, Forbidden
from s3_sync.metric_defs import SHUNT
from s3_sync.timestamps import MARKER, RowTimes, marked
from s3_sync.wire.tombstones import Policies, tombstone_name
from test.unit.shunting.reads_world import OLD
from test.unit.shunting.writes_world import WriteWorld

KEEP = {'delete_policy': 'tombstone'}
PROPAGATE = {'delete_policy': 'propagate'}
LOCAL = {'delete_policy': 'local'}
DOWN = ConnectionFailed('down')


def test_marker_and_local_delete_share_one_time_and_the_marker_comes_first() -> None:
    world = WriteWorld(KEEP)
    world.hold(b'there')
    world.put_here(b'here')
    world.cluster.fault = lambda method, container, name: world.clock.advance(0.5)
    assert world.status('DELETE') == 204
    marker = world.marker()
    assert marker is not None and marker.time == world.cluster.deleted['c', 'o']
    writes = [request for request in world.cluster.requests if request[0] in ('PUT', 'DELETE')]
    hidden = world.hidden()
    assert writes == [('PUT', hidden, tombstone_name('o')), ('PUT', hidden, ''), ('PUT', hidden, tombstone_name('o')),
                      ('DELETE', 'c', 'o')]


def test_the_remote_is_asked_once_and_no_body_is_fetched() -> None:
    world = WriteWorld(KEEP)
    world.hold(b'there')
    world.status('DELETE')
    assert world.remote.methods == ['HEAD']


def test_each_mapping_is_served_by_its_own_policy() -> None:
    world = WriteWorld(PROPAGATE, KEEP, LOCAL)
    for number in (1, 2, 3):
        world.hold(b'there', number)
    assert world.status('DELETE') == 204
    assert (world.there(1), world.there(2), world.there(3)) == (None, b'there', b'there')
    marker = world.marker()
    assert marker is not None and marker.policies == Policies({
        world.generation(1): 'propagate', world.generation(2): 'tombstone'})
    assert world.remote_of(3).asked == []


def test_the_marker_goes_when_every_remote_that_was_to_be_emptied_is_empty() -> None:
    world = WriteWorld(PROPAGATE, PROPAGATE)
    world.hold(b'there', 1)
    world.hold(b'there', 2)
    assert world.status('DELETE') == 204
    assert (world.there(1), world.there(2), world.marker()) == (None, None, None)


def test_the_marker_stays_for_the_remote_that_failed() -> None:
    world = WriteWorld(PROPAGATE, PROPAGATE)
    world.hold(b'there', 1)
    world.hold(b'there', 2)
    world.remote_of(2).write_errors = [DOWN]
    assert world.status('DELETE') == 204
    assert (world.there(1), world.there(2)) == (None, b'there')
    marker = world.marker()
    assert marker is not None and marker.policies.get(world.generation(2)) == 'propagate'
    assert world.shown() == 404


@pytest.mark.parametrize('error', [DOWN, Forbidden('our credentials')])
def test_a_remote_that_cannot_be_asked_is_taken_to_have_it(error: Exception) -> None:
    world = WriteWorld(PROPAGATE)
    world.hold(b'there')
    world.remote.errors = [error]
    assert world.status('DELETE') == 204
    marker = world.marker()
    assert marker is not None and marker.policies.get(world.generation()) == 'propagate'
    assert (world.there(), world.shown()) == (b'there', 404)


def test_an_excluded_name_is_hidden_but_never_deleted_at_the_remote() -> None:
    world = WriteWorld({**PROPAGATE, 'exclude_pattern': 'o'})
    world.hold(b'there')
    assert world.status('DELETE') == 204
    assert (world.there(), world.shown()) == (b'there', 404)


def test_only_the_version_that_was_looked_at_is_deleted_at_the_remote() -> None:
    world = WriteWorld(PROPAGATE)
    world.hold(b'there')
    world.remote_of(1).before_write = lambda: world.hold(b'newer', last_modified=world.clock.now() + 10)
    assert world.status('DELETE') == 204
    assert world.there() == b'newer'
    assert world.shown() == b'newer'


@pytest.mark.parametrize('archived', [False, True])
def test_the_same_content_put_again_and_copied_meanwhile_is_another_version(archived: bool) -> None:
    world = WriteWorld(PROPAGATE)
    world.put_here(b'same')
    world.hold(b'same', data_time=OLD)
    delete = world.cluster._delete

    def and_then(request: Request, place: tuple[str, str], time: Timestamp) -> Response:
        answer = delete(request, place, time)
        if place == ('c', 'o'):
            again = Timestamp(float(time) + 1)
            world.hold(b'same', data_time=again)
            world.put_here(b'same', at=float(again))
            world.cluster.objects[place].headers['X-Timestamp'] = again.normal
            if archived:
                world.cluster.objects.pop(place)
                world.cluster.deleted[place] = marked(RowTimes(again, again, again), float(again) + 1)
        return answer
    world.cluster._delete = and_then
    assert world.status('DELETE') == 204
    assert world.there() == b'same'
    assert world.shown() == b'same'


def test_without_conditions_at_the_remote_it_is_looked_at_again_just_before() -> None:
    world = WriteWorld(PROPAGATE)
    remote = world.remote_of(1)
    remote.capabilities = replace(remote.capabilities, conditional_delete=False)
    world.hold(b'there')

    def meanwhile(method: str, container: str, name: str) -> None:
        if (method, container) == ('DELETE', 'c'):
            world.hold(b'newer', last_modified=world.clock.now() + 10)
    world.cluster.fault = meanwhile
    assert world.status('DELETE') == 204
    assert remote.written == []
    assert world.shown() == b'newer'


@pytest.mark.parametrize('policy', [KEEP, PROPAGATE])
def test_a_delete_that_is_too_old_for_the_remotes_version_is_409(policy: dict[str, str]) -> None:
    world = WriteWorld(policy)
    world.hold(b'newer', last_modified=world.clock.now() + 100)
    assert world.status('DELETE') == 409
    assert (world.there(), world.shown(), world.marker()) == (b'newer', b'newer', None)
    assert world.remote_of(1).written == []
    world.clock.advance(100)
    assert world.status('DELETE') == 204
    assert world.shown() == 404


def test_what_is_written_while_a_remote_is_asked_is_deleted_too() -> None:
    world = WriteWorld(KEEP)
    world.put_here(b'here')

    def meanwhile(method: str, container: str, name: str) -> None:
        if (method, container) == ('HEAD', 'c'):
            world.cluster.fault = lambda *request: None
            world.put_here(b'newer')
            world.clock.advance(1)
    world.cluster.fault = meanwhile
    assert world.status('DELETE') == 204
    assert world.shown() == 404


def test_a_remote_version_newer_than_the_delete_is_left_alone() -> None:
    world = WriteWorld(PROPAGATE)
    world.put_here(b'here')
    world.hold(b'newer', last_modified=world.clock.now() + 100)
    assert world.status('DELETE') == 204
    assert world.there() == b'newer'
    assert world.remote_of(1).written == []
    assert world.marker() is not None


@pytest.mark.parametrize('status', [409, 403, 412, 500, 503])
@pytest.mark.parametrize('policy', [KEEP, PROPAGATE])
def test_a_local_delete_that_fails_leaves_everything_as_it_was(policy: dict[str, str], status: int) -> None:
    world = WriteWorld(policy)
    world.put_here(b'here')
    world.hold(b'there')
    world.cluster.fault = lambda method, container, name: status if (method, container) == ('DELETE', 'c') else None
    assert world.status('DELETE') == status
    assert world.marker() is None
    assert (world.there(), world.shown()) == (b'there', b'here')
    assert world.remote_of(1).written == []


def test_a_request_that_is_broken_off_takes_its_marker_back() -> None:
    world = WriteWorld(PROPAGATE)
    world.put_here(b'here')
    world.hold(b'there')
    world.cluster.fault = lambda method, container, name: (
        KeyboardInterrupt() if (method, container) == ('DELETE', 'c') else None)
    with pytest.raises(KeyboardInterrupt):
        world.status('DELETE')
    assert (world.marker(), world.there()) == (None, b'there')


def test_a_failed_delete_forgets_no_deletion_that_came_since() -> None:
    world = WriteWorld(KEEP)
    world.hold(b'there')
    later = Timestamp(world.clock.now() + 50)

    def fault(method: str, container: str, name: str) -> object:
        if (method, container) != ('DELETE', 'c'):
            return None
        world.cluster.mark('c', 'o', later)
        world.cluster.times[world.hidden(), tombstone_name('o')] = later
        return 503
    world.cluster.fault = fault
    assert world.status('DELETE') == 503
    marker = world.marker()
    assert marker is not None and marker.time == later


def test_a_failed_delete_leaves_an_earlier_deletion_remembered() -> None:
    world = WriteWorld(KEEP)
    world.hold(b'there')
    assert world.status('DELETE') == 204
    world.put_here(b'again')
    world.cluster.fault = lambda method, container, name: 503 if (method, container) == ('DELETE', 'c') else None
    assert world.status('DELETE') == 503
    world.cluster.fault = lambda method, container, name: None
    world.cluster.objects.pop(('c', 'o'))
    world.cluster.reclaim()
    assert world.shown() == 404


@pytest.mark.parametrize('policy', [KEEP, PROPAGATE])
def test_a_marker_that_cannot_be_written_is_503_and_deletes_nothing(policy: dict[str, str]) -> None:
    world = WriteWorld(policy)
    world.put_here(b'here')
    world.hold(b'there')
    world.cluster.fault = lambda method, container, name: (
        503 if method == 'PUT' and container == world.hidden() else None)
    answer = world.ask('DELETE')
    assert (answer.status, 'retry-after' in answer.headers) == (503, True)
    assert (world.there(), world.shown()) == (b'there', b'here')


def test_markers_that_cannot_be_read_are_503_and_delete_nothing() -> None:
    world = WriteWorld(KEEP)
    world.hold(b'there')
    world.status('DELETE')
    world.put_here(b'here')
    world.cluster.fault = lambda method, container, name: (
        503 if method == 'HEAD' and container == world.hidden() and name else None)
    assert world.status('DELETE') == 503
    assert ('c', 'o') in world.cluster.objects


def test_what_an_earlier_marker_hides_for_another_mapping_stays_hidden() -> None:
    world = WriteWorld(KEEP, PROPAGATE)
    world.hold(b'first', 1)
    assert world.status('DELETE') == 204
    world.put_here(b'again')
    world.hold(b'again', 2, last_modified=world.clock.now())
    assert world.status('DELETE') == 204
    assert world.there(2) is None
    world.cluster.reclaim()
    assert world.shown() == 404


def test_what_an_earlier_delete_left_to_the_daemon_stays_its_to_do() -> None:
    world = WriteWorld(PROPAGATE, PROPAGATE)
    world.hold(b'first', 1)
    world.remote_of(1).write_errors = [DOWN, DOWN]
    assert world.status('DELETE') == 204
    world.put_here(b'again')
    world.hold(b'again', 2, last_modified=world.clock.now())
    assert world.status('DELETE') == 204
    marker = world.marker()
    assert marker is not None and marker.policies.get(world.generation(1)) == 'propagate'
    world.cluster.reclaim()
    assert (world.there(1), world.there(2), world.shown()) == (b'first', None, 404)


def test_where_copies_are_kept_a_delete_is_marked_though_nothing_is_there_yet() -> None:
    world = WriteWorld(KEEP)
    assert world.status('DELETE') == 404
    assert world.marker() is not None
    world = WriteWorld(PROPAGATE)
    assert world.status('DELETE') == 404
    assert world.marker() is None


def test_what_a_marker_says_to_mappings_that_are_not_configured_now_is_kept() -> None:
    world = WriteWorld(PROPAGATE)
    world.status('PUT', data=b'here')
    world.markers.put({'REQUEST_METHOD': 'GET', 'swift.infocache': {}}, 'AUTH_a', 'c', 'o',
                      Policies({'0123456789abcdef': 'tombstone'}), OLD)
    world.hold(b'there', last_modified=world.clock.now())
    assert world.status('DELETE') == 204
    assert world.there() is None
    marker = world.marker()
    assert marker is not None and marker.policies.get('0123456789abcdef') == 'tombstone'


def test_a_deletion_that_is_known_already_is_404_and_needs_no_new_marker() -> None:
    world = WriteWorld({**KEEP, 'restore_object': False}, PROPAGATE)
    world.hold(b'there', 2)
    world.remote_of(2).write_errors = [DOWN]
    assert world.status('DELETE') == 204
    first = world.marker()
    world.clock.advance(100)
    assert world.status('DELETE') == 404
    assert first is not None and world.marker() is not None
    assert world.shown() == 404


def test_a_deletion_that_only_the_cluster_remembers_is_written_down_for_good() -> None:
    world = WriteWorld(PROPAGATE)
    world.hold(b'there')
    world.remote_of(1).write_errors = [DOWN]
    world.cluster.deleted['c', 'o'] = Timestamp(world.clock.now())
    assert world.status('DELETE') == 404
    world.cluster.reclaim()
    assert world.shown() == 404


def test_after_the_cluster_has_forgotten_a_deletion_holds_still() -> None:
    world = WriteWorld(KEEP)
    world.hold(b'there')
    assert world.status('DELETE') == 204
    world.cluster.reclaim()
    assert world.shown() == 404
    assert world.status('POST', X_OBJECT_META_A='b') == 404


@pytest.mark.parametrize('headers', [{'X_IF_DELETE_AT': '1'}, {'X_TIMESTAMP': 'nonsense'}])
def test_what_is_no_users_delete_is_the_clusters_alone(headers: dict[str, str]) -> None:
    world = WriteWorld(KEEP)
    world.hold(b'there')
    assert world.status('DELETE', **headers) in (400, 404)
    assert world.remote.asked == []


def test_another_version_is_never_remote() -> None:
    world = WriteWorld(KEEP)
    world.hold(b'there')
    world.hold(b'there', name='null')
    world.status('DELETE', query='version-id=123.4')
    assert world.remote.asked == []
    assert world.status('DELETE', 'null', query='version-id=null') == 204
    assert world.shown('null') == 404


@pytest.mark.parametrize('method', ['DELETE', 'POST', 'PUT'])
def test_strangers_reach_no_remote_and_leave_no_marker(method: str) -> None:
    world = WriteWorld(PROPAGATE)
    world.cluster.containers['c'] = 'stranger'  # who may read
    world.hold(b'there')
    assert world.status(method, user='stranger', IF_NONE_MATCH='*') == 403
    assert world.remote.asked == world.remote_of(1).written == []
    assert world.marker() is None
    world.cluster.write_acls['c'] = 'stranger'
    assert world.status('DELETE', user='stranger') == 204
    assert world.there() is None


def test_a_loop_through_other_clusters_is_told_on() -> None:
    world = WriteWorld(PROPAGATE)
    world.hold(b'there')
    assert world.status('DELETE', X_1SPACE_VIA='elsewhere') == 204
    assert {request.headers['x-1space-via'] for request in world.remote.asked + world.remote_of(1).written} == {
        'elsewhere, here'}


def test_decisions_are_counted() -> None:
    world = WriteWorld(PROPAGATE, KEEP)
    world.hold(b'there', 1)
    world.hold(b'there', 2)
    world.status('DELETE')
    assert (world.metrics.value(SHUNT, 'DELETE', 'removed', 'm1'),
            world.metrics.value(SHUNT, 'DELETE', 'marked', 'm2')) == (1, 1)


def test_a_marker_is_dropped_at_a_time_of_ours_that_beats_no_user() -> None:
    world = WriteWorld(PROPAGATE)
    world.hold(b'there')
    assert world.status('DELETE') == 204
    dropped = world.cluster.deleted[world.hidden(), tombstone_name('o')]
    assert (dropped.normal, dropped.offset >> 32) == (world.cluster.deleted['c', 'o'].normal, MARKER)
