"""Several proxies with one configuration and one memcached; proxies that die; proxies that are told to stand aside."""
from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from swift.common.swob import str_to_wsgi

from s3_sync.shunting.call import bypass_signature
from s3_sync.trial.s3_endpoint import S3Endpoint
from test.servers.fault_proxy import HoldAnswer
from test.servers.memcached import MemcachedServer, memcached
from test.servers.merged import ACCOUNT, SHUNT, MergedContainer, MergedWorld, an_hour_ago, archive, merged_world
from test.servers.sync_daemon import eventually

# Swift replaces the log handler of a pipeline that is loaded again, and forgets to close its UDP socket.
pytestmark = [pytest.mark.filterwarnings('ignore:unclosed <socket.socket .*type=2:ResourceWarning'),
              # So does its proxy application with a connection that was refused.
              pytest.mark.filterwarnings(r'ignore:unclosed <socket.socket \[closed\]:ResourceWarning')]

OTHER = SHUNT + 1
BYPASS = 'X-Cloud-Sync-Shunt-Bypass'
KEY = 'signs requests that pass by'
SMALL, LARGE = os.urandom(50_000), os.urandom(3_000_000)


@dataclass
class Site:
    world: MergedWorld
    cache: MemcachedServer
    held: Path
    """Names the path whose DELETEs wait in front of the cluster's own part, once they are past the shunt."""


@pytest.fixture(scope='module')
def site(s3: S3Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    held = tmp_path_factory.mktemp('held') / 'path'
    hold = 'hold-deletes', {'paste.filter_factory': 'test.servers.hold_deletes:filter_factory', 'file': held}, 'symlink'
    with memcached() as cache, merged_world(
            s3, shunts=2, memcached=cache.address, proxy_filters=[hold],
            shunt_options={'restore_concurrency': 16}) as world:
        world.add('restoring', 's3', restore_object=True, retain_local=False, coalesce_size='1MiB')
        world.add('seen', 's3', delete_policy='tombstone')
        world.add('kept', 's3', delete_policy='tombstone', retain_local=False)
        world.add('propagated', 's3', retain_local=False)
        world.add('plain', 's3')
        world.configure(bypass_key=KEY)
        yield Site(world, cache, held)


@pytest.fixture(autouse=True)
def _calm(site: Site) -> Iterator[None]:
    site.world.calm()
    yield
    site.held.unlink(missing_ok=True)


# -- one restore in the cluster -----------------------------------------------------------------

@pytest.mark.parametrize('data', [SMALL, LARGE], ids=['small', 'large'])
def test_two_proxies_restore_an_object_once(site: Site, data: bytes) -> None:
    at = site.world['restoring']
    names = [f'{len(data)}-{number}' for number in range(6)]
    token = site.world.token('owner')
    for name in names:
        at.remote.put(name, data)
        # Both have asked before one of them can be ready; and who has begun does not end at once.
        at.faults.fail(HoldAnswer(1), method='GET', path=f'/{name}', times=2)

    def read(name: str, proxy: int) -> tuple[int, bool]:
        answer = requests.get(at.url(name, proxy), headers={'X-Auth-Token': token}, timeout=60)
        return answer.status_code, answer.content == data
    with ThreadPoolExecutor(2 * len(names)) as clients:
        found = clients.map(read, [*names, *names], [SHUNT] * len(names) + [OTHER] * len(names))
        assert set(found) == {(200, True)}
    eventually(lambda: all(len(_ended(at, name)) == 2 for name in names), 'all restores end', seconds=20)
    eventually(lambda: not _locks(site.cache), 'nobody holds a lock any more')
    ended = Counter(end for name in names for end in _ended(at, name))
    for name in names:
        assert at.is_here(name)
        assert Counter(request.method for request in at.asked(name))['GET'] == 2
        assert [end for end in _ended(at, name) if end in ('restored', 'newer')] == ['restored']
    assert ended['failed busy'], f'no two of them have met: {ended}'
    assert set(ended) <= {'restored', 'failed busy', 'already'}


def _ended(at: MergedContainer, name: str) -> list[str]:
    """How restores of an object ended, from the proxies' logs."""
    lines = [line.split(' ') for line in at.world.log() if line.startswith(f'restore {ACCOUNT}/{at.name}/{name} ')]
    told = [dict(word.split('=', 1) for word in line if '=' in word) for line in lines]
    return [f'{each["outcome"]} {each.get("reason", "")}'.strip() for each in told]


def _locks(cache: MemcachedServer) -> set[bytes]:
    """Swift hashes the keys; those of locks hold a small number and nothing else."""
    return {key for key in cache.keys if (cache.get(key) or (b'', b''))[1].isdigit()}


def test_what_one_proxy_writes_and_deletes_the_other_shows_at_once(site: Site) -> None:
    at = site.world['seen']
    for name in ('a', 'b'):
        at.remote.put(name, b'data', **{'1space-timestamp': an_hour_ago()})
    assert at.status('GET', 'a', proxy=OTHER) == 200
    assert at.status('DELETE', 'a') == 204
    assert at.status('GET', 'a', proxy=OTHER) == 404
    assert at.ask('GET', '', proxy=OTHER).text == 'b\n'
    assert at.status('PUT', 'a', data=b'new', proxy=OTHER) == 201
    assert (at.body('a'), at.ask('GET', '').text) == (b'new', 'a\nb\n')


# -- a proxy that dies ----------------------------------------------------------------------------

@pytest.mark.parametrize('container', ['kept', 'propagated'])
def test_a_proxy_that_dies_between_marker_and_deletion_leaves_an_object_that_can_be_deleted_again(
        site: Site, container: str) -> None:
    at = site.world[container]
    at.put_here('o', b'data')
    at.remote.put('o', b'data', **{'1space-timestamp': an_hour_ago()})
    path = f'/v1/{ACCOUNT}/{at.name}/o'
    site.held.write_text(path)
    with ThreadPoolExecutor(1) as clients:
        asked = clients.submit(at.ask, 'DELETE', 'o', proxy=OTHER)
        eventually(lambda: 'o' in at.markers, 'the marker is written')
        at.world.cluster.kill9(f'proxy-server-{OTHER}')
        with pytest.raises(requests.ConnectionError):
            asked.result()
    site.held.unlink()
    at.world.cluster.start_server(f'proxy-server-{OTHER}')
    for proxy in (SHUNT, OTHER):  # nobody was told that it is deleted
        answer = at.ask('GET', 'o', proxy=proxy)
        assert (answer.content, answer.headers['x-1space-source']) == (b'data', 'local')
        assert at.ask('GET', '', proxy=proxy).text == 'o\n'
    assert at.remote.read('o') == b'data'
    assert at.status('DELETE', 'o') == 204
    assert at.status('GET', 'o', proxy=OTHER) == 404
    assert at.ask('GET', '', proxy=OTHER).text == ''
    assert (at.remote.read('o'), set(at.markers)) == (b'data', {'o'})
    archive(at)
    if container == 'kept':
        assert (at.remote.read('o'), set(at.markers)) == (b'data', {'o'})
    else:
        assert (at.remote.head('o'), at.markers) == (None, {})
    assert at.status('GET', 'o') == 404


def test_a_proxy_that_dies_while_it_restores_leaves_the_object_to_the_next_reader(site: Site) -> None:
    at = site.world['restoring']
    at.remote.put('dies', LARGE)
    held = at.faults.fail(HoldAnswer(5), method='GET', path='/dies')
    with ThreadPoolExecutor(1) as clients:
        asked = clients.submit(at.ask, 'GET', 'dies', proxy=OTHER)
        eventually(lambda: held.hits, 'the remote is asked')
        at.world.cluster.kill9(f'proxy-server-{OTHER}')
        with pytest.raises(requests.ConnectionError):
            asked.result()
    at.world.cluster.start_server(f'proxy-server-{OTHER}')
    assert not at.is_here('dies')
    for proxy in (SHUNT, OTHER):
        assert at.ask('GET', 'dies', proxy=proxy).content == LARGE


# -- past the shunt -------------------------------------------------------------------------------

@pytest.mark.parametrize('name', ['o', 'ü ☃/+%41'])
def test_a_signed_request_passes_by(site: Site, name: str) -> None:
    at = site.world['plain']
    at.remote.put(name, b'data')
    assert at.status('GET', name) == 200
    path = f'/v1/{ACCOUNT}/{at.name}/{name}'
    signature = bypass_signature(KEY, 'GET', str_to_wsgi(path))
    at.faults.clear()
    assert at.status('GET', name, headers={BYPASS: signature}) == 404
    assert at.asked() == []
    for wrong in ('1', bypass_signature('other', 'GET', str_to_wsgi(path)),
                  bypass_signature(KEY, 'HEAD', str_to_wsgi(path))):
        assert at.status('GET', name, headers={BYPASS: wrong}) == 200
    assert at.status('GET', name, user=None, headers={BYPASS: signature}) == 401
