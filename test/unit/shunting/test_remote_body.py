"""Bodies from remotes: taken up where they broke, never of two versions, never short without an error."""
from __future__ import annotations

from dataclasses import replace

import pytest

from s3_sync.concurrency import sleep, spawn
from s3_sync.errors import ConnectionFailed, Error, NotFound, TemporaryError
from s3_sync.shunting.guards import BREAK_AFTER
from s3_sync.shunting.remotes import RemoteUnavailable
from test.unit.shunting.reads_world import OLD, World

DATA = b'0123456789abcdef'
RESET = ConnectionFailed('reset')


@pytest.fixture(params=['shared', 'alone'])
def world(request: pytest.FixtureRequest) -> World:
    made = World({'coalesce_size': '1MiB' if request.param == 'shared' else '1'})
    made.remote.hold('o', DATA)
    return made


@pytest.mark.parametrize('after', [0, 1, 4, 5, 15])
def test_a_broken_body_goes_on_where_it_broke(world: World, after: int) -> None:
    world.remote.breaks = [(after, RESET)]
    assert world.get().read() == DATA
    assert world.remote.ranges == ['', f'bytes={after}-15' if after else '']
    assert world.remote.open_bodies == 0


def test_a_broken_range_goes_on_within_the_range(world: World) -> None:
    world.remote.breaks = [(2, RESET)]
    assert world.get(range='bytes=5-12').read() == DATA[5:13]
    assert world.remote.ranges == ['bytes=5-12', 'bytes=7-12']


def test_several_ranges_survive_a_break_in_one(world: World) -> None:
    whole = world.get(range='bytes=0-3,8-13').read()
    world.remote.breaks = [(2, RESET), (10, RESET), (1, RESET)]
    assert _parts(world.get(range='bytes=0-3,8-13').read()) == _parts(whole)
    assert world.remote.open_bodies == 0


def _parts(body: bytes) -> list[bytes]:
    return [line for line in body.split(b'\r\n') if not line.startswith(b'--')]


def test_it_is_taken_up_again_only_so_often(world: World) -> None:
    world.remote.breaks = [(2, RESET), (2, RESET), (2, RESET), (2, RESET)]
    answer = world.get()
    with pytest.raises(ConnectionFailed):
        answer.read()
    assert len(world.remote.asked) == 4
    assert world.remote.open_bodies == 0


def test_a_remote_that_is_down_for_a_moment_is_tried_again(world: World) -> None:
    world.remote.breaks = [(2, RESET)]
    world.remote.errors = [None, RESET, TemporaryError('down', status=500)]
    assert world.get().read() == DATA


def test_another_version_is_never_mixed_in(world: World) -> None:
    world.remote.breaks = [(2, RESET)]
    answer = world.get()
    body = iter(answer.body)
    got = next(body)
    world.remote.hold('o', b'another version!')
    with pytest.raises((NotFound, ConnectionFailed)):
        for chunk in body:
            got += chunk
    assert DATA.startswith(got)
    answer.close()


def test_the_same_bytes_with_another_time_are_another_version(world: World) -> None:
    world.remote.breaks = [(2, RESET)]
    answer = world.get()
    body = iter(answer.body)
    next(body)
    meta = world.remote.store.buckets['bucket']['o'].meta
    world.remote.store.buckets['bucket']['o'].meta = replace(meta, last_modified=float(OLD) + 7)
    with pytest.raises(Error):
        list(body)
    answer.close()


def test_a_body_that_ends_early_is_an_error(world: World) -> None:
    """A remote that lies about the length."""
    meta = world.remote.store.buckets['bucket']['o'].meta
    world.remote.store.buckets['bucket']['o'].meta = replace(meta, size=20)
    heed = world.remote.shunt_object

    def lie(request: object) -> object:
        answer = heed(request)  # type: ignore[arg-type]
        answer.headers = {**answer.headers, 'content-length': '20'}
        return answer
    world.remote.shunt_object = lie  # type: ignore[method-assign, assignment]
    answer = world.get()
    got = b''
    with pytest.raises(Error):
        for chunk in answer.body:
            got += chunk
    assert DATA.startswith(got)
    answer.close()


@pytest.mark.parametrize('answered', ['bytes 10-15/16', 'bytes 0-3/16', 'bytes 5-9/16', 'pages 5-15/16', ''])
def test_other_bytes_than_were_asked_for_are_never_taken(world: World, answered: str) -> None:
    """A remote that gives a broken body's rest from somewhere else."""
    world.remote.breaks = [(5, RESET)]
    heed = world.remote.shunt_object

    def mislead(request: object) -> object:
        answer = heed(request)  # type: ignore[arg-type]
        if 'content-range' in answer.headers:
            answer.headers = {**answer.headers, 'content-range': answered}
        return answer
    world.remote.shunt_object = mislead  # type: ignore[method-assign, assignment]
    answer = world.get()
    got = b''
    with pytest.raises(Error):
        for chunk in answer.body:
            got += chunk
    assert got == DATA[:5]
    answer.close()
    assert world.remote.open_bodies == 0


def test_more_bytes_than_announced_never_come_through(world: World) -> None:
    meta = world.remote.store.buckets['bucket']['o'].meta
    world.remote.store.buckets['bucket']['o'].meta = replace(meta, size=10)
    heed = world.remote.shunt_object

    def lie(request: object) -> object:
        answer = heed(request)  # type: ignore[arg-type]
        answer.headers = {**answer.headers, 'content-length': '10'}
        return answer
    world.remote.shunt_object = lie  # type: ignore[method-assign, assignment]
    assert world.get().read() == DATA[:10]


@pytest.mark.parametrize('headers', [{}, {'range': 'bytes=2-9'}, {'range': 'bytes=2-3,8-9'}])
@pytest.mark.parametrize('chunks', [0, 1, 2])
def test_a_client_that_goes_leaves_nothing_open(world: World, headers: dict[str, str], chunks: int) -> None:
    world.remote.piece = 1
    answer = world.get(**headers)
    body = iter(answer.body)
    for _ in range(chunks):
        next(body)
    answer.close()
    assert world.remote.open_bodies == 0
    answer.close()


def test_nothing_is_resumed_while_the_remote_is_left_alone(world: World) -> None:
    world.remote.breaks = [(2, RESET)]
    answer = world.get()
    next(iter(answer.body))
    world.remote.errors = [RESET] * 20
    with pytest.raises((RemoteUnavailable, ConnectionFailed)):
        answer.read()
    assert len(world.remote.asked) <= 1 + BREAK_AFTER


def test_a_remote_that_is_faster_than_its_client_leaves_others_their_turn(world: World) -> None:
    world.remote.hold('long', bytes(10_000))
    turns: list[int] = []

    def other() -> None:
        while not done:
            turns.append(1)
            sleep(0)
    done: list[bool] = []
    thread = spawn(other)
    world.get('long').read()
    done.append(True)
    thread.wait()
    assert len(turns) > 100
