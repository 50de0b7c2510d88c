"""Who may do what in a merged container: whom Swift would let, and nothing reaches the remote for anybody else."""
from __future__ import annotations

import hashlib
import hmac
import itertools
import time
from collections.abc import Iterator
from typing import Literal
from urllib.parse import quote

import pytest
import requests

from s3_sync.trial.s3_endpoint import S3Endpoint
from test.servers.merged import ACCOUNT, SHUNT, MergedContainer, MergedWorld, merged_world

# Swift replaces the log handler of a pipeline that is loaded again, and forgets to close its UDP socket.
pytestmark = [pytest.mark.filterwarnings('ignore:unclosed <socket.socket .*type=2:ResourceWarning'),
              # So does its proxy application with a connection that was refused.
              pytest.mark.filterwarnings(r'ignore:unclosed <socket.socket \[closed\]:ResourceWarning')]

Kind = Literal['s3', 'swift']
ACLS = {'private': {}, 'read': {'X-Container-Read': 'test:tester3,test2:nobody'},
        'write': {'X-Container-Write': 'test:tester3'}, 'public': {'X-Container-Read': '.r:*'},
        'listed': {'X-Container-Read': '.r:*,.rlistings'}}
USERS = ('owner', 'tester3', 'stranger', None)
OBJECT_REQUESTS = {
    'GET': ('GET', '', {}), 'HEAD': ('HEAD', '', {}), 'range': ('GET', '', {'Range': 'bytes=0-0'}),
    'ranges': ('GET', '', {'Range': 'bytes=0-0,2-2'}), 'news': ('GET', '', {'If-None-Match': '"x"'}),
    'manifest': ('GET', '?multipart-manifest=get', {}), 'POST': ('POST', '', {'X-Object-Meta-A': 'b'}),
    'DELETE': ('DELETE', '', {}), 'PUT': ('PUT', '', {}), 'create': ('PUT', '', {'If-None-Match': '*'}),
    'manifest delete': ('DELETE', '?multipart-manifest=delete', {}), 'COPY': ('COPY', '', {'Destination': 'copies/c'})}
CONTAINER_REQUESTS = {
    'list': ('GET', '', {}), 'list json': ('GET', '?format=json&prefix=o', {}), 'head': ('HEAD', '', {}),
    'post': ('POST', '', {'X-Container-Meta-A': 'b'})}
MERGED = tuple(f'{kind}-{acl}' for kind in ('s3', 'swift') for acl in ACLS)
_numbers = itertools.count()


@pytest.fixture(scope='module')
def world(s3: S3Endpoint) -> Iterator[MergedWorld]:
    """Merged containers, and twins of them that are not, with everything here."""
    with merged_world(s3) as made:
        kinds: tuple[Kind, ...] = ('s3', 'swift')
        for kind in kinds:
            faults = made.fault_proxy(kind)
            for acl, headers in ACLS.items():
                made.add(f'{kind}-{acl}', kind=kind, faults=faults, restore_object=True)
                made.plain.post_container(f'{kind}-{acl}', headers)
                made.plain.put_container(f'{kind}-{acl}-twin', headers)
            made.add(f'{kind}-unmade', kind=kind, faults=faults, migration=True, create=False)
        made.plain.put_container('copies', {'X-Container-Write': 'test:tester3'})
        made.configure()
        yield made


def twin(at: MergedContainer) -> MergedContainer:
    return MergedContainer(at.world, f'{at.name}-twin', at.remote, at.faults)


def everywhere(at: MergedContainer, name: str = 'o-{}') -> str:
    """A new object that is at the remote of the one, and here in the other."""
    name = name.format(next(_numbers))
    at.remote.put(name, b'data')
    twin(at).put_here(name, b'data', **{'Content-Type': 'text/plain'})
    return name


def allowed(status: int) -> bool:
    return status not in (401, 403)


@pytest.mark.parametrize('at', MERGED, indirect=True)
@pytest.mark.parametrize('user', USERS)
@pytest.mark.parametrize('what', OBJECT_REQUESTS)
def test_whoever_swift_refuses_is_refused_and_the_remote_never_hears_of_it(
        at: MergedContainer, user: str | None, what: str) -> None:
    method, query, headers = OBJECT_REQUESTS[what]
    name = everywhere(at)
    data = b'new' if method == 'PUT' else None
    at.faults.clear()
    wanted = twin(at).ask(method, name, user=user, query=query, headers=headers, data=data)
    answer = at.ask(method, name, user=user, query=query, headers=headers, data=data)
    assert allowed(answer.status_code) == allowed(wanted.status_code), (answer.status_code, wanted.status_code)
    if what == 'manifest delete':  # its own answer is always 200
        refused = b'Unauthorized' in answer.content or b'Forbidden' in answer.content
        assert refused == (b'Unauthorized' in wanted.content or b'Forbidden' in wanted.content)
    else:
        refused = not allowed(answer.status_code)
    if refused:
        assert answer.status_code == wanted.status_code
        if what == 'COPY' and allowed(twin(at).status('GET', name, user=user)):
            return  # it may read, but not write where it wants to
        assert at.asked() == []
    elif what in ('GET', 'HEAD', 'range', 'ranges', 'news', 'manifest'):
        assert (answer.status_code, len(answer.content)) == (wanted.status_code, len(wanted.content))
        assert at.asked(name) != []


@pytest.mark.parametrize('at', MERGED, indirect=True)
@pytest.mark.parametrize('user', USERS)
@pytest.mark.parametrize('what', CONTAINER_REQUESTS)
def test_whoever_may_not_list_learns_nothing_from_the_remote(
        at: MergedContainer, user: str | None, what: str) -> None:
    method, query, headers = CONTAINER_REQUESTS[what]
    everywhere(at)
    at.faults.clear()
    wanted = twin(at).ask(method, '', user=user, query=query, headers=headers)
    answer = at.ask(method, '', user=user, query=query, headers=headers)
    assert answer.status_code == wanted.status_code
    if not allowed(answer.status_code):
        assert at.asked() == []


@pytest.mark.parametrize('at', ['s3-unmade', 'swift-unmade'], indirect=True)
@pytest.mark.parametrize('user', ['tester3', 'stranger', None])
def test_a_container_that_is_not_here_is_its_owners_alone(at: MergedContainer, user: str | None) -> None:
    at.remote.put('o', b'data')
    at.faults.clear()
    for method, query, headers in (*OBJECT_REQUESTS.values(), *CONTAINER_REQUESTS.values()):
        for name in ('o', ''):
            answer = at.ask(method, name, user=user, query=query, headers=headers)
            assert answer.status_code in (401, 403, 404, 405) or b'Number Deleted: 0' in answer.content, (
                method, name, answer.status_code)
    assert at.asked() == []


# -- temporary URLs -----------------------------------------------------------------------------

@pytest.fixture
def key(world: MergedWorld) -> str:
    world['s3-private'].world.plain.post_account({'X-Account-Meta-Temp-URL-Key': 'secret key'})
    return 'secret key'


def signed(at: MergedContainer, name: str, method: str, key: str, expires: float) -> str:
    path = f'/v1/{ACCOUNT}/{at.name}/{name}'
    text = f'{method}\n{expires:.0f}\n{path}'
    signature = hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()
    return f'{at.world.cluster.proxy_url(SHUNT)}{quote(path)}?temp_url_sig={signature}&temp_url_expires={expires:.0f}'


@pytest.mark.parametrize('at', ['s3-private', 'swift-private'], indirect=True)
def test_a_temporary_url_opens_what_is_remote(at: MergedContainer, key: str) -> None:
    name = everywhere(at, 'ü {}')
    url = signed(at, name, 'GET', key, time.time() + 100)
    got, head = requests.get(url, timeout=30), requests.head(url, timeout=30)
    assert (got.status_code, got.content) == (200, b'data')
    assert got.headers['content-disposition'].startswith('attachment')
    assert (head.status_code, head.headers['content-length']) == (200, '4')
    assert requests.get(url, headers={'Range': 'bytes=1-2'}, timeout=30).content == b'at'
    put = signed(at, name, 'PUT', key, time.time() + 100)
    assert requests.put(put, data=b'mine', timeout=30).status_code == 201
    assert at.body(name) == b'mine'


@pytest.mark.parametrize('at', ['s3-private', 'swift-private'], indirect=True)
@pytest.mark.parametrize('method', ['GET', 'HEAD', 'PUT', 'POST', 'DELETE'])
@pytest.mark.parametrize('wrong', ['method', 'signature', 'expired', 'object'])
def test_a_temporary_url_opens_nothing_else(at: MergedContainer, key: str, method: str, wrong: str) -> None:
    name, other = everywhere(at), everywhere(at)
    good = signed(at, name, method, key, time.time() + 100)
    url = {'method': signed(at, name, 'DELETE' if method != 'DELETE' else 'POST', key, time.time() + 100),
           'signature': signed(at, name, method, 'guessed', time.time() + 100),
           'expired': signed(at, name, method, key, time.time() - 100),
           'object': good.replace(quote(name), quote(other))}[wrong]
    at.faults.clear()
    assert requests.request(method, url, data=b'x' if method == 'PUT' else None, timeout=30).status_code == 401
    assert at.asked() == []


# -- links --------------------------------------------------------------------------------------

@pytest.mark.parametrize('at', ['s3-private', 'swift-private'], indirect=True)
def test_a_public_link_opens_nothing_that_its_target_does_not(at: MergedContainer) -> None:
    world: MergedWorld = at.world
    name = everywhere(at)
    public = world[at.name.replace('private', 'public')]
    public.put_here(f'link to {name}', b'', **{'X-Symlink-Target': f'{at.name}/{name}'})
    at.faults.clear()
    for user in (None, 'stranger', 'tester3'):
        assert public.status('GET', f'link to {name}', user=user) in (401, 403)
    assert at.asked() == []
    assert public.body(f'link to {name}') == b'data'
