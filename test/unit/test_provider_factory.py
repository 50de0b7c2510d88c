"""From mapping to provider: which class, which policies, what is shared."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from s3_sync.clock import FakeClock
from s3_sync.config import Mapping, Remote
from s3_sync.config.secrets import Secret
from s3_sync.errors import Throttled
from s3_sync.metric_defs import REQUESTS
from s3_sync.metrics import Registry
from s3_sync.provider_factory import ProviderCache, create_provider, limit_key
from s3_sync.providers.limit import LimitSync, SharedLimiter
from s3_sync.providers.retry import RetryPolicy
from s3_sync.providers.wrapper import Wrapper
from s3_sync.sync_s3 import SyncS3
from s3_sync.sync_swift import SyncSwift
from test.fakes.scripted_swift import Reply, ScriptedSwift
from test.unit.contract.provider_contract import upload


def mapping(endpoint: str = 'http://127.0.0.1:1/auth/v1.0', protocol: str = 'swift', container: str = 'c',
            **remote: Any) -> Mapping:
    return Mapping.model_validate({'account': 'AUTH_a', 'container': container, 'remote': Remote.model_validate({
        'protocol': protocol, 'endpoint': endpoint, 'identity': 'u', 'secret': Secret('s'), 'bucket': 'b', **remote})})


def layers(provider: Any) -> list[type]:
    found = [type(provider)]
    while isinstance(provider, Wrapper):
        provider = provider.inner
        found.append(type(provider))
    return found


@pytest.fixture
def cache() -> Iterator[ProviderCache]:
    cache = ProviderCache(clock=FakeClock(), metrics=Registry())
    yield cache
    cache.close()


def test_the_protocol_chooses_the_class() -> None:
    assert layers(create_provider(mapping()))[-1] is SyncSwift
    assert layers(create_provider(mapping('http://127.0.0.1:1', 's3')))[-1] is SyncS3


def test_a_limiter_without_limits_costs_nothing() -> None:
    free, tight = SharedLimiter.create(), SharedLimiter.create(bytes_per_second=1)
    assert LimitSync not in layers(create_provider(mapping(), limiter=free))
    assert LimitSync in layers(create_provider(mapping(), limiter=tight))
    free.close()
    tight.close()


def test_each_try_is_counted_limited_and_retried() -> None:
    replies = [Reply(503), Reply(204)]
    clock, registry, limiter = FakeClock(), Registry(), SharedLimiter.create(requests_per_second=1)
    with ScriptedSwift(lambda seen: replies.pop(0)) as server:
        settings = mapping(server.url + '/auth/v1.0')
        provider = create_provider(settings, clock=clock, metrics=registry, limiter=limiter)
        provider.head_bucket()
        provider.close()
    label = settings.remote.label
    assert [registry.value(REQUESTS, label, 'head_bucket', code) for code in ('503', '2xx')] == [1, 1]
    # Both tries were paid for: one from the burst, the other by waiting.
    assert limiter.take_requests(1, clock.monotonic()) > 0
    limiter.close()


def test_the_containers_of_an_account_share_connections_and_login(cache: ProviderCache) -> None:
    with ScriptedSwift(lambda seen: Reply(204)) as server:
        whole = mapping(server.url + '/auth/v1.0', container='/*')
        for container in ('one', 'two', 'three'):
            cache.get(whole.for_container(container)).head_bucket()
        assert server.logins == 1
        assert {seen.path.rpartition('/')[2] for seen in server.seen} == {'bone', 'btwo', 'bthree'}
        cache.close()


def test_other_credentials_share_nothing(cache: ProviderCache) -> None:
    with ScriptedSwift(lambda seen: Reply(204)) as server:
        for user in ('u1', 'u2'):
            cache.get(mapping(server.url + '/auth/v1.0', identity=user, bucket=user)).head_bucket()
        assert server.logins == 2
        cache.close()


def test_a_provider_is_made_once(cache: ProviderCache) -> None:
    assert cache.get(mapping()) is cache.get(mapping())
    assert cache.get(mapping()) is not cache.get(mapping(bucket='other'))


def test_what_a_probe_found_is_known_to_providers_and_other_processes(cache: ProviderCache) -> None:
    settings = mapping('http://127.0.0.1:1', 's3')
    assert not cache.get(settings).capabilities.create_only
    cache.set_conditional_put(settings, True, False)
    other = ProviderCache(clock=FakeClock(), metrics=Registry(), conditional_put=cache.conditional_put)
    for found in (cache.get(settings), other.get(settings)):
        assert (found.capabilities.create_only, found.capabilities.conditional_overwrite) == (True, False)
    other.close()


def test_a_rate_limit_belongs_to_an_endpoint_under_one_identity() -> None:
    assert limit_key(mapping().remote) == limit_key(mapping(bucket='other').remote)
    assert limit_key(mapping().remote) != limit_key(mapping(identity='other').remote)
    assert 'QQQ' not in limit_key(mapping(secret=Secret('QQQ')).remote)


def test_a_remote_that_stays_overloaded_is_given_up_with_its_own_error() -> None:
    with ScriptedSwift(lambda seen: Reply(503, {'Retry-After': '3600'})) as server:
        provider = create_provider(mapping(server.url + '/auth/v1.0'), clock=FakeClock())
        with pytest.raises(Throttled) as caught:
            upload(provider, 'o')
        assert caught.value.retry_after == 3600
        assert len(server.seen) == 1
        provider.close()


def test_requests_of_a_cache_tell_the_cluster_they_come_from() -> None:
    with ScriptedSwift(lambda seen: Reply(204)) as server:
        cache = ProviderCache(clock=FakeClock(), metrics=Registry(), via='here')
        cache.get(mapping(server.url + '/auth/v1.0')).head_bucket()
        own = create_provider(mapping(server.url + '/auth/v1.0'), clock=FakeClock(), via='here')
        own.head_bucket()
        own.close()
        cache.close()
        assert [seen.headers['x-1space-via'] for seen in server.seen] == ['here', 'here']


def test_who_has_a_client_waiting_may_try_less_often() -> None:
    with ScriptedSwift(lambda seen: Reply(503)) as server:
        cache = ProviderCache(clock=FakeClock(), metrics=Registry(), retry=RetryPolicy(attempts=1))
        with pytest.raises(Throttled):
            cache.get(mapping(server.url + '/auth/v1.0')).head_bucket()
        assert len(server.seen) == 1
        own = create_provider(mapping(server.url + '/auth/v1.0'), clock=FakeClock(), retry=RetryPolicy(attempts=2))
        with pytest.raises(Throttled):
            own.head_bucket()
        assert len(server.seen) == 3
        own.close()
        cache.close()


@pytest.mark.parametrize('protocol', ['swift', 's3'])
def test_who_has_a_client_waiting_may_wait_shorter_for_a_connection(protocol: str) -> None:
    def answer(seen: Any) -> Reply:
        return Reply(200, {'ETag': 'e' * 32}, b'data')
    with ScriptedSwift(answer) as server:
        settings = mapping(server.url + ('/auth/v1.0' if protocol == 'swift' else ''), protocol)
        server.valid_token = None  # type: ignore[assignment]  # S3 sends none
        cache = ProviderCache(clock=FakeClock(), metrics=Registry(), max_connections=1, connection_wait=0.05,
                              retry=RetryPolicy(attempts=1))
        provider = cache.get(settings)
        held = provider.get_object('o')
        with pytest.raises(Throttled) as caught:
            provider.get_object('o')
        assert caught.value.reason == 'busy'
        held.close()
        provider.get_object('o').close()
        cache.close()
