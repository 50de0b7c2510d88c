"""What a verification finds out: how each step ended, what the endpoint can do, what was left behind."""
from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Literal

from s3_sync.config import Mapping
from s3_sync.config.remote import ANY
from s3_sync.errors import ChecksumMismatch, Error, LimitExceeded, ProviderError, TemporaryError

Outcome = Literal['ok', 'warning', 'failed', 'skipped']
Mode = Literal['write', 'read', 'list']
Value = bool | int | float | str | None | list[str]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is tried."""

    name: str
    """For ``--skip`` and programs; never changes."""
    title: str
    """For people, as it stands in "... failed"."""
    needs: str = ''
    """The permission, in the words of the remote."""


@dataclass(frozen=True, slots=True)
class StepResult:
    step: Step
    outcome: Outcome
    detail: str = ''
    status: int | None = None
    """HTTP status of the answer that decided, when one did."""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Advice:
    """A setting of the mapping, or a thing to know, and why."""

    setting: str
    """Key in the configuration file; '' for a thing to know."""
    value: Value
    why: str


@dataclass(frozen=True)
class Target:
    """What is to be verified."""

    label: str
    mapping: Mapping
    """Of the test identity; its container is ``/*`` when the remote's containers have to be created."""
    mode: Mode
    prefix: str = ''
    """Reading: only names that begin with this."""
    lifecycle: bool = False
    """Whether a bucket whose lifecycle rules cannot be read is a failure."""
    notes: tuple[str, ...] = ()
    account: str = 'AUTH_account'
    container: str = 'container'
    """For the suggested settings."""

    @property
    def bucket(self) -> str:
        """As it was asked for; '' for none, ``/*`` for any, or for containers that are created."""
        if self.mode == 'list':
            return ''
        return ANY if self.mapping.all_containers else self.mapping.remote.bucket


@dataclass
class Verdict:
    """All that was found out about one target."""

    target: Target
    steps: list[StepResult] = field(default_factory=list)
    findings: dict[str, Value] = field(default_factory=dict)
    advice: list[Advice] = field(default_factory=list)
    left_behind: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    """Removed, and perhaps written after that: the write was never answered."""
    interrupted: str = ''
    """Name of the signal that ended it, '' when none did."""

    @property
    def ok(self) -> bool:
        failed = any(result.outcome == 'failed' for result in self.steps)
        return not (failed or self.left_behind or self.interrupted)


class Wrong(Error):
    """The remote answered, and not as it has to."""


class Doubtful(Error):
    """The step ended with something the operator should know, and is no failure."""


class NotTried(Error):
    """The step does not apply here; the message says why."""


def with_bucket(mapping: Mapping, bucket: str) -> Mapping:
    """The mapping for another bucket of its remote."""
    return mapping.model_copy(update={'remote': mapping.remote.model_copy(update={'bucket': bucket})})


def status_line(status: int | None) -> str:
    """``404 Not Found``; '' without an answer."""
    if status is None:
        return ''
    try:
        return f'{status} {HTTPStatus(status).phrase}'
    except ValueError:
        return str(status)


def not_done(error: BaseException) -> bool:
    """Whether the request that ended so has surely changed nothing at the remote."""
    if not isinstance(error, ProviderError):
        return False
    if not error.sent or error.reason == 'login' or isinstance(error, LimitExceeded):
        return True
    if isinstance(error, ChecksumMismatch):
        return error.status is not None
    return not isinstance(error, TemporaryError) and error.status is not None and 400 <= error.status < 500
