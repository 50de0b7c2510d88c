"""The note beside an unfinished upload."""
from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from swift.common.utils import Timestamp

from s3_sync.wire.pending_uploads import PendingUpload, version_digest

TEXT = st.text(st.characters(exclude_categories=['Cs']))


@given(TEXT, TEXT, TEXT, st.none() | st.lists(TEXT).map(tuple))
def test_a_note_is_read_as_it_was_written(name: str, version: str, upload_id: str,
                                          others: tuple[str, ...] | None) -> None:
    pending = PendingUpload(name, version, upload_id, '1600000000.00000', others)
    assert PendingUpload.from_bytes(pending.to_bytes()) == pending
    assert pending.time == Timestamp(1_600_000_000)


@pytest.mark.parametrize('change', [
    {'name': 1}, {'others': [1]}, {'others': 5}, {'more': ''}, {'upload_id': None}, {'newest': []}])
def test_what_is_not_of_our_making_is_no_note(change: dict[str, object]) -> None:
    good = json.loads(PendingUpload('o', 'v').to_bytes())
    assert PendingUpload.from_bytes(json.dumps(good).encode()) is not None
    assert PendingUpload.from_bytes(json.dumps({**good, **change}).encode()) is None
    for body in (b'', b'\xff', b'[]', b'null', b'{}', b'{"name": "o", "version": "v"}'):
        assert PendingUpload.from_bytes(body) is None


def test_a_version_is_its_metadata_its_content_and_its_parts() -> None:
    same = version_digest({'a': '1', 'b': '2'}, 'etag', [(5, 'm'), (6, '')])
    assert version_digest({'b': '2', 'a': '1'}, 'etag', [(5, 'm'), (6, '')]) == same
    others = {version_digest({'a': '1', 'b': '3'}, 'etag', [(5, 'm'), (6, '')]),
              version_digest({'a': '1', 'b': '2'}, 'other', [(5, 'm'), (6, '')]),
              version_digest({'a': '1', 'b': '2'}, 'etag', [(6, 'm'), (5, '')]),
              version_digest({'a': '1', 'b': '2'}, 'etag', [(5, 'm')])}
    assert len(others) == 4 and same not in others
