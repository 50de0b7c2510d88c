"""Listings of merged containers beside those of plain ones that hold the same names, through the same cluster.

Rows are written into container databases by Swift's own classes, with the same
times on either side: so everything that another Swift lists must come out byte
for byte as if it lay in one container.
"""
from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest
import requests
from swift.common.utils import Timestamp
from swift.container.backend import ContainerBroker

from s3_sync.trial.s3_endpoint import MotoEndpoint, S3Endpoint
from test.servers.fault_proxy import Answer
from test.servers.merged import MergedContainer, MergedWorld, merged_world
from test.servers.sync_daemon import s3_mapping

# Swift replaces the log handler of a pipeline that is loaded again, and forgets to close its UDP socket.
pytestmark = [pytest.mark.filterwarnings('ignore:unclosed <socket.socket .*type=2:ResourceWarning'),
              # So does its proxy application with a connection that was refused.
              pytest.mark.filterwarnings(r'ignore:unclosed <socket.socket \[closed\]:ResourceWarning')]

PLAIN = 0
TAME = ('a', 'a/b', 'a/c/d', 'a0', 'b', 'b-1', 'b/1', 'b/2', 'c d', 'd+e', 'd%41', 'dir/sub/deep', 'dir/sub/other',
        'dir/x', 'e&f<g>', 'f#g?h', 'ä', 'ü/ö', '日本/語', '\uffee', '\U0001f600')
"""What SeaweedFS keeps as it is; a name and a directory of that name it keeps as well."""
AWKWARD = (*TAME, '/lead', '//two', 'a//b', 'a/', 'b/', 'end/', './x', '../y', 'x\ny', 'c/./d', 'l' * 1000,
           'm/' * 300, '%', '%2F', 'tab\there')
FOR_MOTO = tuple(name for name in AWKWARD if '\n' not in name)
"""It takes no line breaks."""
SIDES = ('local', 'remote', 'remote', 'local remote')
FORMATS = ('plain', 'json', 'xml')


@dataclass
class Pair:
    """A merged container and the plain one that holds the same."""

    merged: MergedContainer
    plain: str
    same_metadata: bool

    def ask(self, query: dict[str, str], **headers: str) -> tuple[requests.Response, requests.Response]:
        world = self.merged.world
        text = '?' + urlencode(query) if query else ''
        return (self.merged.ask('GET', '', query=text, headers=headers),
                world.session.get(f'{world.plain.get_auth()[0]}/{self.plain}{text}', timeout=60,
                                  headers={'X-Auth-Token': world.plain.get_auth()[1], **headers}))

    def assert_equal(self, query: dict[str, str], **headers: str) -> list[Any]:
        """Both answer the same; what they list."""
        merged, plain = self.ask(query, **headers)
        assert (merged.status_code, merged.headers.get('content-type')) == (
            plain.status_code, plain.headers.get('content-type')), query
        kind = plain.headers.get('content-type', '').partition(';')[0]
        if kind == 'application/json':
            return self._json(query, merged, plain)
        if kind in ('application/xml', 'text/xml'):
            return self._xml(query, merged, plain)
        assert merged.content == plain.content, query
        return plain.content.split(b'\n')[:-1]

    def _json(self, query: dict[str, str], merged: requests.Response, plain: requests.Response) -> list[Any]:
        found = json.loads(merged.content)
        for entry in found:
            entry.pop('content_location', None)
        expected = json.loads(plain.content)
        if self.same_metadata:
            assert json.dumps(found).encode() == plain.content, query
        assert [self._reduced(entry) for entry in found] == [self._reduced(entry) for entry in expected], query
        assert [list(entry) for entry in found] == [list(entry) for entry in expected], query
        return expected

    def _reduced(self, entry: dict[str, Any]) -> dict[str, Any]:
        hidden = () if self.same_metadata else ('content_type', 'last_modified', 'hash')
        return {key: value for key, value in entry.items() if key not in hidden}

    def _xml(self, query: dict[str, str], merged: requests.Response, plain: requests.Response) -> list[Any]:
        found = merged.content.replace(f'name="{self.merged.name}"'.encode(), f'name="{self.plain}"'.encode(), 1)
        if self.same_metadata:
            assert found == plain.content, query
        tree, other = ElementTree.fromstring(found), ElementTree.fromstring(plain.content)
        assert (tree.tag, tree.attrib) == (other.tag, other.attrib)
        assert [self._flat(node) for node in tree] == [self._flat(node) for node in other], query
        return list(other)

    def _flat(self, node: ElementTree.Element) -> tuple[str, dict[str, str], dict[str, Any]]:
        return node.tag, dict(node.attrib), self._reduced({part.tag: part.text for part in node})


class Stage:
    def __init__(self, world: MergedWorld, s3: S3Endpoint, moto: MotoEndpoint) -> None:
        self.world = world
        self.pairs: dict[str, Pair] = {}
        self._moto = moto.client()
        try:
            self._fill(s3, moto)
        finally:
            self._moto.close()

    def _fill(self, s3: S3Endpoint, moto: MotoEndpoint) -> None:
        swift = self.world.add('from-swift', 'swift', restore_object=False)
        self.world.add('moving-swift', 'swift', retain_local=False, delete_policy='tombstone')
        self.world.add('partial', 'swift', on_remote_error='partial')
        self.world.add('versioned', 'swift')
        migrated = self.world.add('migrated', 'swift', migration=True, restore_object=False)
        weed = self.world.add('from-seaweed', 's3')
        keys = s3_mapping(moto, 'from-moto', 'from-moto')
        aws = self.world.add('from-moto', 's3', bucket='not-used', **{
            key: keys[key] for key in ('aws_bucket', 'aws_endpoint', 'aws_identity', 'aws_secret')})
        self._moto.create_bucket(Bucket='from-moto')
        self.world.configure()
        for merged, names in ((swift, AWKWARD), (migrated, AWKWARD), (weed, TAME), (aws, FOR_MOTO)):
            self._split(merged, names, native=merged in (swift, migrated))

    def _split(self, merged: MergedContainer, names: Sequence[str], *, native: bool) -> None:
        rows: dict[str, list[dict[str, Any]]] = {'local': [], 'remote': [], 'all': []}
        for at, name in enumerate(sorted(names)):
            sides = SIDES[at % len(SIDES)].split()
            rows['all'].append(row(name, at, sides[0]))
            for side in sides:
                rows[side].append(row(name, at, side))
        plain = f'plain-{merged.name}'
        self.world.plain.put_container(plain)
        self._write('AUTH_test', merged.name, rows['local'])
        self._write('AUTH_test', plain, rows['all'])
        if native:
            self._write('AUTH_test2', merged.remote.bucket, rows['remote'])
        else:
            for entry in rows['remote']:
                data = b'x' * entry['size']
                if merged.name == 'from-moto':
                    self._moto.put_object(Bucket='from-moto', Key=entry['name'], Body=data)
                else:
                    merged.remote.put(entry['name'], data)
        self.pairs[merged.name] = Pair(merged, plain, native)

    def _write(self, account: str, container: str, rows: list[dict[str, Any]]) -> None:
        paths = self.world.cluster.container_databases(container, account)
        assert paths
        for path in paths:
            ContainerBroker(str(path)).merge_items([dict(row) for row in rows])


def row(name: str, at: int, side: str) -> dict[str, Any]:
    """A container's row; both sides of one name differ in everything."""
    rank = ('local', 'remote').index(side)
    return {'name': name, 'created_at': Timestamp(1_600_000_000.12345 + at + rank / 2).internal,
            'size': 2 * at + rank, 'content_type': f'text/x-{side}', 'etag': f'{at:030x}{rank:02x}', 'deleted': 0,
            'storage_policy_index': 0}


@pytest.fixture(scope='module')
def stage(s3: S3Endpoint, moto: MotoEndpoint) -> Iterator[Stage]:
    with merged_world(s3) as world:
        yield Stage(world, s3, moto)


@pytest.fixture
def pair(stage: Stage, request: pytest.FixtureRequest) -> Pair:
    return stage.pairs[request.param]


each = pytest.mark.parametrize('pair', ['from-swift', 'migrated', 'from-seaweed', 'from-moto'], indirect=True)

QUERIES: tuple[dict[str, str], ...] = (
    {}, {'limit': '3'}, {'limit': '0'}, {'limit': 'x'}, {'limit': '-1'}, {'limit': '10001'}, {'limit': '10000'},
    {'prefix': 'a'}, {'prefix': 'a/'}, {'prefix': 'ü'}, {'prefix': 'nothing'}, {'prefix': ''},
    {'delimiter': '/'}, {'delimiter': '/', 'limit': '2'}, {'delimiter': '/', 'prefix': 'a/'},
    {'delimiter': '/', 'prefix': 'dir'}, {'delimiter': '/', 'prefix': 'dir/', 'limit': '1'}, {'delimiter': 'b'},
    {'delimiter': '/s'}, {'delimiter': 'sub/'}, {'delimiter': '//'}, {'delimiter': '日'},
    {'marker': 'b'}, {'marker': 'b/1'}, {'marker': 'zzz'}, {'marker': '\U0010ffff'}, {'end_marker': 'b/1'},
    {'marker': 'a', 'end_marker': 'd'}, {'marker': 'd', 'end_marker': 'a'},
    {'delimiter': '/', 'marker': 'a/b'}, {'delimiter': '/', 'marker': 'a/'}, {'delimiter': '/', 'end_marker': 'a/c'},
    {'delimiter': '/', 'end_marker': 'a/b'}, {'delimiter': '/', 'end_marker': 'a/'},
    {'delimiter': '/', 'marker': 'dir/sub/deep', 'end_marker': 'dir/sub/z'},
    {'reverse': 'true'}, {'reverse': 'yes', 'limit': '4'}, {'reverse': 'true', 'delimiter': '/'},
    {'reverse': 'true', 'delimiter': '/', 'marker': 'dir/sub/other', 'limit': '3'},
    {'reverse': 'true', 'delimiter': '/', 'end_marker': 'a/b'}, {'reverse': 'true', 'prefix': 'b', 'marker': 'b/2'},
    {'reverse': 'false'}, {'path': 'dir'}, {'path': 'dir/'}, {'path': 'dir/sub', 'limit': '1'}, {'path': 'none'},
    {'path': 'ü', 'prefix': 'b'}, {'path': 'dir', 'reverse': 'true'}, {'unknown': 'x'})


@each
@pytest.mark.parametrize('kind', FORMATS)
def test_every_parameter_answers_as_a_plain_container_does(pair: Pair, kind: str) -> None:
    for query in QUERIES:
        pair.assert_equal({'format': kind, **query})


@each
def test_parameters_of_any_kind_together_answer_as_a_plain_container_does(pair: Pair) -> None:
    chance = random.Random(pair.merged.name)
    names = [name for name in TAME if len(name) < 20]
    for _ in range(120):
        query = {'limit': str(chance.randint(1, 6)), 'format': chance.choice(FORMATS)}
        for name in ('marker', 'end_marker', 'prefix'):
            if chance.random() < 0.4:
                text = chance.choice(names)
                query[name] = text[:chance.randint(1, len(text))]
        if chance.random() < 0.6:
            query['delimiter'] = chance.choice(['/', '/', '-', 'b', 'su', '語'])
        if chance.random() < 0.4:
            query['reverse'] = 'on'
        pair.assert_equal(query)


@each
@pytest.mark.parametrize(('query', 'limit'), [
    ({}, 4), ({'delimiter': '/'}, 1), ({'reverse': '1'}, 5), ({'prefix': 'a', 'delimiter': '/'}, 1),
    ({'reverse': '1', 'delimiter': '/'}, 3)])
def test_paging_through_gives_every_name_once(pair: Pair, query: dict[str, str], limit: int) -> None:
    whole = [key(entry) for entry in pair.assert_equal({**query, 'format': 'json'})]
    found: list[str] = []
    marker = ''
    while page := pair.assert_equal({**query, 'format': 'json', 'limit': str(limit), 'marker': marker}):
        found += [key(entry) for entry in page]
        marker = found[-1]
    assert found == whole


def key(entry: dict[str, Any]) -> str:
    return str(entry.get('name') or entry.get('subdir'))


@each
@pytest.mark.parametrize('accept', ['text/plain', 'application/json', 'application/xml', 'text/xml', '*/*',
                                    'image/png', 'application/xml;q=0.5, application/json'])
@pytest.mark.parametrize('query', [{}, {'prefix': 'nothing'}])
def test_accept_is_obeyed(pair: Pair, accept: str, query: dict[str, str]) -> None:
    pair.assert_equal(query, Accept=accept)


@each
@pytest.mark.parametrize('query', ['prefix=%ff', 'marker=%ff', 'limit=%C2%B2', 'format=%ff', 'delimiter=%ff'])
def test_what_swift_refuses_is_refused_in_its_words(pair: Pair, query: str) -> None:
    world = pair.merged.world
    merged = pair.merged.ask('GET', '', query='?' + query)
    plain = world.session.get(f'{world.plain.get_auth()[0]}/{pair.plain}?{query}', timeout=60,
                              headers={'X-Auth-Token': world.plain.get_auth()[1]})
    assert (merged.status_code, _neutral(merged.content)) == (plain.status_code, _neutral(plain.content))


def _neutral(body: bytes) -> bytes:
    return re.sub(rb'tx[0-9a-f-]+', b'', body)


@each
def test_content_location_tells_which_side_has_it(pair: Pair) -> None:
    found = json.loads(pair.merged.ask('GET', '', query='?format=json').content)
    sides = {name: SIDES[at % len(SIDES)].split() for at, name in enumerate(sorted(
        {'from-seaweed': TAME, 'from-moto': FOR_MOTO}.get(pair.merged.name, AWKWARD)))}
    for entry in found:
        told = entry.get('content_location', [])
        assert (len(told), 'swift' in told) == (
            {'local': 0, 'remote': 1, 'local remote': 2}[' '.join(sides[entry['name']])],
            sides[entry['name']] == ['local', 'remote']), entry
        assert all(place == 'swift' or ';' in place for place in told)


def test_a_stranger_sees_nothing_and_nobody_is_asked(stage: Stage) -> None:
    container = stage.pairs['from-swift'].merged
    container.faults.clear()
    before = len(container.faults.requests)
    assert container.status('GET', '', user='stranger') == 403
    assert container.status('GET', '', user=None) == 401
    assert len(container.faults.requests) == before


@pytest.mark.parametrize('name', ['from-swift', 'from-seaweed'])
def test_a_remote_that_is_down_is_503_with_retry_after(stage: Stage, name: str) -> None:
    container = stage.pairs[name].merged
    container.faults.fail(Answer(500), path=f'/{container.remote.bucket}', nth=1, times=None)
    try:
        answer = container.ask('GET', '', query='?limit=5')
    finally:
        container.faults.clear()
    assert answer.status_code == 503
    assert int(answer.headers['retry-after']) >= 1


def test_a_remote_that_is_down_may_be_left_out_which_is_told(stage: Stage) -> None:
    container = next(made for made in stage.world.containers if made.name == 'partial')
    container.remote.put('remote', b'data')
    container.put_here('local', b'data')
    assert 'x-1space-partial' not in container.ask('GET', '').headers
    assert listed(container) == ['local', 'remote']
    container.faults.fail(Answer(500), path=f'/{container.remote.bucket}', times=None)
    try:
        answer = container.ask('GET', '')
    finally:
        container.faults.clear()
    assert (answer.status_code, answer.text) == (200, 'local\n')
    assert answer.headers['x-1space-partial'] == 'AUTH_test/partial'


def test_what_is_deleted_through_the_shunt_is_listed_no_more(stage: Stage) -> None:
    world = stage.world
    container = next(made for made in world.containers if made.name == 'moving-swift')
    names = ['gone/1', 'gone/2', 'half/1', 'half/2', 'stays']
    for name in names:
        container.remote.put(name, b'data')
    assert listed(container) == names
    for name in ('gone/1', 'gone/2', 'half/1'):
        assert container.status('DELETE', name) == 204
        assert container.remote.read(name) == b'data'
    assert listed(container) == ['half/2', 'stays']
    assert listed(container, 'delimiter=/') == ['half/', 'stays']
    assert listed(container, 'reverse=1&delimiter=/') == ['stays', 'half/']
    container.put_here('gone/1', b'new')
    assert listed(container) == ['gone/1', 'half/2', 'stays']


def test_a_delete_marker_of_a_versioned_container_counts_as_a_deletion(stage: Stage) -> None:
    world = stage.world
    container = next(made for made in world.containers if made.name == 'versioned')
    world.plain.post_container('versioned', {'X-Versions-Enabled': 'true'})
    for name in ('before', 'never', 'twice'):
        container.remote.put(name, b'data')
    for name in ('before', 'only-here', 'twice'):
        container.put_here(name, b'data')
        world.plain.delete_object('versioned', name)
    container.put_here('twice', b'again')
    assert listed(container) == ['never', 'twice']
    assert listed(container, 'reverse=on&limit=1&marker=twice') == ['never']
    found = json.loads(container.ask('GET', '', query='?versions').content)
    assert [(entry['name'], entry['is_latest'], entry.get('content_location', [''])[-1]) for entry in found] == [
        ('before', True, 'swift'), ('before', False, ''), ('never', True, found[2]['content_location'][0]),
        ('only-here', True, ''), ('only-here', False, ''), ('twice', True, 'swift'), ('twice', False, ''),
        ('twice', False, '')]
    assert found[2]['version_id'] == 'null'


def listed(container: MergedContainer, query: str = '') -> list[str]:
    return container.ask('GET', '', query='?' + query).text.split('\n')[:-1]


def test_headers_are_those_of_the_cluster_and_the_length_is_right(stage: Stage) -> None:
    pair = stage.pairs['from-swift']
    merged, plain = pair.ask({'format': 'json'})
    assert merged.headers['content-length'] == str(len(merged.content))
    assert set(plain.headers) == set(merged.headers)
