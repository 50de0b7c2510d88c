"""What a container hands to the workers, and how: own rows, rows evaluated again, rows of a new database."""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from swift.common.utils import Timestamp, encode_timestamps

from container_crawler.databases import DatabaseInfo
from container_crawler.handlers import Progress
from container_crawler.rows import Row
from s3_sync.channel import Rows
from s3_sync.clock import FakeClock
from s3_sync.config import Mapping, Remote, Secret
from s3_sync.engine.outcomes import Outcome
from s3_sync.ledger import Ledger
from s3_sync.ledger.import_status import StatusImporter
from s3_sync.metrics import NoMetrics
from s3_sync.remote_health import RemoteHealth
from s3_sync.sync_container import LATE_SECONDS, MappingState, Results, Services, SyncContainer
from s3_sync.timestamps import MARKER
from s3_sync.types import Removal

LOGGER = logging.getLogger('test.sync_container')
ROWS = [Row(i, f'o{i}', '1500000000.00000', 4, 'text/plain', 'e', False, 0) for i in range(1, 7)]


class Submitted:
    """Keeps what would go to the workers."""

    def __init__(self) -> None:
        self.modes: list[tuple[str, list[str]]] = []
        self.finished: list[Callable[[Results], None]] = []

    def submit(self, message: Rows, rows: Sequence[Row], finished: Callable[[Results], None]) -> None:
        self.modes.append((message.mode, [row.name for row in rows]))
        self.finished.append(finished)


def mapping(**keys: object) -> Mapping:
    remote = Remote.model_validate({'bucket': 'b', 'endpoint': 'http://127.0.0.1:1', 'identity': 'i',
                                    'secret': Secret('s')})
    return Mapping.model_validate({'account': 'AUTH_a', 'container': 'c', 'remote': remote, **keys})


def db(db_id: str, max_row: int) -> DatabaseInfo:
    return DatabaseInfo(db_id, 'AUTH_a', 'c', 'AUTH_a', 'c', '', 'd', (0,), 1, True, False, False, max_row, max_row)


Make = Callable[[Mapping], tuple[SyncContainer, Submitted]]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    clock = FakeClock()
    ledger = Ledger.open(str(tmp_path), clock=clock, logger=LOGGER)

    def build(settings: Mapping) -> tuple[SyncContainer, Submitted]:
        def fail(error: Exception) -> None:
            raise AssertionError(error)
        submitted = Submitted()
        services = Services(
            ledger=ledger, dispatch=submitted, metrics=NoMetrics(), clock=clock, logger=LOGGER,
            on_ledger_error=fail, metadata_changed=lambda container, headers: None,
            importer=StatusImporter(ledger, str(tmp_path), [settings], LOGGER))
        return SyncContainer(MappingState(settings, RemoteHealth(clock)), 'c', services), submitted
    yield build
    ledger.close()


def ignore(row: Row) -> None:
    """Nobody waits for these rows."""


def test_a_first_scan_sends_without_asking(make: Make) -> None:
    handler, submitted = make(mapping())
    assert handler.load_progress('one') is None
    handler.handle_own(db('one', 6), ROWS, ignore)
    assert submitted.modes == [('own', [row.name for row in ROWS])]


def test_changed_header_settings_ask_about_each_object_as_listings_show_no_headers(make: Make) -> None:
    handler, _ = make(mapping())
    handler.load_progress('one')
    handler.save_progress('one', Progress(4, 4, '0/1'))
    changed, submitted = make(mapping(propagate_expiration=True))
    assert changed.load_progress('one') is None
    changed.handle_own(db('one', 4), ROWS[:2], ignore)
    changed.handle_own(db('one', 6), ROWS[2:4], ignore)
    changed.handle_own(db('one', 6), ROWS[4:], ignore)
    assert submitted.modes == [('look', ['o1', 'o2']), ('look', ['o3', 'o4']), ('own', ['o5', 'o6'])]


def test_another_database_of_a_known_container_is_compared_with_a_listing(make: Make) -> None:
    handler, _ = make(mapping())
    handler.load_progress('one')
    handler.save_progress('one', Progress(4, 4, '0/1'))
    again, submitted = make(mapping())
    assert again.load_progress('one') == Progress(4, 4, '0/1')
    assert again.load_progress('two') is None
    again.handle_own(db('two', 6), ROWS, ignore)
    assert submitted.modes == [('verify', [row.name for row in ROWS])]


def test_another_database_of_a_container_read_under_other_settings_is_looked_at_object_by_object(make: Make) -> None:
    """A listing would not show that a copy lacks a header which the present settings ask for."""
    handler, _ = make(mapping())
    handler.load_progress('one')
    handler.save_progress('one', Progress(4, 4, '0/1'))
    again, submitted = make(mapping(propagate_expiration=True))
    assert again.load_progress('two') is None
    again.handle_own(db('two', 6), ROWS, ignore)
    assert submitted.modes == [('look', [row.name for row in ROWS])]


# -- waiting removals -----------------------------------------------------------------------


def waits(*rows: Row) -> tuple[Removal, ...]:
    return tuple(Removal('c', row, 0.0, sweep=False) for row in rows)


def test_a_removal_is_forgotten_with_its_end_whatever_that_was(make: Make) -> None:
    handler, submitted = make(mapping(retain_local=False))
    ledger = handler._s.ledger
    generation = handler.mapping.generation
    ledger.add_removals(generation, 'AUTH_a', waits(*ROWS[:3]))
    assert handler.remove(waits(*ROWS[:3])) == 3
    assert handler.remove(waits(*ROWS[:3])) == 0, 'they are in hand'
    assert submitted.modes == [('remove', ['o1', 'o2', 'o3'])]
    newer = ROWS[1]._replace(created_at='1500000001.00000', row_id=9)
    ledger.add_removals(generation, 'AUTH_a', waits(newer))
    submitted.finished[0]([
        (ROWS[0], Outcome('same', 'same', local=Outcome('archived', 'removed'))),
        (ROWS[1], Outcome('failed', 'throttled')),
        (ROWS[2], Outcome('same', 'remote-newer', local=Outcome('archived', 'waits', removals=waits(
            ROWS[2], ROWS[3]))))])
    left = [waiting.removal.row for waiting in ledger.due_removals(generation, 2e9, 10)]
    assert left == [newer, ROWS[3]], 'the newer version keeps its own, and what met one waits for that one\'s row'


def test_what_was_deleted_waits_no_longer_to_be_removed(make: Make) -> None:
    handler, submitted = make(mapping(retain_local=False))
    ledger = handler._s.ledger
    restored = ROWS[1]._replace(created_at='1500000005.00000')
    ledger.add_removals(handler.mapping.generation, 'AUTH_a', waits(ROWS[0], restored))
    tombstones = [row._replace(deleted=True, created_at='1500000001.00000') for row in ROWS[:2]]
    handler.handle_own(db('one', 4), tombstones, ignore)
    submitted.finished[0]([(row, Outcome('deleted')) for row in tombstones])
    assert [w.removal.row for w in ledger.due_removals(handler.mapping.generation, 2e9, 10)] == [restored]


def test_an_object_whose_last_write_lost_its_answer_is_deleted_twice(make: Make) -> None:
    """The store may carry the write out after the delete (and the first delete found nothing)."""
    handler, submitted = make(mapping())
    ledger = handler._s.ledger

    def waits() -> list[tuple[str, str, float]]:
        return [(w.row.name, w.reason, w.due) for kind in ('failed', 'deferred')
                for w in ledger.failures(handler.mapping.generation, kind=kind)]  # type: ignore[arg-type]

    rows = [row._replace(deleted=True, created_at='1500000001.00000') for row in ROWS[:2]]
    handler.handle_own(db('one', 2), ROWS[:2], ignore)
    submitted.finished[-1]([(ROWS[0], Outcome('failed', 'connection', 'timed out')), (ROWS[1], Outcome('copied'))])
    handler.handle_own(db('one', 4), rows, ignore)
    submitted.finished[-1]([(row, Outcome('deleted')) for row in rows])
    ((name, reason, due),) = waits()
    assert (name, reason, due) == ('o1', 'delete-again', handler._s.clock.now() + LATE_SECONDS)
    handler.retry(list(ledger.failures(handler.mapping.generation, kind='deferred')))
    assert submitted.modes[-1] == ('look', ['o1'])
    submitted.finished[-1]([(rows[0], Outcome('deleted'))])
    assert waits() == []


def test_what_waits_for_a_server_that_is_away_for_long_is_looked_at_less_and_less_often(make: Make) -> None:
    handler, submitted = make(mapping(retain_local=False))
    ledger, clock = handler._s.ledger, handler._s.clock
    assert isinstance(clock, FakeClock)

    def wait(reason: str) -> float:
        handler.handle_own(db('one', 1), ROWS[:1], ignore)
        submitted.finished[-1]([(ROWS[0], Outcome('deferred', reason, due=clock.now() + 300))])
        (work,) = ledger.failures(handler.mapping.generation, kind='deferred')
        seconds = work.due - clock.now()
        clock.advance(seconds)
        return seconds
    assert [wait('replica-away') for _ in range(5)] == [300, 300, 300, 450, 675]
    assert [wait('replica-away') for _ in range(10)][-1] == 3600
    assert wait('restored') == 300


# -- the mass-delete guard ------------------------------------------------------------------


def tombstones(first: int, last: int) -> list[Row]:
    return [Row(i, f'o{i}', '1600000000.00000', 0, '', '', True, 0) for i in range(first, last + 1)]


def third(db_id: str, max_row: int) -> DatabaseInfo:
    """The database of one of three nodes, of a container with 30 objects."""
    return DatabaseInfo(db_id, 'AUTH_a', 'c', 'AUTH_a', 'c', '', 'd', (1,), 3, True, False, False, max_row, 30)


GUARDED = {'guard_tombstones': True, 'max_delete_count': 2, 'max_delete_fraction': 0.5}


def test_a_mass_delete_is_held_by_its_owner_and_by_those_who_verify(make: Make) -> None:
    handler, submitted = make(mapping(**GUARDED))
    ended: list[str] = []
    handler.handle_own(third('one', 30), ROWS, ignore)
    handler.save_progress('one', Progress(30, 30, '1/3'))
    handler.handle_own(third('one', 36), tombstones(31, 35), lambda row: ended.append(row.name))
    assert submitted.modes[1:] == [('own', [f'o{i}' for i in range(31, 36)])]  # half of its ten
    handler.handle_own(third('one', 37), [*tombstones(36, 36), *ROWS[:1]], lambda row: ended.append(row.name))
    assert submitted.modes[2:] == [('own', ['o1'])] and ended == ['o36']
    handler.handle_others(third('one', 60), [*tombstones(38, 48), *ROWS[:1]], lambda row: ended.append(row.name))
    assert submitted.modes[3:] == [('verify', ['o1'])]  # more than half of the others' twenty
    assert ended == ['o36', *(f'o{i}' for i in range(38, 49))]


def test_what_an_archive_lets_go_is_no_mass_delete(make: Make) -> None:
    handler, submitted = make(mapping(**GUARDED, retain_local=False))
    handler.handle_own(third('one', 30), ROWS, ignore)
    handler.save_progress('one', Progress(30, 30, '1/3'))
    ours = encode_timestamps(Timestamp(1600000000, offset=MARKER << 32 | 1))
    rows = [row._replace(created_at=ours) for row in tombstones(31, 60)]
    handler.handle_own(third('one', 60), rows, ignore)
    assert submitted.modes[-1] == ('own', [row.name for row in rows])


def test_tombstones_that_were_let_through_once_are_not_counted_when_settings_change(make: Make) -> None:
    handler, _ = make(mapping(**GUARDED))
    handler.load_progress('one')
    handler.handle_own(third('one', 30), ROWS, ignore)
    handler.save_progress('one', Progress(30, 30, '1/3'))
    changed, submitted = make(mapping(**GUARDED, propagate_expiration=True))
    changed.load_progress('one')
    changed.handle_own(third('one', 40), tombstones(1, 30), ignore)
    changed.handle_own(third('one', 40), tombstones(31, 40), ignore)
    assert submitted.modes == [('look', [f'o{i}' for i in range(1, 31)])]
