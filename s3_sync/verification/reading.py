"""Verifying without writing: what a migration, or a mere look, needs."""
from __future__ import annotations

from collections.abc import Callable

from s3_sync.base_sync import BaseSync
from s3_sync.verification.common import GET, HEAD, LIST
from s3_sync.verification.outcomes import Step, Wrong
from s3_sync.verification.runner import Run

BUCKETS = Step('list-buckets', 'list buckets', 'permission to list buckets (S3: s3:ListAllMyBuckets; Swift: a role in '
               'the account)')
PAGES = 20
"""So many pages without a name of a user's are looked at."""


def list_buckets(run: Run, provider: BaseSync) -> None:
    """All that can be done without a bucket."""
    def action() -> str:
        page = provider.list_buckets(limit=1000)
        more = ' at least' if page.next_marker is not None else ''
        return f'there are{more} {len(page.entries)}' if len(page.entries) != 1 else 'there is one'
    run.step(BUCKETS, action)


class ReadOnly:
    """List one object, HEAD it, open it for reading."""

    def __init__(self, run: Run, make: Callable[[str], BaseSync], bucket: str, prefix: str) -> None:
        """``make`` gives the provider of a bucket; ``bucket`` '' takes the first that is listed."""
        self._run = run
        self._make = make
        self._bucket = bucket
        self._prefix = prefix
        self._name = ''

    def verify(self) -> None:
        if not self._bucket:
            self._run.step(BUCKETS, self._first_bucket)
        self._run.step(LIST, self._list, after=(BUCKETS,))
        self._run.step(HEAD, self._head, after=(BUCKETS, LIST))
        self._run.step(GET, self._get, after=(BUCKETS, LIST))

    @property
    def _provider(self) -> BaseSync:
        return self._make(self._bucket)

    def _first_bucket(self) -> str:
        page = self._make('').list_buckets(limit=1)
        if not page.entries:
            raise Wrong('there is no bucket to read from')
        self._bucket = page.entries[0].name
        return f'the first is {self._bucket}'

    def _list(self) -> str:
        marker = ''
        for _ in range(PAGES):
            page = self._provider.list_objects(marker=marker, limit=1, prefix=self._prefix)
            if page.entries:
                self._name = page.entries[0].name
                return f'the first is {self._name}'
            if page.next_marker is None:
                break
            marker = page.next_marker
        where = f'{self._bucket}, names that begin with {self._prefix!r}' if self._prefix else self._bucket
        raise Wrong(f'there is no object to read in {where}')

    def _head(self) -> str:
        return f'{self._provider.head_object(self._name).size} bytes'

    def _get(self) -> str:
        self._provider.get_object(self._name).close()
        return 'opened, not read'
