"""What a sweep finds: random accounts against a brute-force model, and single cases beside it."""
from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_sync.concurrency import GreenPool
from s3_sync.engine.sweep import unreferenced
from s3_sync.errors import AccountUnreadable
from s3_sync.local.account import Found, Listed
from s3_sync.wire.tombstones import tombstone_container

Path = tuple[str, str]
CONTAINERS = ('c', 'c_segments', '\0versions\0c')
NAMES = ('a', 'a/', 'a/1', 'a/2', 'ab', 'b', '\U0001f600', '\uffff')
EVERYTHING = [(container, name) for container in CONTAINERS for name in NAMES]


@dataclass
class Account:
    """Objects by path; what an object is stands in its value."""

    plain: set[Path] = field(default_factory=set)
    slo: dict[Path, list[Path]] = field(default_factory=dict)
    dlo: dict[Path, Path] = field(default_factory=dict)
    links: dict[Path, Path] = field(default_factory=dict)
    unreadable: set[object] = field(default_factory=set)
    page: int = 3
    looks: int = 0

    @property
    def paths(self) -> set[Path]:
        return self.plain | self.slo.keys() | self.dlo.keys() | self.links.keys()

    def containers(self) -> list[str]:
        return sorted({container for container, _ in self.paths})

    def listing(self, container: str) -> Iterator[list[Listed]]:
        rows = [self._listed((container, name)) for _, name in sorted(p for p in self.paths if p[0] == container)]
        for at in range(0, len(rows), self.page):
            yield rows[at:at + self.page]
        if container in self.unreadable:
            raise AccountUnreadable(container)

    def _listed(self, path: Path) -> Listed:
        size = 0 if path in self.dlo or path in self.links else 7
        return Listed(path[1], size, '', 0.0, slo=path in self.slo, link=self.links.get(path))

    def look(self, container: str, listed: Listed) -> Found | None:
        self.looks += 1
        path = (container, listed.name)
        if path in self.unreadable:
            raise AccountUnreadable(listed.name)
        if path in self.slo:
            return Found(manifest([*self.slo[path]]))
        return Found(dlo='/'.join(self.dlo[path]).replace('%', '%25') if path in self.dlo else '')

    def refers(self, source: Path, target: Path) -> bool:
        """The model: whether one object refers to the other."""
        if source == target:
            return False
        container, prefix = self.dlo.get(source, ('', ''))
        return (target in self.slo.get(source, ()) or self.links.get(source) == target
                or (source in self.dlo and target[0] == container and target[1].startswith(prefix)))


def manifest(paths: list[Path]) -> bytes:
    return json.dumps([
        {'data': 'AAAA'}, *({'name': f'/{container}/{name}', 'bytes': 7, 'hash': 'e' * 32,
                             **({'range': '1-2'} if number % 2 else {}), **({'sub_slo': True} if number % 3 else {}),
                             'content_type': 'x'} for number, (container, name) in enumerate(paths))]).encode()


paths = st.sampled_from(EVERYTHING)


@st.composite
def accounts(draw: st.DrawFn) -> Account:
    account = Account(page=draw(st.integers(1, 5)))
    for path in draw(st.lists(paths, unique=True)):
        kind = draw(st.sampled_from(['plain', 'plain', 'slo', 'dlo', 'link']))
        if kind == 'plain':
            account.plain.add(path)
        elif kind == 'slo':
            account.slo[path] = draw(st.lists(paths, max_size=4))
        elif kind == 'dlo':
            account.dlo[path] = draw(st.tuples(st.sampled_from(CONTAINERS), st.sampled_from(['', 'a', 'a/', 'b', 'z'])))
        else:
            account.links[path] = draw(paths)
    return account


@given(accounts(), st.sets(paths), st.booleans())
def test_exactly_what_nothing_refers_to_is_found(account: Account, candidates: set[Path], at_once: bool) -> None:
    spread = GreenPool(3).imap if at_once else map
    assert unreferenced(account, candidates, spread=spread) == {
        path for path in candidates if not any(account.refers(source, path) for source in account.paths)}


SEGMENT = ('c_segments', 'a/1')


def test_a_container_that_cannot_be_read_to_its_end_lets_nothing_go() -> None:
    account = Account(plain={SEGMENT, ('c', 'a'), ('d', 'a')}, unreadable={'c'})
    with pytest.raises(AccountUnreadable):
        unreferenced(account, [SEGMENT])


def test_a_manifest_that_cannot_be_read_lets_nothing_go() -> None:
    account = Account(plain={SEGMENT}, slo={('c', 'm'): []}, unreadable={('c', 'm')})
    with pytest.raises(AccountUnreadable):
        unreferenced(account, [SEGMENT])


@pytest.mark.parametrize('body', [b'', b'{}', b'[{"name": "/c_segments"}]', b'\x93\x01cipher'])
def test_a_manifest_that_is_none_lets_nothing_go(body: bytes) -> None:
    class Broken(Account):
        def look(self, container: str, listed: Listed) -> Found | None:
            return Found(body)
    with pytest.raises(AccountUnreadable, match='c/m'):
        unreferenced(Broken(plain={SEGMENT}, slo={('c', 'm'): []}), [SEGMENT])


@pytest.mark.parametrize(('header', 'kept'), [
    ('c_segments/a', True), ('c%5Fsegments/a%2F1', True), ('c_segments', True), ('/c_segments/a/', True),
    ('c_segments/b', False), ('c/a', False), ('', False)])
def test_the_prefix_of_a_dlo_is_read_as_swift_reads_it_and_in_doubt_more_of_it(header: str, kept: bool) -> None:
    class Headers(Account):
        def look(self, container: str, listed: Listed) -> Found | None:
            return Found(dlo=header)
    found = unreferenced(Headers(plain={SEGMENT}, dlo={('c', 'm'): ('', '')}), [SEGMENT])
    assert (SEGMENT not in found) == kept


def test_a_dlo_among_its_own_segments_is_free_and_they_are_not() -> None:
    account = Account(plain={('c', 'a/1')}, dlo={('c', 'a'): ('c', 'a')})
    assert unreferenced(account, [('c', 'a/1'), ('c', 'a')]) == {('c', 'a')}
    account.dlo['c', 'b'] = ('c', 'a')
    assert unreferenced(account, [('c', 'a/1'), ('c', 'a')]) == set()


def test_markers_of_deletions_cost_nothing_and_refer_to_nothing() -> None:
    hidden = tombstone_container('c')
    account = Account(plain={SEGMENT}, dlo={(hidden, '\0a'): SEGMENT}, unreadable={hidden})
    assert unreferenced(account, [SEGMENT]) == {SEGMENT}
    assert account.looks == 0


def test_ordinary_objects_cost_nothing_and_the_sweep_ends_when_everything_is_referred_to() -> None:
    account = Account(plain=set(EVERYTHING))
    assert unreferenced(account, [SEGMENT]) == {SEGMENT}
    assert account.looks == 0
    account = Account(slo={('b', 'm'): [SEGMENT], **{('c', f'm{i:02}'): [] for i in range(50)}}, unreadable={'c'})
    assert unreferenced(account, [SEGMENT]) == set()
    assert account.looks == 1
