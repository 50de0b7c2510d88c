"""Marker objects: how a deletion in a merged namespace is remembered (semantics 7).

Swift's own tombstones vanish after ``reclaim_age`` and show in no listing. So a
delete leaves an empty object in a hidden container of the same account, made of
Swift's reserved names, as object versioning does. What a marker means stands in
its content type, which listings and container databases tell without a request;
when the deletion was, in its X-Timestamp.

All names are Unicode text as users know them; headers are percent-encoded where
they are not ASCII.
"""
from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, cast
from urllib.parse import quote, unquote

from swift.common.utils import Timestamp

from s3_sync.timestamps import parse_timestamp, without_marker
from s3_sync.types import ObjectMeta

Policy = Literal['propagate', 'tombstone']

MAX_CONTAINER_BYTES = 256
MAX_NAME_BYTES = 1024
"""Swift's own limits. An operator may raise them, never what these names rely on."""

_RESERVED = '\0'
_REAL_NAME_BYTES = MAX_NAME_BYTES - len(_RESERVED)
HIDDEN_PREFIX = f'{_RESERVED}1space-tombstones'
"""What the names of all hidden containers of ours begin with, for listings; see ``is_tombstone_container``."""
_PREFIX = f'{HIDDEN_PREFIX}{_RESERVED}'
_LONG_PREFIX = f'{HIDDEN_PREFIX}-long{_RESERVED}'

ACCOUNT_TOMBSTONES = _PREFIX
"""Hidden container of deleted containers (of migrations); its objects are ``tombstone_name(container)``."""

NAME_HEADER = 'X-Object-Sysmeta-1space-Tombstone-Name'
"""On a marker whose object's name is hashed: the name, percent-encoded."""
CONTAINER_HEADER = 'X-Container-Sysmeta-1space-Tombstone-Container'
"""On a hidden container whose name is hashed: the container's name, percent-encoded."""
RESERVED_HEADER = 'X-Backend-Allow-Reserved-Names'

TYPE = 'application/x-1space-tombstone'
_CONTENT_TYPE = re.compile(re.escape(TYPE) + r'\s*;\s*generations="([^"]*)"', re.IGNORECASE)
_GENERATION = re.compile(r'([^\s:,;"]+):(propagate|tombstone)')


# -- names -----------------------------------------------------------------------------------

def tombstone_container(container: str) -> str:
    """The hidden container in which deletions from ``container`` are remembered."""
    hidden = _PREFIX + container
    return hidden if len(hidden.encode()) <= MAX_CONTAINER_BYTES else _LONG_PREFIX + _digest(container)


def is_tombstone_container(container: str) -> bool:
    """Whether this is a hidden container of ours, ``ACCOUNT_TOMBSTONES`` among them."""
    return container.startswith((_PREFIX, _LONG_PREFIX))


def real_container(hidden: str) -> str | None:
    """Whose deletions are remembered there. None: it is hashed, or no hidden container of this kind."""
    if not hidden.startswith(_PREFIX) or hidden == ACCOUNT_TOMBSTONES:
        return None
    return hidden[len(_PREFIX):]


def container_from_headers(hidden: str, headers: Mapping[str, str]) -> str | None:
    """Whose deletions are remembered there, given its headers (lower-case names) in case its name is hashed."""
    told = headers.get(CONTAINER_HEADER.lower())
    return unquote(told) if told else real_container(hidden)


def container_headers(container: str) -> dict[str, str]:
    """Request headers that create ``tombstone_container(container)``."""
    headers = {RESERVED_HEADER: 'true', 'Content-Length': '0'}
    if tombstone_container(container).startswith(_LONG_PREFIX):
        headers[CONTAINER_HEADER] = quote(container, safe='')
    return headers


def tombstone_name(name: str) -> str:
    """The marker's name for a deleted object (or, in ``ACCOUNT_TOMBSTONES``, container) ``name``."""
    return _RESERVED * 2 + _digest(name) if is_hashed(name) else _RESERVED + name


def is_hashed(name: str) -> bool:
    """Whether the marker of the object ``name`` cannot bear its name: no listing tells it, a HEAD does."""
    # Asked of every name of a listing; no character has more than four bytes.
    return 4 * len(name) > _REAL_NAME_BYTES and len(name.encode()) > _REAL_NAME_BYTES


def real_name(marker: str) -> str | None:
    """The object's name behind a marker's. None: it is hashed, or no marker's name."""
    if not marker.startswith(_RESERVED) or marker.startswith(_RESERVED * 2):
        return None
    return marker[len(_RESERVED):] or None


def name_from_headers(marker: str, headers: Mapping[str, str]) -> str | None:
    """The object's name behind a marker, given its headers (lower-case names) in case it is hashed."""
    told = headers.get(NAME_HEADER.lower())
    return unquote(told) if told else real_name(marker)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# -- what a marker says ----------------------------------------------------------------------

@dataclass(frozen=True)
class Policies:
    """Which mappings a deletion concerned, by generation, and what it means for each."""

    of: Mapping[str, Policy]

    def __post_init__(self) -> None:
        object.__setattr__(self, 'of', MappingProxyType(dict(self.of)))

    def __hash__(self) -> int:
        return hash(frozenset(self.of.items()))

    def __bool__(self) -> bool:
        return bool(self.of)

    def get(self, generation: str) -> Policy | None:
        return self.of.get(generation)

    def without(self, generations: Iterable[str]) -> Policies:
        """What is left once these generations are finished with it."""
        gone = frozenset(generations)
        return Policies({generation: policy for generation, policy in self.of.items() if generation not in gone})


def content_type(policies: Policies) -> str:
    """Content type of a marker. Generations are hexadecimal ids of mappings."""
    listed = ','.join(f'{generation}:{policy}' for generation, policy in sorted(policies.of.items()))
    return f'{TYPE};generations="{listed}"'


def parse_content_type(text: str) -> Policies | None:
    """What a marker's content type says; None: this is no marker."""
    found = _CONTENT_TYPE.match(text.strip())
    if found is None:
        return None
    return Policies({generation: cast(Policy, policy) for generation, policy in _GENERATION.findall(found[1])})


def put_headers(policies: Policies, time: Timestamp, name: str) -> dict[str, str]:
    """Request headers of a PUT of ``tombstone_name(name)``, whose body is empty. ``time`` is that of the delete."""
    headers = {'X-Timestamp': time.internal, 'Content-Type': content_type(policies), 'Content-Length': '0',
               RESERVED_HEADER: 'true'}
    if is_hashed(name):
        headers[NAME_HEADER] = quote(name, safe='')
    return headers


def delete_headers(time: Timestamp) -> dict[str, str]:
    """Request headers of a DELETE of a marker. It wins over what is older than ``time``, and loses against the rest."""
    return {'X-Timestamp': time.internal, RESERVED_HEADER: 'true'}


def listed_time(last_modified: str) -> Timestamp:
    """Time of a marker as a JSON listing has it: the deletion's. ValueError when it is none."""
    return Timestamp.from_isoformat(last_modified)


# -- what a marker hides ---------------------------------------------------------------------

def version_time(remote: ObjectMeta) -> Timestamp:
    """When a remote version was made, as far as it tells: as a copy its source's newest time, else its own date.

    A Swift's Last-Modified is rounded up, so its X-Timestamp is preferred.
    """
    times = [without_marker(time) for time in (remote.data_time, remote.meta_time) if time is not None]
    if times:
        return max(times)
    own = parse_timestamp(remote.sysmeta.get('x-timestamp'))
    return Timestamp(remote.last_modified or 0) if own is None else without_marker(own)


def hides(marker: Timestamp, remote: ObjectMeta) -> bool:
    """Whether a deletion at this time concerns this remote version: all that are not newer."""
    return bool(version_time(remote) <= without_marker(marker))
