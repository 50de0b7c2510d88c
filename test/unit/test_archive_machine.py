"""Whatever users, faults and crashes do to an archive, every object that somebody expects can be read.

One account in memory with manifests that share segments, lie in one another
and are restored; one or two nodes whose daemons archive it, killed before or after
anything that has an effect, with users' changes in between.
"""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from swift.common.utils import Timestamp

from s3_sync.base_sync import BaseSync
from s3_sync.clock import FakeClock
from s3_sync.config import Mapping, Remote, Secret
from s3_sync.errors import ConnectionFailed, SourceUnavailable, Throttled
from s3_sync.large_objects.manifest import parse_manifest, slo_etag
from s3_sync.large_objects.model import LargeSource, Segment
from s3_sync.local.remove import DAY_SECONDS
from s3_sync.local.versions import RESTORED_FROM_HEADER, RESTORED_HEADER
from s3_sync.local.wanted import SLO_ETAG_HEADER
from s3_sync.providers.memory import MemoryStore, MemorySync, StoredObject
from s3_sync.streams import Body
from s3_sync.timestamps import RowTimes, is_ours, marked
from s3_sync.types import ObjectMeta, PutResult
from test.fakes.faulty import Fault, FaultySync
from test.fakes.large_source import inline, md5
from test.fakes.memory_daemon import Killed, MemoryDaemon
from test.fakes.memory_swift import SLO_SIZE_HEADER, Answer, Broken, MemoryProxy, MemorySwift, Path

T = TypeVar('T')
GRACE = 3600.0
RECLAIM_AGE = DAY_SECONDS + 20_000
"""Of objects older than the 20,000 seconds no tombstone stays."""
CONTAINERS = ('c', 'c_segments', 'd')
MAPPINGS: dict[str, list[tuple[str, bool]]] = {
    'one': [('c', False)],
    'two': [('c', False), ('c_segments', False)],
    'account': [('/*', False)],
    'peer': [('c', False), ('/*', True)],
}
"""Containers and whether they are only copied (``retain_local``)."""
SEGMENT_CONTAINERS = {'one': ['c_segments'], 'two': ['c_segments'], 'account': list(CONTAINERS),
                      'peer': ['c_segments']}
"""Where users keep segments. In an archived container with another name they would not last (semantics 2.3)."""
NAMES = ['a', 'm']
SEGMENTS = ['s/1', 's/2']
CONTENTS = [b'one', b'twotwo']
FAULTS = [Fault(ConnectionFailed('reset')), Fault(ConnectionFailed('answer lost'), after=True),
          Fault(Throttled('slow down', retry_after=7))]

LOGGER = logging.getLogger('test.archive')
LOGGER.propagate = False


class Unexpected(logging.Handler):
    """Exceptions that nobody foresaw are logged, and the row is tried again: here they are failures."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.seen.append(record.exc_info[1])


UNEXPECTED = Unexpected()
LOGGER.addHandler(UNEXPECTED)

# -- what users do --------------------------------------------------------------------------

places = st.integers(0, 2)
names = st.sampled_from(NAMES)
contents = st.sampled_from(CONTENTS)
picks = st.integers(0, 30)
Op = tuple[Any, ...]
ops: st.SearchStrategy[Op] = st.one_of(
    st.tuples(st.just('put'), places, names, st.sampled_from([*CONTENTS, b''])),
    st.tuples(st.just('put_segment'), places, st.sampled_from(SEGMENTS), contents),
    st.tuples(st.just('put_slo'), places, names, st.lists(st.tuples(picks, st.booleans()), min_size=1, max_size=3),
              st.booleans()),
    st.tuples(st.just('put_dlo'), places, names, places, st.sampled_from(['s/', 's/1', 's/2'])),
    st.tuples(st.just('post'), picks, st.sampled_from(['x', 'é'])),
    st.tuples(st.just('delete'), picks, st.booleans()),
    st.tuples(st.just('restore'), picks))


@dataclass
class Expected:
    """A version that a user expects to find."""

    data: bytes
    metadata: list[dict[str, str]]
    """The user's; several where a POST came so late that it may be lost."""
    prefix: Path | None = None
    """Of a DLO."""


@dataclass
class Trouble:
    """What goes wrong in one step of a daemon: numbers are counted over everything that has an effect."""

    faults: list[Fault | None] = field(default_factory=list)
    kill_at: int = -1
    change_at: int = -1
    change: Op | None = None
    late: str = ''
    """What a user does to an object that is about to be deleted here."""
    damaged: int = -1
    """Which copy is not what the remote said that it stored."""
    paused: bool = False
    """All mappings but the first."""


troubles = st.builds(Trouble) | st.builds(Trouble, st.lists(st.sampled_from([None, *FAULTS]), max_size=4),
                     st.one_of(st.just(-1), st.integers(0, 40)), st.integers(0, 40), st.one_of(st.none(), ops),
                     st.sampled_from(['', 'put', 'post']), st.integers(-1, 1), st.booleans())


ROUND = ('poll', 'work', 'retry', 'work', 'tick', 'work', 'tick', 'work')


class GuardedMemory(MemorySync):
    """A remote that knows what must never be asked of it."""

    expected: Callable[[str], bool]
    damages: Callable[[], bool]

    def upload_object(self, body: Body, meta: ObjectMeta, **kwargs: Any) -> PutResult:
        return self.perhaps_damaged(meta.name, super().upload_object(body, meta, **kwargs))

    def upload_large_object(self, large: LargeSource, meta: ObjectMeta, **kwargs: Any) -> PutResult:
        return self.perhaps_damaged(meta.name, super().upload_large_object(large, meta, **kwargs))

    def perhaps_damaged(self, name: str, told: PutResult) -> PutResult:
        stored = self.store.buckets[self.bucket][name]
        if self.damages():
            stored.data, stored.content = stored.data[::-1] + b'?', ''
            stored.meta = replace(stored.meta, etag=md5(stored.data), size=len(stored.data))
        return told

    def delete_object(self, key: str, **kwargs: Any) -> bool:
        assert not self.expected(key), f'{self.bucket}/{key} is deleted at the remote, and nobody asked for it'
        return super().delete_object(key, **kwargs)


class World:
    """The account, its remotes, its nodes, and what users know."""

    def __init__(self, variant: str, nodes: int) -> None:
        UNEXPECTED.seen.clear()
        self.variant = variant
        self.clock = FakeClock(1_700_000_000.0)
        self.swift = MemorySwift(CONTAINERS, self.clock, reclaim_age=RECLAIM_AGE, told=self.told)
        self.proxy = MemoryProxy(self.swift, self.asked)
        self.restored: dict[Path, float] = {}
        self.late_posts: set[Path] = set()
        """Objects with a POST that our delete may have taken along: the row keeps its time, and a restored file, which
        is older than that, looks like a replica that is behind. Those are not restored here."""
        self.store = MemoryStore()
        self.mappings = [mapping(container, retain_local, number)
                         for number, (container, retain_local) in enumerate(MAPPINGS[variant])]
        self.providers: dict[str, FaultySync] = {}
        self.trouble = Trouble()
        self.steps = -1
        self.crash: BaseException | None = None
        self.expected: dict[Path, Expected] = {}
        self.written: dict[Path, float] = {}
        """When users wrote what is there."""
        self.baseline: dict[Path, bytes | None] = {}
        """What was readable here after the last change of a user; None: the user broke it."""
        self.etags: dict[Path, str] = {}
        """Of what is stored, at that time."""
        self.contents: dict[Path, set[bytes]] = {}
        """Of DLOs: all that they came to since the daemon's step began."""
        self.records: dict[Path, set[tuple[bytes, frozenset[tuple[Path, str]]]]] = {}
        """What each manifest ever came to, and named."""
        self.named: dict[Path, set[tuple[Path, str]]] = {}
        """What the latest version of each names, or named when it was here."""
        self.archived_at: dict[Path, float] = {}
        self.history: list[tuple[str, Any]] = []
        self.nodes: list[MemoryDaemon] = []
        for index in range(nodes):
            self.nodes.append(MemoryDaemon(index, nodes, self.mappings, self.swift, self.proxy, self.provider,
                                           reclaim_age=RECLAIM_AGE, clock=self.clock, logger=LOGGER, step=self.step))

    # -- wiring --------------------------------------------------------------------------

    def provider(self, mapping: Mapping) -> BaseSync:
        bucket = bucket_of(mapping, mapping.container)
        if bucket not in self.providers:
            memory = GuardedMemory(self.store, bucket=bucket, clock=self.clock)
            memory.expected = lambda key: (mapping.container, key) in self.expected and (
                (mapping.container, key) not in self.swift.files)
            memory.damages = lambda: not mapping.retain_local and self.damages()
            self.providers[bucket] = FaultySync(memory, self.fault)
        return self.providers[bucket]

    def damages(self) -> bool:
        self.trouble.damaged -= 1
        return self.trouble.damaged == -1

    def fault(self, operation: str, number: int) -> Fault | None:
        self.step()
        fault = self.trouble.faults.pop(0) if self.trouble.faults else None
        return fault if operation != 'list_objects' else None

    def asked(self, method: str, where: Sequence[str], call: Callable[[], Answer]) -> Answer:
        """The proxy application gets a request."""
        if method != 'DELETE':
            self.step(kill=False)  # sweeps look in threads of their own, and nothing happens there
            return call()
        self.step()
        if self.trouble.late:
            late, self.trouble.late = self.trouble.late, ''
            path = (where[0], where[1])
            self.checked(lambda: self.act(('put_at', path, b'late') if late == 'put' else ('post_at', path, 'late')))
        fault = self.trouble.faults.pop(0) if self.trouble.faults else None
        if fault is not None and not fault.after:
            raise SourceUnavailable('503')
        answer = call()
        self.checked(self.check)
        self.step()
        if fault is not None:
            raise SourceUnavailable('broke off')
        return answer

    def step(self, *, kill: bool = True) -> None:
        """Something is about to happen, or just has."""
        if self.steps < 0:
            return
        self.steps += 1
        if self.trouble.change is not None and self.steps > self.trouble.change_at:
            change, self.trouble.change = self.trouble.change, None
            self.checked(lambda: self.act(change))
        if kill and (self.crash or 0 <= self.trouble.kill_at < self.steps):
            self.trouble.kill_at = -1
            raise Killed

    def checked(self, call: Callable[[], object]) -> None:
        """Failures of ours are not the daemon's to handle."""
        try:
            call()
        except Exception as error:
            self.crash = self.crash or error

    def told(self, container: str, row: Any, everywhere: bool) -> None:
        self.history.append((container, row))
        for node in self.nodes if everywhere else self.nodes[:1]:
            node.learn(container, row)

    def replicate(self) -> None:
        for node in self.nodes:
            for container, row in self.history:
                node.learn(container, row)
        self.history.clear()

    def run(self, node: int, parts: Iterable[str], trouble: Trouble) -> None:
        """One step of a daemon."""
        daemon = self.nodes[node % len(self.nodes)]
        for mapping in self.mappings[1:]:
            daemon.states[mapping.generation].paused = trouble.paused
        self.trouble, self.steps = trouble, 0
        self.rebase()
        self.contents = {path: {expected.data} for path, expected in self.expected.items() if expected.prefix}
        try:
            for part in parts:
                getattr(daemon, part)()
        except Killed:
            daemon.kill()
        finally:
            self.trouble, self.steps = Trouble(), -1
        if self.crash is None:
            self.checked(self.check)
        self.contents = {}
        if self.crash is not None:
            raise self.crash
        assert not UNEXPECTED.seen, UNEXPECTED.seen

    # -- what is where -------------------------------------------------------------------

    def mapped(self, container: str, *, archives: bool = False) -> list[Mapping]:
        return [m for m in self.mappings if (m.all_containers or m.container == container)
                and not (archives and m.retain_local)]

    def remote(self, mapping: Mapping, path: Path) -> StoredObject | None:
        return self.store.buckets.get(bucket_of(mapping, path[0]), {}).get(path[1])

    def local(self, path: Path) -> bytes | None:
        """None when it is not there, or not to be read."""
        try:
            return self.swift.read(path)
        except Broken:
            return None

    def waits(self, container: str) -> bool:
        """Whether objects of this container may be segments, and stay for their grace."""
        return self.variant == 'account' or container == 'c_segments'

    # -- what must hold ------------------------------------------------------------------

    def rebase(self) -> None:
        """Users know again what they see."""
        self.baseline = {path: self.local(path) for path in self.swift.files}
        self.etags = {path: file.etag for path, file in self.swift.files.items()}
        for path, data in self.baseline.items():
            expected = self.expected.get(path)
            assert expected is not None, f'{path} came back'
            if data is None:
                continue
            if expected.prefix is not None:
                expected.data = data
                self.contents.get(path, set()).add(data)
            self.named[path] = self.swift.named(path)
            self.records.setdefault(path, set()).add((data, frozenset(self.named[path])))

    def check(self) -> None:
        """After anything that the daemon did."""
        for path, before in self.baseline.items():
            if path not in self.swift.files:
                self.check_gone(path)
            elif before is not None:
                assert self.local(path) == before, f'{path} was {before!r}, and is {self.local(path)!r}'
        assert self.swift.files.keys() <= self.baseline.keys()
        for path, expected in self.expected.items():
            if path not in self.swift.files:
                self.check_archived(path, expected)

    def check_gone(self, path: Path) -> None:
        if path not in self.expected:
            return
        self.archived_at.setdefault(path, self.clock.now())
        restored = self.restored.pop(path, None)
        assert restored is None or self.clock.now() - restored >= DAY_SECONDS, f'{path} was just restored, and is gone'
        if self.waits(path[0]):
            age = self.clock.now() - self.written[path]
            assert age >= GRACE, f'{path} was written {age} seconds ago, and is gone'
        if not self.mapped(path[0]):
            holders = [owner for owner, records in self.records.items() for data, named in records
                       if (path, self.etags[path]) in named and self.is_at_remotes(owner, data)]
            assert holders, f'{path} is gone, and no manifest that is at the remote has it'
            del self.expected[path]

    def check_archived(self, path: Path, expected: Expected) -> None:
        found = [stored.data for m in self.mapped(path[0]) if (stored := self.remote(m, path)) is not None]
        assert len(found) == len(self.mapped(path[0])) > 0, f'{path} is neither here nor at every remote'
        one_of = self.contents.get(path) or {expected.data}
        assert set(found) <= one_of, f'{path}: {found} at the remotes, not {one_of}'
        expected.data = found[0]

    def is_at_remotes(self, path: Path, data: bytes) -> bool:
        stored = [self.remote(m, path) for m in self.mapped(path[0], archives=True)]
        return bool(stored) and all(one is not None and one.data == data for one in stored)

    # -- users ---------------------------------------------------------------------------

    def act(self, op: Op) -> None:
        self.check()
        self.clock.advance(1)
        getattr(self, op[0])(*op[1:])
        self.rebase()

    @property
    def now(self) -> Timestamp:
        return Timestamp(self.clock.now())

    def put(self, place: int, name: str, data: bytes) -> None:
        self.put_at((['c', 'd'][place % 2], name), data)

    def put_segment(self, place: int, name: str, data: bytes) -> None:
        where = SEGMENT_CONTAINERS[self.variant]
        self.put_at((where[place % len(where)], name), data)

    def put_at(self, path: Path, data: bytes) -> None:
        assert self.swift.put(path, data, self.now) == 201
        self.wrote(path, data)

    def wrote(self, path: Path, data: bytes, prefix: Path | None = None) -> None:
        self.expected[path] = Expected(data, [{}], prefix)
        self.written[path] = self.clock.now()
        self.archived_at.pop(path, None)
        self.restored.pop(path, None)
        self.late_posts.discard(path)

    def put_slo(self, place: int, name: str, chosen: list[tuple[int, bool]], with_inline: bool) -> None:
        path = (self.manifest_container(place), name)
        free = [p for p in sorted(self.swift.files) if self.may_be_named(p) and p != path
                and self.swift.files[p].prefix is None and self.local(p)
                and path not in {named for named, _ in self.swift.named(p)} and self.depth(p) < 3]
        if not free:
            return
        segments = [self.some_of(free[number % len(free)], ranged=ranged) for number, ranged in chosen]
        if with_inline:
            segments.append(inline(b'i'))
        assert self.swift.put_slo(path, segments, self.now) == 201
        self.wrote(path, self.swift.read(path) or b'')

    def upload(self, place: int, name: str, segments: list[tuple[int, str, bytes, bool]]) -> None:
        """Segments and then their manifest, as clients do it."""
        where = SEGMENT_CONTAINERS[self.variant]
        path = (self.manifest_container(place), name)
        chosen = {(where[number % len(where)], segment): (data, ranged) for number, segment, data, ranged in segments}
        for segment, (data, _) in chosen.items():
            self.act(('put_at', segment, data))
        self.act(('put_manifest', path, [(segment, ranged) for segment, (_, ranged) in chosen.items()]))

    def put_manifest(self, path: Path, chosen: list[tuple[Path, bool]]) -> None:
        segments = [self.some_of(segment, ranged=ranged) for segment, ranged in chosen]
        assert self.swift.put_slo(path, segments, self.now) == 201, 'a segment of this very upload is not there'
        self.wrote(path, self.swift.read(path) or b'')

    def put_dlo(self, place: int, name: str, segments: int, prefix: str) -> None:
        path, where = (self.manifest_container(place), name), SEGMENT_CONTAINERS[self.variant]
        below = where[segments % len(where)], prefix
        members = self.swift.members(*below)
        if not all(self.may_be_named(p) and not self.swift.files[p].slo_etag for p in members):
            return
        assert self.swift.put(path, b'', self.now, {'x-object-manifest': '/'.join(below)}) == 201
        self.wrote(path, self.swift.read(path) or b'', below)

    def manifest_container(self, place: int) -> str:
        return ['c', 'd', 'c_segments'][place]

    def some_of(self, path: Path, *, ranged: bool) -> Segment:
        size = len(self.swift.read(path) or b'')
        return self.swift.entry(path, 1, size - 1) if ranged and size > 1 else self.swift.entry(path)

    def may_be_named(self, path: Path) -> bool:
        """Users put manifests soon after their segments, or refer to what is referred to."""
        if path[0] not in SEGMENT_CONTAINERS[self.variant]:
            return False
        young = self.clock.now() - self.written[path] < GRACE - 100
        return young or any(path in {named for named, _ in self.swift.named(p)} for p in self.swift.files)

    def depth(self, path: Path) -> int:
        file = self.swift.files.get(path)
        if file is None or not file.slo_etag:
            return 0
        return 1 + max((self.depth((s.container, s.name)) for s in parse_manifest(file.data) if s.data is None),
                       default=0)

    def post(self, number: int, value: str) -> None:
        live = sorted(self.swift.files)
        if live:
            self.post_at(live[number % len(live)], value)

    def post_at(self, path: Path, value: str) -> None:
        assert self.swift.post(path, self.now, {'k': value}) == 202
        expected = self.expected[path]
        if self.steps < 0:
            expected.metadata = []
        else:
            self.late_posts.add(path)
        expected.metadata.append({'k': value})

    def delete(self, number: int, with_segments: bool) -> None:
        known = sorted(self.expected)
        manifests = [path for path in known if self.named.get(path)]
        known = manifests if number % 2 and manifests else known
        if not known:
            return
        path = known[number % len(known)]
        named = {named for named, _ in self.swift.named(path)} if with_segments else set()
        for one in (path, *named):
            self.swift.delete(one, self.now)
            self.expected.pop(one, None)
            self.restored.pop(one, None)
            self.archived_at.pop(one, None)

    # -- restores (semantics 3) ----------------------------------------------------------

    def restore(self, number: int) -> None:
        gone = sorted(path for path in self.expected
                      if path not in self.swift.files and self.mapped(path[0], archives=True))
        if gone:
            self.bring_back(gone[number % len(gone)])

    def bring_back(self, path: Path) -> bool:
        """An archived object with what it needs; False where that cannot be had."""
        archive = self.mapped(path[0], archives=True)[0]
        stored = self.remote(archive, path)
        assert stored is not None
        manifest = self.store.manifests.get((bucket_of(archive, path[0]), path[1]), b'')
        segments = parse_manifest(manifest) if manifest else ()
        if not self.segments_back(segments, stored):
            return False
        headers = {f'x-object-meta-{k}': v for k, v in stored.meta.user_metadata.items()}
        prefix = self.expected[path].prefix
        if prefix is not None:
            return self.put_back(path, b'', stored, archive, {**headers, 'x-object-manifest': '/'.join(prefix)})
        if not manifest:
            return self.put_back(path, stored.data, stored, archive, headers)
        return self.put_back(path, manifest, stored, archive, {
            **headers, 'x-static-large-object': 'True', SLO_ETAG_HEADER: slo_etag(segments),
            SLO_SIZE_HEADER: str(stored.meta.size)})

    def segments_back(self, segments: Iterable[Segment], stored: StoredObject) -> bool:
        """All of them, also those that are still here: a sweep may just have found that nothing refers to them."""
        at = 0
        for segment in segments:
            path, data = (segment.container, segment.name), stored.data[at:at + segment.length]
            at += segment.length
            if segment.data is None and not self.segment_back(path, segment, data, stored):
                return False
        return True

    def segment_back(self, path: Path, segment: Segment, data: bytes, stored: StoredObject) -> bool:
        file = self.swift.files.get(path)
        if file is not None:
            if segment.etag not in (file.etag, file.slo_etag):
                return False
            children = parse_manifest(file.data) if file.slo_etag else ()
            return self.segments_back(children, stored) and self.touch(path)
        if self.mapped(path[0], archives=True):
            if path not in self.expected or not self.bring_back(path):
                return False
        elif segment.ranged or segment.sub_slo or not self.put_back(path, data, stored, None, {}):
            return False
        else:
            self.expected[path] = Expected(data, [{}])
            self.written.setdefault(path, 0.0)
        file = self.swift.files[path]
        return segment.etag in (file.etag, file.slo_etag)

    def touch(self, path: Path) -> bool:
        """Restored where it is."""
        file = self.swift.files[path]
        at = marked(file.times, self.clock.now())
        assert self.swift.put(path, file.data, at, {**file.headers, RESTORED_HEADER: self.now.normal}) == 201
        self.restored[path] = self.clock.now()
        return True

    def put_back(self, path: Path, data: bytes, stored: StoredObject, archive: Mapping | None,
                 headers: dict[str, str]) -> bool:
        """At the copy's newest time with our marker; what a user deleted meanwhile is not restored."""
        assert stored.meta.data_time is not None
        if path in self.late_posts:
            return False
        tombstone = self.swift.tombstones.get(path)
        newest = max(stored.meta.data_time, stored.meta.meta_time or stored.meta.data_time)
        if tombstone is not None:
            if not is_ours(tombstone):
                return False
            newest = max(newest, tombstone)
        generation = {RESTORED_FROM_HEADER: archive.generation} if archive is not None else {}
        at = marked(RowTimes(newest, newest, newest), self.clock.now())
        assert self.swift.put(path, data, at, {**headers, RESTORED_HEADER: self.now.normal, **generation}) == 201
        self.archived_at.pop(path, None)
        self.restored[path] = self.clock.now()
        return True

    # -- the end -------------------------------------------------------------------------

    def settle(self) -> None:
        """No more trouble, and as much time as is needed."""
        for _ in range(12):
            before = self.state()
            self.replicate()
            self.clock.advance(90_000)
            for number in range(len(self.nodes)):
                self.run(number, ROUND, Trouble())
                self.run(number, ROUND, Trouble())
            if self.state() == before:
                break
        self.replicate()
        self.check_settled()

    def state(self) -> object:
        """What tells whether anything still happens."""
        return ({path: file.times for path, file in self.swift.files.items()},
                {bucket: {name: stored.meta for name, stored in objects.items()}
                 for bucket, objects in self.store.buckets.items()},
                [{(g, w.container, w.row.name) for g in n.mappings for w in n.ledger.failures(g, kind='deferred')}
                 | {(w.generation, w.container, w.row.name) for w in n.ledger.failures()} for n in self.nodes])

    def check_settled(self) -> None:
        held = {named for path in self.swift.files for named, _ in self.swift.named(path)}
        stuck = {path for path in self.swift.files if self.local(path) is None}
        for path in stuck:
            held |= self.names_of(path)
        for path, expected in self.expected.items():
            for m in self.mapped(path[0]):
                if path not in stuck and not (m.retain_local and self.is_live_dlo(path)):
                    stored = self.remote(m, path)
                    assert stored is not None and stored.data == expected.data, f'{path} is not at {m.name}'
                    assert dict(stored.meta.user_metadata) in expected.metadata, f'{path}: other metadata'
        for bucket, objects in self.store.buckets.items():
            for name in objects:
                assert (bucket.rpartition('/')[2], name) in self.expected, f'{bucket}/{name} was deleted by its user'
        stuck |= {path for path in self.swift.files if self.expected[path].prefix and not self.expected[path].data}
        if self.variant == 'peer':
            # Segments that came later touch no row: the mapping that only copies never brings them, and is waited for.
            stuck |= {path for path in self.swift.files if self.expected[path].prefix}
        for path in self.swift.files:
            if self.mapped(path[0], archives=True) and path not in stuck:
                assert self.waits(path[0]) and path in held, f'{path} is still here'
        self.check_ledgers(held, stuck)
        self.check_segments(held | stuck)

    def is_live_dlo(self, path: Path) -> bool:
        """What one comes to may change without a row that would tell a mapping that only copies."""
        return path in self.swift.files and self.swift.files[path].prefix is not None

    def below_dlo(self, container: str, name: str) -> bool:
        """Whether it would belong to a DLO, if it were there."""
        prefixes = [file.prefix for file in self.swift.files.values() if file.prefix is not None]
        return any(container == where and name.startswith(prefix) for where, prefix in prefixes)

    def names_of(self, path: Path) -> set[Path]:
        """Also what is not there."""
        file = self.swift.files[path]
        return {(s.container, s.name) for s in parse_manifest(file.data)} if file.slo_etag else set()

    def check_ledgers(self, held: set[Path], stuck: set[Path]) -> None:
        for node in self.nodes:
            for work in node.ledger.failures():
                assert (work.container, work.row.name) in stuck, work
            for generation in node.mappings:
                for kind in ('deferred',):
                    for work in node.ledger.failures(generation, kind=kind):
                        assert (work.container, work.row.name) in stuck, work
                for container, name in node.ledger.sweep_candidates(generation, self.clock.now() + 1e9, 1000):
                    assert (container, name) in held | stuck or self.below_dlo(container, name), (
                        f'{container}/{name} waits to be removed')
                assert not node.ledger.due_removals(generation, self.clock.now() + 1e9, 1)

    def check_segments(self, held: set[Path]) -> None:
        """Segments of archived manifests are gone."""
        for owner, at in self.archived_at.items():
            for path, etag in self.named.get(owner, set()):
                file = self.swift.files.get(path)
                if file is not None and file.etag == etag and self.written[path] <= at:
                    assert path in held, f'{path} is still here, and {owner} is archived'


def bucket_of(mapping: Mapping, container: str) -> str:
    return f'{mapping.remote.bucket}/{container}'


def mapping(container: str, retain_local: bool, number: int) -> Mapping:
    return Mapping.model_validate({
        'account': 'AUTH_a', 'container': container, 'retain_local': retain_local, 'segments_grace': GRACE,
        'restore_days': 1, 'remote': Remote.model_validate(
            {'aws_bucket': f'b{number}', 'aws_identity': 'i', 'aws_secret': Secret('s')})})


parts = st.sampled_from([('poll',), ('poll', 'work'), ('work',), ('tick', 'work'), ROUND, ROUND])


class ArchiveMachine(RuleBasedStateMachine):
    @initialize(variant=st.sampled_from(list(MAPPINGS)), nodes=st.integers(1, 2))
    def begin(self, variant: str, nodes: int) -> None:
        self.failed = False
        self.world = World(variant, nodes)

    @rule(op=ops)
    def user(self, op: Op) -> None:
        self.guarded(lambda: self.world.act(op))

    @rule(place=places, name=names, segments=st.lists(st.tuples(places, st.sampled_from(SEGMENTS), contents,
                                                                st.booleans()), min_size=1, max_size=3))
    def upload(self, place: int, name: str, segments: list[tuple[int, str, bytes, bool]]) -> None:
        self.guarded(lambda: self.world.upload(place, name, segments))

    @rule(seconds=st.sampled_from([10, 4000, 30_000, 200_000]), node=st.integers(0, 1), trouble=troubles, parts=parts)
    def time_passes(self, seconds: float, node: int, trouble: Trouble, parts: tuple[str, ...]) -> None:
        self.world.replicate()
        self.world.clock.advance(seconds)
        self.world.swift.reclaim()
        self.guarded(lambda: self.world.run(node, parts, trouble))

    @rule(node=st.integers(0, 1), trouble=troubles, parts=parts)
    def daemon(self, node: int, trouble: Trouble, parts: tuple[str, ...]) -> None:
        self.guarded(lambda: self.world.run(node, parts, trouble))

    def guarded(self, call: Callable[[], object]) -> None:
        try:
            call()
        except BaseException:
            self.failed = True
            raise

    def teardown(self) -> None:
        if not hasattr(self, 'world'):
            return
        try:
            if not self.failed:
                self.world.settle()
        finally:
            for node in self.world.nodes:
                node.close()


TestArchiveMachine = ArchiveMachine.TestCase
TestArchiveMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
