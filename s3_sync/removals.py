"""When local objects go that wait in the ledger: what needs no sweep when it is due, the rest when a sweep freed it.

An account is swept by one worker at a time. What the sweep found is handed to
the workers bit by bit, so that a pause, or a remote that stops working, is obeyed
in between, and is forgotten when it gets old: the ledger still has it, and the
next sweep finds it again. Removals of mappings that are not here, or no longer
archive, are never touched.
"""
from __future__ import annotations

import logging
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from s3_sync import metric_defs
from s3_sync.channel import Answer, Errand, Segments, SegmentsDecided, Sweep, Swept
from s3_sync.clock import Clock
from s3_sync.concurrency import sleep
from s3_sync.engine.outcomes import Outcome
from s3_sync.engine.segments import Decided
from s3_sync.errors import LedgerError
from s3_sync.ledger import Ledger, RemovalReason, WaitingRemoval
from s3_sync.metrics import Metrics
from s3_sync.sync_container import MappingState
from s3_sync.types import Removal

MAX_CANDIDATES = 100_000
"""Objects that one sweep asks about."""
BATCH = 500
"""Due objects of a mapping that are given to the workers at once."""
SEGMENTS_PER_ERRAND = 50
ERRANDS_AT_ONCE = 20
LONGEST_REST_SECONDS = 3600.0
"""Between two sweeps of an account that found nothing; shorter with a shorter ``segments_grace``."""
LONGEST_WAIT_SECONDS = 86400.0
"""What was found referred to again and again is looked at this often at least."""
TROUBLE_SECONDS = 300.0
"""What met a problem is tried again after this."""
SHARE_OF_TIME = 0.1
"""Of which an account may be read while each sweep finds something."""
MOST_IN_A_ROW = 20
"""Sweeps that find something after one pass; manifests lie at most ten deep in one another."""
FRESH_SECONDS = 900.0
"""How long a sweep's finding counts."""
HARMLESS = frozenset({'due', 'not-due', 'referenced', 'restored', 'awaits-copy', 'written-again'})
"""Reasons to wait that are nobody's trouble."""

Name = tuple[str, str]


def trouble(reasons: Iterable[RemovalReason]) -> list[RemovalReason]:
    """Those that are not a mere matter of time."""
    return [waits for waits in reasons if waits.reason not in HARMLESS]


class RemovesObjects(Protocol):
    """``SyncContainer``, as far as it is needed here."""

    def remove(self, removals: Sequence[Removal]) -> int:
        """Prove them once more and let them go. What was so handled is in the ledger no longer."""


class Workers(Protocol):
    """``WorkerPool``, as far as it is needed here."""

    def ask(self, errand: Errand, share: str, answered: Callable[[Answer | None], None]) -> None: ...


@dataclass
class _Account:
    """Where an account is between two sweeps."""

    name: str
    sweeping: bool = False
    found: deque[Name] = field(default_factory=deque)
    """Free to go, and not handed out yet."""
    swept_at: float = 0.0
    """Unix seconds at which the sweep began that found this."""
    found_at: float = 0.0
    next_at: float = 0.0
    """Monotonic seconds of the next sweep at the earliest."""
    quiet_pass: int = -1
    """The last pass after which a sweep found nothing."""
    in_a_row: int = 0
    """Sweeps that found something, one after the other."""
    errands: int = 0
    """Messages about segments that have no answer yet."""

    @property
    def busy(self) -> bool:
        return self.sweeping or bool(self.found) or self.errands > 0


class Removals:
    """Of one session. ``tick`` comes round; everything else happens in answer to it."""

    def __init__(self, states: Mapping[str, MappingState], ledger: Ledger, workers: Workers,
                 container: Callable[[str, str], RemovesObjects], *, metrics: Metrics, clock: Clock,
                 logger: logging.Logger, on_ledger_error: Callable[[LedgerError], None]) -> None:
        """``container`` gives the handler of a generation's container."""
        self._states = states
        self._ledger = ledger
        self._workers = workers
        self._container = container
        self._metrics = metrics
        self._clock = clock
        self._logger = logger
        self._on_ledger_error = on_ledger_error
        self._accounts = {state.account: _Account(state.account) for state in states.values()
                          if not state.mapping.retain_local}
        self._passes = 0
        self.to_the_end = False
        """``--once``: sweeps follow each other until there is nothing more to find."""

    # -- what comes round ----------------------------------------------------------------

    def tick(self) -> None:
        """Hand out what is due."""
        acting = self._acting()
        for generation in acting:
            self._hand_objects(self._ledger.due_removals(generation, self._clock.now(), BATCH))
        for account in self._accounts.values():
            if account.found:
                self._hand_out(account, acting)
            elif not account.busy and self._may_sweep(account, acting):
                self._sweep(account, acting)

    def pass_ended(self) -> None:
        """Every container has been looked at once more."""
        self._passes += 1

    def show(self) -> None:
        """Set the gauges."""
        totals = self._ledger.removal_totals()
        for generation, state in self._states.items():
            for kind in ('objects', 'segments'):
                value = getattr(totals[generation], kind) if generation in totals else 0
                self._metrics.set(metric_defs.REMOVALS, state.mapping.name, kind, value=value)

    @property
    def busy(self) -> bool:
        """A sweep, or what it found, is under way."""
        return any(account.busy for account in self._accounts.values())

    @property
    def caught_up(self) -> bool:
        """Nothing more can go now."""
        now, acting = self._clock.now(), self._acting()
        if self.busy or any(state.busy for state in acting.values()):
            return False
        return not any(self._ledger.due_removals(generation, now, 1) for generation in acting) and not any(
            self._may_sweep(account, acting) for account in self._accounts.values())

    def _acting(self) -> dict[str, MappingState]:
        """Mappings whose local objects may go now."""
        return {generation: state for generation, state in self._states.items()
                if not (state.mapping.retain_local or state.paused or state.unprobed or state.health.tripped)}

    # -- objects that need no sweep, or had theirs ---------------------------------------

    def _hand_objects(self, waiting: Iterable[WaitingRemoval]) -> None:
        by_container: dict[tuple[str, str], list[Removal]] = defaultdict(list)
        for entry in waiting:
            by_container[entry.generation, entry.removal.container].append(entry.removal)
        for (generation, container), removals in by_container.items():
            self._container(generation, container).remove(removals)

    # -- sweeps --------------------------------------------------------------------------

    def _may_sweep(self, account: _Account, acting: Mapping[str, MappingState]) -> bool:
        mine = self._of(account, acting)
        if not mine or (self._rest(mine) == 0 and account.quiet_pass >= self._passes):
            return False
        if self.to_the_end:
            # What the last one found has to be gone before the next can find more.
            if account.quiet_pass >= self._passes or any(state.busy for state in mine.values()):
                return False
        elif self._clock.monotonic() < account.next_at:
            return False
        return bool(self._candidates(mine, 1))

    @staticmethod
    def _of(account: _Account, acting: Mapping[str, MappingState]) -> dict[str, MappingState]:
        return {generation: state for generation, state in acting.items() if state.account == account.name}

    @staticmethod
    def _rest(mine: Mapping[str, MappingState]) -> float:
        """Seconds between sweeps that find nothing."""
        return min(LONGEST_REST_SECONDS, *(state.mapping.segments_grace for state in mine.values()))

    def _candidates(self, mine: Mapping[str, MappingState], limit: int) -> dict[str, list[Name]]:
        """By generation."""
        now = self._clock.now()
        found = {generation: self._ledger.sweep_candidates(generation, now, limit,
                                                           segments=not state.mapping.retain_local_segments)
                 for generation, state in mine.items()}
        return {generation: names for generation, names in found.items() if names}

    def _sweep(self, account: _Account, acting: Mapping[str, MappingState]) -> None:
        mine = self._of(account, acting)
        candidates = self._candidates(mine, MAX_CANDIDATES // len(mine))
        names = sorted({name for group in candidates.values() for name in group})
        begun, of_pass, rest = self._clock.monotonic(), self._passes, self._rest(mine)
        account.sweeping, account.swept_at = True, self._clock.now()

        def answered(answer: Answer | None) -> None:
            account.found_at = self._clock.monotonic()
            took = account.found_at - begun
            self._metrics.observe(metric_defs.SWEEP_SECONDS, value=took)
            try:
                self._swept(account, candidates, answer, rest)
            except LedgerError as error:
                self._on_ledger_error(error)
                return
            finally:
                account.sweeping = False
            pause = min(took / SHARE_OF_TIME, LONGEST_REST_SECONDS)
            if account.found and account.in_a_row < MOST_IN_A_ROW:
                account.in_a_row += 1
            else:
                account.quiet_pass, account.in_a_row, pause = of_pass, 0, max(rest, pause)
            account.next_at = account.found_at + pause
        self._workers.ask(Sweep(account.name, names), account.name, answered)

    def _swept(self, account: _Account, candidates: Mapping[str, list[Name]], answer: Answer | None,
               rest: float) -> None:
        problem = answer.problem if isinstance(answer, Swept) else 'the worker died of it'
        if problem:
            self._logger.error('%s: nothing is removed by this sweep: %s', account.name, problem)
            for generation, names in candidates.items():
                self._postpone(generation, account, names, TROUBLE_SECONDS, 'account-unreadable', problem)
            return
        assert isinstance(answer, Swept)
        free = set(answer.unreferenced)
        for generation, names in candidates.items():
            # Where something goes, what it refers to may be next.
            self._postpone(generation, account, [name for name in names if name not in free], 0.0 if free else rest,
                           'referenced', longest=None if free else max(rest, LONGEST_WAIT_SECONDS) if rest else 0.0)
        account.found.extend(answer.unreferenced)
        number = len({name for names in candidates.values() for name in names})
        self._logger.info('%s: swept; nothing refers to %d of %d archived objects and segments', account.name,
                          len(free), number)

    def _postpone(self, generation: str, account: _Account, names: Sequence[Name], wait: float, reason: str,
                  detail: str = '', *, longest: float | None = None) -> None:
        """In parts: a hundred thousand entries must not stop the process."""
        for at in range(0, len(names), BATCH):
            self._ledger.postpone_removals(generation, account.name, names[at:at + BATCH], wait, reason, detail,
                                           longest=longest)
            sleep(0)

    # -- what a sweep found --------------------------------------------------------------

    def _hand_out(self, account: _Account, acting: Mapping[str, MappingState]) -> None:
        mine = self._of(account, acting)
        if not mine or self._clock.monotonic() - account.found_at > FRESH_SECONDS:
            account.found.clear()
            account.next_at = 0.0
            return
        if any(state.busy > BATCH for state in mine.values()) or account.errands >= ERRANDS_AT_ONCE:
            return
        names = list(islice(account.found, BATCH))
        for _ in names:
            account.found.popleft()
        for generation, state in mine.items():
            waiting = self._ledger.removals_named(generation, account.name, names, self._clock.now())
            self._hand_objects(entry for entry in waiting if not entry.removal.owner)
            if not state.mapping.retain_local_segments:
                self._hand_segments(account, state, [entry.removal for entry in waiting if entry.removal.owner])

    def _hand_segments(self, account: _Account, state: MappingState, removals: Iterable[Removal]) -> None:
        by_owner: dict[Name, list[Removal]] = defaultdict(list)
        for removal in removals:
            by_owner[removal.owner, removal.owner_etag].append(removal)
        for (owner, _), group in by_owner.items():
            for at in range(0, len(group), SEGMENTS_PER_ERRAND):
                self._remove_segments(account, state, owner, group[at:at + SEGMENTS_PER_ERRAND])

    def _remove_segments(self, account: _Account, state: MappingState, owner: str, removals: list[Removal]) -> None:
        account.errands += 1

        def answered(answer: Answer | None) -> None:
            account.errands -= 1
            decisions = answer.decisions if isinstance(answer, SegmentsDecided) else [
                Decided('waits', 'worker-died', 'the worker died of it')] * len(removals)
            try:
                self._decided(account, state, removals, decisions)
            except LedgerError as error:
                self._on_ledger_error(error)
        # What was written after that may belong to a manifest that came after the sweep.
        before = account.swept_at - state.mapping.segments_grace
        errand = Segments(state.mapping.generation, account.name, removals, written_before=before)
        self._workers.ask(errand, owner, answered)

    def _decided(self, account: _Account, state: MappingState, removals: Sequence[Removal],
                 decisions: Sequence[Decided]) -> None:
        generation = state.mapping.generation
        now = self._clock.now()
        pairs = list(zip(removals, decisions, strict=True))
        with self._ledger.transaction():
            self._ledger.drop_segments(generation, account.name, [r for r, d in pairs if d.settled])
            for removal, decision in pairs:
                if not decision.settled:
                    self._ledger.postpone_removals(
                        generation, account.name, [(removal.container, removal.row.name)],
                        max(TROUBLE_SECONDS, decision.due - now), decision.reason, decision.detail)
            gone = sum(d.verdict == 'removed' for d in decisions)
            if gone:
                self._ledger.add_totals(generation, segments_removed=gone)
        for verdict, number in Counter(d.verdict for d in decisions).items():
            self._metrics.add(metric_defs.SEGMENTS, state.mapping.name, verdict, value=number)
        self._tell(account, state, pairs)
        failed = next((d for d in decisions if d.reason and d.verdict == 'waits'), None)
        state.health.note(Outcome('same', 'same') if failed is None else
                          Outcome('failed', failed.reason, failed.detail, due=failed.due))

    def _tell(self, account: _Account, state: MappingState, pairs: Sequence[tuple[Removal, Decided]]) -> None:
        owner, name = f'{account.name}/{pairs[0][0].owner}', state.mapping.name
        told: dict[tuple[str, str], list[str]] = defaultdict(list)
        for _, decision in pairs:
            if decision.reason not in HARMLESS:
                told[decision.verdict, decision.reason].append(decision.detail)
        for (verdict, reason), details in told.items():
            if verdict == 'kept':
                self._logger.warning('%s: %d segments of %r stay: %s', name, len(details), owner, details[0])
            elif verdict == 'waits':
                self._logger.warning('%s: %d segments of %r cannot go yet: %s: %s', name, len(details), owner, reason,
                                     details[0])
        for removal, decision in pairs:
            if decision.verdict in ('changed', 'superseded'):
                self._logger.info('%s: segment %r stays: it is another version now', name,
                                  f'{account.name}/{removal.container}/{removal.row.name}')
