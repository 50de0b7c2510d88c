"""One remote GET for all who want the same small object now (semantics 13), and a few at once for larger ones."""
from __future__ import annotations

from collections.abc import Callable

import pytest

from s3_sync.base_sync import ProviderResponse
from s3_sync.concurrency import Event, GreenThread, sleep, spawn
from s3_sync.errors import ConnectionFailed, TemporaryError
from test.unit.shunting.reads_world import Answer, HeldClock, World

DATA = bytes(range(256)) * 4


@pytest.fixture
def world() -> World:
    made = World({'coalesce_size': '2KiB', 'remote_concurrency': 3, 'restore_object': False},
                 clock=HeldClock(1_601_000_000.0))
    made.remote.hold('o', DATA)
    made.remote.hold('large', DATA * 3)
    made.remote.piece = 100
    return made


def settle() -> None:
    for _ in range(50):
        sleep(0)


def gets(world: World) -> int:
    return world.remote.methods.count('GET')


def read(answer: Answer) -> bytes:
    assert answer.status == 200
    return answer.read()


# -- small objects ----------------------------------------------------------------------------

def test_a_crowd_costs_one_remote_get(world: World) -> None:
    clients = [spawn(lambda: read(world.get())) for _ in range(1000)]
    assert [client.wait() for client in clients] == [DATA] * 1000
    assert gets(world) == 1


def test_who_comes_in_the_middle_gets_all_of_it(world: World) -> None:
    world.remote.gate = Event()
    first = world.get()
    beginning = next(iter(first.body))
    late = spawn(lambda: read(world.get()))
    settle()
    world.remote.gate.send()
    assert beginning + first.read() == late.wait() == DATA
    assert gets(world) == 1


def test_a_slow_reader_holds_up_nobody(world: World) -> None:
    slow = world.get()
    next(iter(slow.body))
    assert read(world.get()) == DATA
    assert world.remote.open_bodies == 0, 'the remote\'s connection waits for the slow one'
    slow.close()


def test_a_reader_that_leaves_stops_nobody(world: World) -> None:
    world.remote.gate = Event()
    leaver, stayer = world.get(), world.get()
    next(iter(leaver.body))
    leaver.close()
    world.remote.gate.send()
    assert read(stayer) == DATA


def test_the_last_one_that_leaves_stops_the_remote_read(world: World) -> None:
    free = world.remotes.shares.free_bytes
    world.remote.gate = Event()
    readers = [world.get(), world.get()]
    settle()
    readers[0].close()
    assert world.remote.open_bodies == 1
    assert len(world.remote.gate._waiters) == 1
    readers[1].close()
    assert world.remote.open_bodies == 0
    assert len(world.remote.gate._waiters) == 0, 'the reading goes on'
    assert world.remotes.shares.free_bytes == free
    world.remote.gate.send()
    assert read(world.get()) == DATA
    assert gets(world) == 2


def test_nobody_reads_from_what_is_being_stopped(world: World) -> None:
    world.remote.answer_gate = Event()
    first = spawn(world.get)
    second = spawn(world.get)
    settle()
    world.remote.answer_gate.send()
    first.wait().close()
    assert read(second.wait()) == DATA


def test_who_comes_just_after_the_end_still_finds_the_bytes(world: World) -> None:
    read(world.get())
    settle()
    assert read(world.get()) == DATA
    assert gets(world) == 1
    world.clock.advance(10)
    until(lambda: world.remotes.shares.free_bytes == 256 * 1024 ** 2)
    assert read(world.get()) == DATA
    assert gets(world) == 2


def test_a_change_through_this_process_is_seen_by_the_next_reader(world: World) -> None:
    read(world.get())
    world.remote.hold('o', b'changed')
    world.remotes.of(world.table.lookup('AUTH_a', 'c').targets[0]).forget_missing('o')  # type: ignore[union-attr]
    assert read(world.get()) == b'changed'


def test_one_failure_is_everybodys(world: World) -> None:
    world.remote.answer_gate = Event()
    world.remote.errors = [ConnectionFailed('refused')]
    clients = [spawn(world.get) for _ in range(5)]
    settle()
    world.remote.answer_gate.send()
    assert [client.wait().status for client in clients] == [503] * 5
    assert gets(world) == 1


def test_a_missing_name_is_asked_for_once(world: World) -> None:
    world.remote.answer_gate = Event()
    clients = [spawn(world.get, 'nowhere') for _ in range(5)]
    settle()
    world.remote.answer_gate.send()
    assert [client.wait().status for client in clients] == [404] * 5
    assert gets(world) == 1


def test_a_body_that_cannot_be_had_ends_in_an_error_for_all(world: World) -> None:
    world.clock.sleep = lambda seconds: sleep(0)  # type: ignore[method-assign]
    world.remote.breaks = [(300, ConnectionFailed('reset')), *[(0, ConnectionFailed('reset'))] * 3]
    clients = [spawn(fails, world) for _ in range(3)]
    for client in clients:
        assert client.wait() == DATA[:300]


def fails(world: World) -> bytes:
    answer = world.get()
    got = b''
    with pytest.raises(ConnectionFailed):
        for chunk in answer.body:
            got += chunk
    answer.close()
    return got


def test_conditions_and_ranges_are_each_readers_own(world: World) -> None:
    world.remote.gate = Event()
    whole = world.get()
    settle()
    assert world.get(if_match='other').status == 412
    world.remote.gate.send()
    assert world.get(range='bytes=0-3').read() == DATA[:4]
    assert read(whole) == DATA


def test_no_more_memory_than_allowed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit is read like a large object."""
    monkeypatch.setattr(world.remotes.shares, '_free', 1500)
    world.remote.hold('other', DATA)
    world.remote.gate = Event()
    shared = world.get()
    settle()
    alone = world.get('other')
    assert world.remotes.shares.free_bytes >= 0
    world.remote.gate.send()
    assert read(shared) == read(alone) == DATA
    assert world.remotes.shares.free_bytes <= 1500


# -- large objects ----------------------------------------------------------------------------

def test_large_objects_are_read_by_so_many_at_once_and_no_more(world: World) -> None:
    clients: list[GreenThread] = [spawn(world.get, 'large') for _ in range(20)]
    answers = [client.wait() for client in clients]
    served = [answer for answer in answers if answer.status == 200]
    assert len(served) == 3
    assert {answer.status for answer in answers} == {200, 503}
    assert all(answer.headers['retry-after'] for answer in answers if answer.status == 503)
    assert gets(world) == 3
    assert [answer.read() for answer in served] == [DATA * 3] * 3


@pytest.mark.parametrize('end', [lambda answer: answer.read(), lambda answer: answer.close()])
def test_a_place_is_free_when_its_reader_is_through_or_gone(world: World, end: Callable[[Answer], object]) -> None:
    answers = [world.get('large') for _ in range(3)]
    assert world.get('large').status == 503
    end(answers[0])
    again = world.get('large')
    assert again.status == 200
    for answer in (*answers[1:], again):
        answer.close()
    assert world.remote.open_bodies == 0


@pytest.mark.parametrize('headers', [{'range': 'bytes=0-1999'}, {'range': 'bytes=0-9,20-29'}])
def test_parts_of_large_objects_take_places_too(world: World, headers: dict[str, str]) -> None:
    answers = [world.get('large', **headers) for _ in range(3)]
    assert world.get('large', **headers).status == 503
    for answer in answers:
        answer.close()
    assert world.get('large', **headers).status == 206


def test_what_is_refused_or_unchanged_keeps_no_place(world: World) -> None:
    for _ in range(5):
        world.get('large', range='bytes=99999-').close()
        world.get('large', if_match='other').close()
        world.get('large', method='HEAD').close()
    answer = world.get('large')
    assert answer.status == 200
    answer.close()


def test_a_failed_open_keeps_no_place(world: World) -> None:
    world.get('large').close()  # known as large from now on
    world.remote.errors = [TemporaryError('broken', status=500)] * 4
    assert [world.get('large').status for _ in range(4)] == [503] * 4
    answer = world.get('large')
    assert answer.status == 200
    answer.close()


def test_an_object_that_became_small_is_shared_again(world: World) -> None:
    world.get('large').close()
    world.remote.hold('large', DATA)
    assert read(world.get('large')) == DATA
    assert [client.wait() for client in [spawn(lambda: read(world.get('large'))) for _ in range(5)]] == [DATA] * 5
    assert gets(world) == 3


def test_an_object_that_does_not_tell_its_size_counts_as_large(world: World) -> None:
    heed = world.remote.shunt_object

    def unmeasured(request: object) -> ProviderResponse:
        answer = heed(request)  # type: ignore[arg-type]
        answer.headers = {k: v for k, v in answer.headers.items() if k != 'content-length'}
        return answer
    world.remote.shunt_object = unmeasured  # type: ignore[method-assign]
    answers = [world.get() for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 503]
    assert 'content-length' not in answers[0].headers
    assert read(answers[0]) == DATA
    for answer in answers:
        answer.close()
    assert world.remote.open_bodies == 0


def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        sleep(0.002)
    pytest.fail('it never came')
