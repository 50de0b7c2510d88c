"""A provider that fails when told to, before or after the effect, for tests of what stands above it."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from s3_sync.base_sync import BaseSync
from s3_sync.errors import ConnectionFailed, ProviderError
from s3_sync.providers.wrapper import T, Wrapper
from s3_sync.streams import Body


@dataclass
class Fault:
    """One failure. ``after``: the remote has done its work and only the answer is lost."""

    error: ProviderError
    after: bool = False


LOST_ANSWER = Fault(ConnectionFailed('answer lost'), after=True)

Plan = Callable[[str, int], Fault | None]
"""Operation name and number of the call (from 0, over all operations) to the fault it meets, if any."""


def nth(number: int, fault: Fault) -> Plan:
    """A plan in which only the call with that number fails."""
    return lambda operation, call: fault if call == number else None


def on(operation: str, *faults: Fault | None) -> Plan:
    """A plan in which the calls of one operation meet these faults in turn, later ones none."""
    left = list(faults)
    return lambda called, number: left.pop(0) if called == operation and left else None


class FaultySync(Wrapper):
    """Fails as ``plan`` says; ``calls`` holds the name of every operation that was asked for.

    ``cut_reads_after`` breaks every remote body after that many bytes.
    """

    def __init__(self, inner: BaseSync, plan: Plan = lambda operation, number: None) -> None:
        super().__init__(inner)
        self.plan = plan
        self.calls: list[str] = []
        self.cut_reads_after: int | None = None

    def _around(self, operation: str, call: Callable[[], T], body: Body | None = None) -> T:
        fault = self.plan(operation, len(self.calls))
        self.calls.append(operation)
        if fault is not None and not fault.after:
            raise fault.error
        result = call()
        if fault is not None:
            raise fault.error
        return result

    def _receiving(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        if self.cut_reads_after is None:
            return chunks
        return self._cut(chunks, self.cut_reads_after)

    @staticmethod
    def _cut(chunks: Iterator[bytes], left: int) -> Iterator[bytes]:
        for chunk in chunks:
            if len(chunk) > left:
                yield chunk[:left]
                raise ConnectionFailed('cut')
            left -= len(chunk)
            yield chunk
