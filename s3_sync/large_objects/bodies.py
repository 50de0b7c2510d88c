"""The bytes of a large object, as one stream or part by part, checked on the way.

A piece that is sent as it is comes from ``LargeSource.open``, which checks it.
A piece that is split between parts is read in runs that nobody checks: so one
``PartReader`` reads its parts in order, keeps the piece's running MD5, and lets
the last chunk go only when it is right. What is in memory at any time is a chunk
or two, never a part.
"""
from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

from s3_sync.errors import SourceUnavailable
from s3_sync.large_objects.model import LargeSource, Piece
from s3_sync.large_objects.parts import Part, Run
from s3_sync.streams import Body, BytesBody

if TYPE_CHECKING:
    from hashlib import _Hash as Digest


def open_piece(source: LargeSource, piece: Piece) -> Body:
    """The piece's bytes, checked; inline data needs no source."""
    return source.open(piece) if piece.data is None else BytesBody(piece.data)


class WholeBody:
    """All pieces as one stream, opened one after the other."""

    def __init__(self, source: LargeSource) -> None:
        self._source = source
        self._reading = _Reading()
        self.size = source.layout.size

    def __iter__(self) -> Iterator[bytes]:
        self.close()
        return self._reading.start(self._chunks())

    def rewind(self) -> None:
        self.close()

    def close(self) -> None:
        self._reading.stop()

    def _chunks(self) -> Generator[bytes, None, None]:
        sent = 0
        for piece in self._source.layout.pieces:
            yield from _exactly(open_piece(self._source, piece), piece.length, piece)
            sent += piece.length
        if sent != self.size:
            raise SourceUnavailable(f'the pieces come to {sent} bytes, the object has {self.size}')


class PartReader:
    """Bodies for the parts of one sequence (``parts.sequences``), in order.

    ``body`` of a part may be asked for, and its body rewound, as often as the
    part has to be sent; earlier parts are not read again for it. A part's body
    must have been read to its end, or skipped, before that of the next part is
    asked for. SourceUnavailable (or what the source raises) instead of the last
    chunk of a piece that is not the one the manifest names.
    """

    def __init__(self, source: LargeSource, sequence: tuple[Part, ...]) -> None:
        self._source = source
        self._parts = sequence
        self._begun: dict[int, Digest] = {sequence[0].number: _md5()}
        """By part number: the MD5 of its first piece up to where the part begins."""

    def body(self, part: Part) -> PartBody:
        """The bytes of ``part``. ValueError when it is not of this sequence, or not its turn."""
        index = part.number - self._parts[0].number
        if part.number not in self._begun or not 0 <= index < len(self._parts) or self._parts[index] != part:
            raise ValueError(f'part {part.number} is not next in this sequence')
        self._begun = {number: digest for number, digest in self._begun.items() if number >= part.number}
        return PartBody(self, part)

    def skip(self, part: Part) -> str:
        """Read a part without sending it; its MD5 (hex), to compare with the part that the remote has."""
        body = self.body(part)
        try:
            for _ in body:
                pass
        finally:
            body.close()
        return body.md5

    def _chunks(self, part: Part) -> Generator[bytes, None, None]:
        digest = self._begun[part.number].copy()
        for run in part.runs:
            if run.whole:
                yield from _exactly(open_piece(self._source, run.piece), run.length, run.piece)
                continue
            if run.first == 0:
                digest = _md5()
            yield from self._split(run, digest)
        self._begun[part.number + 1] = digest

    def _split(self, run: Run, digest: Digest) -> Iterator[bytes]:
        """A run of a split piece; the last chunk of the piece's last run comes only when the piece was right."""
        held = b''
        for chunk in _exactly(self._open_run(run), run.length, run.piece):
            digest.update(chunk)
            if held:
                yield held
            held = chunk
        if run.last:
            self._check(run.piece, digest.hexdigest())
        yield held

    def _open_run(self, run: Run) -> Body:
        if run.piece.data is not None:
            return BytesBody(run.piece.data[run.first:run.first + run.length])
        return self._source.open_run(run.piece, run.first, run.length)

    def _check(self, piece: Piece, md5: str) -> None:
        expected = piece.md5
        if not expected:
            # The MD5 of a range is known to nobody: the whole object is read once more, checked, and compared.
            checked = _md5()
            for chunk in _exactly(open_piece(self._source, piece), piece.length, piece):
                checked.update(chunk)
            expected = checked.hexdigest()
        if md5 != expected:
            raise SourceUnavailable(f'/{piece.container}/{piece.name} was read with MD5 {md5}, expected {expected}')


class PartBody:
    """The body of one part. ``md5`` is that of the bytes of the last full iteration, '' before."""

    def __init__(self, reader: PartReader, part: Part) -> None:
        self._reader = reader
        self._part = part
        self._reading = _Reading()
        self.size = part.size
        self.md5 = ''

    def __iter__(self) -> Iterator[bytes]:
        self.close()
        return self._reading.start(self._chunks())

    def rewind(self) -> None:
        self.close()

    def close(self) -> None:
        self._reading.stop()

    def _chunks(self) -> Generator[bytes, None, None]:
        self.md5 = ''
        digest = _md5()
        held = b''
        for chunk in self._reader._chunks(self._part):
            digest.update(chunk)
            if held:
                yield held
            held = chunk
        # Known before the last chunk is handed out: nobody needs to ask for one more to learn it.
        self.md5 = digest.hexdigest()
        if held:
            yield held


class _Reading:
    """At most one iteration at a time; stopping it closes whatever it has open."""

    def __init__(self) -> None:
        self._chunks: Generator[bytes, None, None] | None = None

    def start(self, chunks: Generator[bytes, None, None]) -> Iterator[bytes]:
        self.stop()
        self._chunks = chunks
        return chunks

    def stop(self) -> None:
        chunks, self._chunks = self._chunks, None
        if chunks is not None:
            chunks.close()


def _exactly(body: Body, length: int, piece: Piece) -> Generator[bytes, None, None]:
    """The chunks of ``body``, which is closed in every case; it must have exactly ``length`` bytes."""
    seen = 0
    try:
        for chunk in body:
            seen += len(chunk)
            if seen > length:
                break
            if chunk:
                yield chunk
    finally:
        body.close()
    if seen != length:
        raise SourceUnavailable(f'/{piece.container}/{piece.name} gave {"more than " * (seen > length)}'
                                f'{min(seen, length)} of {length} bytes')


def _md5() -> Digest:
    return hashlib.md5(usedforsecurity=False)
