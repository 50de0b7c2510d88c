"""What the Swift provider does by a mapping's settings, on a real cluster."""
from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from swift.common.utils import Timestamp
from swiftclient import Connection
from swiftclient.exceptions import ClientException

from s3_sync.clock import SystemClock
from s3_sync.config import Mapping, Remote
from s3_sync.config.secrets import Secret
from s3_sync.errors import BucketNotFound, PermanentError
from s3_sync.sync_swift import SyncSwift
from s3_sync.trial.keystone import Keystone, ProjectUser
from s3_sync.trial.swift_cluster import SwiftCluster
from s3_sync.types import ShuntRequest
from test.unit.contract.provider_contract import described, names, upload

Make = Callable[..., SyncSwift]


@pytest.fixture
def make(swift: SwiftCluster) -> Iterator[Make]:
    """A provider of a mapping with these keys; ``container`` '/*' and a ``bucket`` make the remote container's name."""
    with ExitStack() as stack:
        def build(bucket: str, remote: dict[str, Any] | None = None, container: str = 'c', **keys: Any) -> SyncSwift:
            settings = Mapping.model_validate({
                'account': 'AUTH_local', 'container': container, **keys, 'remote': Remote.model_validate({
                    'protocol': 'swift', 'endpoint': swift.auth_url, 'identity': swift.user,
                    'secret': Secret(swift.key), 'bucket': bucket, **(remote or {})})})
            provider = SyncSwift(settings.for_container('c'))
            stack.callback(provider.close)
            return provider
        yield build


def test_containers_of_an_account_mapping_are_created_with_the_policy_asked_for(make: Make,
                                                                                swift_client: Connection) -> None:
    prefix = f'crazy-target:{uuid.uuid4().hex}:'
    provider = make(prefix, container='/*', storage_policy='silver')
    upload(provider, 'o', b'data')
    assert swift_client.head_container(prefix + 'c')['x-storage-policy'] == 'silver'
    assert swift_client.get_object(prefix + 'c', 'o')[1] == b'data'


def test_an_unknown_policy_is_told_and_nothing_is_created(make: Make, swift_client: Connection) -> None:
    prefix = uuid.uuid4().hex
    provider = make(prefix, container='/*', storage_policy='fake')
    with pytest.raises(PermanentError, match="no storage policy 'fake'") as caught:
        upload(provider, 'o')
    assert caught.value.reason == 'storage-policy'
    with pytest.raises(ClientException) as missing:
        swift_client.head_container(prefix + 'c')
    assert missing.value.http_status == 404


def test_the_container_of_a_single_mapping_must_exist(make: Make) -> None:
    with pytest.raises(BucketNotFound):
        upload(make(uuid.uuid4().hex), 'o')


def test_container_metadata_and_acls_come_and_go(make: Make, container: str, swift_client: Connection) -> None:
    provider = make(container, sync_container_metadata=True, sync_container_acl=True)
    provider.apply_container({'x-container-meta-color': 'Grün', 'x-container-read': '.r:*'})
    found = swift_client.head_container(container)
    assert (found['x-container-meta-color'], found['x-container-read']) == ('Grün', '.r:*')
    provider.apply_container({'x-container-meta-color': '', 'x-container-read': ''})
    found = swift_client.head_container(container)
    assert 'x-container-meta-color' not in found
    assert not found.get('x-container-read')


def test_container_metadata_makes_the_container_of_an_account_mapping(make: Make, swift_client: Connection) -> None:
    prefix = uuid.uuid4().hex
    make(prefix, container='/*', sync_container_metadata=True).apply_container({'x-container-meta-a': 'b'})
    assert swift_client.head_container(prefix + 'c')['x-container-meta-a'] == 'b'


def test_copies_expire_counted_from_the_object_s_own_date_and_come_to_rest(make: Make, container: str) -> None:
    provider = make(container, remote_delete_after=10 ** 6)
    born = int(SystemClock().now()) - 1000
    source = described('o', b'data', data_time=Timestamp(born), delete_at=born + 5000)
    upload(provider, 'o', b'data', data_time=Timestamp(born), delete_at=born + 5000)
    head = provider.head_object('o')
    assert head.delete_at == born + 10 ** 6
    assert provider.comparable(head) == provider.comparable(source)
    provider.update_metadata(source, head)
    assert provider.head_object('o').delete_at == born + 10 ** 6


def test_an_offset_is_added_once(make: Make, container: str) -> None:
    provider = make(container, propagate_expiration=True, propagate_expiration_offset=100)
    end = int(SystemClock().now()) + 10_000
    upload(provider, 'o', b'data', delete_at=end)
    head = provider.head_object('o')
    assert head.delete_at == end + 100
    assert provider.comparable(head) == provider.comparable(described('o', b'data', delete_at=end))


def test_a_copy_that_is_already_due_is_sent_and_comes_to_rest(make: Make, container: str) -> None:
    provider = make(container, remote_delete_after=60)
    source = described('o', b'data', data_time=Timestamp(1_500_000_000))
    upload(provider, 'o', b'data', data_time=Timestamp(1_500_000_000))
    assert provider.comparable(provider.head_object('o')) == provider.comparable(source)


def test_an_expiry_is_not_sent_unless_asked_for(make: Make, container: str) -> None:
    provider = make(container)
    upload(provider, 'o', b'data', delete_at=4_000_000_000)
    head = provider.head_object('o')
    assert head.delete_at is None
    assert provider.comparable(head) == provider.comparable(described('o', b'data', delete_at=4_000_000_000))


def test_a_remote_dlo_stays_one_when_its_metadata_changes(make: Make, container: str,
                                                          swift_client: Connection) -> None:
    swift_client.put_object(container, 'p/1', b'one')
    swift_client.put_object(container, 'p/2', b'two')
    swift_client.put_object(container, 'dlo', b'', headers={'X-Object-Manifest': f'{container}/p/'})
    provider = make(container)
    seen = provider.head_object('dlo')
    assert seen.large_object == 'dlo'
    assert not seen.content_md5
    provider.update_metadata(described('dlo', b'', user_metadata={'a': 'b'}), seen)
    assert swift_client.get_object(container, 'dlo')[1] == b'onetwo'
    provider.shunt_post(ShuntRequest('POST', 'dlo', {'X-Object-Meta-C': 'd'})).close()
    assert swift_client.get_object(container, 'dlo')[1] == b'onetwo'


def test_another_account_is_worked_in_when_told(swift_keystone: SwiftCluster, keystone: Keystone,
                                                keystone_user: ProjectUser, fresh_name: Callable[[str], str],
                                                make: Make) -> None:
    """The owner lets a user of another project in; the login answers with that user's own account."""
    guest = keystone.add_user(fresh_name('guest'), fresh_name('elsewhere'))
    login = {'endpoint': keystone.url, 'auth_type': 'keystone_v3', 'project_domain_name': keystone.domain,
             'user_domain_name': keystone.domain}
    owner = make('shared', {**login, 'identity': keystone_user.user, 'secret': Secret(keystone_user.password),
                            'project_name': keystone_user.project}, sync_container_metadata=True,
                 sync_container_acl=True)
    owner.create_container()
    allowed = f'{guest.project_id}:{guest.user_id}'
    owner.apply_container({'x-container-read': allowed, 'x-container-write': allowed})
    visitor = make('shared', {**login, 'identity': guest.user, 'secret': Secret(guest.password),
                              'project_name': guest.project, 'remote_account': keystone_user.account})
    upload(visitor, 'o', b'data')
    assert names(owner) == ['o']
