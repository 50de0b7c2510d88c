"""Who we are to the store: keys from the configuration, or the default chain of the AWS libraries."""
from __future__ import annotations

from typing import Any, Protocol

from s3_sync.clock import Clock
from s3_sync.errors import Forbidden
from s3_sync.providers.s3.signing import Credentials

KEPT_SECONDS = 30.0
"""How long an answer of the chain is used; botocore renews temporary keys minutes before they expire."""


class CredentialSource(Protocol):
    def get(self) -> Credentials:
        """Keys that are valid now. Forbidden when there are none."""

    def renew(self) -> bool:
        """Get new ones, the store says these have expired. False: there is no other."""


class FixedCredentials:
    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def get(self) -> Credentials:
        return self._credentials

    def renew(self) -> bool:
        return False


class ChainCredentials:
    """Environment, shared files, container and instance roles, in botocore's order."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._source: Any = None
        self._current: Credentials | None = None
        self._until = 0.0

    def get(self) -> Credentials:
        now = self._clock.monotonic()
        if self._current is None or now >= self._until:
            self._current = self._load()
            self._until = now + KEPT_SECONDS
        return self._current

    def renew(self) -> bool:
        old, self._source, self._current = self._current, None, None
        return self.get() != old

    def _load(self) -> Credentials:
        # Imported late: a configuration with keys never pays for it.
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session
        try:
            if self._source is None:
                self._source = Session().get_credentials()
            if self._source is None:
                raise Forbidden('no credentials configured, and the AWS default chain found none',
                                reason='no-credentials')
            frozen = self._source.get_frozen_credentials()
        except BotoCoreError as error:
            raise Forbidden(f'AWS default credentials: {error}', reason='no-credentials') from error
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token)
