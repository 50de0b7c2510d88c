"""Does this endpoint honour conditions on PUT? Only an experiment tells: some ignore them silently."""
from __future__ import annotations

import contextlib
from secrets import token_hex

from s3_sync.errors import PermanentError, PreconditionFailed, ProviderError
from s3_sync.providers.s3.objects import Objects, Place
from s3_sync.streams import BytesBody
from s3_sync.types import ABSENT, Condition
from s3_sync.wire.keys import KeyScheme

_FIRST, _SECOND = BytesBody(b'first'), BytesBody(b'second')
_WRONG_ETAG = '0' * 32


def probe_conditional_put(objects: Objects, bucket: str, scheme: KeyScheme, token: str = '') -> tuple[bool, bool]:
    """(If-None-Match: * honoured, If-Match honoured). Leaves nothing behind. Temporary failures raise.

    ``token``: hex digits that make the key, for who must know it.
    """
    place = Place(bucket, scheme.probe_key(token or token_hex(16)))
    before, objects.conditional = objects.conditional, (True, True)
    try:
        if not _accepted(objects, place, ABSENT):
            objects.put(place, _FIRST, {})
            create_only = False
        else:
            create_only = _refused(objects, place, ABSENT)
        etag = objects.head(place, '').etag
        overwrite = (_refused(objects, place, Condition(if_match=_WRONG_ETAG))
                     and _accepted(objects, place, Condition(if_match=etag)))
        return create_only, overwrite
    finally:
        objects.conditional = before
        with contextlib.suppress(ProviderError):
            objects.delete(place)


def _accepted(objects: Objects, place: Place, condition: Condition) -> bool:
    """Whether a PUT that must succeed does. Stores that do not know the header may refuse it."""
    try:
        objects.put(place, _FIRST, {}, condition=condition)
    except (PermanentError, PreconditionFailed):
        return False
    return True


def _refused(objects: Objects, place: Place, condition: Condition) -> bool:
    """Whether a PUT that must not succeed is refused for the right reason."""
    try:
        objects.put(place, _SECOND, {}, condition=condition)
    except PreconditionFailed:
        return True
    except PermanentError:
        return False
    return False
