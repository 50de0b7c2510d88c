from __future__ import annotations

import dataclasses

import pytest

from container_crawler.rows import Row
from s3_sync.ledger.work import compare_rows

from .helpers import GENERATION, OTHER, row, work

A = ('AUTH_a', 'c')
NOW = 1_700_000_000.0


def names(entries):
    return [entry.row.name for entry in entries]


# -- record and resolve -------------------------------------------------------------------

def test_an_entry_comes_back_as_it_was_recorded(ledger):
    recorded = Row(7, 'a b', '1700000000.00000+1+1', 5, 'x/y', 'etag', True, 3)
    stored = ledger.record(GENERATION, dataclasses.replace(work(), row=recorded))
    assert stored == ledger.find(GENERATION, *A, 'a b')
    assert stored == dataclasses.replace(work(), row=recorded, attempts=1, first_seen=NOW, updated=NOW,
                                         generation=GENERATION)


@pytest.mark.parametrize('name', ['a\nb', 'a\0b', '\0hidden', 'a%41', '/lead', 'x//y', '\ufffd', '\U0001f600' * 256,
                                  "';--", '*?[%_', ' '])
def test_every_name_swift_allows_can_wait_and_be_found_again(ledger, name):
    ledger.record(GENERATION, work(name))
    assert names(ledger.due(GENERATION, NOW, 10)) == [name]
    assert names(ledger.failures(path_prefix=f'AUTH_a/c/{name}')) == [name]
    ledger.resolve(GENERATION, *A, name, row().created_at)
    assert ledger.counts() == {}


def test_names_that_differ_after_a_nul_are_different_objects(ledger):
    ledger.record(GENERATION, work('a\0b'))
    ledger.resolve(GENERATION, *A, 'a\0c', row().created_at)
    assert ledger.find(GENERATION, *A, 'a\0b') is not None


def test_the_same_row_failing_again_counts_attempts_and_keeps_its_first_time(ledger, clock):
    ledger.record(GENERATION, work())
    clock.advance(60)
    again = ledger.record(GENERATION, work(reason='connection', due=777.0))
    assert (again.attempts, again.first_seen, again.updated, again.reason, again.due) == (
        2, NOW, NOW + 60, 'connection', 777.0)
    assert ledger.counts() == {(GENERATION, 'failed'): 1}


def test_being_deferred_is_not_an_attempt(ledger):
    assert ledger.record(GENERATION, work(kind='deferred')).attempts == 0
    assert ledger.record(GENERATION, work(kind='deferred')).attempts == 0
    assert ledger.record(GENERATION, work(kind='failed')).attempts == 1


def test_a_newer_row_begins_anew(ledger, clock):
    ledger.record(GENERATION, work())
    ledger.record(GENERATION, work())
    clock.advance(5)
    newer = ledger.record(GENERATION, work(created_at='1700000001.00000'))
    assert (newer.attempts, newer.first_seen) == (1, NOW + 5)
    assert ledger.find(GENERATION, *A, 'o').row.created_at == '1700000001.00000'


def test_an_older_row_changes_nothing(ledger):
    kept = ledger.record(GENERATION, work(created_at='1700000001.00000'))
    assert ledger.record(GENERATION, work(kind='permanent')) == kept
    assert ledger.find(GENERATION, *A, 'o') == kept


def test_resolving_forgets_the_row_and_older_ones_but_no_newer_one(ledger):
    ledger.record(GENERATION, work(created_at='1700000001.00000'))
    ledger.resolve(GENERATION, *A, 'o', '1700000000.00000')
    assert ledger.find(GENERATION, *A, 'o') is not None
    ledger.resolve(GENERATION, *A, 'o', '1700000002.00000')
    assert ledger.find(GENERATION, *A, 'o') is None


@pytest.mark.parametrize(('newer', 'older'), [
    ('1700000000.00000_0000000000000002', '1700000000.00000_1'),  # as text the second is the larger
    ('1700000000.00000_10', '1700000000.00000_f'),
    ('1700000000.00000+0+5', '1700000000.00000'),                 # a later POST
    ('1700000000.00000_1', '1700000000.00000'),
    ('1700000000.00000', 'no timestamp'),
])
def test_rows_are_compared_by_time_not_as_text(newer, older):
    assert compare_rows(newer, older) > 0
    assert compare_rows(older, newer) < 0


def test_the_same_time_spelt_differently_is_the_same_row():
    assert compare_rows('1700000000.00000_1', '1700000000.00000_0000000000000001') == 0


def test_a_row_without_a_proper_time_can_be_listed_and_resolved(ledger):
    ledger.record(GENERATION, work(created_at='garbage', kind='permanent'))
    ledger.record(GENERATION, work(created_at='garbage', kind='permanent'))
    assert ledger.find(GENERATION, *A, 'o').attempts == 2
    ledger.resolve(GENERATION, *A, 'o', 'garbage')
    assert ledger.counts() == {}


def test_generations_and_containers_share_nothing(ledger):
    for generation, container in ((GENERATION, 'c'), (OTHER, 'c'), (GENERATION, 'd')):
        ledger.record(generation, work(container=container))
    ledger.resolve(GENERATION, *A, 'o', row().created_at)
    assert ledger.counts() == {(OTHER, 'failed'): 1, (GENERATION, 'failed'): 1}
    assert ledger.find(GENERATION, 'AUTH_a', 'd', 'o') is not None


def test_a_failure_is_due_when_its_attempts_say(ledger):
    waits = [ledger.fail(GENERATION, *A, row(), 'throttled').due - NOW for _ in range(3)]
    assert waits == [10, 20, 40]
    assert ledger.fail(GENERATION, *A, row('p'), 'throttled', retry_after=300).due - NOW >= 300


def test_a_long_or_strange_message_is_kept_short_and_storable(ledger):
    stored = ledger.fail(GENERATION, *A, row(), 'rejected', 'x' * 10_000)
    assert len(stored.detail) == 500
    assert ledger.fail(GENERATION, *A, row(), 'rejected', 'bad \udcff byte').detail == 'bad \\udcff byte'


# -- due -----------------------------------------------------------------------------------

def test_what_is_due_comes_oldest_first_and_the_rest_stays(ledger):
    for name, due in (('late', 30.0), ('early', 10.0), ('mid', 20.0), ('future', 41.0)):
        ledger.record(GENERATION, work(name, due=due))
    assert names(ledger.due(GENERATION, 40.0, 10)) == ['early', 'mid', 'late']
    assert names(ledger.due(GENERATION, 40.0, 2)) == ['early', 'mid']
    assert ledger.due(GENERATION, 9.9, 10) == []
    assert ledger.due(GENERATION, 40.0, 0) == []


def test_permanent_failures_are_never_due(ledger):
    ledger.fail(GENERATION, *A, row(), 'limit', permanent=True)
    assert ledger.due(GENERATION, 1e12, 10) == []


def test_a_backlog_in_one_container_leaves_the_others_their_turn(ledger):
    with ledger.transaction():
        for number in range(1000):
            ledger.record(GENERATION, work(f'o{number:04}', container='big', due=1.0))
        for container in ('one', 'two'):
            ledger.record(GENERATION, work('x', container=container, due=50.0))
    found = ledger.due(GENERATION, 100.0, 30)
    assert len(found) == 30
    assert {work.container for work in found} == {'big', 'one', 'two'}


def test_more_containers_than_asked_for_take_turns(ledger):
    with ledger.transaction():
        for number in range(20):
            ledger.record(GENERATION, work('a', container=f'c{number}', due=float(number)))
            ledger.record(GENERATION, work('b', container=f'c{number}', due=float(number)))
    served = set()
    for _ in range(8):
        for entry in ledger.due(GENERATION, 100.0, 5):
            served.add((entry.container, entry.row.name))
            ledger.resolve(GENERATION, 'AUTH_a', entry.container, entry.row.name, entry.row.created_at)
    assert len(served) == 40


def test_what_is_due_follows_every_change(ledger):
    ledger.record(GENERATION, work('a', due=20.0))
    ledger.record(GENERATION, work('b', container='d', due=10.0))
    assert names(ledger.due(GENERATION, 10.0, 5)) == ['b']
    ledger.resolve(GENERATION, 'AUTH_a', 'd', 'b', row().created_at)
    assert ledger.due(GENERATION, 19.9, 5) == []
    assert names(ledger.due(GENERATION, 20.0, 5)) == ['a']
    ledger.record(GENERATION, work('a', due=70.0))
    assert ledger.due(GENERATION, 69.9, 5) == []
    assert names(ledger.due(GENERATION, 70.0, 5)) == ['a']


def test_reads_inside_a_transaction_see_what_it_wrote(ledger):
    with ledger.transaction():
        ledger.record(GENERATION, work('a', due=20.0))
        assert names(ledger.due(GENERATION, 20.0, 5)) == ['a']
        assert ledger.counts() == {(GENERATION, 'failed'): 1}
        assert names(ledger.failures()) == ['a']


# -- operators -----------------------------------------------------------------------------

@pytest.fixture
def filled(ledger):
    for name, container, kind in (('a', 'c', 'failed'), ('b/x', 'c', 'permanent'), ('b/y', 'c', 'deferred'),
                                  ('a', 'cc', 'failed')):
        ledger.record(GENERATION, work(name, container=container, kind=kind, due=NOW + 500))
    ledger.record(OTHER, work('a', account='AUTH_ab', kind='failed', due=NOW + 500))
    return ledger


@pytest.mark.parametrize(('selector', 'expected'), [
    ({}, ['AUTH_ab/c/a', 'AUTH_a/c/a', 'AUTH_a/c/b/x', 'AUTH_a/cc/a']),
    ({'kind': 'deferred'}, ['AUTH_a/c/b/y']),
    ({'kind': 'permanent'}, ['AUTH_a/c/b/x']),
    ({'generation': OTHER}, ['AUTH_ab/c/a']),
    ({'path': 'AUTH_a/c/b/x'}, ['AUTH_a/c/b/x']),
    ({'path': 'AUTH_a/c'}, ['AUTH_a/c/a', 'AUTH_a/c/b/x']),
    ({'path': 'AUTH_a'}, ['AUTH_a/c/a', 'AUTH_a/c/b/x', 'AUTH_a/cc/a']),
    ({'path': 'AUTH_a/c/b'}, []),
    ({'path_prefix': 'AUTH_a/c/b'}, ['AUTH_a/c/b/x']),
    ({'path_prefix': 'AUTH_a/c'}, ['AUTH_a/c/a', 'AUTH_a/c/b/x', 'AUTH_a/cc/a']),
    ({'path_prefix': 'AUTH_a/c/'}, ['AUTH_a/c/a', 'AUTH_a/c/b/x']),
    ({'path_prefix': 'AUTH_a', 'generation': GENERATION}, ['AUTH_a/c/a', 'AUTH_a/c/b/x', 'AUTH_a/cc/a']),
    ({'path_prefix': 'AUTH'}, ['AUTH_ab/c/a', 'AUTH_a/c/a', 'AUTH_a/c/b/x', 'AUTH_a/cc/a']),
    ({'path_prefix': 'AUTH_x'}, []),
])
def test_a_selection_lists_exactly_what_it_says_and_drop_removes_exactly_that(filled, selector, expected):
    before = {(entry.generation, entry.path) for kind in ('deferred', 'failed', 'permanent')
              for entry in filled.failures(kind=kind)}
    chosen = list(filled.failures(**selector))
    assert [entry.path for entry in chosen] == expected
    assert filled.drop(**selector) == len(expected)
    after = {(entry.generation, entry.path) for kind in ('deferred', 'failed', 'permanent')
             for entry in filled.failures(kind=kind)}
    assert after == before - {(entry.generation, entry.path) for entry in chosen}
    assert sum(filled.counts().values()) == len(after)


@pytest.mark.parametrize('prefix', ['\ud7ff', '\U0010ffff', 'a\U0010ffff'])
def test_prefixes_at_the_ends_of_unicode_find_their_names(ledger, prefix):
    for name in (prefix, prefix + 'x', 'b', 'A'):
        ledger.record(GENERATION, work(name))
    assert names(ledger.failures(path_prefix=f'AUTH_a/c/{prefix}')) == [prefix, prefix + 'x']


def test_retrying_makes_failures_due_now_and_permanent_ones_ordinary(filled, clock):
    filled.record(GENERATION, work('a'))
    clock.advance(10)
    assert filled.retry(GENERATION) == 3
    due = filled.due(GENERATION, clock.now(), 10)
    assert sorted((entry.path, entry.kind, entry.attempts) for entry in due) == [
        ('AUTH_a/c/a', 'failed', 0), ('AUTH_a/c/b/x', 'failed', 0), ('AUTH_a/cc/a', 'failed', 0)]
    assert filled.counts(GENERATION) == {(GENERATION, 'failed'): 3, (GENERATION, 'deferred'): 1}
    assert filled.fail(GENERATION, *A, row('a'), 'throttled').attempts == 1


def test_deferred_work_is_retried_only_when_named_and_stays_deferred(filled, clock):
    assert filled.retry(kind='deferred') == 1
    assert [(entry.path, entry.kind) for entry in filled.due(GENERATION, clock.now(), 10)] == [
        ('AUTH_a/c/b/y', 'deferred')]


def test_more_entries_than_a_page_are_listed_retried_and_dropped_completely(ledger):
    with ledger.transaction():
        for number in range(2500):
            ledger.record(GENERATION, work(f'o{number:05}', kind='permanent'))
    assert names(ledger.failures()) == [f'o{number:05}' for number in range(2500)]
    assert ledger.retry() == 2500
    assert ledger.counts() == {(GENERATION, 'failed'): 2500}
    assert ledger.drop() == 2500
    assert ledger.counts() == {}


def test_listing_goes_on_while_entries_change(ledger):
    with ledger.transaction():
        for number in range(1500):
            ledger.record(GENERATION, work(f'o{number:05}'))
    listing = ledger.failures()
    first = next(listing)
    ledger.drop(path='AUTH_a/c/o01200')
    assert first.row.name == 'o00000'
    assert len(list(listing)) == 1498


# -- another process -----------------------------------------------------------------------

def test_the_daemon_sees_what_the_command_dropped_and_retried(ledger, command, clock):
    ledger.record(GENERATION, work('a', due=NOW + 500))
    ledger.record(GENERATION, work('b', kind='permanent'))
    assert command.drop(path='AUTH_a/c/a') == 1
    assert command.retry() == 1
    assert names(ledger.due(GENERATION, clock.now(), 5)) == ['b']
    ledger.record(GENERATION, work('a'))
    ledger.resolve(GENERATION, *A, 'b', row().created_at)
    assert command.counts() == {(GENERATION, 'failed'): 1}


def test_an_entry_made_by_another_process_is_resolved_though_none_was_known(ledger, command):
    ledger.resolve(GENERATION, *A, 'o', row().created_at)
    command.record(GENERATION, work())
    ledger.resolve(GENERATION, *A, 'o', row().created_at)
    assert ledger.counts() == {}


def test_a_dropped_last_entry_leaves_a_container_that_can_be_used_again(ledger, command):
    ledger.record(GENERATION, work())
    command.drop()
    ledger.record(GENERATION, work())
    assert ledger.counts() == command.counts() == {(GENERATION, 'failed'): 1}


def test_reasons_are_counted_by_kind_with_the_next_due_time(ledger):
    ledger.record(GENERATION, work('a', due=50.0))
    ledger.record(GENERATION, work('b', due=40.0, container='d'))
    ledger.record(GENERATION, work('c', kind='permanent', reason='limit'))
    ledger.record(GENERATION, work('d', kind='deferred', reason='copy-after', due=70.0))
    ledger.record(OTHER, work('e'))
    assert ledger.reasons(GENERATION) == [
        ('deferred', 'copy-after', 1, 70.0), ('failed', 'throttled', 2, 40.0), ('permanent', 'limit', 1, None)]
