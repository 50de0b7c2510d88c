"""Local objects that are to go: kept until they went, counted, put off, upgraded into an older file."""
from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from container_crawler.rows import Row
from s3_sync.clock import FakeClock
from s3_sync.errors import LedgerError
from s3_sync.ledger import Backoff, Ledger, RemovalTotals, ledger_path
from s3_sync.ledger.schema import APPLICATION_ID, STEPS
from s3_sync.types import Removal

from .helpers import GENERATION, OTHER, row, work

NOW = 1_700_000_000.0


def an_object(name='o', created_at='1600000000.00000', *, due=NOW, sweep=False, container='c'):
    return Removal(container, row(name, created_at, row_id=7), due, sweep)


def segment(name='s', *, owner='c/o', owner_etag='v1', due=NOW, size=5):
    return Removal('c_segments', Row(0, name, '', size, '', 'md5', False, 0), due, True, owner, owner_etag)


def names(waiting):
    return [(w.removal.container, w.removal.row.name) for w in waiting]


def test_what_is_added_comes_back_whole_when_it_is_due(ledger, clock):
    soon, swept = an_object(due=NOW + 10), an_object('p', sweep=True)
    ledger.add_removals(GENERATION, 'AUTH_a', [soon, swept, segment()])
    assert ledger.due_removals(GENERATION, NOW, 10) == []
    clock.advance(10)
    found, = ledger.due_removals(GENERATION, clock.now(), 10)
    assert (found.removal, found.account, found.generation, found.added) == (soon, 'AUTH_a', GENERATION, NOW)
    assert ledger.sweep_candidates(GENERATION, clock.now(), 10) == [('c', 'p'), ('c_segments', 's')]
    assert ledger.sweep_candidates(GENERATION, clock.now(), 10, segments=False) == [('c', 'p')]
    assert [w.removal for w in ledger.removals_named(
        GENERATION, 'AUTH_a', [('c', 'p'), ('c_segments', 's'), ('c', 'o'), ('x', 'y')], clock.now())] == [
            swept, segment()]
    assert ledger.due_removals(OTHER, clock.now(), 10) == []
    assert ledger.removals_named(GENERATION, 'AUTH_b', [('c', 'p')], clock.now()) == []


def test_the_longest_due_come_first_and_no_more_than_asked_for(ledger):
    ledger.add_removals(GENERATION, 'AUTH_a', [an_object(str(n), due=NOW - n) for n in range(5)])
    assert names(ledger.due_removals(GENERATION, NOW, 2)) == [('c', '4'), ('c', '3')]


def test_an_object_known_already_waits_for_the_later_time_with_the_newer_row(ledger):
    ledger.add_removals(GENERATION, 'AUTH_a', [an_object(due=NOW)])
    ledger.add_removals(GENERATION, 'AUTH_a', [an_object(created_at='1600000001.00000', due=NOW - 50)])
    ledger.add_removals(GENERATION, 'AUTH_a', [an_object(created_at='1600000000.50000', due=NOW + 50)])
    found, = ledger.due_removals(GENERATION, NOW, 10)
    assert (found.removal.row.created_at, found.removal.due) == ('1600000001.00000', NOW)


def test_a_segment_of_two_archived_manifests_waits_for_both_and_either_can_end(ledger):
    ledger.add_removals(GENERATION, 'AUTH_a', [segment(owner='c/one', due=NOW)])
    ledger.add_removals(GENERATION, 'AUTH_a', [segment(owner='c/two', due=NOW + 100)])
    assert ledger.sweep_candidates(GENERATION, NOW, 10) == []
    found = ledger.removals_named(GENERATION, 'AUTH_a', [('c_segments', 's')], NOW + 100)
    assert {w.removal.owner for w in found} == {'c/one', 'c/two'}
    ledger.drop_segments(GENERATION, 'AUTH_a', [segment(owner='c/one')])
    assert [w.removal.owner for w in ledger.removals_named(
        GENERATION, 'AUTH_a', [('c_segments', 's')], NOW + 100)] == ['c/two']


def test_a_decision_on_an_older_version_leaves_the_newer_ones_entry(ledger):
    ledger.add_removals(GENERATION, 'AUTH_a', [an_object(created_at='1600000002.00000'), segment(owner_etag='v2')])
    ledger.drop_removals(GENERATION, 'AUTH_a', 'c', [row('o', '1600000001.00000')])
    ledger.drop_segments(GENERATION, 'AUTH_a', [segment(owner_etag='v1')])
    assert ledger.removal_totals() == {GENERATION: RemovalTotals(1, 1, 17)}
    ledger.drop_removals(GENERATION, 'AUTH_a', 'c', [row('o', '1600000002.00000'), row('unknown')])
    ledger.drop_segments(GENERATION, 'AUTH_a', [segment(owner_etag='v2')])
    assert ledger.removal_totals() == {}


def test_an_object_and_a_segment_of_one_name_are_two_things(ledger):
    ledger.add_removals(GENERATION, 'AUTH_a', [an_object('s', container='c_segments', sweep=True), segment('s')])
    ledger.drop_removals(GENERATION, 'AUTH_a', 'c_segments', [row('s', '1700000000.00000')])
    assert [w.removal for w in ledger.removals_named(GENERATION, 'AUTH_a', [('c_segments', 's')], NOW)] == [segment()]


def test_what_is_put_off_waits_with_its_reason_and_longer_each_time(ledger, clock):
    ledger.add_removals(GENERATION, 'AUTH_a', [segment('a'), segment('b', due=NOW + 5)])
    both = [('c_segments', 'a'), ('c_segments', 'b')]
    for wait in (60, 120, 200, 200):
        ledger.postpone_removals(GENERATION, 'AUTH_a', both, 60, 'referenced', longest=200)
        assert ledger.removals_named(GENERATION, 'AUTH_a', both[:1], clock.now() + wait - 1) == []
        found, = ledger.removals_named(GENERATION, 'AUTH_a', both[:1], clock.now() + wait)
        assert (found.reason, found.removal.due) == ('referenced', clock.now() + wait)
        clock.advance(wait)
    ledger.postpone_removals(GENERATION, 'AUTH_a', both[:1], 10, 'replica-away', 'x' * 1000)
    found, = ledger.removals_named(GENERATION, 'AUTH_a', both[:1], clock.now() + 10)
    assert (found.reason, len(found.detail), found.attempts) == ('replica-away', 500, 4)


def test_what_is_not_due_is_not_put_off(ledger):
    ledger.add_removals(GENERATION, 'AUTH_a', [segment(due=NOW + 5)])
    ledger.postpone_removals(GENERATION, 'AUTH_a', [('c_segments', 's')], 1000, 'referenced')
    assert ledger.removals_named(GENERATION, 'AUTH_a', [('c_segments', 's')], NOW + 5)[0].reason == ''


def test_why_things_wait_is_told_for_people(ledger, clock):
    ledger.add_removals(GENERATION, 'AUTH_a', [an_object(), an_object('p', due=NOW + 9), segment('a'), segment('b')])
    clock.advance(1)
    ledger.postpone_removals(GENERATION, 'AUTH_a', [('c_segments', 'a'), ('c_segments', 'b')], 60, 'referenced', 'by m')
    told = [(r.segments, r.reason, r.count, r.bytes, r.due, r.added, r.detail)
            for r in ledger.removal_reasons(GENERATION)]
    assert told == [(True, 'referenced', 2, 10, NOW + 61, NOW, 'by m'), (False, 'due', 1, 12, NOW, NOW, ''),
                    (False, 'not-due', 1, 12, NOW + 9, NOW, '')]
    assert ledger.removal_reasons(OTHER) == []


def test_a_clock_set_back_makes_nothing_wait_longer_than_it_was_to(ledger, clock):
    ledger.add_removals(GENERATION, 'AUTH_a', [segment(due=NOW + 100)])
    clock.advance(-1_000_000)
    ledger.mend_removal_times()
    assert ledger.sweep_candidates(GENERATION, clock.now() + 99, 10) == []
    assert ledger.sweep_candidates(GENERATION, clock.now() + 100, 10) == [('c_segments', 's')]
    ledger.mend_removal_times()
    assert ledger.sweep_candidates(GENERATION, clock.now() + 99, 10) == []


def test_the_operators_command_sees_them(ledger, command):
    ledger.add_removals(GENERATION, 'AUTH_a', [segment()])
    assert command.removal_totals() == {GENERATION: RemovalTotals(0, 1, 5)}


def test_they_are_part_of_the_transaction_around_them(ledger):
    with pytest.raises(InterruptedError), ledger.transaction():
        ledger.add_removals(GENERATION, 'AUTH_a', [segment()])
        raise InterruptedError
    assert ledger.removal_totals() == {} and ledger.sweep_candidates(GENERATION, NOW, 10) == []


removals = st.one_of(
    st.builds(an_object, st.sampled_from('ab'), st.sampled_from(['1600000000.00000', '1600000001.00000'])),
    st.builds(segment, st.sampled_from('ab'), owner=st.sampled_from(['c/o', 'c/p']),
              owner_etag=st.sampled_from(['v1', 'v2']), size=st.integers(0, 9)))


@given(st.lists(st.tuples(st.sampled_from(['add', 'drop']), st.sampled_from([GENERATION, OTHER]),
                          st.lists(removals, max_size=3)), max_size=12))
def test_the_totals_are_those_of_the_entries(tmp_path_factory, steps):
    with Ledger.open(str(tmp_path_factory.mktemp('ledger')), clock=FakeClock(NOW)) as ledger:
        for action, generation, group in steps:
            if action == 'add':
                ledger.add_removals(generation, 'AUTH_a', group)
                continue
            ledger.drop_segments(generation, 'AUTH_a', [r for r in group if r.owner])
            ledger.drop_removals(generation, 'AUTH_a', 'c', [r.row for r in group if not r.owner])
        for generation in (GENERATION, OTHER):
            reasons = ledger.removal_reasons(generation)
            counted = RemovalTotals(sum(r.count for r in reasons if not r.segments),
                                    sum(r.count for r in reasons if r.segments), sum(r.bytes for r in reasons))
            assert ledger.removal_totals().get(generation, RemovalTotals()) == counted


def test_a_ledger_from_before_removals_is_upgraded_with_all_it_knows(tmp_path):
    path = ledger_path(str(tmp_path))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f'PRAGMA application_id = {APPLICATION_ID}')
        for statement in STEPS[0]:
            connection.execute(statement)
        connection.execute('PRAGMA user_version = 1')
    with pytest.raises(LedgerError, match='start the daemon once'):
        Ledger.open(str(tmp_path), owner=False)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO place (generation, account, container) VALUES (?, 'AUTH_a', 'c')",
                           (GENERATION,))
    with Ledger.open(str(tmp_path), clock=FakeClock(NOW), backoff=Backoff()) as ledger:
        assert not ledger.rescan and list(ledger.containers(GENERATION)) == [('AUTH_a', 'c')]
        ledger.record(GENERATION, work())
        ledger.add_removals(GENERATION, 'AUTH_a', [segment()])
        assert ledger.removal_totals() == {GENERATION: RemovalTotals(0, 1, 5)}
