"""When local objects go: what is due, sweeps and their rests, pauses, trouble. Workers and containers are stand-ins."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from container_crawler.rows import Row
from s3_sync import metric_defs
from s3_sync.channel import Answer, Errand, Segments, SegmentsDecided, Sweep, Swept
from s3_sync.clock import FakeClock
from s3_sync.config import Mapping, Remote, Secret
from s3_sync.engine.outcomes import Outcome
from s3_sync.engine.segments import Decided
from s3_sync.ledger import Ledger, RemovalTotals
from s3_sync.metrics import Registry
from s3_sync.remote_health import TRIP_AFTER, RemoteHealth
from s3_sync.removals import FRESH_SECONDS, Removals
from s3_sync.sync_container import MappingState
from s3_sync.types import Removal

from .test_sync_container import LOGGER

Asked = tuple[Errand, Callable[[Answer | None], None]]


class Bench:
    """One or more archiving mappings of one account."""

    def __init__(self, folder: Path, *mappings: Mapping) -> None:
        self.clock = FakeClock()
        self.ledger = Ledger.open(str(folder), clock=self.clock, logger=LOGGER)
        self.states = {m.generation: MappingState(m, RemoteHealth(self.clock)) for m in mappings}
        self.metrics = Registry()
        self.asked: list[Asked] = []
        self.handed: list[tuple[str, str]] = []
        self.removals = Removals(self.states, self.ledger, self, self.container, metrics=self.metrics,
                                 clock=self.clock, logger=LOGGER, on_ledger_error=self.fail)
        self.generation = mappings[0].generation
        self.state = self.states[self.generation]

    def fail(self, error: Exception) -> None:
        raise AssertionError(error)

    def ask(self, errand: Errand, share: str, answered: Callable[[Answer | None], None]) -> None:
        self.asked.append((errand, answered))

    def container(self, generation: str, container: str) -> Container:
        return Container(self, container)

    def add(self, *removals: Removal, generation: str = '') -> None:
        self.ledger.add_removals(generation or self.generation, 'AUTH_a', removals)

    def next(self) -> Asked:
        """What a worker was asked for."""
        asked, = self.asked
        self.asked.clear()
        return asked

    def tick(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        self.removals.tick()

    def sweep(self, *free: tuple[str, str]) -> list[tuple[str, str]]:
        """A sweep was asked for and finds this; what it was to look at."""
        self.removals.tick()
        errand, answered = self.next()
        assert isinstance(errand, Sweep) and errand.account == 'AUTH_a'
        answered(Swept(1, list(free)))
        return errand.candidates

    def reasons(self) -> dict[str, int]:
        found = self.ledger.removal_reasons(self.generation)
        return {reason: sum(r.count for r in found if r.reason == reason) for reason in {r.reason for r in found}}


class Container:
    def __init__(self, bench: Bench, name: str) -> None:
        self._bench, self._name = bench, name

    def remove(self, removals: Sequence[Removal]) -> int:
        self._bench.handed += [(self._name, removal.row.name) for removal in removals]
        self._bench.ledger.drop_removals(self._bench.generation, 'AUTH_a', self._name, [r.row for r in removals])
        return len(removals)


def archive(container: str = 'c', **keys: object) -> Mapping:
    remote = Remote.model_validate({'bucket': 'b', 'endpoint': 'http://127.0.0.1:1', 'identity': 'i',
                                    'secret': Secret('s')})
    return Mapping.model_validate({'account': 'AUTH_a', 'container': container, 'remote': remote,
                                   'retain_local': False, **keys})


def an_object(name: str, *, due: float = 0.0, sweep: bool = False) -> Removal:
    return Removal('c', Row(1, name, '1600000000.00000', 5, '', 'e', False, 0), due, sweep)


def segment(name: str, *, owner: str = 'c/o', due: float = 0.0) -> Removal:
    return Removal('s', Row(0, name, '', 5, '', 'e', False, 0), due, True, owner, 'v1')


Make = Callable[..., Bench]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Bench] = []

    def build(*mappings: Mapping) -> Bench:
        made.append(Bench(tmp_path, *(mappings or (archive(),))))
        return made[-1]
    yield build
    for bench in made:
        bench.ledger.close()


def test_objects_that_need_no_sweep_go_when_they_are_due(make: Make) -> None:
    bench = make()
    bench.add(an_object('now'), an_object('later', due=bench.clock.now() + 60))
    bench.tick()
    assert bench.handed == [('c', 'now')] and bench.asked == []
    assert bench.removals.caught_up
    bench.tick(60)
    assert bench.handed == [('c', 'now'), ('c', 'later')]


def test_one_sweep_at_a_time_decides_on_objects_and_segments_and_what_is_referred_to_waits(make: Make) -> None:
    bench = make()
    bench.add(an_object('a', sweep=True), an_object('b', sweep=True), segment('x'), segment('y'),
              segment('z', due=bench.clock.now() + 60))
    assert not bench.removals.caught_up
    bench.tick()
    bench.tick()
    (sweep, answered), = bench.asked
    assert isinstance(sweep, Sweep) and sorted(sweep.candidates) == [('c', 'a'), ('c', 'b'), ('s', 'x'), ('s', 'y')]
    assert bench.removals.busy and not bench.removals.caught_up
    bench.asked.clear()
    answered(Swept(1, [('c', 'a'), ('s', 'x')]))
    bench.tick()
    assert bench.handed == [('c', 'a')]
    errand, decided = bench.next()
    assert isinstance(errand, Segments) and errand.removals == [segment('x')]
    assert errand.written_before == bench.clock.now() - bench.state.mapping.segments_grace
    assert (errand.generation, errand.account) == (bench.generation, 'AUTH_a')
    decided(SegmentsDecided(2, [Decided('removed')]))
    assert bench.reasons() == {'referenced': 2, 'not-due': 1}
    assert bench.ledger.totals()[bench.generation] == {'segments_removed': 1}
    assert bench.metrics.value(metric_defs.SEGMENTS, bench.state.mapping.name, 'removed') == 1


def test_after_a_sweep_that_found_nothing_the_account_rests_and_what_is_referred_to_waits_longer_each_time(
        make: Make) -> None:
    bench = make()
    bench.add(segment('x'))
    for wait in (3600, 7200, 14400):
        assert bench.sweep() == [('s', 'x')]
        bench.add(segment('new', due=bench.clock.now()))
        bench.tick(3599)
        assert bench.asked == [], 'within an hour nothing is swept again'
        bench.clock.advance(1)
        bench.ledger.drop_segments(bench.generation, 'AUTH_a', [segment('new')])
        bench.tick(wait - 3601)
        assert bench.asked == []
        bench.clock.advance(1)


def test_where_something_went_what_it_named_may_go_soon(make: Make) -> None:
    bench = make()
    bench.add(an_object('manifest', sweep=True), segment('x'))
    bench.sweep(('c', 'manifest'))
    bench.tick()
    assert bench.handed == [('c', 'manifest')]
    bench.clock.advance(1)
    assert bench.sweep(('s', 'x')) == [('s', 'x')]


def test_without_a_grace_every_pass_ends_with_one_sweep_of_what_is_left(make: Make) -> None:
    bench = make(archive(segments_grace=0))
    bench.add(segment('x'))
    bench.removals.pass_ended()
    assert not bench.removals.caught_up
    assert bench.sweep() == [('s', 'x')]
    bench.tick(1000)
    assert bench.asked == [] and bench.removals.caught_up
    bench.removals.pass_ended()
    assert bench.sweep() == [('s', 'x')]


def test_to_the_end_sweeps_follow_each_other_until_one_finds_nothing(make: Make) -> None:
    bench = make()
    bench.removals.to_the_end = True
    bench.removals.pass_ended()
    bench.add(an_object('a', sweep=True), an_object('b', sweep=True), an_object('c', sweep=True))
    bench.sweep(('c', 'a'))
    bench.tick()
    bench.state.busy = 1
    bench.tick()
    assert bench.asked == [], 'what it found is not gone yet'
    bench.state.busy = 0
    assert bench.sweep(('c', 'b')) == [('c', 'b'), ('c', 'c')]
    bench.tick()
    assert bench.sweep() == [('c', 'c')]
    assert bench.removals.caught_up and bench.handed == [('c', 'a'), ('c', 'b')]


def test_an_account_that_cannot_be_read_keeps_everything(make: Make, expected_warnings) -> None:  # type: ignore[no-untyped-def]
    bench = make()
    bench.add(an_object('a', sweep=True), segment('x'))
    bench.tick()
    _, answered = bench.next()
    answered(Swept(1, [], 'the container AUTH_a/z: 503'))
    bench.tick()
    assert bench.handed == [] and bench.asked == [] and bench.removals.caught_up
    told = bench.ledger.removal_reasons(bench.generation)
    assert {(r.reason, r.count, r.detail) for r in told} == {('account-unreadable', 1, 'the container AUTH_a/z: 503')}
    bench.tick(3600)
    assert bench.next()


def test_a_worker_that_dies_of_a_sweep_or_of_segments_loses_nothing(make: Make) -> None:
    bench = make()
    bench.add(segment('x'))
    bench.tick()
    bench.next()[1](None)
    assert bench.reasons() == {'account-unreadable': 1}
    bench.clock.advance(3600)
    bench.sweep(('s', 'x'))
    bench.tick()
    bench.next()[1](None)
    assert bench.reasons() == {'worker-died': 1} and not bench.removals.busy


def test_segments_of_one_manifest_go_together_and_each_has_its_own_end(make: Make) -> None:
    bench = make()
    names = ['removed', 'gone', 'changed', 'superseded', 'kept', 'waits', 'restored']
    bench.add(*(segment(name) for name in names), segment('shared', owner='c/p'), segment('shared', owner='c/o'))
    bench.sweep(*(('s', name) for name in [*names, 'shared']))
    bench.tick()
    errands = {e.removals[0].owner: (e, answered) for e, answered in bench.asked if isinstance(e, Segments)}
    assert set(errands) == {'c/o', 'c/p'}
    errand, answered = errands['c/o']
    ends = {'waits': Decided('waits', 'replica-away', 'node 3'),
            'restored': Decided('waits', 'restored', '', bench.clock.now() + 86400)}
    answered(SegmentsDecided(1, [ends.get(r.row.name, Decided(r.row.name if r.row.name in names else 'removed'))  # type: ignore[arg-type]
                                 for r in errand.removals]))
    errands['c/p'][1](SegmentsDecided(2, [Decided('gone')]))
    assert bench.reasons() == {'replica-away': 1, 'restored': 1}
    assert {r.reason: r.due - bench.clock.now() for r in bench.ledger.removal_reasons(bench.generation)} == {
        'replica-away': 300, 'restored': 86400}


@pytest.mark.parametrize('why', ['paused', 'unprobed', 'tripped'])
def test_a_mapping_that_may_not_act_removes_nothing_even_what_a_sweep_has_freed(make: Make, why: str) -> None:
    bench = make()
    bench.add(segment('x'))
    bench.sweep(('s', 'x'))
    bench.add(an_object('now'), segment('y'))
    if why == 'tripped':
        for _ in range(TRIP_AFTER):
            bench.state.health.note(Outcome('failed', 'connection'))
    else:
        setattr(bench.state, why, True)
    bench.tick()
    bench.tick(7200)
    assert bench.handed == [] and bench.asked == [] and bench.removals.caught_up
    assert bench.ledger.removal_totals() == {bench.generation: RemovalTotals(1, 2, 15)}


def test_mappings_that_do_not_archive_and_unknown_ones_are_left_alone(make: Make) -> None:
    bench = make(archive(retain_local=True), archive('d', retain_local_segments=True))
    other = list(bench.states)[1]
    bench.add(an_object('a'), segment('x'))
    bench.add(an_object('a'), segment('y'), generation='orphan')
    bench.add(segment('z'), generation=other)
    bench.tick()
    assert bench.handed == [] and bench.asked == [] and bench.removals.caught_up


def test_what_a_sweep_found_long_ago_is_looked_for_again(make: Make) -> None:
    bench = make()
    bench.add(segment('x'))
    bench.sweep(('s', 'x'))
    bench.tick(FRESH_SECONDS + 1)
    assert bench.asked == []
    assert bench.sweep(('s', 'x')) == [('s', 'x')]


def test_a_remote_that_fails_for_segments_counts_against_its_mapping(make: Make) -> None:
    bench = make()
    for number in range(TRIP_AFTER):
        bench.add(segment(str(number), owner=f'c/{number}'))
    bench.sweep(*(('s', str(number)) for number in range(TRIP_AFTER)))
    bench.tick()
    for _, answered in list(bench.asked):
        answered(SegmentsDecided(1, [Decided('waits', 'connection', 'reset')]))
    assert bench.state.health.tripped


def test_the_gauge_tells_what_waits(make: Make) -> None:
    bench = make()
    bench.add(an_object('a'), segment('x'), segment('y'))
    bench.removals.show()
    name = bench.state.mapping.name
    assert bench.metrics.value(metric_defs.REMOVALS, name, 'objects') == 1
    assert bench.metrics.value(metric_defs.REMOVALS, name, 'segments') == 2
