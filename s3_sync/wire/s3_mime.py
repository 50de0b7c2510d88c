"""Text of any kind in S3 header values, which are ASCII: RFC 2047 encoded words.

Written so that the predecessor can read it (one word, UTF-8), read as
generously as mail programs do (several words, any charset), because other
tools write such values too.
"""
from __future__ import annotations

import base64
import re
from urllib.parse import quote_from_bytes, unquote_to_bytes

_PLAIN = re.compile(r'(?:[!-~]+(?: [!-~]+)*)?')
"""Printable ASCII without anything that HTTP or a signature changes on the way (edge spaces, runs of spaces)."""
_WORD = re.compile(r'=\?([^?\s]+)\?([bqBQ])\?([^?]*)\?=')
_WORDS = re.compile(r'=\?[^?\s]+\?[bqBQ]\?[^?]*\?=(?:[ \t\r\n]*=\?[^?\s]+\?[bqBQ]\?[^?]*\?=)*')
_Q_SAFE = '!*+/ '


def encode_text(value: str) -> str:
    """``value`` as a header value: itself when it travels unharmed, else one encoded word.

    What looks like an encoded word is encoded too, or reading would change it.
    """
    if _PLAIN.fullmatch(value) and '=?' not in value:
        return value
    data = value.encode('utf-8', 'surrogatepass')
    quoted = _quoted(data)
    packed = base64.b64encode(data).decode()
    return f'=?UTF-8?B?{packed}?=' if len(packed) < len(quoted) else f'=?UTF-8?Q?{quoted}?='


def decode_text(value: str) -> str:
    """The text behind encoded words; what cannot be decoded stays as it is."""
    if '=?' not in value:
        return value
    return _WORDS.sub(_decode_run, value)


def _quoted(data: bytes) -> str:
    out = quote_from_bytes(data, safe=_Q_SAFE)
    # quote() also leaves "_.~" alone, which the predecessor's encoder did not.
    out = out.replace('_', '%5F').replace('.', '%2E').replace('~', '%7E')
    return out.replace(' ', '_').replace('%', '=')


def _decode_run(match: re.Match[str]) -> str:
    """Adjacent words: white space between them is folding, characters may be split across them."""
    runs: list[tuple[str, bytes]] = []
    try:
        for charset, kind, payload in _WORD.findall(match.group()):
            charset = charset.split('*')[0].lower()
            data = _payload(kind, payload)
            if runs and runs[-1][0] == charset:
                runs[-1] = (charset, runs[-1][1] + data)
            else:
                runs.append((charset, data))
        return ''.join(data.decode(charset, 'surrogatepass' if charset == 'utf-8' else 'strict')
                       for charset, data in runs)
    except (ValueError, LookupError):  # binascii.Error and UnicodeDecodeError are ValueErrors
        return match.group()


def _payload(kind: str, payload: str) -> bytes:
    if kind in 'bB':
        return base64.b64decode(payload + '=' * (-len(payload) % 4), validate=True)
    return unquote_to_bytes(payload.replace('%', '%25').replace('_', ' ').replace('=', '%'))
