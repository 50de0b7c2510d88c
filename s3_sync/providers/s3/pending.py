"""Our unfinished multipart uploads: begun with a note, found again after a crash, ended when nobody goes on.

The note (``wire.pending_uploads``) is an object written before the upload is
begun, written again once its id is known, and removed last. Whatever is killed
in between leaves a note that says what may be there. Uploads without a note of
ours are somebody else's and are never touched.
"""
from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from secrets import token_hex

from s3_sync.clock import Clock
from s3_sync.errors import (
    BucketNotFound,
    ConnectionFailed,
    Forbidden,
    NotConnected,
    NotFound,
    PermanentError,
    ProviderError,
)
from s3_sync.providers.retry import retried
from s3_sync.providers.s3.listing import Listing
from s3_sync.providers.s3.multipart import Multipart, StoredPart
from s3_sync.providers.s3.objects import Objects, Place
from s3_sync.streams import BytesBody
from s3_sync.types import ListingEntry
from s3_sync.wire.keys import KeyScheme
from s3_sync.wire.pending_uploads import PendingUpload

MAX_NOTE_BYTES = 64 * 1024
CREATE_SECONDS = 300.0
"""An upload whose id never reached us was begun within so long after its note was written."""
DATE_GRAIN_SECONDS = 1.0
"""Times in headers are whole seconds, rounded down."""
JSON = {'content-type': 'application/json'}


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload of ours that goes on."""

    place: Place
    note: Place
    upload_id: str
    stored: Mapping[int, StoredPart] = field(default_factory=dict)
    """Parts that an earlier process has sent."""


@dataclass(frozen=True, slots=True)
class _Note:
    place: Place
    pending: PendingUpload
    written: float
    """Unix seconds of the store's clock."""


class PendingUploads:
    """Of one container. ``place`` gives the key of an object's name."""

    def __init__(self, objects: Objects, listing: Listing, scheme: KeyScheme, bucket: str, *,
                 place: Callable[[str], Place], tidy: Callable[[str, float], None], clock: Clock) -> None:
        """``tidy``: removes what belonged to an earlier version of the object of that name only.

        And was there before: Unix seconds of the store's clock.
        """
        self._objects = objects
        self._listing = listing
        self._scheme = scheme
        self._bucket = bucket
        self._place = place
        self._tidy = tidy
        self._clock = clock

    # -- an upload's life ---------------------------------------------------------------

    def begin(self, multipart: Multipart, wanted: PendingUpload, headers: Mapping[str, str], *,
              resume: bool = True) -> Upload:
        """Go on with the upload of exactly this version, or begin one. Those of older versions are ended."""
        for note in self._notes(multipart, wanted.name):
            if note.pending.version == wanted.version and note.pending.upload_id and resume:
                found = self._resumed(multipart, note)
                if found is not None:
                    return found
            elif note.pending.upload_id and note.pending.time <= wanted.time:
                with contextlib.suppress(ProviderError):  # the sweep will
                    self._end(multipart, note.place, note.pending)
        place = self._place(wanted.name)
        note_place = Place(self._bucket, self._scheme.upload_key(wanted.name, token_hex(8)))
        wanted = replace(wanted, others=self._others(multipart, place))
        self._write(multipart, note_place, wanted)
        upload_id = self._create(multipart, place, headers)
        self._write(multipart, note_place, replace(wanted, upload_id=upload_id))
        return Upload(place, note_place, upload_id)

    def done(self, multipart: Multipart, upload: Upload, *, certain: bool) -> None:
        """The upload has become the object. A note that stays is found by the next sweep.

        ``certain`` False: another process's may have, and then ours is still there. It is left to the sweep, because
        to end one that is just being completed has cost data at some stores.
        """
        with contextlib.suppress(ProviderError):
            if certain or self._parts(multipart, upload.place, upload.upload_id) is None:
                self._objects.delete(upload.note)

    def abandon(self, multipart: Multipart, upload: Upload) -> None:
        """It will never be completed. What cannot be ended now is left, with its note, for the sweep."""
        with contextlib.suppress(ProviderError):
            multipart.abort(upload.place, upload.upload_id)
            self._objects.delete(upload.note)

    def replacing(self, name: str) -> Place:
        """Note that something of this object's present version is to be removed after its next one has come."""
        note = Place(self._bucket, self._scheme.upload_key(name, token_hex(8)))
        retried(lambda: self._objects.put(note, BytesBody(PendingUpload(name, '').to_bytes()), JSON),
                clock=self._clock)
        return note

    def replaced(self, note: Place) -> None:
        with contextlib.suppress(ProviderError):
            self._objects.delete(note)

    # -- what crashes leave -------------------------------------------------------------

    def sweep(self, multipart: Multipart, older_than_seconds: float) -> int:
        """End what nobody went on with for so long. The number of uploads ended."""
        entries, offset = self._listing.below(self._bucket, self._scheme.upload_prefix())
        before = self._clock.now() + offset + DATE_GRAIN_SECONDS - older_than_seconds
        ended = 0
        for entry in entries:
            if entry.last_modified <= before:
                with contextlib.suppress(ProviderError):  # one that cannot be ended holds up none of the others
                    ended += self._swept(multipart, entry, before)
        return ended

    def _swept(self, multipart: Multipart, entry: ListingEntry, before: float) -> int:
        note = self._read(entry)
        if note is None:
            return 0
        pending, place = note.pending, self._place(note.pending.name)
        uploads: list[str] = []
        if pending.upload_id:
            parts = self._parts(multipart, place, pending.upload_id)
            if any(part.stored > before for part in parts or ()):
                return 0
            uploads += [pending.upload_id] if parts is not None else []
        elif pending.others is not None:
            uploads += self._begun_unnoted(multipart, place, note, pending.others)
        for upload_id in uploads:
            multipart.abort(place, upload_id)
        self._tidy(pending.name, note.written)
        self._objects.delete(note.place)
        return len(uploads)

    def _begun_unnoted(self, multipart: Multipart, place: Place, note: _Note, others: Sequence[str]) -> Iterator[str]:
        """The uploads of this key whose ids never reached us.

        They were not there before ``note``, were begun right after it, no other
        note claims them, and, as nobody knew them, they have no parts.
        """
        known = {*others, *(other.pending.upload_id for other in self._notes(multipart, note.pending.name))}
        for upload in list(multipart.uploads(place)):
            if (upload.upload_id not in known and upload.begun - note.written <= CREATE_SECONDS
                    and self._parts(multipart, place, upload.upload_id) == []):
                yield upload.upload_id

    # -- requests -----------------------------------------------------------------------

    def _notes(self, multipart: Multipart, name: str) -> list[_Note]:
        """All notes about one object, the latest first."""
        multipart.requests += 1
        entries, _offset = self._listing.below(self._bucket, self._scheme.upload_prefix(name))
        notes = [note for note in map(self._read, entries) if note is not None and note.pending.name == name]
        return sorted(notes, key=lambda note: note.written, reverse=True)

    def _read(self, entry: ListingEntry) -> _Note | None:
        place = Place(self._bucket, entry.name)
        try:
            with self._objects.open('GET', place, headers={}) as response:
                pending = PendingUpload.from_bytes(response.read(MAX_NOTE_BYTES))
        except NotFound:
            return None
        if pending is None or not entry.name.startswith(self._scheme.upload_prefix(pending.name)):
            return None  # whoever wrote that, it is none of ours
        return _Note(place, pending, entry.last_modified)

    def _write(self, multipart: Multipart, place: Place, pending: PendingUpload) -> None:
        multipart.requests += 1
        retried(lambda: self._objects.put(place, BytesBody(pending.to_bytes()), JSON), clock=self._clock)

    def _others(self, multipart: Multipart, place: Place) -> tuple[str, ...] | None:
        try:
            return tuple(upload.upload_id for upload in
                         retried(lambda: list(multipart.uploads(place)), clock=self._clock))
        except (Forbidden, PermanentError):
            return None

    def _create(self, multipart: Multipart, place: Place, headers: Mapping[str, str]) -> str:
        """Not sent again once it may have arrived: two would have been begun, and the note names one."""
        lost: list[ConnectionFailed] = []

        def once() -> str:
            try:
                return multipart.create(place, headers)
            except NotConnected:
                raise
            except ConnectionFailed as error:
                lost.append(error)
                return ''
        upload_id = retried(once, clock=self._clock)
        if lost:
            raise lost[0]
        return upload_id

    def _resumed(self, multipart: Multipart, note: _Note) -> Upload | None:
        """The upload of a note with what the store has of it; None when it is gone, and then so is the note."""
        place = self._place(note.pending.name)
        parts = self._parts(multipart, place, note.pending.upload_id)
        if parts is None:
            self._objects.delete(note.place)
            return None
        self._write(multipart, note.place, note.pending)  # young again: somebody goes on with it
        return Upload(place, note.place, note.pending.upload_id, {part.number: part for part in parts})

    @staticmethod
    def _parts(multipart: Multipart, place: Place, upload_id: str) -> list[StoredPart] | None:
        """None when there is no such upload (any more)."""
        try:
            return multipart.parts(place, upload_id)
        except BucketNotFound:
            raise
        except NotFound:
            return None

    def _end(self, multipart: Multipart, place: Place, pending: PendingUpload) -> None:
        multipart.abort(self._place(pending.name), pending.upload_id)
        self._objects.delete(place)
