"""One stream for a client and a restore: neither spoils the other."""
from __future__ import annotations

from collections.abc import Iterator

import pytest

from s3_sync.clock import FakeClock, SystemClock
from s3_sync.concurrency import Event, sleep, spawn
from s3_sync.errors import ConnectionFailed
from s3_sync.restoring.plan import RestorePlan
from s3_sync.restoring.sources import Source
from s3_sync.restoring.tee import GONE, LATER, REMOTE, SLOW, STALLED, Tee
from s3_sync.restoring.writer import Outcome, Writer
from test.unit.restoring.cluster import Cluster
from test.unit.restoring.objects import NOW, chunks, layout, plan, some_bytes, version, whole

DATA = some_bytes(900)
OBJECT = ('c', 'o')
CHUNK = 64


class Remote:
    """The remote's body; ``error`` comes after all chunks."""

    def __init__(self, data: bytes = DATA, error: Exception | None = None) -> None:
        self._chunks = chunks(data, CHUNK)
        self._error = error
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        self.closed += 1


class Stage:
    """A tee in front of a cluster in memory."""

    def __init__(self, made: RestorePlan | None = None, remote: Remote | None = None, **options: float) -> None:
        self.cluster = Cluster()
        self.ended: list[Outcome] = []
        self.remote = remote or Remote()
        self.made = made or plan(version(DATA))
        self.gate: Event | None = None
        """The cluster answers once this is sent."""
        self.cluster.fault = lambda *_: self.gate.wait() if self.gate is not None else None
        writer = Writer(self.cluster, clock=FakeClock(NOW))
        self.tee = Tee(self.remote, self.made.size, lambda source: writer.run(self.made, source), self.ended.append,
                       clock=SystemClock(), **options)  # type: ignore[arg-type]

    def stored(self) -> bytes | None:
        return self.cluster.read(OBJECT) if OBJECT in self.cluster.objects else None


def test_client_and_cluster_get_the_same_bytes() -> None:
    stage = Stage()
    assert b''.join(stage.tee) == DATA
    stage.tee.close()
    assert stage.tee.wait().kind == 'restored'
    assert stage.stored() == DATA
    assert stage.ended == [stage.tee.wait()]
    assert stage.remote.closed == 1


def test_a_server_that_stops_at_the_last_byte_restores_as_well() -> None:
    stage = Stage()
    got = b''
    while len(got) < len(DATA):
        got += next(stage.tee)
    stage.tee.close()
    assert stage.tee.wait().kind == 'restored'
    assert stage.stored() == DATA


def test_an_empty_object_is_restored_without_a_byte() -> None:
    stage = Stage(plan(version(b'')), Remote(b''))
    assert list(stage.tee) == []
    stage.tee.close()
    assert stage.tee.wait().kind == 'restored'
    assert stage.stored() == b''


def test_a_large_object_is_cut_into_its_segments_on_the_way() -> None:
    parts = [DATA[:300], DATA[300:550], DATA[550:]]
    made_of = layout([whole('segs', str(n), part) for n, part in enumerate(parts)])
    stage = Stage(plan(version(DATA, large_object='slo', etag=made_of.etag), made_of))
    assert b''.join(stage.tee) == DATA
    assert stage.tee.wait().kind == 'restored'
    assert stage.stored() == DATA
    assert stage.cluster.objects['segs', '1'].data == parts[1]


@pytest.mark.parametrize('answer', [413, 507, 503, RuntimeError('x')])
def test_a_restore_that_fails_takes_nothing_from_the_client(answer: object) -> None:
    stage = Stage(queue_bytes=100)
    stage.cluster.fault = lambda *_: answer
    assert b''.join(stage.tee) == DATA
    assert stage.tee.wait().kind == 'failed'
    assert stage.stored() is None


def test_a_restore_that_raises_takes_nothing_from_the_client() -> None:
    ended: list[Outcome] = []

    def restore(source: Source) -> Outcome:
        raise RuntimeError('broken')
    tee = Tee(Remote(), len(DATA), restore, ended.append, clock=SystemClock(), logger=_silent())
    assert b''.join(tee) == DATA
    tee.wait()
    assert [outcome.kind for outcome in ended] == ['failed']


def test_a_restore_that_stalls_is_given_up_and_the_client_gets_all() -> None:
    """The predecessor's download stood still for good after 15 chunks (its defect 6)."""
    stage = Stage(queue_bytes=100, patience_seconds=0.01)
    stage.gate = Event()
    assert b''.join(stage.tee) == DATA
    stage.gate.send()
    outcome = stage.tee.wait()
    assert (outcome.kind, outcome.reason) == ('failed', STALLED)
    assert STALLED in LATER
    assert stage.stored() is None


def test_all_waits_of_a_download_for_its_restore_have_one_limit() -> None:
    """A restore that is always a little slower may not add up."""
    clock = FakeClock()
    tee = Tee(Remote(), len(DATA), _reads_with(clock, 0.4), lambda outcome: None, clock=clock, queue_bytes=CHUNK,
              patience_seconds=1.0)
    assert b''.join(tee) == DATA
    assert tee.wait().reason == STALLED


def _reads_with(clock: FakeClock, seconds: float) -> object:
    def restore(source: Source) -> Outcome:
        try:
            for _ in source.read(0, len(DATA)):
                clock.advance(seconds)
        except Exception as error:
            return Outcome('failed', str(getattr(error, 'reason', '')))
        return Outcome('restored')
    return restore


def test_no_more_than_the_queue_is_kept_in_memory() -> None:
    stage = Stage(queue_bytes=200, patience_seconds=0.01)
    stage.gate = Event()
    for _ in range(4):
        next(stage.tee)
    assert stage.tee._feed._waiting <= 200
    stage.gate.send()
    stage.tee.close()


def test_a_client_that_goes_ends_the_restore_at_once() -> None:
    stage = Stage()
    next(stage.tee)
    sleep(0)  # Swift has begun to read
    stage.tee.close()
    outcome = stage.tee.wait()
    assert (outcome.kind, outcome.reason) == ('failed', GONE)
    assert stage.stored() is None
    assert stage.remote.closed == 1


def test_a_client_that_goes_in_a_large_object_leaves_no_segments() -> None:
    stage = Stage(plan(version(DATA + DATA)), Remote(DATA + DATA))
    for _ in range(20):
        next(stage.tee)
        sleep(0)
    assert stage.cluster.objects, 'or this test shows nothing'
    stage.tee.close()
    stage.tee.wait()
    assert stage.cluster.objects == {}


def test_a_client_that_stays_away_ends_the_restore_and_still_gets_all() -> None:
    stage = Stage(absence_seconds=0.02)
    got = next(stage.tee)
    outcome = stage.tee.wait()
    assert (outcome.kind, outcome.reason) == ('failed', SLOW)
    assert got + b''.join(stage.tee) == DATA
    assert stage.stored() is None


def test_a_slow_remote_is_not_the_client_s_absence() -> None:
    class Slow(Remote):
        def __iter__(self) -> Iterator[bytes]:
            for chunk in chunks(DATA, 450):
                sleep(0.05)
                yield chunk
    stage = Stage(remote=Slow(), absence_seconds=0.02)
    assert b''.join(stage.tee) == DATA
    assert stage.tee.wait().kind == 'restored'


@pytest.mark.parametrize('at', [0, 100, len(DATA) - 1])
def test_an_error_of_the_remote_reaches_the_client_and_stores_nothing(at: int) -> None:
    stage = Stage(remote=Remote(DATA[:at], ConnectionFailed('reset')))
    got = b''
    with pytest.raises(ConnectionFailed):
        for chunk in stage.tee:
            got += chunk
    assert got == DATA[:at]
    stage.tee.close()
    assert stage.tee.wait().kind == 'failed'
    assert stage.stored() is None


@pytest.mark.parametrize('data', [DATA[:-1], DATA[:-1] + b'\xff', DATA + b'more', b''],
                         ids=['short', 'other', 'long', 'nothing'])
def test_bytes_that_are_not_the_version_s_are_never_stored(data: bytes) -> None:
    stage = Stage(remote=Remote(data))
    assert b''.join(stage.tee) == data, 'what the client makes of it is decided elsewhere'
    stage.tee.close()
    assert stage.tee.wait().kind == 'failed' or stage.stored() == DATA
    assert stage.stored() in (None, DATA)


def test_a_stream_that_ends_early_ends_the_restore_though_nobody_closes_it() -> None:
    stage = Stage(remote=Remote(DATA[:-1]))
    list(stage.tee)
    outcome = stage.tee.wait()
    assert (outcome.kind, outcome.reason) == ('failed', REMOTE)


def test_a_client_that_was_served_does_not_wait_for_the_restore() -> None:
    stage = Stage()
    stage.gate = Event()
    assert b''.join(stage.tee) == DATA
    stage.tee.close()
    assert stage.ended == []
    spawn(stage.gate.send)
    assert stage.tee.wait().kind == 'restored'


def _silent() -> object:
    import logging
    return logging.getLogger('expected')
