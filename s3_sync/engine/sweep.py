"""Which of an account's archived objects nothing refers to any more (semantics 2.3).

A reference is an SLO manifest that names the object (with a range, as a
sub-manifest or whole), a DLO whose prefix its name begins with, or a symbolic
link to it. What refers to itself only, as a DLO among its own segments does, is
not referred to. A manifest that is to go itself still counts: what it names is
free in a later sweep, when it is gone.

What is written while the account is read may be missed; ``segments_grace`` is
for that.
"""
from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from typing import Protocol
from urllib.parse import unquote

from s3_sync.errors import AccountUnreadable
from s3_sync.large_objects.dlo import dlo_prefix
from s3_sync.large_objects.manifest import ManifestError, parse_manifest
from s3_sync.local.account import Found, Listed
from s3_sync.wire.tombstones import is_tombstone_container

Path = tuple[str, str]
"""Container and object."""
Looked = tuple[Listed, Found | Exception | None]
Spread = Callable[[Callable[[Listed], Looked], Iterable[Listed]], Iterable[Looked]]


class AccountReader(Protocol):
    """One account. Every method raises AccountUnreadable when it cannot be read completely."""

    def containers(self) -> Iterable[str]:
        """All of them, hidden ones too."""

    def listing(self, container: str) -> Iterable[Collection[Listed]]:
        """Every row, in pages."""

    def look(self, container: str, listed: Listed) -> Found | None:
        """What an object refers to: this version of it or a newer one. None when it is deleted."""


def unreferenced(account: AccountReader, candidates: Iterable[Path], *, spread: Spread = map) -> set[Path]:
    """Those of ``candidates`` (containers and objects) that nothing in the account refers to.

    ``spread`` works like ``map`` and may look at several objects at once. Keeps the
    candidates and one page in memory. Raises AccountUnreadable: then nobody knows.
    """
    rest = _Rest(candidates)
    for container in account.containers():
        if is_tombstone_container(container):
            continue  # empty objects of ours, each of which would be looked at
        for page in account.listing(container):
            if not rest:
                return set()
            for source, found in spread(partial(_look, account, container), _suspects(container, page, rest)):
                if isinstance(found, Exception):
                    raise found
                if found is not None:
                    _take_references(rest, (container, source.name), found)
    return rest.paths


def _suspects(container: str, page: Iterable[Listed], rest: _Rest) -> Iterator[Listed]:
    """Rows that may be manifests. What links say stands in the row."""
    for listed in page:
        if listed.link is not None:
            rest.drop(listed.link, source=(container, listed.name))
        elif listed.slo or not listed.size:
            yield listed


def _look(account: AccountReader, container: str, listed: Listed) -> Looked:
    try:
        return listed, account.look(container, listed)
    except Exception as error:  # raised where it is waited for, and not in a thread of its own
        return listed, error


def _take_references(rest: _Rest, source: Path, found: Found) -> None:
    if found.link is not None:
        rest.drop(found.link, source=source)
    if found.dlo:
        rest.drop_below(*_prefix(found.dlo), source=source)
    if found.manifest is not None:
        try:
            segments = parse_manifest(found.manifest)
        except ManifestError as error:
            raise AccountUnreadable(f'the manifest {"/".join(source)} cannot be read: {error}') from error
        for segment in segments:
            rest.drop((segment.container, segment.name), source=source)


def _prefix(header: str) -> Path:
    try:
        return dlo_prefix(header)
    except ManifestError:  # a POST may set anything; as much as it could mean
        container, _, prefix = unquote(header).strip('/').partition('/')
        return container, prefix


class _Rest:
    """Candidates without a reference so far."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self.paths = set(paths)
        self._names: dict[str, list[str]] = {}
        for container, name in sorted(self.paths):
            self._names.setdefault(container, []).append(name)

    def __bool__(self) -> bool:
        return bool(self.paths)

    def drop(self, path: Path, *, source: Path) -> None:
        if path != source:
            self.paths.discard(path)

    def drop_below(self, container: str, prefix: str, *, source: Path) -> None:
        """All whose names begin with ``prefix``. They are looked through once, however many DLOs share a prefix."""
        names = self._names.get(container, [])
        first = end = bisect_left(names, prefix)
        while end < len(names) and names[end].startswith(prefix):
            end += 1
        kept = [name for name in names[first:end] if (container, name) == source]
        self.paths.difference_update((container, name) for name in names[first:end] if name not in kept)
        names[first:end] = kept
