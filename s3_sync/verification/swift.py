"""The verification of a container of another Swift, or of an account in which containers are created."""
from __future__ import annotations

import hashlib
import json
from contextlib import AbstractContextManager
from secrets import token_hex

from s3_sync.base_sync import BaseSync
from s3_sync.config.remote import ANY
from s3_sync.errors import Forbidden, NotFound, PreconditionFailed, ProviderError, TemporaryError
from s3_sync.providers.retry import RetryPolicy, RetrySync
from s3_sync.providers.swift.client import Call, SwiftClient, new_client
from s3_sync.streams import BytesBody
from s3_sync.sync_swift import SyncSwift
from s3_sync.types import ABSENT, ObjectMeta
from s3_sync.verification import common, reading
from s3_sync.verification.leftovers import Leftover
from s3_sync.verification.outcomes import NotTried, Step, Target, Wrong, with_bucket
from s3_sync.verification.runner import Run

POLICY = RetryPolicy(attempts=2, base_seconds=1.0)
TEST_CONTAINER = '.cloudsync_test_container-\xef'
TEST_OBJECT = 'cloud_sync_test_object'
EMPTYING_SECONDS = 15.0
"""A container counts as full until its listing has caught up with the deletes."""
EXPIRES_SECONDS = 86400

CREATE = Step('create-container', 'create container', 'a role that may create containers in the account')
REMOVE = Step('delete-container', 'delete container', 'a role that may delete containers in the account')
CONDITIONAL_PUT = Step('conditional-put', 'find out about conditional PUT', 'write access to the container')
SEGMENTS = Step('large-object', 'write a static large object', 'the slo middleware; write access to the container of '
                'segments, or a role that may create it')
EXPIRY = Step('expiry', 'set X-Delete-At', 'write access to the container')


def verify(run: Run, target: Target) -> None:
    """All steps of the target's mode."""
    client = new_client(target.mapping, max_connections=2, clock=run.clock)

    def provider(bucket: str) -> BaseSync:
        return RetrySync(SyncSwift(with_bucket(target.mapping, bucket or 'none'), clock=run.clock, client=client),
                         policy=POLICY, clock=run.clock)
    try:
        if target.mode == 'list':
            reading.list_buckets(run, provider(''))
        elif target.mode == 'read':
            reading.ReadOnly(run, provider, '' if target.bucket == ANY else target.bucket, target.prefix).verify()
        else:
            _Writing(run, target, client).verify()
        run.step(common.CLOCK, lambda: _clock(run, target, client))
    finally:
        client.close()


class _Writing:
    def __init__(self, run: Run, target: Target, client: SwiftClient) -> None:
        self._run = run
        self._client = client
        token = token_hex(6)
        self._creates = target.mapping.all_containers
        mapping = target.mapping.for_container(f'{TEST_CONTAINER}-{token}')
        self._policy = mapping.storage_policy
        self._bare = SyncSwift(mapping, clock=run.clock, client=client)
        self._provider = RetrySync(self._bare, policy=POLICY, clock=run.clock)
        self._container = mapping.remote.bucket
        self._name = f'{TEST_OBJECT}-{token}'
        self._made: Leftover | None = None

    def verify(self) -> None:
        run = self._run
        if self._creates:
            run.step(CREATE, self._create)
        if self._creates and run.verdict.steps[-1].outcome == 'failed':
            return
        objects = common.ObjectSteps(run, self._provider, self._name, f'{self._container}/{self._name}')
        objects.write_and_read()
        run.step(CONDITIONAL_PUT, self._conditional_put, after=(common.PUT,), failure='warning')
        run.step(SEGMENTS, self._segments, after=(common.PUT,), patience=2.0)
        run.step(EXPIRY, self._expiry, after=(common.PUT,))
        objects.measure()
        objects.delete()
        if self._creates:
            run.step(REMOVE, self._remove, after=(CREATE, common.DELETE))

    # -- the container ------------------------------------------------------------------

    def _create(self) -> str:
        container = self._container
        what = f'container {container}'
        with self._run.leftovers.made(what, lambda: self._delete_container(container)) as self._made:
            self._bare.create_container()
        return self._policy_of(container)

    def _policy_of(self, container: str) -> str:
        found = self._client.do(Call('HEAD', container)).headers.get('x-storage-policy', '')
        if self._policy and found.lower() != self._policy.lower():
            raise Wrong(f'created with policy {found!r} instead of {self._policy!r}')
        if found:
            self._run.find('storage_policy', found)
        return f'policy {found}' if found else ''

    def _remove(self) -> str:
        self._delete_container(self._container)
        if self._made is not None:
            self._run.leftovers.gone(self._made)
        return ''

    def _delete_container(self, container: str) -> None:
        clock = self._run.clock
        end = clock.monotonic() + EMPTYING_SECONDS
        while True:
            try:
                self._client.do(Call('DELETE', container))
                return
            except NotFound:
                return
            except TemporaryError as error:
                if error.status != 409 or clock.monotonic() >= end:
                    raise
            clock.sleep(0.5)

    # -- objects ------------------------------------------------------------------------

    def _conditional_put(self) -> str:
        meta = ObjectMeta(self._name, len(common.DATA), content_type='text/plain')
        try:
            self._bare.put_object(self._name, BytesBody(common.DATA), meta, condition=ABSENT)
        except PreconditionFailed:
            self._run.find('conditional_create', True)
            return 'If-None-Match is honoured'
        raise Wrong('If-None-Match: * on PUT is ignored, so a newer object could be overwritten')

    def _expiry(self) -> str:
        name, at = f'{self._name}-expiry', int(self._run.clock.now()) + EXPIRES_SECONDS
        meta = ObjectMeta(name, len(common.DATA), content_type='text/plain', delete_at=at)
        with self._object(self._container, name) as item:
            self._bare.put_object(name, BytesBody(common.DATA), meta)
        found = self._bare.head_object(name).delete_at
        if found != at:
            raise Wrong(f'X-Delete-At {at} was set, {found} is stored')
        self._bare.delete_object(name)
        self._run.leftovers.gone(item)
        return ''

    def _object(self, container: str, name: str) -> AbstractContextManager[Leftover]:
        return self._run.leftovers.made(
            f'{container}/{name}', lambda: self._client.do(Call('DELETE', container, name)))

    # -- a large object -------------------------------------------------------------------

    def _segments(self) -> str:
        container = f'{self._container}_segments'
        created = self._segments_container(container)
        data, items, entries = (b'first segment, ', b'second segment'), [], []
        for number, segment in enumerate(data):
            name, digest = f'{self._name}/{number:06}', hashlib.md5(segment, usedforsecurity=False).hexdigest()
            with self._object(container, name) as item:
                self._client.do(Call('PUT', container, name, headers={'etag': digest}, body=BytesBody(segment)))
            items.append(item)
            entries.append({'path': f'/{container}/{name}', 'etag': digest, 'size_bytes': len(segment)})
        items.append(self._manifest(f'{self._name}-slo', entries, b''.join(data)))
        self._delete_whole(f'{self._name}-slo')
        self._run.leftovers.gone(*items)
        if created is not None:
            self._delete_container(container)
            self._run.leftovers.gone(created)
        return f'segments in {container}' + (', which is created' if created is not None else '')

    def _delete_whole(self, name: str) -> None:
        """The manifest and all that it names, in one request."""
        answer = self._client.read(Call('DELETE', self._container, name, query={'multipart-manifest': 'delete'},
                                        headers={'accept': 'application/json'}))[1]
        try:
            told = json.loads(answer)
            status, errors = str(told['Response Status']), told['Errors']
        except (ValueError, TypeError, KeyError):
            raise Wrong('deleting a large object with its segments is not answered as Swift does') from None
        if errors or not status.startswith('200'):
            raise Wrong(f'deleting a large object with its segments: {status} {errors}')

    def _segments_container(self, container: str) -> Leftover | None:
        """The container of segments, made when it is missing; None when it was there."""
        try:
            self._client.do(Call('HEAD', container))
            return None
        except Forbidden:
            return None  # who may not look at it may still be allowed to write there
        except NotFound:
            pass
        headers = {'x-storage-policy': self._policy} if self._policy else {}
        with self._run.leftovers.made(f'container {container}', lambda: self._delete_container(container)) as item:
            made = self._client.do(Call('PUT', container, headers=headers))
        if made.status == 202:  # somebody else has made it meanwhile
            self._run.leftovers.gone(item)
            return None
        return item

    def _manifest(self, name: str, entries: list[dict[str, object]], whole: bytes) -> Leftover:
        with self._object(self._container, name) as item:
            self._client.do(Call('PUT', self._container, name, query={'multipart-manifest': 'put'},
                                 headers={'content-type': 'text/plain'}, body=BytesBody(json.dumps(entries).encode())))
        found = self._bare.head_object(name)
        if found.large_object != 'slo' or found.size != len(whole):
            raise Wrong(f'a manifest was stored as an object of {found.size} bytes; is there no slo middleware?')
        read = self._bare.get_object(name, byte_range=(10, 19)).read()
        if read != whole[10:20]:
            raise Wrong(f'a range across segments gives {read!r}')
        return item


def _clock(run: Run, target: Target, client: SwiftClient) -> str:
    before = run.clock.now()
    try:
        call = Call('HEAD', '' if target.bucket == ANY else target.bucket)
        with client.open(call, accept=frozenset(range(300, 600))) as response:
            date = response.headers.get('date', '')
    except ProviderError as error:
        raise NotTried(str(error)) from error
    return common.compare_clocks(run, date, before, run.clock.now(), fatal=False)
