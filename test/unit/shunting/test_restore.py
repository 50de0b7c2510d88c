"""What a client reads in whole comes back, once, beside the client; what came from users meanwhile wins."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from swift.common.swob import HTTPNotFound
from swift.common.utils import Timestamp

from s3_sync.concurrency import Event, sleep, spawn
from s3_sync.errors import ConnectionFailed, TemporaryError
from s3_sync.metric_defs import RESTORES
from s3_sync.restoring.background import BackgroundRestores
from s3_sync.shunting.decisions import Decisions
from s3_sync.shunting.local import LocalSwift
from s3_sync.shunting.markers import Markers
from s3_sync.shunting.opening import Opener
from s3_sync.shunting.options import Options
from s3_sync.shunting.reading import ObjectReader
from s3_sync.shunting.restore import Restorer, RestoreWork
from s3_sync.shunting.versions import Versions
from s3_sync.timestamps import is_ours
from test.unit.shunting.reads_world import LOGGER, OLD, HeldClock, World
from test.unit.shunting.writes_world import WritableCluster

SMALL = bytes(range(256))
LARGE = SMALL * 40
SIZES = pytest.mark.parametrize('name', ['small', 'large'])
DATA = {'small': SMALL, 'large': LARGE}


class Restoring(World):
    """A world whose reads restore. ``puts``: names, sizes and headers of what was written into the cluster."""

    def __init__(self, *, options: dict[str, Any] | None = None, **keys: Any) -> None:
        super().__init__({'restore_object': True, 'coalesce_size': '1KiB', **keys}, clock=HeldClock(1_601_000_000.0))
        self.puts: list[tuple[str, str, dict[str, str]]] = []
        self.cluster: WritableCluster = WritableCluster(self.clock.now)
        self.cluster.containers['c'] = 'friend'
        self.before_put: Callable[[], object] = lambda: None
        self.local = LocalSwift(self._seen)
        opener, decisions = Opener(clock=self.clock), Decisions(self.metrics, LOGGER)
        self.work = RestoreWork(Options(**(options or {})), clock=self.clock)
        setup: Any = SimpleNamespace(settings=SimpleNamespace(migrator_settings=None), table=self.table,
                                     remotes=self.remotes)
        self.restorer = Restorer(setup, self.local, opener, decisions, self.work, clock=self.clock)
        self.reader = ObjectReader(
            self.table, Versions(self.remotes, Markers(self.local), clock=self.clock), opener, decisions,
            restores=self.restorer)
        for name, data in DATA.items():
            self.remote.hold(name, data, user_metadata={'colour': 'blue'})
        self.remote.piece = 100

    def _seen(self, env: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if env['REQUEST_METHOD'] == 'PUT' and '\0' not in env['PATH_INFO']:
            _, _, _, container, *name = env['PATH_INFO'].split('/', 4)
            self.puts.append((container, ''.join(name), dict(env)))
            self.before_put()
        return self.cluster(env, start_response)

    def outcomes(self) -> list[tuple[str, str]]:
        return [sample.labels[:2] for sample in self.metrics.drain() if sample.metric == RESTORES.name
                for _ in range(int(sum(sample.values)))]

    def here(self, name: str) -> bytes | None:
        stored = self.cluster.objects.get(('c', name))
        return None if stored is None else stored.data


@pytest.fixture
def make() -> Iterator[Callable[..., Restoring]]:
    made: list[Restoring] = []

    def new(**keys: Any) -> Restoring:
        made.append(Restoring(**keys))
        return made[-1]
    yield new
    for world in made:
        world.work.background.close(0.1)


@pytest.fixture
def world(make: Callable[..., Restoring]) -> Restoring:
    return make()


def settle() -> None:
    for turn in range(200):
        sleep(0 if turn % 20 else 0.001)  # timers are due by the real clock


# -- what is restored ---------------------------------------------------------------------------

@SIZES
def test_what_was_read_is_here_afterwards_at_its_own_time(world: Restoring, name: str) -> None:
    assert world.get(name).read() == DATA[name]
    settle()
    assert world.here(name) == DATA[name]
    time = world.cluster.times['c', name]
    assert is_ours(time)
    assert Timestamp(time.normal) == OLD
    assert world.outcomes() == [('restored', 'none')]
    assert world.get(name).headers['x-1space-source'] == 'local'
    assert world.remote.methods.count('GET') == 1


@SIZES
def test_its_headers_come_along_and_nothing_of_the_clients(world: Restoring, name: str) -> None:
    world.get(name, user='friend', cookie='a=b', x_auth_token='secret', x_object_meta_evil='1').read()
    settle()
    (_, _, env), = world.puts
    assert env['HTTP_X_OBJECT_META_COLOUR'] == 'blue'
    assert env['CONTENT_LENGTH'] == str(len(DATA[name]))
    assert not {'HTTP_COOKIE', 'HTTP_X_AUTH_TOKEN', 'HTTP_X_OBJECT_META_EVIL', 'HTTP_TRANSFER_ENCODING'} & set(env)
    assert env['swift.source'] == '1S'
    assert 'swift.infocache' not in env, 'what the client\'s request remembers may be old by now'


@SIZES
@pytest.mark.parametrize('options', [
    {'method': 'HEAD'}, {'range': 'bytes=0-9'}, {'range': 'bytes=0-'}, {'if_match': 'other'}, {'if_none_match': '*'},
    {'query': 'multipart-manifest=get'}, {'query': 'part-number=1'}, {'query': 'version-id=null'}], ids=repr)
def test_only_a_whole_object_is_restored(world: Restoring, name: str, options: dict[str, str]) -> None:
    world.get(name, **options).read()
    settle()
    assert world.puts == []


@SIZES
def test_a_condition_that_holds_is_no_hindrance(world: Restoring, name: str) -> None:
    world.get(name, if_none_match='other').read()
    settle()
    assert world.here(name) == DATA[name]


@SIZES
@pytest.mark.parametrize('keys', [{'restore_object': False}, {'options': {'max_restore_size': 100}}], ids=repr)
def test_what_is_not_to_be_restored_is_only_read(
        make: Callable[..., Restoring], name: str, keys: dict[str, Any]) -> None:
    world = make(**keys)
    assert world.get(name).read() == DATA[name]
    settle()
    assert world.puts == []


def test_an_empty_object_comes_back(world: Restoring) -> None:
    world.remote.hold('empty', b'')
    world.get('empty').read()
    settle()
    assert world.here('empty') == b''


# -- once ---------------------------------------------------------------------------------------

@SIZES
def test_a_crowd_restores_once(make: Callable[..., Restoring], name: str) -> None:
    world = make(remote_concurrency=50)
    clients = [spawn(lambda: world.get(name).read()) for _ in range(40)]
    assert [client.wait() for client in clients] == [DATA[name]] * 40
    settle()
    assert len(world.puts) == 1
    assert world.here(name) == DATA[name]


@SIZES
def test_who_was_told_404_just_before_the_end_starts_no_other(world: Restoring, name: str) -> None:
    world.get(name).read()
    settle()
    world.cluster.answers['c', name] = lambda request: HTTPNotFound(request=request)
    world.get(name).read()
    settle()
    assert len(world.puts) == 1
    world.clock.advance(31)
    settle()
    world.get(name).read()
    settle()
    assert len(world.puts) == 2


@SIZES
def test_a_restore_that_failed_is_not_tried_with_every_reader(world: Restoring, name: str) -> None:
    world.cluster.fault = lambda method, container, name: 413 if method == 'PUT' else None
    for _ in range(3):
        world.remotes.shares.forget(('x', name))
        assert world.get(name).read() == DATA[name]
        settle()
        world.clock.advance(5)
        settle()
    assert len(world.puts) == 1
    world.cluster.fault = lambda method, container, name: None
    world.clock.advance(61)
    settle()
    world.get(name).read()
    settle()
    assert world.here(name) == DATA[name]


# -- users win ----------------------------------------------------------------------------------

@SIZES
def test_a_users_write_meanwhile_stays(world: Restoring, name: str) -> None:
    later = Timestamp(float(OLD) + 10)

    def write() -> None:
        if ('c', name) not in world.cluster.times:
            world.cluster.objects['c', name] = Stored_(b'newer', later)
            world.cluster.times['c', name] = later
    world.before_put = write
    assert world.get(name).read() == DATA[name]
    settle()
    assert world.here(name) == b'newer'
    assert world.outcomes() == [('newer', 'none')]


def Stored_(data: bytes, time: Timestamp) -> Any:  # noqa: N802
    return SimpleNamespace(data=data, headers={'X-Timestamp': time.normal, 'X-Backend-Timestamp': time.internal})


@SIZES
@pytest.mark.parametrize(('policy', 'marked'), [('tombstone', 'tombstone'), ('propagate', 'propagate'),
                                                ('local', None)])
def test_a_users_delete_meanwhile_is_remembered(
        make: Callable[..., Restoring], name: str, policy: str, marked: str | None) -> None:
    world = make(delete_policy=policy)
    later = Timestamp(float(OLD) + 10)
    world.before_put = lambda: world.cluster.deleted.update({('c', name): later})
    assert world.get(name).read() == DATA[name]
    settle()
    assert world.here(name) is None
    assert world.outcomes() == [('deleted', 'none')]
    found = Markers(world.local).find(_env(), 'AUTH_a', 'c', name)
    if marked is None:
        assert found is None
    else:
        assert found is not None
        assert found.time == later
        assert set(found.policies.of.values()) == {marked}


def _env() -> dict[str, Any]:
    return {'swift.infocache': {}, 'REQUEST_METHOD': 'GET', 'PATH_INFO': '/v1/AUTH_a/c/o'}


@SIZES
def test_a_container_that_is_gone_is_not_made_for_an_archive(world: Restoring, name: str) -> None:
    del world.cluster.containers['c']
    assert world.get(name).read() == DATA[name]
    settle()
    assert world.outcomes() == [('failed', 'no-container')]
    assert world.cluster.containers == {}


# -- nobody waits -------------------------------------------------------------------------------

@SIZES
@pytest.mark.parametrize('fault', [413, 500, 503, ConnectionError('gone')], ids=repr)
def test_a_failing_restore_breaks_no_download(world: Restoring, name: str, fault: object) -> None:
    world.cluster.fault = lambda method, container, name: fault if method == 'PUT' else None
    assert world.get(name).read() == DATA[name]
    settle()
    assert world.outcomes()[0][0] == 'failed'
    assert world.here(name) is None
    assert world.remote.open_bodies == 0


def test_a_restore_that_hangs_holds_up_no_download(world: Restoring) -> None:
    never = Event()
    world.before_put = never.wait
    assert world.get('small').read() == SMALL
    answer = spawn(lambda: world.get('large').read())
    for _ in range(100):
        sleep(0)
        world.clock.advance(0.1)
    assert answer.wait() == LARGE
    never.send()
    settle()


def test_a_client_that_goes_ends_its_restore(world: Restoring) -> None:
    answer = world.get('large')
    next(iter(answer.body))
    settle()
    answer.close()
    settle()
    assert world.here('large') is None
    assert world.remote.open_bodies == 0
    assert world.outcomes() == [('failed', 'client-gone')]
    assert world.get('large').read() == LARGE
    settle()
    assert world.here('large') == LARGE


def test_a_slow_clients_object_is_read_once_more(world: Restoring) -> None:
    world.work.absence_seconds = 0.05
    answer = world.get('large')
    next(iter(answer.body))
    for _ in range(1000):
        world.clock.advance(1)
        sleep(0.002)
        if world.here('large') is not None:
            break
    settle()
    assert world.here('large') == LARGE
    assert world.remote.methods.count('GET') == 2
    answer.close()


@SIZES
def test_a_body_that_breaks_restores_nothing_wrong(world: Restoring, name: str) -> None:
    world.clock.sleep = lambda seconds: sleep(0)  # type: ignore[method-assign]
    world.remote.breaks = [(120, ConnectionFailed('reset')), *[(0, ConnectionFailed('reset'))] * 3]
    answer = world.get(name)
    with pytest.raises(ConnectionFailed):
        answer.read()
    settle()
    assert world.here(name) is None
    world.clock.sleep = HeldClock.sleep.__get__(world.clock)  # type: ignore[method-assign]
    world.clock.advance(61)
    assert world.get(name).read() == DATA[name]
    settle()
    assert world.here(name) == DATA[name]


def test_memory_is_free_when_readers_and_restore_are_through(world: Restoring) -> None:
    free = world.remotes.shares.free_bytes
    world.get('small').read()
    settle()
    assert world.here('small') == SMALL
    world.clock.advance(3)
    for _ in range(50):
        sleep(0.001)
    assert world.remotes.shares.free_bytes == free


def test_wrong_bytes_are_never_stored(world: Restoring) -> None:
    for name in DATA:
        world.remote.hold(name, DATA[name], etag='0' * 32)
        world.get(name).read()
        settle()
        assert world.here(name) is None
    assert world.outcomes() == [('failed', 'checksum')] * 2


# -- large objects ------------------------------------------------------------------------------

def test_parts_that_cannot_be_asked_for_now_are_restored_another_time(world: Restoring) -> None:
    def fail(*args: object, **keys: object) -> object:
        raise TemporaryError('no manifest', status=500)
    world.remote.layout_of = fail  # type: ignore[method-assign, assignment]
    world.remote.hold('dlo', LARGE, etag='0' * 32, large_object='dlo')
    assert world.get('dlo').read() == LARGE
    settle()
    assert world.outcomes() == [('failed', 'remote')]
    assert world.puts == []


def test_parts_that_cannot_be_told_come_back_as_their_bytes(world: Restoring) -> None:
    world.remote.hold('dlo', LARGE, etag='0' * 32, etag_is_md5=False, large_object='dlo')
    assert world.get('dlo').read() == LARGE
    settle()
    assert world.here('dlo') == LARGE


def test_a_multipart_upload_is_proven_by_its_parts(world: Restoring) -> None:
    world.remote.hold('parts', LARGE, etag='0' * 32 + '-2', large_object='multipart')
    assert world.get('parts').read() == LARGE
    settle()
    assert {'part-number': '1'} in [dict(request.query) for request in world.remote.asked]


def test_a_restore_that_finds_no_place_is_told_and_the_next_reader_brings_the_object_back(
        make: Callable[..., Restoring]) -> None:
    world = make()
    world.work.background = BackgroundRestores(clock=world.clock, queued=0)
    assert world.get('small').read() == SMALL
    settle()
    assert world.outcomes() == [('failed', 'dropped')]
    world.work.background = BackgroundRestores(clock=world.clock)
    world.clock.advance(61)
    settle()
    assert world.get('small').read() == SMALL
    settle()
    assert world.here('small') == SMALL
