"""A deleted name stays deleted, and nothing else ever goes: any order of writes, copies, faults and forgetting.

Beside the shunt there are a daemon that copies and archives, another that
finishes markers, and time that makes the cluster forget its tombstones.
"""
from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from swift.common.wsgi import make_env

from s3_sync.errors import ConnectionFailed
from s3_sync.timestamps import RowTimes, marked
from s3_sync.wire.tombstones import hides
from test.unit.shunting.reads_world import ACCOUNT
from test.unit.shunting.writes_world import WriteWorld

DOWN = ConnectionFailed('down')
POLICIES = st.sampled_from(['propagate', 'tombstone'])
REMOTES = (1, 2)
PLACE = ('c', 'o')


class Deletions(RuleBasedStateMachine):
    """One name. ``expected``: what its user left there, None for nothing."""

    @initialize(policies=st.tuples(POLICIES, POLICIES))
    def start(self, policies: tuple[str, str]) -> None:
        self.world = WriteWorld(*({'delete_policy': policy} for policy in policies))
        self.expected: bytes | None = None
        self.versions = 0

    # -- the user ------------------------------------------------------------------------

    @rule()
    def put(self) -> None:
        self.versions += 1
        data = str(self.versions).encode()
        assert self.world.status('PUT', data=data) == 201
        self.expected = data

    @rule(down=st.sets(st.sampled_from(REMOTES)), undeleted=st.sets(st.sampled_from(REMOTES)))
    def delete(self, down: set[int], undeleted: set[int]) -> None:
        """``down``: remotes that cannot be asked; ``undeleted``: those that fail to delete."""
        for number in REMOTES:
            self.world.remote_of(number).errors = [DOWN] if number in down else []
            self.world.remote_of(number).write_errors = [DOWN] if number in undeleted else []
        status = self.world.status('DELETE')
        self._mend()
        if self.expected is not None:
            assert status == 204
        elif not down:
            assert status == 404
        self.expected = None

    @rule(where=st.sampled_from(['marker', 'object']), status=st.sampled_from([409, 503]))
    def fail_to_delete(self, where: str, status: int) -> None:
        hidden = self.world.hidden()

        def fault(method: str, container: str, name: str) -> int | None:
            return status if name and (
                (method, container) == (('PUT', hidden) if where == 'marker' else ('DELETE', 'c'))) else None
        self.world.cluster.fault = fault
        answered = self.world.status('DELETE')
        self._mend()
        if answered in (204, 404):  # nobody but the cluster had it, and the marker was not needed
            self.expected = None
        else:
            assert answered in (409, 503)

    # -- the daemons ---------------------------------------------------------------------

    @precondition(lambda self: PLACE in self.world.cluster.objects)
    @rule(number=st.sampled_from(REMOTES))
    def copy(self, number: int) -> None:
        self._copy(number)

    @precondition(lambda self: PLACE in self.world.cluster.objects)
    @rule(number=st.sampled_from(REMOTES))
    def archive(self, number: int) -> None:
        self._copy(number)
        cluster, time = self.world.cluster, self.world.cluster.times[PLACE]
        cluster.objects.pop(PLACE)
        cluster.times.pop(PLACE)
        cluster.deleted[PLACE] = marked(RowTimes(time, time, time), self.world.clock.now())

    def _copy(self, number: int) -> None:
        """As the sync daemon does: never over what is newer."""
        time = self.world.cluster.times[PLACE]
        there = self.world.remote_of(number).store.buckets['bucket'].get('o')
        if there is None or there.meta.data_time is None or there.meta.data_time < time:
            self.world.hold(self.world.cluster.objects[PLACE].data, number, data_time=time)

    @rule(number=st.sampled_from(REMOTES))
    def finish(self, number: int) -> None:
        """As the daemon does with a marker of one mapping, a local object older than it put aside."""
        marker, generation = self.world.marker(), self.world.generation(number)
        if marker is None or marker.policies.get(generation) != 'propagate' or PLACE in self.world.cluster.objects:
            return
        bucket = self.world.remote_of(number).store.buckets['bucket']
        if 'o' in bucket:
            if not hides(marker.time, bucket['o'].meta):
                return
            del bucket['o']
        at = marked(RowTimes(marker.time, marker.time, marker.time), self.world.clock.now())
        rest = marker.policies.without([generation])
        if rest:
            self.world.markers.put(_env(), ACCOUNT, 'c', 'o', rest, at)
        else:
            self.world.markers.drop(_env(), ACCOUNT, 'c', 'o', at)

    @rule()
    def forget(self) -> None:
        """A week passes. What a mapping that propagates has not been told yet, the row would have told it by now."""
        cluster = self.world.cluster
        hidden = cluster.deleted.copy()
        cluster.reclaim()
        cluster.deleted.update({place: time for place, time in hidden.items() if place != PLACE})

    # -- what always holds -----------------------------------------------------------------

    @invariant()
    def what_is_shown_is_what_the_user_left(self) -> None:
        if hasattr(self, 'world'):
            self._mend()
            shown = self.world.shown()
            assert shown == (404 if self.expected is None else self.expected)

    def _mend(self) -> None:
        self.world.cluster.fault = lambda method, container, name: None
        for number in REMOTES:
            self.world.remote_of(number).errors = []
            self.world.remote_of(number).write_errors = []


def _env() -> dict[str, Any]:
    return dict(make_env({'swift.infocache': {}}))


Deletions.TestCase.settings = settings(max_examples=50, stateful_step_count=20)
TestDeletions = Deletions.TestCase
