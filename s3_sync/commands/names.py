"""Object names on a terminal: shown so that they can be pasted back, whatever is in them.

Percent-encoding, as in Swift's URLs and tools. Letters and digits of any
script and ``-._~/:@+,=`` stay as they are; everything else (blanks, quotes,
``%``, control characters, whatever a shell would take for its own) is encoded.
So a listed path is one word for a shell, and no name can smuggle in a command or
an escape sequence.
"""
from __future__ import annotations

from urllib.parse import unquote_to_bytes

_PLAIN = frozenset('abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/:@+,=')


def quote_path(path: str) -> str:
    """``account/container/object`` as it is listed."""
    shown = ''.join(c if c in _PLAIN or (c > '\x7f' and c.isprintable()) else percent(c) for c in path)
    return percent('-') + shown[1:] if shown.startswith('-') else shown


def unquote_path(text: str) -> str:
    """What ``quote_path`` was given. ValueError when it decodes to no UTF-8."""
    return unquote_to_bytes(text).decode()


def percent(text: str) -> str:
    """Every byte of ``text`` encoded."""
    return ''.join(f'%{byte:02X}' for byte in text.encode('utf-8', 'surrogatepass'))


def printable(text: str) -> str:
    """Text of others (errors, names in a configuration) without what a terminal would obey."""
    return ''.join(c if c.isprintable() else repr(c)[1:-1] for c in text)
