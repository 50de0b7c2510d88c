"""Retrying, limiting and metering around the in-memory provider; each keeps the whole contract too."""
from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from s3_sync.base_sync import BaseSync
from s3_sync.clock import FakeClock
from s3_sync.errors import (
    ConnectionFailed,
    Forbidden,
    LimiterStopped,
    LimitExceeded,
    PreconditionFailed,
    Throttled,
)
from s3_sync.metric_defs import LATENCY, REQUESTS
from s3_sync.metrics import Registry
from s3_sync.providers.limit import LimitSync, SharedLimiter
from s3_sync.providers.memory import MemoryStore, MemorySync
from s3_sync.providers.metered import MeteredSync
from s3_sync.providers.retry import RetryPolicy, RetrySync, retried
from s3_sync.providers.wrapper import Wrapper
from s3_sync.streams import BytesBody, StreamBody
from s3_sync.types import ABSENT, ObjectMeta, PutResult, ShuntRequest
from test.fakes.faulty import LOST_ANSWER, Fault, FaultySync, nth, on
from test.fakes.large_source import MemoryLargeSource, segment
from test.unit.contract.provider_contract import Build, ProviderContract, described, names, upload


class Sleeps(FakeClock):
    """Remembers what was slept."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        super().sleep(seconds)


class TestWrapped(ProviderContract):
    # There is no network, and everything is in memory.
    test_nobody_listening_is_temporary = None
    test_a_large_body_streams_both_ways_in_bounded_memory = None

    @pytest.fixture
    def build(self) -> Build:
        store = MemoryStore(secret='right')

        def make(bucket: str = '', secret: str = '', **_: Any) -> BaseSync:
            inner = MemorySync(store, bucket=bucket or 'bucket', create=not bucket, secret=secret or 'right')
            metered = MeteredSync(inner, remote='memory', metrics=Registry())
            return RetrySync(LimitSync(metered, SharedLimiter.create(), clock=FakeClock()))
        return make


def test_the_wrapper_passes_on_every_method_of_the_contract() -> None:
    public = {name for name in dir(BaseSync) if not name.startswith('_')}
    assert {name for name in public if name in vars(Wrapper)} == public


# -- retry ------------------------------------------------------------------------------------

def retrying(plan: Any, clock: FakeClock | None = None, **policy: Any) -> tuple[RetrySync, FaultySync]:
    faulty = FaultySync(MemorySync(), plan)
    return RetrySync(faulty, policy=RetryPolicy(**policy), clock=clock or FakeClock(), chance=lambda: 1.0), faulty


def test_a_temporary_failure_is_tried_again_with_the_whole_body() -> None:
    provider, faulty = retrying(on('upload_object', Fault(ConnectionFailed('x')), Fault(ConnectionFailed('x'))))
    opened = []
    body = StreamBody(lambda: opened.append(1) or iter([b'da', b'ta']), 4)  # type: ignore[func-returns-value]
    provider.upload_object(body, described('o', b'data'))
    assert provider.get_object('o').read() == b'data'
    assert faulty.calls[:3] == ['upload_object'] * 3


def test_waits_double_from_the_base_up_to_the_cap_and_tries_are_bounded() -> None:
    clock = Sleeps()
    provider, faulty = retrying(lambda *_: Fault(ConnectionFailed('x')), clock, attempts=6, base_seconds=1,
                                longest_wait_seconds=6)
    with pytest.raises(ConnectionFailed):
        provider.head_bucket()
    assert clock.slept == [1, 2, 4, 6, 6]
    assert len(faulty.calls) == 6


def test_waits_are_spread_over_their_whole_length() -> None:
    clock = Sleeps()
    faulty = FaultySync(MemorySync(), on('head_bucket', *[Fault(ConnectionFailed('x'))] * 3))
    chances = iter([0.0, 0.5, 0.25])
    RetrySync(faulty, policy=RetryPolicy(base_seconds=1), clock=clock, chance=lambda: next(chances)).head_bucket()
    assert clock.slept == [0, 1, 1]


def test_retry_after_is_waited_for() -> None:
    clock = Sleeps()
    provider, _ = retrying(on('head_bucket', Fault(Throttled('slow', status=503, retry_after=5))), clock,
                           base_seconds=1)
    provider.head_bucket()
    assert clock.slept == [6]


def test_a_long_retry_after_is_left_to_the_ledger() -> None:
    provider, faulty = retrying(on('head_bucket', Fault(Throttled('slow', retry_after=60))))
    with pytest.raises(Throttled) as caught:
        provider.head_bucket()
    assert caught.value.retry_after == 60
    assert len(faulty.calls) == 1


@pytest.mark.parametrize('error', [Forbidden('no'), PreconditionFailed('no'), LimitExceeded('no')])
def test_what_will_not_work_later_is_not_tried_again(error: Any) -> None:
    provider, faulty = retrying(on('head_object', Fault(error)))
    with pytest.raises(type(error)):
        provider.head_object('o')
    assert len(faulty.calls) == 1


def test_a_create_only_write_whose_answer_was_lost_says_look() -> None:
    provider, _ = retrying(on('upload_object', LOST_ANSWER))
    with pytest.raises(PreconditionFailed):
        upload(provider, 'o', b'data', condition=ABSENT)
    assert provider.head_object('o').etag == described('o', b'data').etag


def test_only_the_names_that_failed_are_deleted_again() -> None:
    faulty = FaultySync(MemorySync(), on('delete_object', None, Fault(ConnectionFailed('x'))))

    class OneByOne(Wrapper):
        def delete_objects(self, keys: Any) -> Any:
            return BaseSync.delete_objects(self, keys)
    provider = RetrySync(OneByOne(faulty), clock=FakeClock())
    for name in 'abc':
        upload(provider, name)
    faulty.calls.clear()
    assert provider.delete_objects(['a', 'b', 'c']) == {'a': None, 'b': None, 'c': None}
    assert faulty.calls == ['delete_object'] * 4
    assert names(provider) == []


def test_a_waiting_client_s_request_is_not_repeated() -> None:
    provider, faulty = retrying(nth(0, Fault(ConnectionFailed('x'))))
    with pytest.raises(ConnectionFailed):
        provider.shunt_object(ShuntRequest('GET', 'o'))
    assert len(faulty.calls) == 1


SEGMENTS = {('s', 'a'): b'x' * 2000, ('s', 'b'): b'y' * 1000}
LARGE = MemoryLargeSource(SEGMENTS, [segment(SEGMENTS, 's', 'a'), segment(SEGMENTS, 's', 'b')])


def large_meta() -> ObjectMeta:
    return ObjectMeta('large', LARGE.layout.size, LARGE.layout.etag, source_etag=LARGE.layout.etag,
                      etag_is_md5=False, large_object='slo')


def test_a_large_object_is_left_to_a_provider_that_repeats_its_own_parts() -> None:
    fault = Fault(Throttled('slow', status=503))
    provider, faulty = retrying(on('upload_large_object', fault, fault))
    capabilities = provider.capabilities
    provider.capabilities = replace(capabilities, repeats_parts=True)
    with pytest.raises(Throttled):
        provider.upload_large_object(LARGE, large_meta())
    assert faulty.calls == ['upload_large_object']
    provider.capabilities = capabilities
    provider.upload_large_object(LARGE, large_meta())
    assert provider.relation(LARGE, provider.head_object('large')) == 'same'


def test_one_request_is_repeated_like_any_other_by_those_who_send_many() -> None:
    clock = Sleeps()
    tries = iter([Throttled('slow', retry_after=2), ConnectionFailed('x'), None])

    def call() -> str:
        error = next(tries)
        if error:
            raise error
        return 'done'
    opened = []
    body = StreamBody(lambda: opened.append(1) or iter([b'x']), 1)  # type: ignore[func-returns-value]
    assert retried(call, clock=clock, policy=RetryPolicy(base_seconds=1), chance=lambda: 0.5, body=body) == 'done'
    assert clock.slept == [2.5, 1.0]


# -- meter ------------------------------------------------------------------------------------

def test_every_try_is_counted_by_operation_and_code() -> None:
    registry, clock = Registry(), FakeClock()
    plan = on('head_bucket', Fault(Throttled('x', status=503)), Fault(ConnectionFailed('x')))
    faulty = FaultySync(MemorySync(), plan)
    provider = RetrySync(MeteredSync(faulty, remote='r', metrics=registry, clock=clock), clock=clock)
    provider.head_bucket()
    assert [registry.value(REQUESTS, 'r', 'head_bucket', code) for code in ('503', 'error', '2xx')] == [1, 1, 1]
    upload(provider, 'o')
    provider.get_object('o', byte_range=(0, 1)).close()
    assert registry.value(REQUESTS, 'r', 'get_object', '206') == 1


def test_latency_is_the_time_of_the_call_without_waits() -> None:
    registry, clock = Registry(), FakeClock()

    class Slow(MemorySync):
        def head_account(self) -> dict[str, str]:
            clock.advance(0.25)
            return {}
    MeteredSync(Slow(), remote='r', metrics=registry, clock=clock).head_account()
    assert [s.values for s in registry.drain() if s.metric == LATENCY.name] == [[0.25]]


def test_what_was_not_sent_is_not_counted() -> None:
    registry = Registry()
    provider = MeteredSync(MemorySync(), remote='r', metrics=registry)
    with pytest.raises(LimitExceeded):
        upload(provider, 'x' * 2000)
    assert registry.drain() == []


# -- limit ------------------------------------------------------------------------------------

def test_an_idle_limiter_gives_one_second_at_once_and_then_its_rate() -> None:
    limiter = SharedLimiter.create(requests_per_second=10)
    assert [limiter.take_requests(1, 100.0) for _ in range(10)] == pytest.approx([0.0] * 10, abs=1e-9)
    assert [limiter.take_requests(1, 100.0) for _ in range(3)] == pytest.approx([0.1, 0.2, 0.3])
    assert limiter.take_requests(1, 100.3) == pytest.approx(0.1)
    assert limiter.take_requests(1, 200.0) == 0
    limiter.close()


def test_requests_and_bytes_are_limited_apart_and_only_when_asked() -> None:
    limiter = SharedLimiter.create(bytes_per_second=1000)
    assert limiter.take_requests(10 ** 9, 5.0) == 0
    assert limiter.take_bytes(1500, 5.0) == pytest.approx(0.5)
    limiter.close()


def test_processes_share_one_budget() -> None:
    limiter = SharedLimiter.create(requests_per_second=100)
    code = ('import sys; from s3_sync.providers.limit import SharedLimiter\n'
            'limiter = SharedLimiter.attach(int(sys.argv[1]))\n'
            'for _ in range(1000): limiter.take_requests(1, 50.0)')
    children = [subprocess.Popen([sys.executable, '-c', code, str(limiter.fileno())], pass_fds=[limiter.fileno()])
                for _ in range(2)]
    assert [child.wait(60) for child in children] == [0, 0]
    # 2,000 taken, 100 of them the burst: nothing was lost between two processes and nothing counted twice.
    assert limiter.take_requests(1, 50.0) == pytest.approx((2000 - 100 + 1) / 100)
    limiter.close()


def test_bodies_are_paid_for_in_both_directions() -> None:
    clock = Sleeps()
    limiter = SharedLimiter.create(bytes_per_second=1000)
    provider = LimitSync(MemorySync(), limiter, clock=clock)
    upload(provider, 'o', b'x' * 3000)
    assert sum(clock.slept) == pytest.approx(2)
    clock.slept.clear()
    assert len(provider.get_object('o').read()) == 3000
    assert sum(clock.slept) == pytest.approx(3)
    limiter.close()


def test_a_stopping_process_does_not_wait_out_its_limit() -> None:
    limiter = SharedLimiter.create(requests_per_second=0.001)

    class StopsAt(FakeClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            limiter.stop()
    clock = StopsAt()
    provider = LimitSync(MemorySync(), limiter, clock=clock)
    started = clock.now()
    with pytest.raises(LimiterStopped):
        provider.head_bucket()
    assert clock.now() - started < 1
    limiter.close()


def test_an_upload_cut_by_a_stop_stores_nothing() -> None:
    limiter = SharedLimiter.create()
    inner = MemorySync()
    limiter.stop()
    with pytest.raises(LimiterStopped):
        LimitSync(inner, limiter, clock=FakeClock()).upload_object(BytesBody(b'data'), described('o', b'data'))
    assert names(inner) == []
    limiter.close()


def test_every_body_of_a_large_object_is_paid_for() -> None:
    clock = Sleeps()
    limiter = SharedLimiter.create(bytes_per_second=1000)
    LimitSync(MemorySync(), limiter, clock=clock).upload_large_object(LARGE, large_meta())
    assert sum(clock.slept) == pytest.approx(2)
    limiter.close()


def test_requests_that_turn_out_to_be_many_are_paid_for_by_who_comes_next() -> None:
    class Parts(MemorySync):
        def upload_large_object(self, *arguments: Any, **named: Any) -> PutResult:
            return PutResult('etag', requests=41)
    clock, registry = Sleeps(), Registry()
    limiter = SharedLimiter.create(requests_per_second=10)
    metered = MeteredSync(Parts(), remote='r', metrics=registry, clock=clock)
    provider = LimitSync(metered, limiter, clock=clock)
    provider.upload_large_object(LARGE, large_meta())
    assert clock.slept == []
    provider.head_bucket()
    assert sum(clock.slept) == pytest.approx((41 + 1 - 10) / 10)
    assert registry.value(REQUESTS, 'r', 'upload_large_object', '2xx') == 41
    limiter.close()


# -- faults -----------------------------------------------------------------------------------

def test_a_fault_comes_before_or_after_the_effect() -> None:
    inner = MemorySync()
    with pytest.raises(ConnectionFailed):
        upload(FaultySync(inner, nth(0, Fault(ConnectionFailed('x')))), 'before')
    with pytest.raises(ConnectionFailed):
        upload(FaultySync(inner, nth(0, LOST_ANSWER)), 'after')
    assert names(inner) == ['after']
    faulty = FaultySync(inner)
    faulty.cut_reads_after = 2
    with pytest.raises(ConnectionFailed):
        faulty.get_object('after').read()
