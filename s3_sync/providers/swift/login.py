"""Keeping one login at a Swift fresh for all green threads.

Who finds the token stale waits for whoever is already renewing it, and shares the outcome.
"""
from __future__ import annotations

import threading

from s3_sync.clock import Clock
from s3_sync.config.remote import Remote
from s3_sync.errors import ProviderError, TemporaryError
from s3_sync.providers.swift.access import Access

RENEW_EARLY_SECONDS = 60.0
"""A token is renewed that long before it expires, so that a request never starts with a dying one."""


class Login:
    """The current token and storage URL of one remote's credentials."""

    def __init__(self, remote: Remote, clock: Clock) -> None:
        # Loading its libraries is a fifth of a process' start, and most remotes are no Swifts.
        from s3_sync.providers.swift.login_protocols import log_in
        self._log_in = log_in
        self._remote = remote
        self._clock = clock
        self._lock = threading.Lock()
        self._access: Access | None = None
        self._failure: ProviderError | None = None
        self._failures = 0

    def access(self) -> Access:
        """A token that is not about to expire; logs in when there is none."""
        access = self._access
        if access is not None and not self._ends_soon(access):
            return access
        try:
            return self.renewed(access)
        except TemporaryError:
            if access is not None and (access.expires or 0) > self._clock.now():
                return access  # still good for a while, and the login service may come back in that time
            raise

    def renewed(self, stale: Access | None) -> Access:
        """A login newer than ``stale``: of another green thread when it was faster, else our own."""
        failures = self._failures
        with self._lock:
            if self._access is not None and self._access is not stale:
                return self._access
            if self._failure is not None and self._failures != failures:
                raise self._failure  # the login we waited for has just failed; ours would too
            try:
                self._access = self._log_in(self._remote)
            except ProviderError as error:
                self._failure = error
                self._failures += 1
                raise
            return self._access

    def _ends_soon(self, access: Access) -> bool:
        return access.expires is not None and access.expires - RENEW_EARLY_SECONDS <= self._clock.now()
