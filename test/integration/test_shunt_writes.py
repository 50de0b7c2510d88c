"""Writes of objects in merged containers: a real cluster with two proxies, S3 and Swift behind fault proxies."""
from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from swift.common.utils import Timestamp

from s3_sync.trial.s3_endpoint import S3Endpoint
from test.servers.fault_proxy import Answer
from test.servers.merged import MergedContainer, MergedWorld, an_hour_ago, merged_world

# Swift replaces the log handler of a pipeline that is loaded again, and forgets to close its UDP socket.
pytestmark = [pytest.mark.filterwarnings('ignore:unclosed <socket.socket .*type=2:ResourceWarning'),
              # So does its proxy application with a connection that was refused.
              pytest.mark.filterwarnings(r'ignore:unclosed <socket.socket \[closed\]:ResourceWarning')]

KEPT = ('s3-kept', 'swift-kept', 's3-migration', 'swift-migration')
"""Containers whose policy is ``tombstone``."""
PROPAGATED = ('s3-propagated', 'swift-propagated')
DEAD = Answer(500, {}, b'')


@pytest.fixture(scope='module')
def world(s3: S3Endpoint) -> Iterator[dict[str, MergedContainer]]:
    with merged_world(s3) as made:
        yield _containers(made)


def _containers(world: MergedWorld) -> dict[str, MergedContainer]:
    faults = {'s3': world.fault_proxy('s3'), 'swift': world.fault_proxy('swift')}
    for kind in ('s3', 'swift'):
        shared = {'kind': kind, 'faults': faults[kind]}
        world.add(f'{kind}-kept', **shared, delete_policy='tombstone')
        world.add(f'{kind}-propagated', **shared)
        world.add(f'{kind}-migration', **shared, migration=True, restore_object=False)
        world.add(f'{kind}-down', kind=kind)
        world.add(f'{kind}-down-kept', kind=kind, delete_policy='tombstone')
    world.add('local', kind='s3', faults=faults['s3'], delete_policy='local')
    world.add('denied', kind='s3', faults=faults['s3'], post_archived='deny')
    world.add('only-remote', kind='s3', faults=faults['s3'], migration=True, create=False, restore_object=False)
    world.configure()
    return {container.name: container for container in world.containers}


@pytest.fixture
def at(world: dict[str, MergedContainer], request: pytest.FixtureRequest) -> MergedContainer:
    """The container that the test is run for."""
    world['local'].world.calm()
    return world[request.param]


def each(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize('at', names, indirect=True)


# -- DELETE -----------------------------------------------------------------------------------

@each(*KEPT)
def test_what_only_the_remote_has_is_deleted_here_and_stays_there(at: MergedContainer) -> None:
    at.remote.put('only/ü ☃', b'data')
    assert at.body('only/ü ☃') == b'data'
    answer = at.ask('DELETE', 'only/ü ☃')
    assert (answer.status_code, answer.content) == (204, b'')
    assert at.status('GET', 'only/ü ☃') == at.status('HEAD', 'only/ü ☃') == 404
    assert at.remote.read('only/ü ☃') == b'data'
    assert at.markers['only/ü ☃'] == at.deleted_here('only/ü ☃')
    assert at.policy('only/ü ☃') == {'tombstone'}
    assert at.status('DELETE', 'only/ü ☃') == 404


@each(*PROPAGATED)
def test_what_only_the_remote_has_is_deleted_there_too_and_needs_no_marker_then(at: MergedContainer) -> None:
    at.remote.put('only', b'data')
    assert at.status('DELETE', 'only') == 204
    assert at.remote.head('only') is None
    assert 'only' not in at.markers
    assert at.status('GET', 'only') == at.status('DELETE', 'only') == 404


@each(*KEPT, *PROPAGATED)
def test_what_both_sides_have_is_gone_in_both_after_one_delete(at: MergedContainer) -> None:
    at.put_here('both', b'here')
    at.remote.put('both', b'there')
    assert at.status('DELETE', 'both') == 204
    assert not at.is_here('both')
    assert at.status('GET', 'both') == 404
    if at.name in KEPT:
        assert at.markers['both'] == at.deleted_here('both')
        assert at.remote.read('both') == b'there'
    else:
        assert 'both' not in at.markers
        assert at.remote.head('both') is None


@each('s3-migration', 'swift-migration', *PROPAGATED)
def test_a_name_that_neither_side_has_is_404_and_leaves_no_marker(at: MergedContainer) -> None:
    assert at.status('DELETE', 'never') == 404
    at.put_here('here', b'only here')
    assert at.status('DELETE', 'here') == 204
    assert not {'never', 'here'} & at.markers.keys()


@each('s3-kept', 'swift-kept')
def test_where_copies_are_kept_every_delete_is_marked_for_one_may_be_on_its_way(at: MergedContainer) -> None:
    at.put_here('on its way', b'data')
    assert at.status('DELETE', 'on its way') == 204
    at.remote.put('on its way', b'data', **{'1space-timestamp': an_hour_ago()})
    assert at.status('GET', 'on its way') == 404
    assert at.status('DELETE', 'never') == 404
    assert {'on its way', 'never'} <= at.markers.keys()


@each(*KEPT)
def test_a_name_that_a_user_takes_again_shows_and_can_be_deleted_again(at: MergedContainer) -> None:
    at.remote.put('again', b'first')
    assert at.status('DELETE', 'again') == 204
    assert at.status('PUT', 'again', data=b'second') == 201
    assert at.body('again') == b'second'
    assert at.status('DELETE', 'again') == 204
    assert at.status('GET', 'again') == 404
    assert at.remote.read('again') == b'first'


@each(*KEPT)
def test_a_remote_version_newer_than_the_delete_shows(at: MergedContainer) -> None:
    at.remote.put('newer', b'first')
    assert at.status('DELETE', 'newer') == 204
    at.remote.put('newer', b'second', **{'1space-timestamp': Timestamp(time.time() + 1).internal})
    assert at.body('newer') == b'second'


@each('local')
def test_policy_local_deletes_what_is_here_and_nothing_else(at: MergedContainer) -> None:
    at.put_here('both', b'here')
    at.remote.put('both', b'there')
    at.remote.put('archived', b'there', **{'1space-timestamp': an_hour_ago()})
    assert at.status('DELETE', 'archived') == 404
    assert at.status('DELETE', 'both') == 204
    assert at.asked() == []
    assert at.body('archived') == b'there'
    assert at.status('GET', 'both') == 404  # as long as the cluster itself remembers
    assert at.markers == {}


@each('s3-down', 'swift-down')
def test_a_delete_while_the_remote_is_down_is_finished_later_and_stays_deleted_meanwhile(at: MergedContainer) -> None:
    at.remote.put('down', b'data')
    at.faults.fail(DEAD, times=None)
    assert at.status('DELETE', 'down') == 204
    at.faults.clear()
    assert at.policy('down') == {'propagate'}
    assert at.markers['down'] == at.deleted_here('down')
    assert at.remote.read('down') == b'data'
    assert at.status('GET', 'down') == 404


@each('s3-down', 'swift-down')
def test_a_remote_that_takes_no_delete_now_leaves_it_to_the_daemon(at: MergedContainer) -> None:
    at.remote.put('refused', b'data')
    at.faults.fail(DEAD, method='DELETE', times=None)
    assert at.status('DELETE', 'refused') == 204
    assert at.policy('refused') == {'propagate'}
    assert at.remote.read('refused') == b'data'
    assert at.status('GET', 'refused') == 404


@each('s3-down-kept', 'swift-down-kept')
def test_a_marker_outlives_the_proxy_and_a_remote_that_was_down(at: MergedContainer) -> None:
    at.remote.put('survives', b'data')
    at.faults.fail(DEAD, times=None)
    assert at.status('DELETE', 'survives') == 204
    at.world.cluster.restart_proxy(1)
    at.faults.clear()
    assert at.status('GET', 'survives') == 404
    assert at.remote.read('survives') == b'data'


@each('s3-propagated', 'swift-kept', 's3-migration')
def test_a_local_delete_that_fails_deletes_nothing_and_takes_its_marker_back(at: MergedContainer) -> None:
    at.remote.put('from the future', b'there')
    at.world.insider.put(at.name, 'from the future', b'here', Timestamp(time.time() + 1000))
    assert at.status('DELETE', 'from the future') == 409
    assert at.body('from the future') == b'here'
    assert at.remote.read('from the future') == b'there'
    assert 'from the future' not in at.markers
    assert not [request for request in at.asked() if request.method == 'DELETE']


@each('s3-migration')
def test_an_earlier_deletion_is_remembered_when_a_later_one_fails(at: MergedContainer) -> None:
    at.remote.put('twice', b'there')
    assert at.status('DELETE', 'twice') == 204
    at.world.insider.put(at.name, 'twice', b'here', Timestamp(time.time() + 1000))
    assert at.status('DELETE', 'twice') == 409
    assert 'twice' in at.markers


@each('s3-propagated', 'swift-kept')
def test_a_marker_that_cannot_be_written_keeps_everything_as_it_is(at: MergedContainer) -> None:
    at.put_here('stays', b'here')
    at.remote.put('stays', b'there')
    at.remote.put('first', b'so that there are markers at all')
    at.status('DELETE', 'first')
    at.drop_marker('stays', time.time() + 1000)
    answer = at.ask('DELETE', 'stays')
    assert (answer.status_code, 'Retry-After' in answer.headers) == (503, True)
    assert at.body('stays') == b'here'
    assert at.remote.read('stays') == b'there'


@each('s3-kept', 'swift-propagated')
@pytest.mark.parametrize('name', ['%41', 'a//b', 'x?y#z', 'new\nline', '\U0001f600 \ufffd', 'ü' * 512])
def test_awkward_names_are_deleted_under_just_that_name(at: MergedContainer, name: str) -> None:
    at.put_here(name, b'here')
    assert at.status('DELETE', name) == 204
    assert at.status('GET', name) == 404
    assert at.status('DELETE', name) == 404
    assert (name in at.markers) == (at.name == 's3-kept')
