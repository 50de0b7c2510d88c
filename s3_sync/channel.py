"""Messages between the daemon's main process and its workers.

Pickled tuples over a private socketpair: both ends are the same code, started
by us, and nobody else can reach the socket.
"""
from __future__ import annotations

import contextlib
import math
import pickle
import socket
import struct
from typing import Any, Literal, NamedTuple

from container_crawler.rows import Row
from s3_sync.config import Settings
from s3_sync.engine.outcomes import Outcome
from s3_sync.engine.segments import Decided
from s3_sync.metrics import Sample
from s3_sync.types import Removal

_LENGTH = struct.Struct('!I')

Mode = Literal['own', 'look', 'remove', 'verify']
"""How rows are worked on: as engine.apply's modes, or by listings (see engine.verify)."""


class Configure(NamedTuple):
    """New settings; the worker drops what they no longer name. ``limiters``: remote label to file descriptor."""

    settings: Settings
    limiters: dict[str, int]
    conditional_put: dict[str, tuple[bool, bool]]
    """Endpoint label to (create-only, overwrite) as probed by the main process."""


class Learned(NamedTuple):
    """What endpoints honour on PUT, as in ``Configure``: one more was asked."""

    conditional_put: dict[str, tuple[bool, bool]]


class Rows(NamedTuple):
    """Work on rows of one container for one mapping. Tokens come back with the outcomes."""

    generation: str
    """Of the mapping as configured (``/*`` mappings have one for all their containers)."""
    account: str
    container: str
    object_count: int
    mode: Mode
    tasks: list[tuple[int, Row]]


class Outcomes(NamedTuple):
    results: list[tuple[int, Outcome]]


class Sweep(NamedTuple):
    """Find those of these local objects (containers and names) that nothing in the account refers to."""

    account: str
    candidates: list[tuple[str, str]]
    token: int = 0


class Swept(NamedTuple):
    token: int
    unreferenced: list[tuple[str, str]]
    problem: str = ''
    """Why the account could not be read; then nothing is unreferenced."""


class Segments(NamedTuple):
    """Let these segments go, all of one archived manifest, if the remote still has that."""

    generation: str
    account: str
    removals: list[Removal]
    token: int = 0
    written_before: float = math.inf
    """Unix seconds. What was written later may be meant for a manifest that the sweep has not seen."""


class SegmentsDecided(NamedTuple):
    token: int
    decisions: list[Decided]
    """In the order of the removals."""


Errand = Sweep | Segments
"""What a worker is asked once, beside rows."""
Answer = Swept | SegmentsDecided


class Counted(NamedTuple):
    samples: list[Sample]


class Logged(NamedTuple):
    level: int
    logger: str
    message: str


class Channel:
    """One end. Sending is serialised by the caller; ``receive`` raises EOFError when the peer is gone."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._reader = sock.makefile('rb', buffering=1024 * 1024)

    def send(self, message: object) -> None:
        data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        self._sock.sendall(_LENGTH.pack(len(data)) + data)

    def receive(self) -> Any:
        length = _LENGTH.unpack(self._exactly(_LENGTH.size))[0]
        return pickle.loads(self._exactly(length))  # noqa: S301 - our own child at the other end

    def _exactly(self, size: int) -> bytes:
        try:
            data: bytes = self._reader.read(size)
        except ConnectionError as error:
            raise EOFError('the other process is gone') from error
        if len(data) != size:
            raise EOFError('the other process is gone')
        return data

    def end(self) -> None:
        """Nothing more will be sent: the peer's ``receive`` raises EOFError, its last words can still be heard.

        Never blocks, not even behind a ``send`` that a peer who hangs does not take.
        """
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._reader.close()
        self._sock.close()
