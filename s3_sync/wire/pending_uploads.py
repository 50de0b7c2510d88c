"""The note that is kept at the remote beside a multipart upload of ours while it is unfinished.

S3 keeps parts for ever and tells nobody whose they are. So each upload is noted
in an object of its own: the note says for which version it was begun (its
metadata cannot be changed any more), which makes it safe to go on with after
a crash, and safe to end when nobody does.
"""
from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from swift.common.utils import Timestamp

from s3_sync.timestamps import ZERO, parse_timestamp


@dataclass(frozen=True, slots=True)
class PendingUpload:
    """One note. The upload's key is that of object ``name``."""

    name: str
    version: str
    """What it was begun for (``version_digest``): another version never uses it.

    '' when there is no upload, only something of an earlier version to be removed.
    """
    upload_id: str = ''
    """'' while the store has not answered yet: there may be an upload, or none."""
    newest: str = ''
    """Newest time of that version, as text; '' when it has none."""
    others: tuple[str, ...] | None = None
    """Ids of the uploads that the key had before, so somebody else's. None: the store did not tell."""

    @property
    def time(self) -> Timestamp:
        return parse_timestamp(self.newest) or ZERO

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> PendingUpload | None:
        """None when that is no note of ours."""
        try:
            document = json.loads(data)
            others = document.pop('others')
            pending = cls(**document, others=None if others is None else tuple(others))
        except (AttributeError, KeyError, TypeError, ValueError):
            return None
        texts = (pending.name, pending.version, pending.upload_id, pending.newest, *(pending.others or ()))
        return pending if all(isinstance(text, str) for text in texts) else None


def version_digest(headers: Mapping[str, str], content: str, parts: Sequence[tuple[int, str]]) -> str:
    """What one upload is for: metadata and settings as sent, what tells the content, sizes and MD5s of the parts."""
    document = json.dumps([sorted(headers.items()), content, [list(part) for part in parts]])
    return hashlib.sha256(document.encode()).hexdigest()
