"""The steps that are the same at every remote: one small object, written, changed, read and deleted as the daemon does.

Names are the predecessor's with something unique behind them, so that two
verifications at a time do not meet.
"""
from __future__ import annotations

import hashlib
from dataclasses import replace
from statistics import median

from swift.common.utils import Timestamp

from s3_sync.base_sync import BaseSync
from s3_sync.errors import LimitExceeded, NotFound, Unsupported
from s3_sync.providers.s3.objects import ARCHIVE_CLASSES
from s3_sync.streams import BytesBody
from s3_sync.timestamps import http_date_seconds
from s3_sync.types import ObjectMeta
from s3_sync.verification.leftovers import Leftover
from s3_sync.verification.outcomes import Doubtful, NotTried, Step, Wrong
from s3_sync.verification.runner import Run

ACCOUNT = 'verify-auth'
CONTAINER = 'testing-\xef'
DATA = b'1space-test'
SKEW_WARNING_SECONDS = 2.0
SKEW_FAILURE_SECONDS = 300.0
"""S3 refuses signatures of a quarter of an hour; who is so far is on the way there."""
SLOW_SECONDS = 1.0
LATENCY_TRIES = 5
LISTING_SECONDS = 5.0
"""How long a listing may take to show what has just been written."""

PUT = Step('put', 'PUT object', 'permission to write objects (S3: s3:PutObject)')
UPDATE = Step('update-metadata', 'update metadata', 'S3: s3:GetObject and s3:PutObject, the object is copied onto '
              'itself; Swift: write access to the container')
HEAD = Step('head', 'HEAD object', 'permission to read objects (S3: s3:GetObject)')
LIST = Step('list', 'list objects', 'permission to list (S3: s3:ListBucket; Swift: read access with listings)')
GET = Step('get', 'GET object', 'permission to read objects (S3: s3:GetObject)')
RANGE = Step('range-get', 'GET a range', 'permission to read objects (S3: s3:GetObject)')
DELETE = Step('delete', 'DELETE object', 'permission to delete objects (S3: s3:DeleteObject)')
CLOCK = Step('clock', 'compare clocks')
LATENCY = Step('latency', 'measure the latency')


class ObjectSteps:
    """One object through its life."""

    def __init__(self, run: Run, provider: BaseSync, name: str, place: str) -> None:
        """``place``: what people are told is left behind."""
        self._run = run
        self._provider = provider
        self._name = name
        self._place = place
        self._item: Leftover | None = None
        now = Timestamp(run.clock.now())
        self._meta = ObjectMeta(name, len(DATA), etag=hashlib.md5(DATA, usedforsecurity=False).hexdigest(),
                                content_type='text/plain', data_time=now)
        self._readable = True

    def write_and_read(self) -> None:
        run = self._run
        run.step(PUT, self._put)
        run.step(UPDATE, self._update, after=(PUT,))
        run.step(HEAD, self._head, after=(PUT,))
        run.step(LIST, self._list, after=(PUT,))
        run.step(GET, self._get, after=(PUT,))
        run.step(RANGE, self._range, after=(PUT,))

    def measure(self) -> None:
        self._run.step(LATENCY, self._latency, after=(PUT, HEAD))

    def delete(self) -> None:
        self._run.step(DELETE, self._delete, after=(PUT,))

    # -- the steps --------------------------------------------------------------------

    def _put(self) -> str:
        with self._run.leftovers.made(self._place, lambda: self._provider.delete_object(self._name)) as self._item:
            self._provider.upload_object(BytesBody(DATA), self._meta)
        return ''

    def _update(self) -> str:
        current = self._provider.head_object(self._name)
        changed = replace(self._meta, user_metadata={'cloud-sync': 'fabcab'})
        try:
            self._provider.update_metadata(changed, current)
        except (Unsupported, LimitExceeded) as error:
            raise NotTried(str(error)) from error
        self._meta = changed
        return ''

    def _head(self) -> str:
        found = self._provider.head_object(self._name)
        self._readable = found.storage_class not in ARCHIVE_CLASSES
        if found.size != len(DATA):
            raise Wrong(f'{found.size} bytes, {len(DATA)} were written')
        if found.data_time != self._meta.data_time:
            raise Wrong('the metadata that was written has not been kept (1space-timestamp)')
        if self._provider.comparable(found) != self._provider.comparable(self._meta):
            raise Wrong(f'other metadata than was written: {found.content_type!r}, {dict(found.user_metadata)!r}')
        return ''

    def _list(self) -> str:
        run = self._run
        end = run.clock.monotonic() + LISTING_SECONDS
        while True:
            page = self._provider.list_objects(prefix=self._name, limit=1)
            for entry in page.entries:
                if entry.name == self._name:
                    if entry.size != len(DATA):
                        raise Wrong(f'the listing tells {entry.size} bytes, {len(DATA)} were written')
                    return ''
            if run.clock.monotonic() >= end:
                raise Doubtful(f'what was written is not in the listing after {LISTING_SECONDS:g} seconds')
            run.clock.sleep(0.5)

    def _get(self) -> str:
        self._require_readable()
        found = self._provider.get_object(self._name).read()
        if found != DATA:
            raise Wrong(f'other bytes than were written: {found[:60]!r} instead of {DATA!r}')
        return ''

    def _range(self) -> str:
        self._require_readable()
        found = self._provider.get_object(self._name, byte_range=(2, 6))
        data = found.read()
        if found.status == 200 and data == DATA:
            raise Doubtful('the store ignores Range and sends the whole object')
        if data != DATA[2:7] or not found.content_range.startswith('bytes 2-6/'):
            raise Wrong(f'asked for bytes 2-6, got {data[:60]!r} ({found.content_range or found.status})')
        return ''

    def _require_readable(self) -> None:
        if not self._readable:
            raise NotTried('the storage class is an archive, which must be restored before it can be read')

    def _latency(self) -> str:
        clock, took = self._run.clock, []
        for _ in range(LATENCY_TRIES):
            began = clock.monotonic()
            self._provider.head_object(self._name)
            took.append(clock.monotonic() - began)
        middle = median(took)
        self._run.find('latency_ms', round(middle * 1000, 1))
        said = f'{middle * 1000:.1f} ms for a HEAD'
        if middle > SLOW_SECONDS:
            raise Doubtful(f'{said}: more workers hide slow answers')
        return said

    def _delete(self) -> str:
        self._provider.delete_object(self._name)
        try:
            self._provider.head_object(self._name)
        except NotFound:
            if self._item is not None:
                self._run.leftovers.gone(self._item)
            return ''
        raise Wrong('the object is still there')


def compare_clocks(run: Run, date: str, before: float, after: float, *, fatal: bool) -> str:
    """``date`` came in an answer to a request between the two times. ``fatal``: signatures depend on it."""
    theirs = http_date_seconds(date)
    if theirs is None:
        raise NotTried('the answers have no Date')
    # Dates are cut to whole seconds, so half of one is the best guess.
    skew = theirs + 0.5 - (before + after) / 2
    doubt = 0.5 + (after - before) / 2
    run.find('clock_skew_seconds', round(skew, 1))
    if abs(skew) <= SKEW_WARNING_SECONDS + doubt:
        return ''
    said = f'the remote is {abs(skew):.0f} seconds {"ahead" if skew > 0 else "behind"}'
    if fatal and abs(skew) > SKEW_FAILURE_SECONDS:
        raise Wrong(f'{said}; signatures of requests will be refused, let both sides follow a time server')
    raise Doubtful(f'{said}; let both sides follow a time server')
