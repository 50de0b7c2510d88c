from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from s3_sync.clock import FakeClock
from s3_sync.concurrency import GreenPool, sleep
from s3_sync.errors import SegmentChanged, SourceUnavailable
from s3_sync.local.direct import DirectSource
from s3_sync.local.disk import READ_BYTES, DiskSource
from s3_sync.local.placement import Placement
from s3_sync.local.readonly_diskfile import read_and_hash
from s3_sync.local.segments import TRIES, SegmentReader
from s3_sync.local.versions import SMALL_BYTES
from s3_sync.local.wanted import Wanted, object_wanted
from s3_sync.streams import CHUNK_BYTES
from test.unit.local.object_server import ScriptedServer, answer, missing, scripted_server, version

T = 1_600_000_000.0
BODY = os.urandom(3 * SMALL_BYTES + 123)


class CountingRunner:
    """A runner without threads that lets others run meanwhile and counts the bytes of large bodies."""

    def __init__(self) -> None:
        self.bytes = 0
        self.broken: set[str] = set()

    def run(self, device: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        sleep(0)
        if function is read_and_hash:
            if device in self.broken:
                raise OSError('input/output error')
            self.bytes += args[2]
        return function(*args, **kwargs)

    def close(self) -> None:
        pass


@pytest.fixture
def runner() -> CountingRunner:
    return CountingRunner()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def disks(make_disks: Any, server: ScriptedServer) -> Any:
    """The devices d0 and d1 are here and, like far, also behind the scripted object server."""
    server.answers = {'d0': [missing()], 'd1': [missing()], 'far': [missing()]}
    return make_disks(port=server.port, far='127.0.0.1')


@pytest.fixture
def make_reader(disks: Any, runner: CountingRunner) -> Iterator[Callable[..., SegmentReader]]:
    opened = []

    def make(*, local: bool = True) -> SegmentReader:
        placement = Placement(str(disks.swift_dir), '127.0.0.1')
        disk = DiskSource(placement, devices=str(disks.devices), runner=runner) if local else None
        direct = DirectSource(placement, clock=FakeClock())
        opened.append(direct)
        no_proxy: Any = None
        return SegmentReader(placement, disk=disk, direct=direct, proxy=no_proxy)

    yield make
    for direct in opened:
        direct.close()


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def wanted(body: bytes, name: str = 'o') -> Wanted:
    return object_wanted('AUTH_a', 'c', name, 0, etag=md5(body), size=len(body))


def partial(body: bytes, first: int, length: int) -> bytes:
    """An object server's answer to a range request."""
    return answer(206, {'ETag': f'"{md5(body)}"', 'Content-Range': f'bytes {first}-{first + length - 1}/{len(body)}',
                        'Content-Type': 'text/plain'}, body[first:first + length])


def read(body: Any) -> bytes:
    try:
        return b''.join(body)
    finally:
        body.close()


def damage(disks: Any, device: str) -> None:
    [path] = disks.files('o', device)
    with open(path, 'r+b') as file:
        file.seek(len(BODY) // 2)
        file.write(b'damage')


def test_many_ranges_of_an_object_read_it_whole_once(disks: Any, make_reader: Any, runner: CountingRunner) -> None:
    disks.put('o', BODY, T)
    reader = make_reader()
    for i in range(200):
        assert read(reader.checked(wanted(BODY), 1000 * i, 500)) == BODY[1000 * i:1000 * i + 500]
    assert runner.bytes == len(BODY) + 200 * 500


def test_readers_at_the_same_time_wait_for_the_one_that_verifies(disks: Any, make_reader: Any,
                                                                runner: CountingRunner) -> None:
    disks.put('o', BODY, T)
    reader = make_reader()
    pool = GreenPool(10)
    for found in pool.imap(lambda i: read(reader.checked(wanted(BODY), i, 10)), range(10)):
        assert len(found) == 10
    assert runner.bytes == len(BODY) + 10 * 10
    assert reader._busy == {}


def test_a_range_of_a_corrupt_replica_is_never_given(disks: Any, make_reader: Any) -> None:
    disks.put('o', BODY, T)
    damage(disks, 'd0')
    reader = make_reader()
    middle = len(BODY) // 2
    assert read(reader.checked(wanted(BODY), middle, 6)) == BODY[middle:middle + 6]
    damage(disks, 'd1')
    again = make_reader()
    with pytest.raises((SegmentChanged, SourceUnavailable)):
        again.checked(wanted(BODY), middle, 6)


def test_a_whole_body_keeps_its_last_chunk_until_the_md5_is_right(disks: Any, make_reader: Any) -> None:
    disks.put('o', BODY, T)
    damage(disks, 'd0')
    reader = make_reader()
    body = reader.checked(wanted(BODY), 0, len(BODY))
    seen = 0
    with pytest.raises(SourceUnavailable, match='has MD5'):
        for chunk in body:
            seen += len(chunk)
    body.close()
    assert seen < len(BODY)
    assert read(reader.checked(wanted(BODY), 0, len(BODY))) == BODY


def test_a_small_corrupt_replica_is_passed_over(disks: Any, make_reader: Any) -> None:
    small = BODY[:1000]
    disks.put('o', small, T)
    [path] = disks.files('o', 'd0')
    with open(path, 'r+b') as file:
        file.write(b'damage')
    assert read(make_reader().checked(wanted(small), 5, 100)) == small[5:105]


def test_bodies_may_be_read_again_and_in_part(disks: Any, make_reader: Any) -> None:
    disks.put('o', BODY, T)
    reader = make_reader()
    for body in (reader.checked(wanted(BODY), 0, len(BODY)), reader.checked(wanted(BODY), 0, len(BODY) - 1),
                 reader.unchecked(wanted(BODY), 0, len(BODY) - 1)):
        chunks = iter(body)
        assert len(next(chunks)) == CHUNK_BYTES
        body.rewind()
        assert b''.join(body) == BODY[:body.size]
        assert b''.join(body) == BODY[:body.size]
        body.close()
        body.close()


def test_a_disk_that_fails_half_way_is_made_up_for(disks: Any, make_reader: Any, runner: CountingRunner,
                                                   server: ScriptedServer) -> None:
    disks.put('o', BODY, T, devices=('d0',))
    server.answers['far'] = [partial(BODY, READ_BYTES, len(BODY) - READ_BYTES)]
    body = make_reader().checked(wanted(BODY), 0, len(BODY))
    data = b''
    for chunk in body:
        data += chunk
        runner.broken = {'d0'}
    body.close()
    assert data == BODY


def test_a_connection_that_is_lost_goes_on_at_the_next_replica(make_reader: Any, server: ScriptedServer) -> None:
    cut_short = version(BODY, T)[:-(len(BODY) - 2 * CHUNK_BYTES - 77)]
    server.answers = dict.fromkeys(server.answers, [cut_short])
    server.hang_up_after = set(server.answers)
    body = make_reader(local=False).checked(wanted(BODY), 0, len(BODY))
    asked = server.requests[0][1]
    rest = partial(BODY, 2 * CHUNK_BYTES, len(BODY) - 2 * CHUNK_BYTES)
    server.answers = dict.fromkeys(server.answers, [rest])
    assert read(body) == BODY
    assert server.requests[1][1] != asked
    assert f'Range: bytes={2 * CHUNK_BYTES}-{len(BODY) - 1}\r\n' in server.seen[1]


def test_connections_that_are_always_lost_end_in_an_error(make_reader: Any, server: ScriptedServer) -> None:
    server.answers = dict.fromkeys(server.answers, [version(BODY, T)[:-len(BODY)]])
    server.hang_up_after = set(server.answers)
    with pytest.raises(SourceUnavailable):
        read(make_reader(local=False).checked(wanted(BODY), 0, len(BODY)))
    assert len(server.requests) == TRIES


def test_one_that_has_it_serves_whatever_the_others_say(make_reader: Any, server: ScriptedServer) -> None:
    for device in ('d0', 'd1', 'far'):
        server.answers = {'d0': [missing(T + 5)], 'd1': [version(b'another', T + 1)], 'far': [answer(503)]}
        server.answers[device] = [version(b'body', T)]
        assert read(make_reader(local=False).checked(wanted(b'body'), 1, 2)) == b'od'


def test_what_nobody_has_is_changed_only_when_everybody_said_so(make_reader: Any, server: ScriptedServer) -> None:
    server.answers = {'d0': [missing(T)], 'd1': [version(b'other', T)], 'far': [version(b'other', T)]}
    with pytest.raises(SegmentChanged, match=rf'AUTH_a/c/o: .*has ETag {md5(b"other")}'):
        make_reader(local=False).checked(wanted(b'body'), 0, 4)
    server.answers['far'] = [answer(507)]
    with pytest.raises(SourceUnavailable):
        make_reader(local=False).checked(wanted(b'body'), 0, 4)


def test_an_object_of_the_same_etag_and_another_size_is_another_object(make_reader: Any,
                                                                      server: ScriptedServer) -> None:
    server.answers = dict.fromkeys(server.answers, [version(b'body and more', T, md5_of=b'body')])
    with pytest.raises(SegmentChanged, match='has 13 bytes, expected 4'):
        make_reader(local=False).checked(wanted(b'body'), 0, 4)
