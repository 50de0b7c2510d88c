"""The verification of an S3 bucket."""
from __future__ import annotations

from secrets import token_hex

from s3_sync.base_sync import BaseSync
from s3_sync.config.remote import ANY
from s3_sync.errors import ProviderError
from s3_sync.providers.retry import RetryPolicy, RetrySync
from s3_sync.providers.s3.client import Call
from s3_sync.providers.s3.endpoint import DEFAULT_REGION
from s3_sync.sync_s3 import SyncS3
from s3_sync.verification import common, reading
from s3_sync.verification.outcomes import NotTried, Step, Target, with_bucket
from s3_sync.verification.runner import Run
from s3_sync.verification.s3_multipart import Multipart
from s3_sync.verification.s3_probes import Probes, answers, other_addressing
from s3_sync.verification.s3_store import Store

POLICY = RetryPolicy(attempts=2, base_seconds=1.0)
"""A second try, as for the daemon; what needs more than that is worth knowing."""
BUCKET = Step('bucket', 'HEAD bucket', 's3:ListBucket')


def verify(run: Run, target: Target) -> None:
    """All steps of the target's mode."""
    provider = SyncS3(target.mapping, max_connections=2, clock=run.clock)
    store = Store(target.mapping, run.clock)
    try:
        patient = RetrySync(provider, policy=POLICY, clock=run.clock)
        if target.mode == 'list':
            reading.list_buckets(run, patient)
        elif target.mode == 'read':
            def of_bucket(bucket: str) -> BaseSync:
                return RetrySync(SyncS3(with_bucket(target.mapping, bucket), clock=run.clock, client=store.client),
                                 policy=POLICY, clock=run.clock)
            reading.ReadOnly(run, of_bucket, '' if target.bucket == ANY else target.bucket, target.prefix).verify()
        else:
            _Writing(run, target, patient, store).verify()
        run.step(common.CLOCK, lambda: _clock(run, store))
    finally:
        provider.close()
        store.close()


class _Writing:
    def __init__(self, run: Run, target: Target, provider: BaseSync, store: Store) -> None:
        self._run = run
        self._target = target
        self._provider = provider
        self._store = store
        name = 'cloud_sync_test' if target.mapping.custom_prefix else 'fabcab/cloud_sync_test'
        self._name = f'{name}-{token_hex(6)}'

    def verify(self) -> None:
        run, store = self._run, self._store
        key = store.scheme.key(self._name)
        folders = [f'{key}-names/b/', f'{key}-order/a/', store.scheme.probe_key('')]
        below = self._above()
        # Noted first, so that it is done last.
        with run.leftovers.made('empty folders', lambda: store.remove_folders(folders, below)):
            pass
        # The PUT comes first: its refusal says why, a HEAD's has no body.
        objects = common.ObjectSteps(run, self._provider, self._name, store.place(key))
        objects.write_and_read()
        if run.verdict.steps[0].outcome == 'failed':
            self._diagnose()
        run.step(BUCKET, self._bucket, after=(common.PUT,))
        Multipart(run, store, f'{key}-multipart').verify(common.PUT)
        probes = Probes(run, store, key, thinks_ordered=self._provider.capabilities.ordered_listing)
        probes.verify(common.PUT)
        probes.lifecycle(common.PUT, asked_for=self._target.lifecycle)
        objects.measure()
        objects.delete()

    def _above(self) -> str:
        """The beginning of all keys whose folders are not ours to remove: a custom prefix that is in use."""
        prefix = self._store.scheme.prefix if self._target.mapping.custom_prefix is not None else ''
        try:
            if prefix and not self._run.within(10.0, lambda: self._store.list(prefix, v2=False) != []):
                return ''
        except ProviderError:
            pass  # the PUT will tell
        return prefix

    def _bucket(self) -> str:
        headers = self._provider.head_bucket()
        region = headers.get('x-amz-bucket-region', '')
        if not region:
            return ''
        self._run.find('region', region)
        if region != self._store.endpoint.region and self._target.mapping.remote.region != region:
            self._run.advise('the bucket lives there; without it the first request of each process is sent twice',
                             'region', region)
        elif region != DEFAULT_REGION and self._target.mapping.remote.region is None:
            self._run.advise('the bucket lives there', 'region', region)
        return f'in {region}'

    def _diagnose(self) -> None:
        """The PUT failed: would the other addressing have worked?"""
        try:
            other = other_addressing(self._store)
        except NotTried:
            return
        how = not self._store.endpoint.path_style
        if self._run.within(10.0, lambda: answers(other)):
            self._run.advise('the bucket answers this way only', 'path_style', how)


def _clock(run: Run, store: Store) -> str:
    bucket = run.verdict.target.bucket
    call = Call('GET') if bucket in ('', ANY) else Call('HEAD', bucket)
    before = run.clock.now()
    with store.client.open(call, accept=tuple(range(300, 600))) as response:
        date = response.headers.get('date', '')
    return common.compare_clocks(run, date, before, run.clock.now(), fatal=True)
