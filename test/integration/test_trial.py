"""The trial servers are what they claim to be; every other integration test stands on that."""
from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from swift.container.backend import ContainerBroker
from swiftclient import ClientException, Connection

from s3_sync.clock import SystemClock
from s3_sync.trial.keystone import Keystone, ProjectUser
from s3_sync.trial.s3_endpoint import MotoEndpoint, S3Endpoint
from s3_sync.trial.scratch import ScratchFolder
from s3_sync.trial.swift_cluster import SwiftCluster


def test_a_put_is_read_back_with_ninety_headers_of_unicode(swift_client: Connection, container: str) -> None:
    headers = {f'x-object-meta-key-{number}': 'żółw' for number in range(90)}
    swift_client.put_object(container, 'a/ü', b'hello', headers=headers)
    found, body = swift_client.get_object(container, 'a/ü')
    assert body == b'hello'
    assert headers.items() <= found.items()


@pytest.mark.parametrize('policy, folder', [('gold', 'objects'), ('silver', 'objects-1'), ('pieces', 'objects-2')])
def test_an_object_lies_in_the_folder_of_its_policy(swift: SwiftCluster, swift_client: Connection, container: str,
                                                    policy: str, folder: str) -> None:
    name = f'{container}-{policy}'
    swift_client.put_container(name, headers={'x-storage-policy': policy})
    before = _data_files(swift, folder)
    swift_client.put_object(name, 'object', b'x' * 5000)
    assert _data_files(swift, folder) - before
    assert swift_client.get_object(name, 'object')[1] == b'x' * 5000


def _data_files(swift: SwiftCluster, folder: str) -> set[str]:
    return {str(path) for path in swift.devices().glob(f'*/{folder}/**/*.data')}


def test_the_cluster_is_an_s3_endpoint_too(swift: SwiftCluster, swift_client: Connection, container: str) -> None:
    swift_client.put_object(container, 'object', b'through Swift')
    client = swift.s3_client()
    try:
        assert client.get_object(Bucket=container, Key='object')['Body'].read() == b'through Swift'
    finally:
        client.close()


def test_users_have_only_their_own_account(swift: SwiftCluster, container: str) -> None:
    stranger = swift.client(user='test2:tester2', key='testing2', os_options={'object_storage_url': swift.storage_url})
    try:
        with pytest.raises(ClientException) as refused:
            stranger.get_container(container)
    finally:
        stranger.close()
    assert refused.value.http_status == 403


def test_an_expired_object_is_removed_by_the_expirer(swift: SwiftCluster, swift_client: Connection,
                                                                container: str) -> None:
    swift_client.put_object(container, 'object', b'x', headers={'x-delete-after': '1'})
    swift_client.put_object(container, 'other', b'x')
    while _is_there(swift_client, container, 'object'):
        pass
    swift.expire_objects()
    assert [entry['name'] for entry in swift_client.get_container(container)[1]] == ['other']


def _is_there(client: Connection, container: str, name: str) -> bool:
    try:
        client.head_object(container, name)
    except ClientException as error:
        if error.http_status == 404:
            return False
        raise
    return True


def test_seaweedfs_keeps_its_data_over_stop_and_kill(s3_client: Any, s3: S3Endpoint, bucket: str) -> None:
    s3_client.put_object(Bucket=bucket, Key='first', Body=b'one')
    s3.stop()
    s3.start()
    s3_client.put_object(Bucket=bucket, Key='second', Body=b'two')
    s3.kill9()
    s3.start()
    assert [s3_client.get_object(Bucket=bucket, Key=key)['Body'].read() for key in ('first', 'second')] == [
        b'one', b'two']


def test_the_reader_of_seaweedfs_may_not_write(s3: S3Endpoint, s3_client: Any, bucket: str) -> None:
    s3_client.put_object(Bucket=bucket, Key='key', Body=b'x')
    reader = s3.client(s3.reader_access_key, s3.reader_secret_key)
    try:
        assert reader.get_object(Bucket=bucket, Key='key')['Body'].read() == b'x'
        with pytest.raises(ClientError, match='AccessDenied'):
            reader.put_object(Bucket=bucket, Key='key', Body=b'y')
    finally:
        reader.close()


def test_moto_serves(moto: MotoEndpoint, fresh_name: Callable[[str], str]) -> None:
    client = moto.client()
    try:
        name = moto.make_bucket(fresh_name('bucket'))
        client.put_object(Bucket=name, Key='key', Body=b'x')
        assert client.get_object(Bucket=name, Key='key')['Body'].read() == b'x'
    finally:
        client.close()


def test_three_nodes_lose_one_and_make_up_for_it(make_swift_cluster: Callable[..., SwiftCluster]) -> None:
    cluster = make_swift_cluster(nodes=3, replicas=3)
    client = cluster.client()
    try:
        client.put_container('old')
        cluster.stop_node(2)
        client.put_object('old', 'object', b'x')
        client.put_container('new')
        assert _files_per_node(cluster, '*.data') == [1, 1, 0]
        assert _files_per_node(cluster, 'containers/**/*.db') == [2, 2, 1]
        cluster.start_node(2)
        cluster.replicate()
        assert _files_per_node(cluster, '*.data') == [1, 1, 1]
        assert _files_per_node(cluster, 'containers/**/*.db') == [2, 2, 2]
        cluster.kill9_node(0)
        assert client.get_object('old', 'object')[1] == b'x'
    finally:
        client.close()


def _files_per_node(cluster: SwiftCluster, pattern: str) -> list[int]:
    return [len(list(cluster.devices(node.index).rglob(pattern))) for node in cluster.nodes]


def test_an_encrypted_cluster_keeps_no_plain_text(make_swift_cluster: Callable[..., SwiftCluster]) -> None:
    cluster = make_swift_cluster(encrypted=True)
    client = cluster.client()
    try:
        client.put_container('c')
        client.put_object('c', 'object', b'in the clear')
        assert client.get_object('c', 'object')[1] == b'in the clear'
    finally:
        client.close()
    [data] = cluster.devices().rglob('*.data')
    assert b'in the clear' not in data.read_bytes()


def test_a_sharded_container_lists_as_before(make_swift_cluster: Callable[..., SwiftCluster]) -> None:
    cluster = make_swift_cluster()
    names = [f'object-{number}' for number in range(9)]
    client = cluster.client()
    try:
        client.put_container('c')
        for name in names:
            client.put_object('c', name, b'x')
        cluster.shard_container('c', rows_per_shard=3)
        assert [entry['name'] for entry in client.get_container('c')[1]] == names
    finally:
        client.close()
    [database] = cluster.container_databases('c')
    assert len(ContainerBroker(str(database)).get_shard_ranges()) == 3


def test_two_proxies_serve_one_cluster(make_swift_cluster: Callable[..., SwiftCluster]) -> None:
    cluster = make_swift_cluster(proxies=2, memcached=False)
    first, second = cluster.client(), cluster.client(proxy=1)
    try:
        first.put_container('c')
        first.put_object('c', 'object', b'x')
        assert second.get_object('c', 'object')[1] == b'x'
    finally:
        first.close()
        second.close()


def test_keystone_users_reach_their_project_by_password_and_by_application_credential(
        keystone: Keystone, swift_keystone: SwiftCluster, keystone_user: ProjectUser) -> None:
    by_password = keystone.token(keystone_user.user, keystone_user.password, keystone_user.project)
    by_credential = keystone.token_of(keystone.add_application_credential(keystone_user, 'robot'))
    url = keystone.object_store_url(by_password)
    assert url == f'{swift_keystone.url}/v1/{keystone_user.account}'
    assert keystone.object_store_url(by_credential) == url
    writer = Connection(preauthurl=url, preauthtoken=by_password, retries=0)
    reader = Connection(preauthurl=url, preauthtoken=by_credential, retries=0)
    try:
        writer.put_container('c')
        writer.put_object('c', 'object', b'x')
        assert reader.get_object('c', 'object')[1] == b'x'
    finally:
        writer.close()
        reader.close()


def test_tempauth_accounts_live_beside_keystone(swift_keystone: SwiftCluster) -> None:
    client = swift_keystone.client()
    try:
        client.put_container('c')
        client.put_object('c', 'object', b'x')
        assert client.get_object('c', 'object')[1] == b'x'
    finally:
        client.close()


OWNER = """
import sys
from s3_sync.trial.s3_endpoint import S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster
with S3Endpoint() as s3, SwiftCluster() as swift:
    print(swift.swift_dir.parent, s3.pid, *swift.pids(), flush=True)
    sys.stdin.read()
"""


def test_nothing_survives_the_kill_of_its_owner() -> None:
    with subprocess.Popen([sys.executable, '-c', OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        folder, *pids = owner.stdout.readline().decode().split()
        assert len(pids) >= 6
        owner.kill()
    assert owner.returncode == -signal.SIGKILL
    clock = SystemClock()
    deadline = clock.monotonic() + 10
    while any(_alive(int(pid)) for pid in pids) and clock.monotonic() < deadline:
        clock.sleep(0.02)
    assert not [pid for pid in pids if _alive(int(pid))]
    with ScratchFolder():
        assert not Path(folder).exists()


def _alive(pid: int) -> bool:
    """Still running; a dead child that nobody has waited for yet does not count."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] not in ('Z', 'X')
    except FileNotFoundError:
        return False
