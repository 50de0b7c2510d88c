"""What shows that a remote body came whole, and the digest that runs along to see it.

The size always has to be right. Beyond that a version may tell the MD5 of its
bytes, or a multipart ETag that can be computed again where the size of its
parts is known. Another part size gives another ETag of the same bytes, so a
guessed one would prove nothing; then the size and, where there are segments
with known MD5s, those have to do.
"""
from __future__ import annotations

import hashlib
from dataclasses import dataclass

from s3_sync.large_objects.etags import multipart_etag


class Mismatch(ValueError):
    """These are not the bytes that the remote's metadata describes."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What is known of a version's bytes. Empty strings: not known."""

    size: int
    md5: str = ''
    """Hex, of all bytes."""
    multipart: str = ''
    """S3's ETag of a multipart upload, to be computed from parts of ``part_bytes``."""
    part_bytes: int = 0


def parts_proof(size: int, etag: str, part_bytes: int | None) -> Proof:
    """The proof that a multipart ETag gives: all parts but the last have ``part_bytes``, or that is not known."""
    count = etag.rpartition('-')[2]
    if not count.isdigit() or not int(count):
        return Proof(size)
    if int(count) == 1:
        part_bytes = max(size, 1)
    if not part_bytes or -(-size // part_bytes) != int(count):
        return Proof(size)
    return Proof(size, multipart=etag, part_bytes=part_bytes)


class Witness:
    """Sees all bytes of a version in order, and tells at the end whether they are right."""

    def __init__(self, proof: Proof) -> None:
        self._proof = proof
        self._seen = 0
        self._whole = hashlib.md5(usedforsecurity=False) if proof.md5 else None
        self._part = hashlib.md5(usedforsecurity=False)
        self._parts: list[str] = []

    def update(self, chunk: bytes) -> None:
        if self._whole is not None:
            self._whole.update(chunk)
        if self._proof.multipart:
            self._update_parts(chunk)
        self._seen += len(chunk)

    def check(self) -> None:
        """Mismatch unless what was seen is the version."""
        proof = self._proof
        if self._seen != proof.size:
            raise Mismatch(f'{self._seen} bytes came, {proof.size} were announced')
        if self._whole is not None and self._whole.hexdigest() != proof.md5:
            raise Mismatch(f'the bytes have MD5 {self._whole.hexdigest()}, expected {proof.md5}')
        if proof.multipart:
            rest = [self._part.hexdigest()] if self._seen % proof.part_bytes or not self._parts else []
            found = multipart_etag([*self._parts, *rest])
            if found != proof.multipart:
                raise Mismatch(f'the bytes have multipart ETag {found}, expected {proof.multipart}')

    def _update_parts(self, chunk: bytes) -> None:
        at, seen = 0, self._seen
        while at < len(chunk):
            take = min(self._proof.part_bytes - seen % self._proof.part_bytes, len(chunk) - at)
            self._part.update(chunk[at:at + take])
            at += take
            seen += take
            if seen % self._proof.part_bytes == 0:
                self._parts.append(self._part.hexdigest())
                self._part = hashlib.md5(usedforsecurity=False)
