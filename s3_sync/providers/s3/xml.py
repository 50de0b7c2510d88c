"""The few XML documents S3 speaks, read without trust in who wrote them."""
from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from s3_sync.errors import TemporaryError

NAMESPACE = 'http://s3.amazonaws.com/doc/2006-03-01/'
MAX_DOCUMENT_BYTES = 64 * 1024 * 1024
_NOT_XML = re.compile(rb'[\x00-\x08\x0b\x0c\x0e-\x1f]|\xef\xbf[\xbe\xbf]|&#(?:0*(?:[0-8]|1[124-9]|2\d|3[01]|6553[45])'
                      rb'|[xX]0*(?:[0-8bcefBCEF]|1[0-9a-fA-F]|[fF]{3}[eEfF]));')
"""What stores write of keys that XML 1.0 cannot carry."""


def parse(data: bytes, *, any_key: bool = False) -> Element:
    """The root with all namespaces taken off. TemporaryError when it is not XML as S3 writes it.

    ``any_key``: no key is read from it, so that one that XML cannot carry need not be right.
    """
    if any_key:
        data = _NOT_XML.sub(b'?', data)
    if b'<!' in data and (b'<!DOCTYPE' in data or b'<!ENTITY' in data):
        raise TemporaryError('answer declares entities, which no store does', reason='malformed-answer')
    try:
        # Stores send blanks ahead of an answer that takes them long.
        root = ElementTree.fromstring(data.lstrip())  # noqa: S314  (no entities: checked above)
    except ElementTree.ParseError as error:
        raise TemporaryError(f'answer is not XML: {error}', reason='malformed-answer') from error
    for element in root.iter():
        element.tag = element.tag.rpartition('}')[2]
    return root


def listing(data: bytes, tag: str) -> Element:
    """The root of a listing. TemporaryError where it is none: a gateway's page in XHTML would be an empty one."""
    root = parse(data)
    if root.tag != tag:
        raise TemporaryError(f'answer is {root.tag[:100]!r} and not {tag}', reason='malformed-answer')
    return root


def error_of(data: bytes) -> tuple[str, str, Element | None]:
    """Code, message and root of an ``<Error>`` document; empty strings when it is none."""
    if b'<Error' not in data:
        return '', '', None
    try:
        root = parse(data)
    except TemporaryError:
        return '', '', None
    if root.tag != 'Error':
        return '', '', None
    return root.findtext('Code') or '', root.findtext('Message') or '', root


def can_carry(key: str) -> bool:
    """Whether XML 1.0 can express this key at all (it has no control characters, for one)."""
    return all(c in '\t\n\r' or ' ' <= c <= '\ud7ff' or '\ue000' <= c <= '\ufffd' or c > '\uffff' for c in key)


def delete_document(keys: Iterable[str]) -> bytes:
    """Body of DeleteObjects, quiet."""
    objects = ''.join(f'<Object><Key>{escape(k, _LINE_ENDS)}</Key></Object>' for k in keys)
    return (f'<?xml version="1.0" encoding="UTF-8"?><Delete xmlns="{NAMESPACE}">'
            f'<Quiet>true</Quiet>{objects}</Delete>').encode()


def complete_document(parts: Iterable[tuple[int, str]]) -> bytes:
    """Body of CompleteMultipartUpload: numbers and ETags (without quotes), in ascending order."""
    listed = ''.join(f'<Part><PartNumber>{number}</PartNumber><ETag>"{escape(etag)}"</ETag></Part>'
                     for number, etag in parts)
    return (f'<?xml version="1.0" encoding="UTF-8"?><CompleteMultipartUpload xmlns="{NAMESPACE}">'
            f'{listed}</CompleteMultipartUpload>').encode()


_LINE_ENDS = {'\r': '&#13;', '\n': '&#10;', '\t': '&#9;'}
