"""Listings of several servers as one: what counts as read, and what is left undecided."""
from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from swift.common.internal_client import InternalClient
from swift.common.swob import Request, Response

from s3_sync.errors import SourceUnavailable
from s3_sync.local.backend_http import BackendError
from s3_sync.local.listing_app import RULE_HEADER, replica_rule
from s3_sync.local.proxy_client import ProxyClient
from s3_sync.local.replica_listing import Entry, ReplicaListing, Rule, Span, Target

C = Target('AUTH_ä', 'c')
A = Target('AUTH_ä')
S1, S2 = Target('.shards_AUTH_ä', 'c-1'), Target('.shards_AUTH_ä', 'c-2')
LAST = '\U0010ffff'
DELETED = {'x-backend-delete-timestamp': '1600000000.00000'}
NO_DATABASE = {'x-backend-delete-timestamp': '0000000000.00000'}


def entry(name: str, hash_: str = 'x', size: int = 1, **more: Any) -> Entry:
    return {'name': name, 'hash': hash_, 'bytes': size, 'last_modified': '2020-09-13T12:26:40.000000', **more}


@dataclass
class Database:
    """What one server has of a target. ``missing``: headers of a 404; ``shards``: name, lower, upper."""

    rows: list[Entry] = field(default_factory=list)
    shards: list[tuple[Target, str, str]] = field(default_factory=list)
    state: str = ''
    missing: Mapping[str, str] | None = None
    policy: str = '1'
    limit: int = 2
    away: bool = False


def database(*names: str, **more: Any) -> Database:
    return Database([entry(name) for name in names], **more)


def sharded(*shards: tuple[Target, str, str], own: str = '', state: str = 'sharded', **more: Any) -> Database:
    return Database([entry(name) for name in own], list(shards), state, **more)


class Servers:
    """As ``StorageServers``: of each target the databases of servers 0, 1, 2, ..."""

    def __init__(self, **databases: list[Database]) -> None:
        names = {'c': C, 'a': A, 's1': S1, 's2': S2}
        self.databases = {names[name]: found for name, found in databases.items()}
        self.asked: list[tuple[Target, int]] = []

    def get_nodes(self, *path: str) -> tuple[int, list[Any]]:
        """As a ring: the servers of a target."""
        found = self.databases.get(Target(*path), [Database(missing=NO_DATABASE)])
        return 7, [{'ip': '127.0.0.1', 'port': 1, 'device': f'd{i}', 'index': i} for i in range(len(found))]

    def ask(self, method: str, node: Any, partition: int, path: tuple[str, ...], headers: Mapping[str, str], *,
            query: str) -> Any:
        assert (method, partition) == ('GET', 7)
        target = Target(*path)
        self.asked.append((target, node['index']))
        here = self.databases.get(target, [Database(missing=NO_DATABASE)])[node['index']]
        if here.away:
            raise BackendError(f'{node["device"]} is away')
        if here.missing is not None:
            return answer(404, here.missing, b'<html>')
        if target in (S1, S2):
            assert headers['X-Backend-Storage-Policy-Index'] == '1', 'the policy of the root'
        about = {'x-backend-storage-policy-index': here.policy, 'x-backend-sharding-state': here.state}
        asked = dict(parse_qsl(query))
        after, until = asked.get('marker', ''), asked.get('end_marker', '')
        if here.shards and headers['X-Backend-Record-Type'] == 'auto':
            ranges = [{'name': '/'.join(name), 'lower': lower, 'upper': upper} for name, lower, upper in here.shards
                      if not upper or upper > after]
            return answer(200, {**about, 'x-backend-record-type': 'shard'}, json.dumps(ranges).encode())
        rows = [row for row in here.rows if row['name'] > after and (not until or row['name'] < until)
                and row['name'].startswith(asked.get('prefix', ''))]
        page = rows[:min(here.limit, int(asked.get('limit', here.limit)))]
        return answer(200, {**about, 'x-backend-record-type': 'object'}, json.dumps(page).encode())

    def close(self) -> None:
        pass


def answer(status: int, headers: Mapping[str, str], body: bytes) -> Any:
    return SimpleNamespace(status=status, headers=dict(headers), read=lambda: body, close=lambda: None)


def listing(servers: Servers) -> ReplicaListing:
    return ReplicaListing(servers, servers, servers=servers)  # type: ignore[arg-type]


def every(rule: Rule, servers: Servers, target: Target = C, prefix: str = '') -> list[Entry] | None:
    """All pages. A page begins after the last name of the one before, so no name is on two."""
    found: list[Entry] = []
    while True:
        after = found[-1]['name'] if found else ''
        page = listing(servers).page(rule, target, Span(after, prefix=prefix))
        if page is None:
            return None
        if not page:
            return found
        assert after < page[0]['name']
        assert [e['name'] for e in page] == sorted(e['name'] for e in page)
        found += page


def names(rule: Rule, servers: Servers, target: Target = C, prefix: str = '') -> list[str]:
    return [e['name'] for e in every(rule, servers, target, prefix) or []]


RULES: tuple[Rule, ...] = ('union', 'agreed')
both = pytest.mark.parametrize('rule', RULES)


# -- how many ---------------------------------------------------------------------------


@both
@pytest.mark.parametrize(('servers', 'away', 'reads'), [(1, 0, True), (1, 1, False), (2, 0, True), (2, 1, False),
                                                        (3, 1, True), (3, 2, False), (4, 1, True), (4, 2, False),
                                                        (5, 2, True), (5, 3, False)])
@pytest.mark.parametrize('target', [C, A])
def test_more_than_half_of_the_servers_have_to_answer(rule: Rule, servers: int, away: int, reads: bool,
                                                      target: Target) -> None:
    found = Servers(**{'c' if target is C else 'a': [
        database('o', 'p', 'q', away=i < away) for i in range(servers)]})
    if reads:
        assert names(rule, found, target) == ['o', 'p', 'q']
    else:
        with pytest.raises(SourceUnavailable, match=f'only {servers - away} of {servers}.* is away'):
            names(rule, found, target)


@both
def test_a_new_disk_is_no_answer(rule: Rule) -> None:
    empty = Database(missing=NO_DATABASE)
    assert names(rule, Servers(c=[database('o'), database('o'), empty])) == ['o']
    with pytest.raises(SourceUnavailable, match='only 1 of 3.*no database'):
        names(rule, Servers(c=[database('o'), empty, empty]))
    with pytest.raises(SourceUnavailable, match='only 1 of 3'):
        names(rule, Servers(c=[database('o'), empty, database(away=True)]))


@both
def test_what_nobody_has_is_not_found(rule: Rule) -> None:
    absent = [Database(missing=NO_DATABASE) for _ in range(3)]
    for target in (C, A):
        assert every(rule, Servers(c=absent, a=absent), target) is None
    with pytest.raises(SourceUnavailable):
        every(rule, Servers(c=[*absent[:2], database(away=True)]))


def test_a_container_that_most_know_as_deleted_lists_nothing_and_is_no_container_of_segments() -> None:
    deleted = Database(missing=DELETED)
    servers = Servers(c=[deleted, deleted, database(away=True)])
    assert (every('union', servers), every('agreed', servers)) == ([], None)
    servers = Servers(c=[deleted, deleted, database('o')])
    assert names('union', servers) == ['o'], 'whoever still lists something counts'
    with pytest.raises(SourceUnavailable, match='deleted'):
        names('agreed', servers)
    gone = Database(missing={'x-account-status': 'Deleted'})
    assert every('union', Servers(a=[gone, gone, gone]), A) is None


@both
@pytest.mark.parametrize('said', [(200, b'<html>'), (200, b'[1]'), (200, b'[{"a": 1}]'), (412, b''),
                                  (200, b'[{"name": "b"}, {"name": "a"}]'), (200, b'[{"name": ""}]')])
def test_what_is_no_listing_is_no_answer(rule: Rule, said: tuple[int, bytes]) -> None:
    class Odd(Servers):
        def ask(self, method: str, node: Any, *args: Any, **options: Any) -> Any:
            if node['index'] == 0:
                return answer(said[0], {'x-backend-storage-policy-index': '1'}, said[1])
            return super().ask(method, node, *args, **options)

    assert names(rule, Odd(c=[database(), database('o'), database('o')])) == ['o']
    with pytest.raises(SourceUnavailable, match='only 1 of 2'):
        names(rule, Odd(c=[database(), database('o')]))


@both
def test_servers_that_disagree_on_the_storage_policy_are_not_believed(rule: Rule) -> None:
    with pytest.raises(SourceUnavailable, match='storage policy'):
        names(rule, Servers(c=[database('o'), database('o', policy='0')]))


# -- union --------------------------------------------------------------------------------


@pytest.mark.parametrize('stale', [0, 1, 2])
def test_a_row_that_one_server_lacks_is_listed_whichever_it_is(stale: int) -> None:
    databases = [database('a', 'b', 'm', 'z') for _ in range(3)]
    databases[stale] = database('a', 'z')
    assert names('union', Servers(c=databases)) == ['a', 'b', 'm', 'z']
    assert names('union', Servers(c=databases), prefix='m') == ['m']


def test_all_that_differs_under_one_name_is_listed_and_on_one_page() -> None:
    older, newer, other_time = entry('o', 'old; slo_etag=1'), entry('o', 'new'), entry('o', 'new', last_modified='x')
    servers = Servers(c=[Database([entry('n'), older]), Database([entry('n'), newer]),
                         Database([entry('n'), newer, entry('p')])])
    assert every('union', servers) == [entry('n'), older, newer, entry('p')]
    servers = Servers(c=[Database([newer], limit=1), Database([other_time, entry('p')], limit=1)])
    assert every('union', servers) == [newer, other_time, entry('p')]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sets(st.text('abé\U0001f600' + LAST, min_size=1, max_size=2), max_size=12),
                          st.integers(1, 5)), min_size=1, max_size=4))
def test_pages_of_any_length_come_to_everything_once(found: list[tuple[set[str], int]]) -> None:
    databases = [database(*sorted(rows), limit=limit) for rows, limit in found]
    everything = sorted(set().union(*(rows for rows, _ in found)))
    assert names('union', Servers(c=databases)) == everything
    same = [database(*everything, limit=limit) for _, limit in found]
    assert names('agreed', Servers(c=same)) == everything


# -- agreed -------------------------------------------------------------------------------


@pytest.mark.parametrize('odd', [
    database('a', 'c'), database('a', 'b'), database(), database('a', 'b', 'c', 'd'),
    Database([entry('a'), entry('b', 'other'), entry('c')]), Database([entry('a'), entry('b', size=0), entry('c')])])
@pytest.mark.parametrize('at', [0, 1, 2])
def test_what_servers_list_differently_is_left_undecided(odd: Database, at: int) -> None:
    databases = [database('a', 'b', 'c'), database('a', 'b', 'c')]
    databases.insert(at, odd)
    with pytest.raises(SourceUnavailable, match='AUTH_ä/c: its servers list'):
        names('agreed', Servers(c=databases))


def test_what_differs_beside_the_prefix_and_what_tells_nothing_of_content_is_no_difference() -> None:
    servers = Servers(c=[database('a', 'p1', 'p2', 'q'), Database([
        entry('p1', last_modified='later', content_type='posted/since'), entry('p2'), entry('z')])])
    assert names('agreed', servers, prefix='p') == ['p1', 'p2']


# -- shards -------------------------------------------------------------------------------

HALVES = ((S1, '', 'm'), (S2, 'm', ''))
FULL = {'s1': [database('a', 'b', 'm')] * 2, 's2': [database('n', 'z')] * 2}


@both
def test_shards_are_asked_in_turn(rule: Rule) -> None:
    servers = Servers(c=[sharded(*HALVES)] * 2, **FULL)
    assert names(rule, servers) == ['a', 'b', 'm', 'n', 'z']
    assert names(rule, servers, prefix='n') == ['n']
    servers.asked.clear()
    assert names(rule, servers, prefix='z') == ['z']
    assert S1 not in {target for target, _ in servers.asked}


@both
def test_a_shard_needs_a_majority_like_any_container(rule: Rule) -> None:
    servers = Servers(c=[sharded(*HALVES)] * 2, **{**FULL, 's2': [database('n'), database('n', away=True)]})
    with pytest.raises(SourceUnavailable, match='c-2: only 1 of 2'):
        names(rule, servers)
    with pytest.raises(SourceUnavailable, match='c-2 is not found'):
        names(rule, Servers(c=[sharded(*HALVES)] * 2, s1=FULL['s1']))


def test_the_union_has_what_old_databases_moved_rows_and_overlapping_shards_list() -> None:
    stale = database('a', 'e', 'q')
    assert names('union', Servers(c=[stale, sharded(*HALVES)], **FULL)) == ['a', 'b', 'e', 'm', 'n', 'q', 'z']
    waits = sharded(*HALVES, own='cy')
    assert names('union', Servers(c=[sharded(*HALVES), waits], **FULL)) == ['a', 'b', 'c', 'm', 'n', 'y', 'z']
    one = sharded((S1, '', ''))
    assert names('union', Servers(c=[one, sharded(*HALVES)], **{**FULL, 's1': [database('a', 'x')] * 2})) == [
        'a', 'n', 'x', 'z']
    cleaving = sharded((S1, '', 'm'), (C, 'm', ''), own='abmnz', state='sharding')
    assert names('union', Servers(c=[cleaving] * 2, s1=[database('a', 'b', 'b2', 'm')] * 2)) == [
        'a', 'b', 'b2', 'm', 'n', 'z']
    gone = [Database(missing=DELETED)] * 2
    assert names('union', Servers(c=[sharded(*HALVES)] * 2, **{**FULL, 's1': gone})) == ['n', 'z']


def test_a_shard_may_be_sharded_itself_and_lead_back() -> None:
    nested = [sharded((S2, '', 'm'), (C, '', 'm'), own='k')] * 2
    servers = Servers(c=[sharded((S1, '', 'm'), own='l')] * 2, s1=nested, s2=[database('a', 'm')] * 2)
    assert names('union', servers) == ['a', 'k', 'l', 'm']


@pytest.mark.parametrize('root', [
    [database('a', 'b', 'm', 'n', 'z'), sharded(*HALVES)],
    [sharded(*HALVES), sharded(*HALVES, own='c')],
    [sharded(*HALVES), sharded((S1, '', 'm'))],
    [sharded((S1, '', 'm'))] * 2,
    [sharded((S1, '', 'n'), (S2, 'm', ''))] * 2,
    [sharded((S1, '', 'm'), (C, 'm', ''))] * 2,
    [sharded(*HALVES, state='sharding')] * 2,
    [sharded(*HALVES), sharded(*HALVES, state='sharding')],
])
def test_a_container_whose_shards_are_not_settled_is_left_undecided(root: list[Database]) -> None:
    with pytest.raises(SourceUnavailable):
        names('agreed', Servers(c=root, **FULL))


def test_a_shard_that_is_gone_is_left_undecided() -> None:
    with pytest.raises(SourceUnavailable):
        names('agreed', Servers(c=[sharded(*HALVES)] * 2, **{**FULL, 's1': [Database(missing=DELETED)] * 2}))


# -- in the proxy application -------------------------------------------------------------


class ProxyApp:
    """As the last application of Swift's pipeline."""

    def __init__(self, servers: Servers) -> None:
        self.account_ring = self.container_ring = servers
        self.own: list[str] = []

    def handle_request(self, request: Request) -> Any:
        self.own.append(request.path)
        return Response(request=request, body=b'[]')

    def __call__(self, env: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        return self.handle_request(Request(env))(env, start_response)


class Pipeline:
    """A filter before it, which may drop ``hidden`` headers."""

    def __init__(self, app: ProxyApp, hidden: str = '') -> None:
        self._pipeline_final_app = app
        self._hidden = hidden

    def __call__(self, env: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        env.pop(f'HTTP_{self._hidden.upper().replace("-", "_")}', None)
        return self._pipeline_final_app(env, start_response)


class Client(InternalClient):  # type: ignore[misc]
    def __init__(self, app: Pipeline) -> None:
        self.app, self.user_agent, self.request_tries, self.use_replication_network = app, 'test', 1, False


@pytest.fixture
def proxy() -> Iterator[Callable[..., ProxyClient]]:
    made = []

    def make(servers: Servers, hidden: str = '') -> ProxyClient:
        client = ProxyClient(lambda: Client(Pipeline(ProxyApp(servers), hidden)))
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


def test_without_the_header_the_proxy_application_answers_itself(proxy: Callable[..., ProxyClient]) -> None:
    client = proxy(Servers(c=[database('o')]))
    assert client.request('GET', ('AUTH_ä', 'c')).read() == b'[]'
    with pytest.raises(SourceUnavailable):  # a HEAD is not for us, and its answer does not come from the replicas
        client.request('HEAD', ('AUTH_ä', 'c'), replica_rule('union'))


def test_an_answer_that_does_not_come_from_the_replicas_is_refused(proxy: Callable[..., ProxyClient]) -> None:
    client = proxy(Servers(c=[database('o')]), hidden=RULE_HEADER)
    with pytest.raises(SourceUnavailable, match='a filter of the internal client'):
        client.request('GET', ('AUTH_ä', 'c'), replica_rule('union'))


def test_why_there_is_no_listing_is_told(proxy: Callable[..., ProxyClient]) -> None:
    client = proxy(Servers(c=[database('o')]))  # whose address refuses connections
    with pytest.raises(SourceUnavailable, match=r'^AUTH_ä/c: only 0 of 1 servers list it \(127.0.0.1:1: '):
        client.request('GET', ('AUTH_ä', 'c'), replica_rule('agreed'))
