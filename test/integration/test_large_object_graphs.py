"""Large objects that share segments, at a Swift that fails at any request: what is visible there is always whole.

Random versions of a few objects go to one container through the engine. Each
time one request is cut off, or everything from it on; then every object that a client
sees is read, and the work goes on, with a new provider where the process was killed.
"""
from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from swiftclient import ClientException, Connection

from s3_sync.clock import FakeClock
from s3_sync.config import Mapping, Remote, Secret
from s3_sync.engine.apply import Applier
from s3_sync.large_objects.model import Segment
from s3_sync.sync_swift import SyncSwift
from s3_sync.trial.swift_cluster import SwiftCluster
from s3_sync.types import ObjectRow
from test.fakes.large_source import MemoryLargeSource, Name, inline, segment, sub_slo
from test.fakes.source import FakeSource
from test.servers.fault_proxy import Answer, Fault, FaultProxy, LoseAnswer, ResetRequest

LOGGER = logging.getLogger('test.graphs')
LOGGER.setLevel(logging.CRITICAL)
USER, KEY = 'test2:tester2', 'testing2'
NAMES = ['a', 'b', 'ü/c']
SEGMENTS = 3
FAULTS: dict[str, Fault] = {'lost': LoseAnswer(), 'reset': ResetRequest(), 'busy': Answer(503)}
STORAGE = '/v1/AUTH_test2/'
"""Requests that count; those of a login do not."""

GIVEN_UP = (25, 25, 7, 25)
"""Of versions of one segment: the third one's manifest is refused, and the fourth comes before it is tried again."""


@dataclass(frozen=True)
class Step:
    """A new version of an object, and what becomes of its way to the remote."""

    name: str
    kind: str
    segments: list[tuple[int, bool]]
    """Which, and whether only a part of them."""
    changed: list[tuple[int, int]]
    """Segments that get new content first."""
    fault: str
    at: int
    """The request that is hit."""
    again: bool
    """Whether this version is tried again; otherwise the next one comes before that."""


steps = st.builds(
    Step, st.sampled_from(NAMES), st.sampled_from(['slo', 'slo', 'nested', 'nested', 'dlo', 'plain', 'delete']),
    st.lists(st.tuples(st.integers(0, SEGMENTS - 1), st.booleans()), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(0, SEGMENTS - 1), st.integers(0, 3)), max_size=2),
    st.sampled_from(['lost', 'reset', 'busy', 'killed', 'killed']), st.integers(1, 25), st.booleans())


class World:
    """The local objects, the remote, and what clients should see there."""

    def __init__(self, swift: SwiftCluster, far: Connection, proxy: FaultProxy) -> None:
        self.far, self.proxy = far, proxy
        self.bucket = f'graphs-{uuid.uuid4().hex[:8]}'
        far.put_container(self.bucket)
        self.mapping = Mapping.model_validate({
            'account': 'AUTH_a', 'container': 'c', 'remote': Remote.model_validate({
                'protocol': 'swift', 'endpoint': f'{proxy.url}/auth/v1.0', 'identity': USER, 'secret': Secret(KEY),
                'bucket': self.bucket})})
        self.clock = FakeClock(1_600_000_000.0)
        self.source = FakeSource()
        self.objects: dict[Name, bytes] = {('c_segments', f's/{n}'): bytes([97 + n]) * (n + 2) for n in range(SEGMENTS)}
        self.visible: dict[str, bytes | None] = {}
        """What each name is at the remote; None: it is not there."""
        self.left: set[str] = set()
        """What a killed process may have left behind."""
        self.open: dict[str, tuple[ObjectRow, bytes | None]] = {}
        """Versions that are not all at the remote yet."""
        self.provider: SyncSwift | None = None

    # -- versions ------------------------------------------------------------------------

    def version(self, step: Step) -> tuple[ObjectRow, bytes | None]:
        """A change at the source; the row that tells of it, and the new content."""
        self.clock.advance(1)
        for number, seed in step.changed:
            self.objects['c_segments', f's/{number}'] = bytes([65 + seed]) * (number + 2 + seed % 2)
        self.source.larges.pop(step.name, None)
        if step.kind == 'delete':
            return self.source.delete(step.name, self.clock.now()), None
        if step.kind == 'plain':
            data = str(self.clock.now()).encode()
            return self.source.put(step.name, data, self.clock.now()), data
        large = self.large(step)
        self.source.larges[step.name] = large
        return self.source.put(step.name, large.layout.manifest, self.clock.now(),
                               large_object=large.layout.kind), large.data

    def large(self, step: Step) -> MemoryLargeSource:
        if step.kind == 'dlo':
            prefix = ['s/', f's/{step.segments[0][0]}'][step.segments[0][1]]
            return MemoryLargeSource(self.objects, [
                segment(self.objects, *where) for where in sorted(self.objects) if where[1].startswith(prefix)],
                kind='dlo', prefix=f'c_segments/{prefix}')
        chosen = [self.entry(*one) for one in step.segments]
        if step.kind == 'nested':
            inner = sub_slo('c_segments', 'inner', chosen)
            chosen = [inner, inline(b'between'), sub_slo('elsewhere', 'outer', [inner, *chosen[:1]], first=1)]
        return MemoryLargeSource(self.objects, chosen)

    def entry(self, number: int, ranged: bool) -> Segment:
        return segment(self.objects, 'c_segments', f's/{number}', first=1 if ranged else 0)

    # -- sending -------------------------------------------------------------------------

    def send(self, row: ObjectRow) -> bool:
        """One try, as the daemon makes it."""
        if self.provider is None:
            self.provider = SyncSwift(self.mapping, max_connections=4)
        applier = Applier(self.mapping, self.source, self.provider, clock=self.clock, logger=LOGGER)
        outcome = applier.delete([row])[0] if row.deleted else applier.handle(row, 'look')
        assert outcome.kind != 'permanent' and outcome.reason != 'internal-error', outcome
        return outcome.finished

    def kill(self) -> None:
        if self.provider is not None:
            self.provider.close()
            self.provider = None

    def take(self, step: Step) -> None:
        row, data = self.version(step)
        before, used = self.visible.get(step.name), self.used(step.name)
        if step.fault == 'killed':
            self.proxy.fail(ResetRequest(), path=STORAGE, nth=step.at, times=None)
        else:
            self.proxy.fail(FAULTS[step.fault], path=STORAGE, nth=step.at)
        finished = self.send(row)
        self.proxy.clear()
        if step.fault == 'killed':
            self.kill()
            self.left |= used | self.unused()
        self.visible[step.name] = self.check(step.name, [data] if finished else [before, data], dlo=step.kind == 'dlo')
        self.open[step.name] = row, data
        if step.again:
            self.finish(step.name)

    def finish(self, name: str) -> None:
        row, data = self.open.pop(name)
        assert any(self.send(row) for _ in range(3)), f'{name!r} does not come to its end'
        self.visible[name] = self.check(name, [data])

    # -- what clients see ----------------------------------------------------------------

    def check(self, changing: str, contents: list[bytes | None], *, dlo: bool = False) -> bytes | None:
        """Everything visible is whole; what the changing object is now.

        ``dlo``: it is in a DLO's nature that it changes piece by piece.
        """
        now = None
        listed = {entry['name'] for entry in self.far.get_container(self.bucket)[1]}
        for name in NAMES:
            found = self.get(name) if name in listed else None
            if name != changing:
                assert found == self.visible.get(name), name
            else:
                assert found in contents or (dlo and found is not None), name
                now = found
        return now

    def get(self, name: str) -> bytes:
        try:
            return bytes(self.far.get_object(self.bucket, name)[1])
        except ClientException as error:
            raise AssertionError(f'{name!r} is visible, and cannot be read: {error}') from error

    def used(self, name: str, container: str = '') -> set[str]:
        """Everything that a remote object refers to."""
        container = container or self.bucket
        try:
            headers, body = self.far.get_object(container, name, query_string='multipart-manifest=get')
        except ClientException:
            return set()
        found = set()
        if headers.get('x-static-large-object') == 'True':
            for entry in json.loads(body):
                if 'name' in entry:
                    found |= {entry['name'], *self.used(*reversed(entry['name'][1:].split('/', 1)))}
        elif 'x-object-manifest' in headers:
            where, _, prefix = headers['x-object-manifest'].partition('/')
            found |= {f'/{where}/{entry["name"]}' for entry in self.far.get_container(where, prefix=prefix)[1]}
        return found

    def segments(self) -> set[str]:
        """All that lies beside the bucket."""
        containers = [entry['name'] for entry in self.far.get_account(prefix=f'{self.bucket}_')[1]]
        return {f'/{container}/{entry["name"]}' for container in containers
                for entry in self.far.get_container(container)[1]}

    def unused(self) -> set[str]:
        """Segments that no manifest refers to."""
        return self.segments() - set().union(*(self.used(name) for name in NAMES))

    def settle(self) -> None:
        """All is brought to its end. Then nothing stays that no manifest uses, but for what a killed process knew."""
        for name in list(self.open):
            self.finish(name)
        left = self.unused() - self.left
        assert not left, f'{sorted(left)} are left'


@pytest.fixture
def make(swift: SwiftCluster, fault_proxy: Callable[[str], FaultProxy]) -> Iterator[Callable[[], World]]:
    proxy = fault_proxy(swift.url)
    with closing(swift.client(user=USER, key=KEY)) as far:
        yield lambda: World(swift, far, proxy)


@settings(max_examples=20, deadline=None, phases=[Phase.explicit, Phase.generate],
          suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(steps, min_size=4, max_size=6))
@example([Step('a', 'slo', [(1, False)], [(1, number)], 'busy', at, False) for number, at in enumerate(GIVEN_UP)])
def test_what_is_visible_is_whole_after_any_cut(make: Callable[[], World], changes: list[Step]) -> None:
    world = make()
    try:
        for step in changes:
            world.take(step)
        world.settle()
    finally:
        world.kill()
