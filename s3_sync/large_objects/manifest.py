"""SLO manifests: read as Swift stores them, resolved to pieces, and written again.

Swift keeps a manifest as the JSON body of the manifest object: entries with
``name``, ``bytes``, ``hash`` and, where they apply, ``range``, ``sub_slo`` and
``data``. A client sends another form (``path``, ``size_bytes``, ``etag``),
which ``?multipart-manifest=get&format=raw`` gives back. Both are read here.
The rules are those of ``swift.common.middleware.slo``.
"""
from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from swift.common.utils import config_true_value, extract_swift_bytes

from s3_sync.large_objects.model import Piece, Segment

MAX_DEPTH = 10
"""Manifests inside one another that Swift follows, the outermost counted."""
MAX_PIECES = 1_000_000
"""A few small manifests that name each other come to any number of pieces; more than this is no data of anybody's."""


class ManifestError(ValueError):
    """These bytes are no manifest, or they describe an object that cannot be put together."""


def parse_manifest(data: bytes) -> tuple[Segment, ...]:
    """The segments of a manifest in either form; sub-SLOs have no ``children`` yet. ManifestError."""
    try:
        entries = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f'the manifest is not JSON: {error}') from error
    if not isinstance(entries, list):
        raise ManifestError('the manifest is not a list')
    return tuple(_segment(entry, index) for index, entry in enumerate(entries))


def slo_etag(segments: Iterable[Segment]) -> str:
    """The ETag that Swift computes for an SLO of these segments (hex, no quotes). ManifestError without their ETags."""
    digest = hashlib.md5(usedforsecurity=False)
    for segment in segments:
        if segment.data is not None:
            text = _md5(segment.data)
        elif not segment.etag:
            raise ManifestError(f'the ETag of {segment.path} is not known')
        elif segment.ranged:
            text = f'{segment.etag}:{_range(segment)};'
        else:
            text = segment.etag
        digest.update(text.encode())
    return digest.hexdigest()


def logical_size(segments: Iterable[Segment]) -> int:
    """Bytes that a download of these segments has."""
    return sum(segment.length for segment in segments)


def flatten(segments: Sequence[Segment]) -> tuple[Piece, ...]:
    """What the segments come to, in order: sub-SLOs followed, ranges cut, nothing of zero length.

    Inline data comes as a piece of its own that is always whole. ManifestError
    when a sub-SLO was not filled in, has another size than the manifest
    says, or lies deeper than Swift reads, and for more than MAX_PIECES pieces.
    """
    pieces: list[Piece] = []
    for piece in _pieces(segments, 0, logical_size(segments), 1):
        pieces.append(piece)
        if len(pieces) > MAX_PIECES:
            raise ManifestError(f'the manifest comes to more than {MAX_PIECES} pieces')
    return tuple(pieces)


def without_empty(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    """The segments that have bytes: Swift takes an empty one at most at the end of a manifest."""
    return tuple(segment for segment in segments if segment.length)


def stored_manifest(segments: Iterable[Segment]) -> bytes:
    """The manifest in the form in which Swift stores it."""
    return json.dumps([_stored(segment) for segment in segments]).encode()


def put_manifest(segments: Iterable[Segment]) -> bytes:
    """The body of ``PUT ?multipart-manifest=put`` for these segments, as they are named (see ``without_empty``)."""
    return json.dumps(put_entries(segments)).encode()


def put_entries(segments: Iterable[Segment]) -> list[dict[str, object]]:
    """The entries of ``put_manifest``, which ``?multipart-manifest=get&format=raw`` answers."""
    return [_sent(segment) for segment in segments]


# -- reading --------------------------------------------------------------------------

def _segment(entry: Any, index: int) -> Segment:
    if not isinstance(entry, dict):
        raise ManifestError(f'entry {index} is not an object')
    try:
        return _inline(entry) if 'data' in entry else _named(entry)
    except ManifestError as error:
        raise ManifestError(f'entry {index}: {error}') from error


def _inline(entry: Mapping[str, Any]) -> Segment:
    try:
        data = base64.b64decode(entry['data'], validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise ManifestError('data is not base64') from error
    return Segment(etag=_md5(data), size=len(data), length=len(data), data=data)


def _named(entry: Mapping[str, Any]) -> Segment:
    stored = 'name' in entry
    path = _text(entry, 'name' if stored else 'path')
    container, slash, name = path.lstrip('/').partition('/')
    if not container or not slash or not name:
        raise ManifestError(f'{path!r} names no object')
    etag = entry.get('hash' if stored else 'etag')
    if not isinstance(etag, str) and (stored or etag is not None):
        raise ManifestError('the ETag is missing' if stored else 'the ETag is no text')
    sub_slo = bool(config_true_value(entry.get('sub_slo')))
    size = _size(entry, 'bytes' if stored else 'size_bytes', sub_slo=sub_slo)
    first, length = _cut(entry['range'], size) if entry.get('range') else (0, size)
    return Segment(container, name, (etag or '').strip('"'), size, first, length, sub_slo=sub_slo)


def _text(entry: Mapping[str, Any], key: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str):
        raise ManifestError(f'{key} is missing or no text')
    return value


def _size(entry: Mapping[str, Any], key: str, *, sub_slo: bool) -> int:
    """Of a sub-SLO, its content type tells before ``bytes`` does: old Swifts wrote the manifest's own size there."""
    value = entry.get(key)
    if sub_slo and isinstance(entry.get('content_type'), str):
        told = extract_swift_bytes(entry['content_type'])[1]
        value = told if told is not None and str(told).isdecimal() else value
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ManifestError(f'{key} is missing or no size')
    return value


def _cut(text: Any, size: int) -> tuple[int, int]:
    """First byte and length of ``5-9``, ``5-`` or ``-5`` in an object of ``size`` bytes."""
    first, dash, last = str(text).strip().partition('-')
    if not dash or not (first or last) or not (first or '0').isdecimal() or not (last or '0').isdecimal():
        raise ManifestError(f'{text!r} is no range')
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if start >= end:
        raise ManifestError(f'the range {text!r} lies outside the {size} bytes')
    return start, end - start


# -- resolving ------------------------------------------------------------------------

def _pieces(segments: Sequence[Segment], first: int, end: int, depth: int) -> Iterator[Piece]:
    """Pieces of the logical bytes from ``first`` up to (not with) ``end``."""
    if depth > MAX_DEPTH:
        raise ManifestError(f'manifests lie more than {MAX_DEPTH} deep in one another')
    at = 0
    for segment in segments:
        start, stop = max(first - at, 0), min(end - at, segment.length)
        at += segment.length
        if start >= stop:
            continue
        if segment.data is not None:
            data = segment.data[start:stop]
            yield Piece('', '', _md5(data), len(data), 0, len(data), data)
        elif segment.children is not None:
            if logical_size(segment.children) != segment.size:
                raise ManifestError(f'{segment.path} has {logical_size(segment.children)} bytes, '
                                    f'its manifest says {segment.size}')
            yield from _pieces(segment.children, segment.first + start, segment.first + stop, depth + 1)
        elif segment.sub_slo:
            raise ManifestError(f'the sub-manifest {segment.path} was not read')
        else:
            yield Piece(segment.container, segment.name, segment.etag, segment.size,
                        segment.first + start, stop - start)


# -- writing --------------------------------------------------------------------------

def _stored(segment: Segment) -> dict[str, object]:
    if segment.data is not None:
        return {'data': base64.b64encode(segment.data).decode()}
    entry: dict[str, object] = {'name': segment.path, 'bytes': segment.size, 'hash': segment.etag}
    if segment.ranged:
        entry['range'] = _range(segment)
    if segment.sub_slo:
        # Swift's reader asks for the content type of every sub-SLO, and fails without one.
        entry.update(sub_slo=True, content_type='application/octet-stream')
    return entry


def _sent(segment: Segment) -> dict[str, object]:
    if segment.data is not None:
        return {'data': base64.b64encode(segment.data).decode()}
    entry: dict[str, object] = {'path': segment.path, 'etag': segment.etag or None, 'size_bytes': segment.size}
    if segment.ranged:
        entry['range'] = _range(segment)
    return entry


def _range(segment: Segment) -> str:
    return f'{segment.first}-{segment.first + segment.length - 1}'


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
