"""Containers that are only at a remote, and what clients do with merged ones (semantics 7.4, 10)."""
from __future__ import annotations

import logging
from typing import Any

import pytest
from swift.common.swob import Response

from s3_sync.concurrency import GreenPool, sleep
from s3_sync.errors import TemporaryError
from s3_sync.metric_defs import SHUNT
from s3_sync.shunting.creation import MIGRATOR_SYSMETA, container_headers, ensure_container
from s3_sync.shunting.remotes import RemoteUnavailable
from s3_sync.shunting.targets import Merged, migration_target
from s3_sync.wire.tombstones import ACCOUNT_TOMBSTONES
from test.unit.shunting.containers_world import ACCOUNT, NOW, Cache, World, migration, sync

DOWN = TemporaryError('500', status=500)


def ensured(world: World, container: str = 'c', method: str = 'GET', user: str = 'owner', **options: bool) -> bool:
    call = world.call(world.env(method, container, user), [])
    return ensure_container(call, world.merged(container), world.remotes, **options)


def made(world: World, container: str = 'c') -> int:
    return world.cluster.count('PUT', container)


# -- making them ------------------------------------------------------------------------------------

def test_what_a_container_is_made_with() -> None:
    profile = World(migration(storage_policy='silver')).settings.migrations[0]
    remote = {'x-container-meta-a': 'ü ☃', 'x-container-read': '.r:*', 'x-container-write': 'u', 'x-timestamp': '1.0',
              'x-storage-policy': 'theirs', 'x-container-sync-key': 'secret', 'x-container-sysmeta-a': 'b',
              'x-container-object-count': '5', 'last-modified': 'then', 'content-type': 'text/plain'}
    assert container_headers(migration_target(profile, 'c', 'b'), remote) == {
        'x-container-meta-a': 'ü ☃', 'x-container-read': '.r:*', 'x-container-write': 'u',
        'x-storage-policy': 'silver', MIGRATOR_SYSMETA: 'migrating'}


@pytest.mark.parametrize(('header', 'mode'), [('x-versions-location', 'stack'), ('x-history-location', 'history')])
def test_versioning_goes_on_in_the_same_way(header: str, mode: str) -> None:
    profile = World(migration()).settings.migrations[0]
    assert container_headers(migration_target(profile, 'c', 'b'), {header: 'old'}) == {
        'x-container-sysmeta-versions-location': 'old', 'x-container-sysmeta-versions-mode': mode,
        MIGRATOR_SYSMETA: 'migrating'}


def test_a_container_that_the_remote_confirms_is_made_with_its_headers() -> None:
    world = World(migration('b', 'c'))
    world.remote.bucket('b', x_container_meta_a='ü ☃')
    assert ensured(world)
    assert world.cluster.containers['c'] == {'x-container-meta-a': 'ü ☃', MIGRATOR_SYSMETA: 'migrating'}
    assert world.metrics.value(SHUNT, 'PUT', 'created', f'{ACCOUNT}/c') == 1


def test_one_that_is_here_is_neither_made_nor_asked_for() -> None:
    world = World(migration('b', 'c'))
    world.cluster.containers['c'] = {}
    assert ensured(world)
    assert (made(world), world.remote.asked) == (0, [])


def test_one_that_somebody_else_has_just_made_is_left_as_it_is() -> None:
    world = World(migration('b', 'c'))
    world.remote.bucket('b', x_container_meta_a='theirs')
    world.cache = Cache()
    assert world.local.container_info(world.env('GET'), ACCOUNT, 'c')['status'] == 404  # and that is remembered
    world.cluster.containers['c'] = {'x-container-meta-a': 'posted since'}
    assert ensured(world)
    assert made(world) == 0
    assert world.cluster.containers['c'] == {'x-container-meta-a': 'posted since'}
    assert world.local.container_info(world.env('GET'), ACCOUNT, 'c')['status'] == 204  # it is forgotten again


def test_many_at_once_make_it_once() -> None:
    world = World(migration('b', 'c'))
    world.remote.bucket('b')
    world.remote.pause = lambda: sleep(0.01)
    pool = GreenPool()
    threads = [pool.spawn(ensured, world) for _ in range(10)]
    assert all(thread.wait() for thread in threads)
    assert made(world) == 1
    assert world.remote.asked == ['HEAD b']


def test_what_is_nowhere_is_not_made_and_not_asked_for_again_at_once() -> None:
    world = World(migration('b', 'c'))
    assert not ensured(world)
    assert not ensured(world)
    assert world.remote.asked == ['HEAD b']
    world.remote.bucket('b')
    world.clock.advance(6)
    assert ensured(world)


@pytest.mark.parametrize('options', [{'user': 'stranger'}, {'method': 'OPTIONS'}])
def test_nothing_is_asked_or_made_for_whom_the_account_does_not_belong_to(options: dict[str, Any]) -> None:
    world = World(migration('b', 'c'))
    world.remote.bucket('b', x_container_read='stranger')
    assert not ensured(world, **options)
    assert (made(world), world.remote.asked) == (0, [])


def test_containers_of_sync_mappings_are_never_made() -> None:
    world = World(sync('b', 'c'))
    world.remote.bucket('b')
    assert not ensured(world)
    assert (made(world), world.remote.asked) == (0, [])


def test_a_remote_that_cannot_be_asked_is_no_word_about_the_container() -> None:
    world = World(migration('b', 'c'))
    world.remote.error = DOWN
    with pytest.raises(RemoteUnavailable):
        ensured(world)
    assert world.ask('HEAD', 'c').status == 503
    assert world.ask('HEAD', 'c', user='stranger').status == 403
    assert made(world) == 0


def test_another_remote_that_has_it_is_enough() -> None:
    world = World(migration('one', 'c', 'one'), migration('two', 'd', 'two'))
    both = Merged(ACCOUNT, 'c', (*world.merged('c').targets, *world.merged('d').targets))
    call = world.call(world.env('GET', 'c'), [])
    world.remote.error = DOWN
    with pytest.raises(RemoteUnavailable):
        ensure_container(call, both, world.remotes)
    world.endpoints.at('two').bucket('two')
    world.clock.advance(6)
    assert ensure_container(call, both, world.remotes)


def test_a_strangers_bucket_never_becomes_a_container() -> None:
    world = World(migration('/*'))
    world.remote.bucket('public')
    world.remote.strangers.add('public')
    assert not ensured(world, 'public')
    assert world.remote.asked == ['LIST']
    world.remote.bucket('mine')
    world.clock.advance(6)
    assert ensured(world, 'mine')


@pytest.mark.parametrize('status', [400, 500])
def test_a_container_that_the_cluster_does_not_take_is_not_said_to_be_missing(
        status: int, caplog: pytest.LogCaptureFixture) -> None:
    world = World(migration('b', 'c', storage_policy='gone'))
    world.remote.bucket('b')
    world.cluster.fault = lambda method, path: status if method == 'PUT' else None
    with caplog.at_level(logging.ERROR):
        assert world.ask('HEAD', 'c').status == 503
    assert f'{ACCOUNT}/c' in caplog.text


def test_an_account_that_is_not_there_is_no_reason_to_fail() -> None:
    world = World(migration('b', 'c'))
    world.remote.bucket('b')
    world.cluster.account = False
    assert world.ask('HEAD', 'c').status == 404


# -- those that were deleted ------------------------------------------------------------------------

def test_what_was_deleted_here_is_not_made_again() -> None:
    world = World(migration('b', 'c'))
    world.remote.bucket('b')
    world.delete_here('c')
    assert not ensured(world)
    assert made(world) == 0


@pytest.mark.parametrize(('made_at', 'shows'), [(NOW - 1, False), (NOW, False), (NOW + 1, True)])
def test_a_bucket_made_after_the_deletion_is_another_one(made_at: float, shows: bool) -> None:
    world = World(migration('/*'))
    world.remote.bucket('b')
    world.remote.made['b'] = made_at
    world.delete_here('b')
    assert ensured(world, 'b') is shows
    world.cluster.containers.pop('b', None)
    assert ('b' in world.ask('GET').names()) is shows


def test_a_marker_that_cannot_be_read_is_no_word_about_the_container() -> None:
    world = World(migration('b', 'c'))
    world.remote.bucket('b')
    world.delete_here('c')
    world.cluster.fault = lambda method, path: 503 if path.startswith(ACCOUNT_TOMBSTONES + '/') else None
    assert world.ask('HEAD', 'c').status == 503
    assert 'c' not in world.cluster.containers


# -- HEAD and POST ------------------------------------------------------------------------------------

def test_a_head_of_what_is_here_asks_nobody_else() -> None:
    world = World(migration('b', 'c'))
    world.cluster.containers['c'] = {'x-container-meta-a': 'b'}
    assert world.ask('HEAD', 'c').headers['x-container-meta-a'] == 'b'
    assert (world.remote.asked, world.cluster.asked) == ([], [('HEAD', 'c')])


def test_a_head_of_what_is_only_there_is_answered_by_the_new_container() -> None:
    world = World(migration('b', 'c'))
    world.remote.bucket('b', x_container_meta_a='b')
    answer = world.ask('HEAD', 'c')
    assert (answer.status, answer.headers['x-container-meta-a']) == (204, 'b')


@pytest.mark.parametrize(('entry', 'mark'), [(migration('b', 'c'), 'modified'), (sync('b', 'c'), None)])
def test_a_post_tells_migrations_that_the_metadata_is_the_users_now(entry: dict[str, Any], mark: str | None) -> None:
    world = World(entry)
    world.cluster.containers['c'] = {}
    assert world.ask('POST', 'c', x_container_meta_a='ü ☃').status == 204
    assert world.cluster.containers['c'].get('x-container-meta-a') == 'ü ☃'
    assert world.cluster.containers['c'].get(MIGRATOR_SYSMETA) == mark


def test_a_post_to_what_is_only_there_changes_the_new_container() -> None:
    world = World(migration('b', 'c'))
    world.remote.bucket('b', x_container_meta_a='theirs', x_container_meta_b='kept')
    assert world.ask('POST', 'c', x_container_meta_a='mine').status == 204
    assert world.cluster.containers['c'] == {
        'x-container-meta-a': 'mine', 'x-container-meta-b': 'kept', MIGRATOR_SYSMETA: 'modified'}


# -- PUT ------------------------------------------------------------------------------------------------

def test_a_users_own_container_is_no_migrations_and_ends_its_deletion() -> None:
    world = World(migration('b', 'c'))
    world.remote.bucket('b', x_container_meta_a='theirs')
    world.delete_here('c')
    assert world.ask('PUT', 'c').status == 201
    assert world.cluster.containers['c'] == {}
    assert world.deletion('c') is None


def test_a_put_that_fails_ends_no_deletion() -> None:
    world = World(migration('b', 'c'))
    world.delete_here('c')
    assert world.ask('PUT', 'c', user='stranger').status == 403
    assert world.deletion('c') is not None


# -- DELETE ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize('entry', [migration('b', 'c'), sync('b', 'c')])
def test_a_container_with_remote_objects_is_not_deleted(entry: dict[str, Any]) -> None:
    world = World(entry)
    world.cluster.containers['c'] = {}
    world.remote.bucket('b', 'name')
    assert world.ask('DELETE', 'c').status == 409
    assert world.cluster.count('DELETE', 'c') == 0
    assert world.deletion('c') is None


def test_a_deleted_container_of_a_migration_is_remembered_before_it_goes() -> None:
    world = World(migration('b', 'c'))
    world.cluster.containers['c'] = {}
    world.remote.bucket('b')
    assert world.ask('DELETE', 'c').status == 204
    marker = world.deletion('c')
    assert marker is not None
    generation = world.merged('c').targets[0].mapping.generation
    assert dict(marker.policies.of) == {generation: 'tombstone'}
    written = world.cluster.asked.index(('PUT', f'{ACCOUNT_TOMBSTONES}/\0c'))
    assert written < world.cluster.asked.index(('DELETE', 'c'))
    assert world.ask('HEAD', 'c').status == 404
    assert 'DELETE b' not in world.remote.asked


def test_one_that_is_only_there_can_be_deleted_too() -> None:
    world = World(migration('b', 'c'))
    world.remote.bucket('b')
    assert world.ask('DELETE', 'c').status == 204
    assert world.deletion('c') is not None
    assert 'c' not in world.cluster.containers


@pytest.mark.parametrize('entry', [migration('b', 'c', delete_policy='local'), sync('b', 'c')])
def test_no_marker_is_left_where_none_is_wanted(entry: dict[str, Any]) -> None:
    world = World(entry)
    world.cluster.containers['c'] = {}
    world.remote.bucket('b')
    assert world.ask('DELETE', 'c').status == 204
    assert ACCOUNT_TOMBSTONES not in world.cluster.containers


def test_no_marker_is_left_of_what_no_remote_has() -> None:
    world = World(migration('b', 'c'))
    world.cluster.containers['c'] = {}
    assert world.ask('DELETE', 'c').status == 204
    assert world.deletion('c') is None


@pytest.mark.parametrize('status', [409, 503])
def test_a_local_delete_that_fails_takes_the_marker_back(status: int) -> None:
    world = World(migration('b', 'c', delete_policy='propagate'))
    world.cluster.containers['c'] = {}
    world.remote.bucket('b')
    world.cluster.fault = lambda method, path: status if (method, path) == ('DELETE', 'c') else None
    assert world.ask('DELETE', 'c').status == status
    assert world.deletion('c') is None
    assert 'DELETE b' not in world.remote.asked


def test_a_deletion_that_cannot_be_remembered_does_not_happen() -> None:
    world = World(migration('b', 'c'))
    world.cluster.containers['c'] = {}
    world.remote.bucket('b')
    world.cluster.fault = lambda method, path: 507 if path.startswith(ACCOUNT_TOMBSTONES) and method == 'PUT' else None
    assert world.ask('DELETE', 'c').status == 503
    assert 'c' in world.cluster.containers


@pytest.mark.parametrize(('status', 'remembered'), [(204, False), (404, False), (409, True), (405, True)])
def test_a_propagated_delete_is_remembered_as_long_as_the_remote_has_the_container(
        status: int, remembered: bool) -> None:
    world = World(migration('b', 'c', delete_policy='propagate'))
    world.cluster.containers['c'] = {}
    world.remote.bucket('b')
    world.remote.delete_status = status
    assert world.ask('DELETE', 'c').status == 204
    assert 'DELETE b' in world.remote.asked
    assert (world.deletion('c') is not None) is remembered


@pytest.mark.parametrize('on_remote_error', ['fail', 'partial'])
def test_a_remote_that_cannot_be_asked_keeps_the_container_whatever_listings_may_leave_out(
        on_remote_error: str) -> None:
    world = World(migration('b', 'c', on_remote_error=on_remote_error))
    world.cluster.containers['c'] = {}
    world.remote.error = DOWN
    assert world.ask('DELETE', 'c').status == 503
    assert 'c' in world.cluster.containers


def test_a_stranger_deletes_nothing_and_asks_for_nothing() -> None:
    world = World(migration('b', 'c'))
    world.cluster.containers['c'] = {'x-container-read': 'stranger', 'x-container-write': 'stranger'}
    world.remote.bucket('b')
    assert world.ask('DELETE', 'c', user='stranger').status == 403
    assert world.remote.asked == []
    assert world.deletion('c') is None


# -- listings ---------------------------------------------------------------------------------------------

def listed(world: World, **options: Any) -> list[str] | int:
    answer = world.ask('GET', 'c', query='format=json', **options)
    return answer.names() if answer.status == 200 else answer.status


def test_a_listing_has_the_clusters_headers_and_its_own_length() -> None:
    world = World(sync('b', 'c'))
    world.cluster.containers['c'] = {'x-container-meta-a': 'b', 'x-container-object-count': '0'}
    world.remote.bucket('b', 'name')
    answer = world.ask('GET', 'c', query='format=json')
    assert answer.names() == ['name']
    assert (answer.headers['x-container-meta-a'], answer.headers['x-container-object-count']) == ('b', '0')
    assert answer.headers['content-length'] == str(len(answer.body))
    assert world.metrics.value(SHUNT, 'GET', 'listed', f'{ACCOUNT}/c') == 1


def test_readers_whom_the_acl_names_see_the_remotes_names_and_others_ask_for_nothing() -> None:
    world = World(sync('b', 'c'))
    world.cluster.containers['c'] = {'x-container-read': 'friend'}
    world.cluster.pause = lambda: sleep(0.01)
    world.remote.bucket('b', 'name')
    assert listed(world, user='stranger') == 403
    assert world.remote.asked == []
    assert listed(world, user='friend') == ['name']


def test_a_remembered_acl_gives_nobody_what_the_cluster_denies() -> None:
    world = World(sync('b', 'c'))
    world.remote.bucket('b', 'name')
    world.cluster.containers['c'] = {'x-container-read': 'friend'}
    world.cache = Cache()
    assert listed(world, user='friend') == ['name']
    world.cluster.containers['c'] = {}
    assert listed(world, user='friend') == 403


def test_a_container_that_was_missing_a_moment_ago_is_merged_as_soon_as_it_is_there() -> None:
    world = World(sync('b', 'c'))
    world.remote.bucket('b', 'name')
    world.cache = Cache()
    assert listed(world) == 404
    world.cluster.containers['c'] = {'x-container-read': 'friend'}
    assert listed(world, user='stranger') == 403
    assert world.remote.asked == []
    assert listed(world, user='friend') == ['name']


def test_an_answer_that_nobody_was_asked_about_is_no_leave_to_ask_the_remote() -> None:
    world = World(sync('b', 'c'))
    world.remote.bucket('b', 'name')
    world.cache = Cache()
    assert listed(world) == 404
    world.cluster.containers['c'] = {}
    world.cluster.asks = False
    assert listed(world, user='stranger') == []
    assert world.remote.asked == []


def test_a_listing_makes_the_container_that_is_only_there() -> None:
    world = World(migration('b', 'c'))
    world.remote.bucket('b', 'name')
    assert listed(world) == ['name']
    assert made(world) == 1


def test_a_failure_in_later_pages_of_the_cluster_is_told() -> None:
    world = World(sync('b', 'c'))
    world.cluster.containers['c'] = {}
    world.cluster.objects['c', 'a'] = {'x-timestamp': '1'}
    world.remote.bucket('b', 'z')
    pages = iter([None, 503])
    world.cluster.fault = lambda method, path: next(pages, None) if (method, path) == ('GET', 'c') else None
    assert listed(world) == 503


def test_markers_that_cannot_be_read_fail_the_listing() -> None:
    world = World(migration('b', 'c'))
    world.cluster.containers['c'] = {}
    world.remote.bucket('b', 'name')
    world.cluster.fault = lambda method, path: 503 if path.startswith('\0') else None
    assert listed(world) == 503


@pytest.mark.parametrize(('on_remote_error', 'status', 'partial'), [('fail', 503, None), ('partial', 200, 'all')])
def test_where_nobody_can_tell_whose_the_bucket_is_the_mappings_word_counts(
        on_remote_error: str, status: int, partial: str | None) -> None:
    world = World(migration('/*', on_remote_error=on_remote_error, name='all'))
    world.cluster.containers['c'] = {}
    world.remote.error = DOWN
    answer = world.ask('GET', 'c', query='format=json')
    assert (answer.status, answer.headers.get('x-1space-partial')) == (status, partial)
    account = world.ask('GET', query='format=json')
    assert (account.status, account.headers.get('x-1space-partial')) == (status, partial)


def test_what_swift_would_refuse_goes_to_swift_alone() -> None:
    world = World(sync('b', 'c'))
    world.cluster.containers['c'] = {}
    world.cluster.fault = lambda method, path: 412
    assert world.ask('GET', 'c', query='limit=10001').status == 412
    assert world.remote.asked == []


def test_an_answer_that_is_no_listing_is_passed_on_as_it_is() -> None:
    world = World(sync('b', 'c'))
    world.cluster.containers['c'] = {}
    world.cluster._listing = lambda request, entries, headers=None: Response(  # type: ignore[method-assign]
        request=request, body=b'<html>', content_type='text/html')
    assert world.ask('GET', 'c').body == b'<html>'
    assert world.ask('DELETE', 'c').status == 503  # what was asked for in our own name is nothing for the client
    assert 'c' in world.cluster.containers


def test_an_account_without_migrations_of_all_containers_is_the_clusters() -> None:
    world = World(migration('b', 'c'))
    world.remote.bucket('b')
    world.cluster.containers['d'] = {}
    assert world.ask('GET', query='format=json').names() == ['d']
    assert world.remote.asked == []


def test_an_account_is_listed_with_the_buckets_that_can_be_containers() -> None:
    world = World(migration('/*'))
    world.cluster.containers.update({'b': {}, 'd': {}})
    for bucket in ('a', 'b', 'x' * 257, 'with/slash'):
        world.remote.bucket(bucket)
    assert world.ask('GET', query='format=json').names() == ['a', 'b', 'd']
    assert world.ask('GET', query='format=json&marker=a&limit=1').names() == ['b']
    world.remote.asked.clear()
    world.cluster.pause = lambda: sleep(0.01)
    assert world.ask('GET', query='format=json', user='stranger').status == 403
    assert world.remote.asked == []


# -- before anybody asks -------------------------------------------------------------------------------------

def test_all_containers_of_migrations_are_made_at_once() -> None:
    world = World(migration('b', 'renamed', 'two'), migration('/*'))
    world.endpoints.at('two').bucket('b')
    for bucket in ('one', 'two', 'here', 'with/slash', 'x' * 257):
        world.remote.bucket(bucket)
    world.cluster.containers['here'] = {}
    world.delete_here('two')
    world.provision().bring(world.setup)
    assert world.cluster.containers.keys() - {ACCOUNT_TOMBSTONES} == {'renamed', 'one', 'here'}
    assert world.cluster.count('HEAD', 'here') == 0


def test_where_everything_is_here_nothing_is_asked_but_lists() -> None:
    world = World(migration('b', 'named', 'two'), migration('/*'))
    world.remote.bucket('one')
    world.cluster.containers.update({'named': {}, 'one': {}})
    world.provision().bring(world.setup)
    assert (world.endpoints.at('two').asked, world.remote.asked) == ([], ['LIST'])
    assert [method for method, path in world.cluster.asked if method == 'PUT'] == []


def test_one_remote_that_is_down_keeps_no_other_waiting_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    world = World(migration('/*', name='sick'), migration('b', 'named', 'one'), migration('b', 'well', 'two'))
    world.remote.error = DOWN
    world.endpoints.at('two').bucket('b')
    provision = world.provision()
    for _ in range(2):
        provision.bring(world.setup)
    assert 'well' in world.cluster.containers
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [text.split(':')[0] for text in warnings] == [f'{ACCOUNT}/named', 'sick']
    world.remote.error = None
    world.remote.bucket('b')
    world.clock.advance(60)
    provision.bring(world.setup)
    assert {'named', 'b'} <= world.cluster.containers.keys()


def test_it_is_done_again_and_again_as_long_as_the_configuration_is_in_use() -> None:
    world = World(migration('/*'))
    turns = iter([True, True, True, False])
    world.provision(lambda: next(turns)).keep(world.setup)
    assert world.remote.asked == ['LIST'] * 3
    assert world.clock.now() >= NOW + 900


def test_of_the_processes_that_share_a_cache_one_does_it() -> None:
    world = World(migration('/*'))
    world.cache = Cache()
    for _ in range(3):
        turns = iter([True, False])
        process = world.provision(lambda turns=turns: next(turns))  # type: ignore[misc]
        process.lend(world.env('GET'))
        process.keep(world.setup)
    assert world.remote.asked == ['LIST']


def test_a_configuration_without_migrations_costs_nothing() -> None:
    world = World(sync('b', 'c'))
    world.provision().keep(world.setup)
    assert (world.cluster.asked, world.remote.asked) == ([], [])
