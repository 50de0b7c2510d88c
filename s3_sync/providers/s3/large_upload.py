"""A large object as one multipart upload, gone on with where an earlier try was cut off.

What was visible before stays until the store puts the parts together, which it
does only after each part was stored with the MD5 that was read, and each whole
piece was the one the manifest names.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from s3_sync.errors import (
    BucketNotFound,
    ChecksumMismatch,
    NotFound,
    PermanentError,
    PreconditionFailed,
    ProviderError,
    SourceUnusable,
    TemporaryError,
    Unsupported,
)
from s3_sync.large_objects.bodies import PartBody, PartReader, open_piece
from s3_sync.large_objects.etags import multipart_etag
from s3_sync.large_objects.model import LargeSource
from s3_sync.large_objects.parts import Part, sequences
from s3_sync.providers.retry import retried
from s3_sync.providers.s3.client import Client
from s3_sync.providers.s3.errors import INVALID_PART
from s3_sync.providers.s3.multipart import Multipart, StoredPart, check_part
from s3_sync.providers.s3.objects import Objects, Place, condition_headers
from s3_sync.providers.s3.parallel import in_parallel
from s3_sync.providers.s3.pending import PendingUploads, Upload
from s3_sync.streams import Body
from s3_sync.types import Condition
from s3_sync.wire.pending_uploads import PendingUpload
from s3_sync.wire.s3_headers import META_PREFIX, is_multipart
from s3_sync.wire.swift_headers import DATA_TIME_KEY, SIDE_OBJECT_KEY

HOPELESS = (PermanentError, SourceUnusable)
"""What no later try will do better: nothing of the upload is worth keeping."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A part that the store has, and the MD5 (hex) of the bytes that it was made of."""

    stored: StoredPart
    md5: str
    opaque: bool = False
    """The store's ETag of it is no MD5, whatever the mapping says: the bucket encrypts with keys of its own."""


class Completed(NamedTuple):
    etag: str
    """Of the object."""
    certain: bool
    """False: this version is there, but perhaps because of another upload than ours."""


class LargeUploads:
    """``opaque``: the store encrypts with keys of its own, so that ETags are no MD5s."""

    def __init__(self, client: Client, objects: Objects, pending: PendingUploads, *, opaque: bool) -> None:
        self._client = client
        self._objects = objects
        self._pending = pending
        self._opaque = opaque

    def send(self, multipart: Multipart, large: LargeSource, parts: Sequence[Part], wanted: PendingUpload,
             headers: Mapping[str, str], complete: Callable[[Upload, Sequence[StoredPart], str], Completed]) -> str:
        """All parts, then ``complete(upload, parts, expected ETag)``; the ETag of the object.

        What has to stand beside the object is made by ``complete`` too: the note is there until that is done.
        """
        upload = self._pending.begin(multipart, wanted, headers)
        try:
            # The answer to the note has just told how the bucket encrypts.
            opaque = self._opaque or self._objects.keyed
            sent = PartSender(self._client, self._objects, multipart, upload, large, opaque=opaque).send(parts)
            unknown = opaque or any(part.opaque for part in sent) or self._client.endpoint.flavour == 'google'
            completed = complete(upload, [part.stored for part in sent],
                                 '' if unknown else multipart_etag([part.md5 for part in sent]))
        except HOPELESS as error:
            if isinstance(error, PermanentError) and error.reason == INVALID_PART and not upload.stored:
                # Another process sent a part again, perhaps: the next try asks the store which ones it has.
                raise TemporaryError(str(error), status=error.status, reason=error.reason) from error
            self._pending.abandon(multipart, upload)
            raise
        self._pending.done(multipart, upload, certain=completed.certain)
        return completed.etag


class PartSender:
    """Brings the parts of one upload to the store, except for those that it has."""

    def __init__(self, client: Client, objects: Objects, multipart: Multipart, upload: Upload, large: LargeSource, *,
                 opaque: bool) -> None:
        self._client = client
        self._objects = objects
        self._multipart = multipart
        self._upload = upload
        self._large = large
        self._opaque = opaque
        self._sent: dict[int, Sent] = {}

    def send(self, parts: Sequence[Part]) -> list[Sent]:
        """What is at the store afterwards, in order."""
        in_parallel(self._sequence, sequences(parts))
        return [self._sent[part.number] for part in parts]

    def _sequence(self, sequence: tuple[Part, ...], stopped: Callable[[], bool]) -> None:
        reader = PartReader(self._large, sequence)
        for part in sequence:
            if stopped():
                return
            self._sent[part.number] = self._already_there(reader, part) or self._put(reader, part)

    def _already_there(self, reader: PartReader, part: Part) -> Sent | None:
        """A part whose size and MD5 are right, as far as reading it here tells."""
        stored = self._upload.stored.get(part.number)
        if stored is None or stored.size != part.size:
            return None
        if self._opaque:
            # It was stored under the MD5 that came along; where none was known, nothing tells now what it is.
            return Sent(stored, part.md5) if part.md5 else None
        md5 = part.md5 or reader.skip(part)
        return Sent(stored, md5) if stored.etag == md5 else None

    def _put(self, reader: PartReader, part: Part) -> Sent:
        md5 = part.md5
        if not md5 and (self._opaque or self._objects.wants_md5):
            md5 = reader.skip(part)  # read twice: the answer will not tell what arrived, or the store insists
        try:
            return self._put_with(reader, part, md5)
        except PermanentError as error:
            if md5 or error.status != 400:
                raise
        # Buckets with a retention of their own (Object Lock) take no part without its MD5.
        sent = self._put_with(reader, part, reader.skip(part))
        self._objects.wants_md5 = True
        return sent

    def _put_with(self, reader: PartReader, part: Part, md5: str) -> Sent:
        # A whole piece is checked by its source and by the store; to hash it once more would only cost time.
        body: _Checked | PartBody
        if part.md5:
            body = _Checked(open_piece(self._large, part.runs[0].piece), md5)
        else:
            body = reader.body(part)

        def once() -> Sent:
            with self._client.parts:
                etag, is_md5 = self._multipart.put_part(
                    self._upload.place, self._upload.upload_id, part.number, body, md5)
            read = body.md5
            if is_md5 and not self._opaque:
                check_part(self._upload.place, part.number, etag, read)
            return Sent(StoredPart(part.number, etag, part.size), read, not is_md5)
        try:
            return retried(once, clock=self._client.clock, body=body)
        finally:
            body.close()


class _Checked:
    """A body whose MD5 is known and checked as it is read, by whoever gives it."""

    def __init__(self, body: Body, md5: str) -> None:
        self._body = body
        self.size = body.size
        self.md5 = md5

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def rewind(self) -> None:
        self._body.rewind()

    def close(self) -> None:
        self._body.close()


class Completion:
    """Makes an upload's parts the object, under a condition, and finds out whether that happened when nobody says."""

    def __init__(self, client: Client, objects: Objects, multipart: Multipart, condition: Condition,
                 headers: Mapping[str, str]) -> None:
        """``headers``: those that the upload was begun with."""
        self._clock = client.clock
        self._objects = objects
        self._multipart = multipart
        self._condition = condition
        self._metadata = {k: v for k, v in headers.items() if k.startswith(META_PREFIX)}

    def check(self, place: Place) -> None:
        """PreconditionFailed when the condition does not hold: some stores honour it on a PUT, but not here."""
        if self._condition != Condition():
            self._objects.check(place, self._condition)

    def __call__(self, upload: Upload, parts: Sequence[StoredPart], expected: str) -> Completed:
        """``expected``: the object's ETag, '' when it cannot be known. ChecksumMismatch when it is another."""
        create_only, overwrite = self._objects.conditional
        honoured = condition_headers(Condition(if_match=self._condition.if_match if overwrite else None,
                                               if_none_match=self._condition.if_none_match if create_only else None))
        completed = retried(lambda: self._once(upload, parts, expected, honoured), clock=self._clock)
        if expected and is_multipart(completed.etag) and completed.etag != expected:
            raise ChecksumMismatch(f'{upload.place.key}: completed with ETag {completed.etag}, '
                                   f'the parts make {expected}')
        return completed

    def _once(self, upload: Upload, parts: Sequence[StoredPart], expected: str,
              headers: Mapping[str, str]) -> Completed:
        try:
            return Completed(self._multipart.complete(upload.place, upload.upload_id, parts, headers), True)
        except Unsupported:
            if not headers:
                raise
            return self._once(upload, parts, expected, {})  # no conditions here: ``check`` was just now
        except BucketNotFound:
            raise
        except (TemporaryError, NotFound, PreconditionFailed) as error:
            # An answer that was lost, this time or before, may have been a success.
            etag = self._arrived(upload, expected)
            if etag:
                return Completed(etag, False)
            if isinstance(error, NotFound):
                raise TemporaryError(str(error), status=error.status, reason='upload-gone') from error
            raise

    def _arrived(self, upload: Upload, expected: str) -> str:
        """The ETag of what is there when it has just this upload's metadata, else ''."""
        if not {META_PREFIX + DATA_TIME_KEY, META_PREFIX + SIDE_OBJECT_KEY} & set(self._metadata):
            return ''  # nothing in it tells versions apart
        try:
            with self._objects.open('HEAD', upload.place, headers={}) as response:
                found = response.headers
        except ProviderError:
            return ''
        etag = found.get('etag', '').strip('"')
        same = all(found.get(name) == value for name, value in self._metadata.items())
        return etag if same and (not expected or etag == expected) else ''
