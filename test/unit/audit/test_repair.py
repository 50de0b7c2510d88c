"""What a repair puts into the ledger, and what it never does."""
from __future__ import annotations

from collections.abc import Callable

import pytest

from s3_sync.errors import ConnectionFailed
from test.fakes.faulty import Fault, on
from test.unit.audit.world import World


@pytest.fixture
def emptied(world_of: Callable[..., World]) -> Callable[..., World]:
    """A container with ten objects at the remote, so many of them deleted here."""
    def make(deleted: int, **mapping: object) -> World:
        world = world_of(**mapping)
        for number in range(10):
            world.put(f'o{number}')
        world.sync()
        for number in range(deleted):
            world.delete(f'o{number}')
        return world
    return make


def test_what_is_queued_is_due_now_and_gone_once_it_is_mended(world: World) -> None:
    world.put('o')
    world.audit(repair=True)
    work, = world.ledger.due(world.mapping.generation, world.clock.now(), 10)
    assert (work.path, work.kind, work.reason, work.row) == ('AUTH_a/c/o', 'failed', 'audit', world.rows['o'])
    assert world.ledger.fact('ledger:operator-change') == 1
    assert world.work_off() == []
    world.audit()
    assert world.told == {'o': ('same', 'listing')}


def test_without_repair_nothing_is_queued(world: World) -> None:
    world.put('o')
    world.audit()
    assert not list(world.ledger.failures()) and world.told == {'o': ('missing', 'not-there')}


def test_what_the_ledger_has_is_left_as_it_is(world: World) -> None:
    row = world.put('o')
    world.ledger.fail(world.mapping.generation, 'AUTH_a', 'c', row.row, 'rejected', permanent=True)
    world.audit(repair=True)
    assert [(work.kind, work.reason) for work in world.ledger.failures()] == [('permanent', 'rejected')]


def test_extra_copies_go_only_where_a_users_tombstone_says_so(emptied: Callable[..., World]) -> None:
    world = emptied(2)
    world.overwrite('stranger', b'x')
    world.put('lost')
    world.sync('lost')
    world.delete('lost')
    del world.rows['lost']
    world.audit(repair=True)
    assert {work.row.name for work in world.ledger.failures()} == {'o0', 'o1'}
    world.work_off()
    names = {entry.name for entry in world.memory.list_objects().entries}
    assert names == {'stranger', 'lost', *(f'o{number}' for number in range(2, 10))}


def test_too_many_deletions_are_held_until_somebody_says_retry(emptied: Callable[..., World]) -> None:
    world = emptied(4, max_delete_count=2, max_delete_fraction=0.3)
    world.audit(repair=True)
    held = list(world.ledger.failures(kind='permanent'))
    assert (world.queued, world.held) == (0, 4)
    assert {(work.row.name, work.reason) for work in held} == {(f'o{n}', 'mass-delete-guard') for n in range(4)}
    assert world.work_off() == held
    world.ledger.retry()
    assert world.work_off() == []
    assert len(world.memory.list_objects().entries) == 6


def test_deletions_within_either_bound_of_the_guard_pass(emptied: Callable[..., World]) -> None:
    world = emptied(4, max_delete_count=4, max_delete_fraction=0.1)
    world.audit(repair=True)
    assert {work.reason for work in world.ledger.failures()} == {'audit'}


def test_deletions_of_a_container_that_was_not_read_to_its_end_are_not_queued(emptied: Callable[..., World]) -> None:
    world = emptied(4)
    world.put('o1')
    world.memory.delete_object('o1')
    world.memory._page_names = 4
    world.provider.plan = on('list_objects', None, Fault(ConnectionFailed('reset')))
    assert not world.audit(repair=True).complete
    assert {work.row.name for work in world.ledger.failures()} <= {'o1'}
