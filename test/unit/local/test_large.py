from __future__ import annotations

import json
from typing import Any

import pytest

from s3_sync.clock import FakeClock
from s3_sync.errors import SegmentChanged, SourceEncrypted, SourceUnavailable, SourceUnusable
from s3_sync.large_objects.manifest import MAX_DEPTH, parse_manifest, slo_etag
from s3_sync.local.containers import KEPT_SECONDS, Containers, Member
from s3_sync.local.large import MANIFEST_BYTES, LargeReader
from s3_sync.local.listing_app import replica_rule
from s3_sync.local.source import SourceObject
from s3_sync.local.wanted import Wanted
from s3_sync.streams import BytesBody
from s3_sync.timestamps import row_times
from s3_sync.types import ObjectMeta, ObjectRow

EMPTY_MD5 = 'd41d8cd98f00b204e9800998ecf8427e'


class Manifests:
    """What ``SegmentReader`` would read: manifests by name."""

    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.reads: list[str] = []

    def read(self, wanted: Wanted, limit: int) -> tuple[bytes, dict[str, str]]:
        assert wanted.sub_slo
        self.reads.append(wanted.row.name)
        return self.stored[wanted.row.name], {}

    def add(self, name: str, entries: list[dict[str, Any]]) -> dict[str, Any]:
        """Store a manifest; the entry that names it."""
        self.stored[name] = json.dumps(entries).encode()
        segments = parse_manifest(self.stored[name])
        return {'name': f'/c/{name}', 'bytes': sum(s.length for s in segments), 'hash': slo_etag(segments),
                'sub_slo': True}


class OnePolicy:
    def policy_index(self, account: str, container: str) -> int:
        return 0


@pytest.fixture
def manifests() -> Manifests:
    return Manifests()


def leaf(size: int = 5) -> dict[str, Any]:
    return {'name': '/c/leaf', 'bytes': size, 'hash': EMPTY_MD5}


def opened(body: bytes, make_row: Any, name: str = 'o') -> tuple[ObjectRow, SourceObject]:
    row = make_row(name, 1_600_000_000.0)
    meta = ObjectMeta(name, len(body), large_object='slo')
    return row, SourceObject(meta, row_times(row.row.created_at), BytesBody(body), 'disk')


def layout(manifests: Any, body: bytes, make_row: Any) -> Any:
    containers: Any = OnePolicy()
    return LargeReader(manifests, containers).large(*opened(body, make_row)).layout


def refused(manifests: Any, entries: list[dict[str, Any]], make_row: Any) -> str:
    with pytest.raises(SourceUnusable) as error:
        layout(manifests, json.dumps(entries).encode(), make_row)
    assert error.value.reason == 'invalid-manifest'
    return str(error.value)


def test_manifests_in_one_another_are_followed_as_deep_as_swift_does(manifests: Manifests, make_row: Any) -> None:
    entry = leaf()
    for depth in range(2, MAX_DEPTH + 1):
        entry = manifests.add(f'level-{depth}', [entry])
    found = layout(manifests, json.dumps([entry]).encode(), make_row)
    assert [piece.name for piece in found.pieces] == ['leaf']
    assert 'deep' in refused(manifests, [manifests.add('one-more', [entry])], make_row)


def test_a_manifest_that_contains_itself_is_refused(manifests: Manifests, make_row: Any) -> None:
    inner = manifests.add('inner', [{'name': '/c/o', 'bytes': 5, 'hash': EMPTY_MD5, 'sub_slo': True}])
    assert '/c/o contains itself' in refused(manifests, [inner], make_row)


def test_a_few_manifests_that_come_to_far_too_many_pieces_are_refused(manifests: Manifests, make_row: Any) -> None:
    entry = leaf(1)
    for depth in range(8):
        entry = manifests.add(f'level-{depth}', [entry] * 10)
    assert 'pieces' in refused(manifests, [entry], make_row)


def test_a_sub_manifest_named_often_is_read_once(manifests: Manifests, make_row: Any) -> None:
    entry = manifests.add('inner', [leaf(), leaf()])
    found = layout(manifests, json.dumps([entry, leaf(), {**entry, 'range': '3-6'}, entry]).encode(), make_row)
    assert manifests.reads == ['inner']
    assert (len(found.pieces), found.size) == (7, 29)


def test_what_is_no_manifest_is_refused(manifests: Manifests, make_row: Any) -> None:
    for body in (b'', b'{}', b'[1]', b'[{"name": "x"}]', b'not JSON'):
        with pytest.raises(SourceUnusable) as error:
            layout(manifests, body, make_row)
        assert error.value.reason == 'invalid-manifest'


def test_a_manifest_beyond_all_measure_is_refused_unread(manifests: Manifests, make_row: Any) -> None:
    class Endless(BytesBody):
        def __iter__(self) -> Any:
            raise AssertionError('it was read')

    row, source = opened(b'', make_row)
    source.meta = ObjectMeta('o', MANIFEST_BYTES + 1, large_object='slo')
    source.body = Endless(b'')
    containers: Any = OnePolicy()
    reader: Any = manifests
    with pytest.raises(SourceUnusable):
        LargeReader(reader, containers).large(row, source)


def test_a_sub_manifest_with_another_content_is_told(manifests: Manifests, make_row: Any) -> None:
    entry = manifests.add('inner', [leaf()])
    for other in ({**entry, 'hash': EMPTY_MD5}, {**entry, 'bytes': 7}):
        with pytest.raises(SegmentChanged, match='/c/inner|AUTH_a/c/inner'):
            layout(manifests, json.dumps([other]).encode(), make_row)


# -- containers ---------------------------------------------------------------------------

class Proxy:
    """A ``ProxyClient`` with scripted pages and facts."""

    def __init__(self, *pages: list[dict[str, Any]], **facts: Any) -> None:
        self.pages = list(pages)
        self.facts = {'status': 200, 'storage_policy': '1', 'read_acl': None, **facts}
        self.asked = 0
        self.markers: list[str] = []

    def container_info(self, account: str, container: str) -> dict[str, Any]:
        self.asked += 1
        return self.facts

    def request(self, method: str, path: tuple[str, ...], headers: dict[str, str], params: dict[str, str]) -> Any:
        assert headers == replica_rule('agreed')
        self.markers.append(params['marker'])
        return Answer(json.dumps(self.pages.pop(0) if self.pages else []).encode())


class Answer:
    status = 200

    def __init__(self, body: bytes) -> None:
        self.read = lambda: body


def containers(proxy: Any, clock: FakeClock | None = None) -> Containers:
    return Containers(proxy, clock)


def item(name: str, hash_: str = EMPTY_MD5, size: int = 3, **more: Any) -> dict[str, Any]:
    return {'name': name, 'hash': hash_, 'bytes': size, **more}


def test_listings_go_on_until_a_page_is_empty() -> None:
    proxy = Proxy([item('a'), item('b')], [item('c')])
    assert [m.name for m in containers(proxy).members('AUTH_a', 'c', '')] == ['a', 'b', 'c']
    assert proxy.markers == ['', 'b', 'c']


def test_a_listing_that_goes_back_is_not_believed() -> None:
    with pytest.raises(SourceUnavailable):
        list(containers(Proxy([item('b')], [item('a')])).members('AUTH_a', 'c', ''))


VERSION = f'%00versions%00c/%00o%00123; symlink_target_etag={"a" * 32}; symlink_target_bytes=9'


@pytest.mark.parametrize(('entry', 'member'), [
    (item('o'), Member('o', EMPTY_MD5, 3)),
    # An SLO, without and with the slo filter in the pipeline
    (item('o', f'{EMPTY_MD5}; slo_etag={"b" * 32}'), Member('o', EMPTY_MD5, 3, 'b' * 32)),
    (item('o', f'{EMPTY_MD5}; s3_etag={"c" * 32}-2; slo_etag={"b" * 32}'), Member('o', EMPTY_MD5, 3, 'b' * 32)),
    (item('o', slo_etag=f'"{"b" * 32}"'), Member('o', EMPTY_MD5, 3, 'b' * 32)),
    # The link of a versioned container, without and with the symlink filter
    (item('o', f'{EMPTY_MD5}; symlink_target={VERSION}', 0), Member('o', 'a' * 32, 9)),
    (item('o', f'{EMPTY_MD5}; slo_etag={"b" * 32}; symlink_target={VERSION}', 0), Member('o', 'a' * 32, 9, 'b' * 32)),
    (item('o', size=0, symlink_path='/v1/AUTH_a/%00versions%00c/%00o%00123', symlink_etag='a' * 32, symlink_bytes=9),
     Member('o', 'a' * 32, 9)),
    # A user's link has no bytes in a listing
    (item('o', f'{EMPTY_MD5}; symlink_target=c/x; symlink_target_etag={"a" * 32}; symlink_target_bytes=9', 0),
     Member('o', EMPTY_MD5, 0)),
])
def test_entries_mean_the_same_whichever_filters_ran(entry: dict[str, Any], member: Member) -> None:
    assert list(containers(Proxy([entry])).members('AUTH_a', 'c', '')) == [member]


def test_an_etag_that_is_still_encrypted_is_refused() -> None:
    with pytest.raises(SourceEncrypted):
        list(containers(Proxy([item('o', 'AbC==; swift_meta=%7B%22a%22%7D')])).members('AUTH_a', 'c', ''))


def test_policies_are_kept_for_a_minute() -> None:
    clock, proxy = FakeClock(), Proxy()
    asking = containers(proxy, clock)
    assert [asking.policy_index('AUTH_a', 'c') for _ in range(3)] == [1, 1, 1]
    assert proxy.asked == 1
    clock.advance(KEPT_SECONDS)
    proxy.facts['storage_policy'] = '2'
    assert asking.policy_index('AUTH_a', 'c') == 2
    proxy.facts['status'] = 404
    clock.advance(KEPT_SECONDS)
    with pytest.raises(SegmentChanged):
        asking.policy_index('AUTH_a', 'c')


@pytest.mark.parametrize(('acl', 'may'), [
    (None, False), ('', False), ('.r:*', True), ('.r:*,.rlistings', True), ('.r:example.com', False),
    ('a', True), ('a:*', True), ('AUTH_a', True), ('*:*', True), ('a:user', False), ('b', False),
])
def test_links_into_another_account_count_where_the_whole_account_may_read(acl: str | None, may: bool) -> None:
    assert containers(Proxy(read_acl=acl)).readable('AUTH_b', 'c', 'AUTH_a') is may
