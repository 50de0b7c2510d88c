"""Clients' requests on their way through, and the answers on their way back: what passes, what is ours."""
from __future__ import annotations

from collections.abc import Collection, Mapping

from swift.common.utils import Timestamp

from s3_sync.types import CONTENT_HEADERS
from s3_sync.wire.swift_headers import LARGE_KEYS, META_TIME_KEY, USER_PREFIX
from s3_sync.wire.swift_headers import OWN_KEYS as PROVENANCE_KEYS

OWN_KEYS = PROVENANCE_KEYS.union(LARGE_KEYS)

VIA = 'x-1space-via'
OBJECT_QUERY = frozenset({'multipart-manifest', 'format', 'part-number'})
LISTING_QUERY = frozenset({'limit', 'marker', 'end_marker', 'prefix', 'delimiter', 'reverse', 'path'})
_POST_HEADERS = frozenset({'content-type', 'x-delete-at', 'x-delete-after', 'x-remove-delete-at', VIA,
                           *CONTENT_HEADERS})
_CONTAINER_POST_HEADERS = frozenset({'x-container-read', 'x-container-write', VIA})
_CONTAINER_PREFIXES = ('x-container-meta-', 'x-remove-container-meta-')
_HIDDEN = frozenset({
    'connection', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'te', 'trailer', 'transfer-encoding',
    'upgrade', 'x-trans-id', 'x-openstack-request-id', 'date', 'server', 'set-cookie', 'www-authenticate'})
"""Hop-by-hop, or the remote's own business."""
_HIDDEN_PREFIXES = ('x-backend-', 'x-1space-', 'x-object-sysmeta-', 'x-object-transient-sysmeta-',
                    'x-container-sysmeta-', 'x-account-sysmeta-')

ANSWERS = frozenset({304, 404, 409, 412, 416})
"""Statuses that are an answer to the client. Others (credentials, overload, breakdown) are raised."""


def lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def via(headers: Mapping[str, str]) -> dict[str, str]:
    """The clusters that the client's request has come through, where the caller says so."""
    return {k: v for k, v in lower(headers).items() if k == VIA}


def read_query(query: Mapping[str, str], known: Collection[str]) -> dict[str, str]:
    """What is ``known`` of it; S3's clients call a part number otherwise."""
    named = {'part-number' if k == 'partNumber' else k: v for k, v in query.items()}
    return {k: v for k, v in named.items() if k in known}


def post_headers(headers: Mapping[str, str], stored: Mapping[str, str], now: float) -> dict[str, str]:
    """What an object POST of a client becomes: its metadata, our own keys as stored, the time of the change.

    ``stored`` are the object's headers now: a POST replaces all of them, and
    would take our provenance and a DLO's manifest with it.
    """
    sent = {k: v for k, v in lower(headers).items()
            if k in _POST_HEADERS or (k.startswith(USER_PREFIX) and k[len(USER_PREFIX):] not in OWN_KEYS)}
    kept = {USER_PREFIX + key: stored[USER_PREFIX + key] for key in OWN_KEYS if USER_PREFIX + key in stored}
    if kept:
        kept[USER_PREFIX + META_TIME_KEY] = Timestamp(now).internal
    if 'x-object-manifest' in stored:
        kept['x-object-manifest'] = stored['x-object-manifest']
    return {**sent, **kept}


def container_post_headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in lower(headers).items()
            if k in _CONTAINER_POST_HEADERS or k.startswith(_CONTAINER_PREFIXES)}


def client_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of an answer that is no object, as a client of the merged namespace sees them."""
    return {k: v for k, v in headers.items()
            if k not in _HIDDEN and not k.startswith(_HIDDEN_PREFIXES)
            and not (k.startswith(USER_PREFIX) and k[len(USER_PREFIX):] in OWN_KEYS)}
