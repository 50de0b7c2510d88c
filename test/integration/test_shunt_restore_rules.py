"""Times and proofs of restores by the proxy (semantics 3), whatever a remote or a user does meanwhile."""
from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest
import requests
from swift.common.utils import Timestamp

from s3_sync.timestamps import is_ours, without_marker
from s3_sync.trial.s3_endpoint import S3Endpoint
from test.servers.fault_proxy import HoldAnswer, Truncate
from test.servers.large_objects import cheap_bytes
from test.servers.merged import ACCOUNT, Kind, MergedContainer, MergedWorld, an_hour_ago, merged_world
from test.servers.sync_daemon import eventually

# Swift replaces the log handler of a pipeline that is loaded again, and forgets to close its UDP socket.
pytestmark = [pytest.mark.filterwarnings('ignore:unclosed <socket.socket .*type=2:ResourceWarning'),
              # So does its proxy application with a connection that was refused.
              pytest.mark.filterwarnings(r'ignore:unclosed <socket.socket \[closed\]:ResourceWarning')]

DATA = cheap_bytes(300_000)
LARGE = cheap_bytes(3_000_000)
KINDS: tuple[Kind, ...] = ('s3', 'swift')


@pytest.fixture(scope='module')
def world(s3: S3Endpoint) -> Iterator[MergedWorld]:
    with merged_world(s3) as made:
        for kind in KINDS:
            made.add(f'{kind}-all', kind, restore_object=True)
            made.add(f'{kind}-streamed', kind, restore_object=True, coalesce_size=100_000)
            made.add(f'{kind}-never', kind)
            made.add(f'{kind}-moving', kind, migration=True, create=False)
        made.configure()
        yield made


def ended(container: MergedContainer, name: str, outcome: str) -> str:
    """The log's line of a restore that ended like this."""
    def found() -> str:
        path = f'restore {ACCOUNT}/{container.name}/{name} '
        return next((line for line in container.world.log() if path in line and f'outcome={outcome}' in line), '')
    return str(eventually(found, f'a restore of {name} that ends with {outcome}', seconds=20))


def inside(container: MergedContainer, name: str) -> dict[str, str]:
    """What only Swift itself sees of a local object."""
    answer = container.world.marks.proxy.request('HEAD', (ACCOUNT, container.name, name), {})
    answer.read()
    return {key.lower(): value for key, value in answer.headers.items()}


# -- times (semantics 3.1, 3.3) ------------------------------------------------------------------


@pytest.mark.parametrize('way', ['all', 'streamed'])
def test_a_restored_object_has_the_time_of_its_source_with_our_mark(world: MergedWorld, kind: str, way: str) -> None:
    container = world[f'{kind}-{way}']
    then = an_hour_ago()
    container.remote.put('dated', DATA, **{'1space-timestamp': then, 'colour': 'blue'})
    first = container.ask('GET', 'dated')
    assert (first.content, first.headers['x-1space-source']) == (DATA, 'remote')
    ended(container, 'dated', 'restored')
    seen = inside(container, 'dated')
    stamp = Timestamp(seen['x-backend-timestamp'])
    assert is_ours(stamp) and without_marker(stamp) == Timestamp(then)
    second = container.ask('GET', 'dated')
    for name in ('last-modified', 'x-timestamp', 'etag', 'content-type', 'x-object-meta-colour'):
        assert second.headers[name] == first.headers[name], name
    assert not [name for name in second.headers if '1space' in name.lower() and name.lower() != 'x-1space-source']


@pytest.mark.parametrize('way', ['all', 'streamed'])
def test_a_copy_dated_in_the_future_can_still_be_written_over_and_deleted(
        world: MergedWorld, kind: str, way: str) -> None:
    container = world[f'{kind}-{way}']
    for name in ('written', 'deleted'):
        container.remote.put(name, DATA, **{'1space-timestamp': Timestamp(time.time() + 3600).internal})
        assert container.body(name) == DATA
        ended(container, name, 'restored')
        assert container.is_here(name)
        seen = inside(container, name)
        assert float(Timestamp(seen['x-backend-timestamp'])) <= time.time()
    assert container.status('PUT', 'written', data=b'mine') == 201
    assert container.body('written') == b'mine'
    assert container.status('DELETE', 'deleted') == 204
    assert not container.is_here('deleted')


# -- what a 202 means (semantics 3.4) --------------------------------------------------------------


def held(container: MergedContainer, name: str, meanwhile: Any) -> requests.Response:
    """GET an object whose remote takes its time, and do something before its bytes arrive."""
    rule = container.faults.fail(HoldAnswer(3), method='GET', path=f'/{quote(name)}')
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(container.ask, 'GET', name)
        eventually(lambda: rule.hits, 'the remote is asked')
        meanwhile()
        return answer.result()


@pytest.mark.parametrize('way', ['all', 'streamed'])
def test_the_same_version_that_comes_meanwhile_does(world: MergedWorld, kind: str, way: str) -> None:
    container = world[f'{kind}-{way}']
    then = Timestamp(an_hour_ago())
    container.remote.put('twice', DATA, **{'1space-timestamp': then.internal})
    first = held(container, 'twice', lambda: container.world.insider.put(container.name, 'twice', DATA, then))
    assert first.content == DATA
    eventually(lambda: any('restore' in line and '/twice ' in line and container.name in line
                           and ('outcome=already' in line or 'outcome=restored' in line)
                           for line in world.log()), 'the restore ends well', seconds=20)
    assert container.ask('GET', 'twice').content == DATA
    assert Timestamp(inside(container, 'twice')['x-timestamp']).normal == then.normal


def test_a_delete_through_the_shunt_that_comes_meanwhile_stays(world: MergedWorld, kind: str) -> None:
    container = world[f'{kind}-streamed']
    container.remote.put('called off', DATA, **{'1space-timestamp': an_hour_ago()})
    answer = held(container, 'called off', lambda: container.status('DELETE', 'called off'))
    assert answer.content == DATA
    time.sleep(1)
    assert container.status('GET', 'called off') == 404
    assert not container.is_here('called off')


# -- restores that fail take nothing from the client -------------------------------------------------


def test_bytes_that_are_not_the_versions_are_not_kept(world: MergedWorld, kind: str) -> None:
    container = world[f'{kind}-streamed']
    wrong = hashlib.md5(b'something else').hexdigest()
    container.remote.put('wrong', DATA, **{'1space-timestamp': an_hour_ago(), '1space-etag': wrong})
    assert container.status('GET', 'wrong') == 200
    eventually(lambda: any('restore' in line and '/wrong ' in line and container.name in line
                           for line in world.log()), 'the restore ended', seconds=20)
    if kind == 's3':  # another Swift has an ETag of its own, which counts
        assert not container.is_here('wrong')


def test_a_body_that_ends_early_leaves_nothing(world: MergedWorld, kind: str) -> None:
    container = world[f'{kind}-streamed']
    container.remote.put('torn', LARGE, **{'1space-timestamp': an_hour_ago()})
    container.faults.fail(Truncate(100_000), method='GET', path='/torn', times=None)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        container.ask('GET', 'torn')
    ended(container, 'torn', 'failed')
    container.faults.clear()
    assert not container.is_here('torn')
    assert container.body('torn') == LARGE


def test_a_mapping_that_restores_nothing_restores_nothing(world: MergedWorld, kind: str) -> None:
    container = world[f'{kind}-never']
    container.remote.put('kept-away', DATA)
    assert container.body('kept-away') == DATA
    assert not any('restore' in line and 'kept-away' in line for line in world.log())
    assert not container.is_here('kept-away')


# -- migrations ------------------------------------------------------------------------------------------


def test_a_migration_brings_back_container_and_object_with_the_migrators_tag(world: MergedWorld, kind: str) -> None:
    container = world[f'{kind}-moving']
    container.remote.put('moved ü', DATA, colour='blue')
    first = container.ask('GET', 'moved ü')
    assert (first.status_code, first.content) == (200, DATA)
    ended(container, 'moved%20%C3%BC', 'restored')
    assert container.is_here('moved ü')
    seen = inside(container, 'moved ü')
    assert 'x-object-transient-sysmeta-multi-cloud-internal-migrator' in seen
    second = container.ask('GET', 'moved ü')
    assert second.headers['x-1space-source'] == 'restored'
    assert (second.headers['last-modified'], second.headers['etag']) == (
        first.headers['last-modified'], first.headers['etag'])
    assert container.status('DELETE', 'moved ü') == 204
    assert container.status('GET', 'moved ü') == 404
    assert container.remote.read('moved ü') == DATA, 'a migration leaves its source alone'
