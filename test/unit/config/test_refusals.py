"""Every refusal, with its place and the reason that the operator reads."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Make = Callable[..., Any]


@pytest.mark.parametrize(('changes', 'place', 'reason'), [
    # unknown keys
    ({'copy_aftr': 1}, 'copy_aftr', 'is not a known key; did you mean copy_after?'),
    ({'zzz': 'hunter2'}, 'zzz', 'is not a known key'),
    ({'endpoint': 'x'}, 'endpoint', 'in the file it is called aws_endpoint'),
    ({'workers': 3}, 'workers', 'it belongs at the top level'),
    ({'of_all_containers': True}, 'of_all_containers', 'is not a known key'),
    # types and numbers
    ({'account': ''}, 'account', 'must not be empty'),
    ({'account': 5}, 'account', 'must be text (in quotes)'),
    ({'copy_after': '5'}, 'copy_after', 'must be a number'),
    ({'copy_after': True}, 'copy_after', 'must be a number'),
    ({'copy_after': -1}, 'copy_after', 'must be at least 0'),
    ({'copy_after': 1e300}, 'copy_after', 'must be less than'),
    ({'retain_local': 'no'}, 'retain_local', 'must be true or false'),
    ({'retain_local': 0}, 'retain_local', 'must be true or false'),
    ({'remote_delete_after': 86400.5}, 'remote_delete_after', 'must be a whole number'),
    ({'max_delete_fraction': 1.5}, 'max_delete_fraction', 'must be at most 1'),
    ({'max_delete_fraction': -0.1}, 'max_delete_fraction', 'must be at least 0'),
    ({'max_delete_count': -1}, 'max_delete_count', 'must be at least 0'),
    ({'max_delete_count': 1.5}, 'max_delete_count', 'must be a whole number'),
    ({'remote_timeout': 0}, 'remote_timeout', 'must be greater than 0'),
    ({'restore_days': -1}, 'restore_days', 'must be at least 0'),
    ({'segments_grace': -1}, 'segments_grace', 'must be at least 0'),
    ({'remote_concurrency': 0}, 'remote_concurrency', 'must be at least 1'),
    ({'coalesce_size': '16 parsecs'}, 'coalesce_size', 'unknown unit'),
    ({'coalesce_size': True}, 'coalesce_size', 'must be a size'),
    ({'max_bytes_per_second': 0}, 'max_bytes_per_second', 'must be at least 1'),
    ({'max_requests_per_second': 0.5}, 'max_requests_per_second', 'must be a whole number'),
    ({'max_connections': 0}, 'max_connections', 'must be at least 1'),
    ({'local_reads': 'on'}, 'local_reads', 'must be auto or off'),
    ({'protocol': 'ftp'}, 'protocol', 'must be s3 or swift'),
    ({'signature': 'v3'}, 'signature', 'must be v4 or v2'),
    ({'conditional_put': True}, 'conditional_put', 'must be auto, always or never'),
    ({'delete_policy': 'never'}, 'delete_policy', 'must be propagate, tombstone or local'),
    ({'on_remote_error': 'panic'}, 'on_remote_error', 'must be fail or partial'),
    ({'encryption': 'des'}, 'encryption', 'must be true, false, AES256 or aws:kms'),
    ({'encryption': 1}, 'encryption', 'must be true, false, AES256 or aws:kms'),
    ({'tags': {'a': 1}}, 'tags.a', 'must be text'),
    ({'tags': ['a']}, 'tags', 'must be an object'),
    ({'selection_criteria': []}, 'selection_criteria', 'must be an object'),
    # names
    ({'account': 'a/b'}, 'account', 'is not an account name'),
    ({'account': 'a\x00'}, 'account', 'is not an account name'),
    ({'container': 'a/b'}, 'container', 'is not a container name'),
    ({'container': 'x' * 257}, 'container', 'is not a container name'),
    ({'container': '\x00hidden'}, 'container', 'is not a container name'),
    ({'aws_bucket': ''}, 'aws_bucket', 'must not be empty'),
    ({'aws_bucket': '/*'}, 'aws_bucket', 'is for migrations only'),
    ({'aws_bucket': 'a/b'}, 'aws_bucket', 'is not a bucket name'),
    ({'name': 'a\nb'}, 'name', 'control characters'),
    # endpoint and login
    ({'aws_endpoint': 's3.example.com'}, 'aws_endpoint', 'must be a URL'),
    ({'aws_endpoint': 'ftp://h'}, 'aws_endpoint', 'must be a URL'),
    ({'aws_endpoint': 'http://'}, 'aws_endpoint', 'must be a URL'),
    ({'aws_endpoint': 'http://h:99999'}, 'aws_endpoint', 'is not a URL'),
    ({'aws_endpoint': 'http://h:0'}, 'aws_endpoint', 'is not a URL'),
    ({'aws_endpoint': 'http://[::1'}, 'aws_endpoint', 'is not a URL'),
    ({'aws_endpoint': 'http://u:hunter2@h'}, 'aws_endpoint', 'must not hold a user or password'),
    ({'aws_endpoint': 'http://h/?a=b'}, 'aws_endpoint', 'query or a fragment'),
    ({'aws_endpoint': 'http://h/a b'}, 'aws_endpoint', 'spaces'),
    ({'aws_identity': None}, 'aws_identity', 'is required beside aws_secret'),
    ({'aws_secret': None}, 'aws_secret', 'is required beside aws_identity'),
    ({'aws_identity': None, 'aws_secret': None, 'aws_session_token': 'hunter2'}, 'aws_session_token',
     'needs aws_identity'),
    ({'aws_secret': {'env': 'NOT_THERE'}}, 'aws_secret', 'environment variable NOT_THERE is not set'),
    ({'aws_secret': {'file': '/not/there'}}, 'aws_secret', 'cannot read the secret file /not/there'),
    ({'aws_secret': 12345}, 'aws_secret', 'must be text, {env: NAME} or {file: PATH}'),
    ({'aws_secret': ''}, 'aws_secret', 'must not be empty'),
    ({'verify_tls': False, 'ca_file': '/x'}, 'ca_file', 'has no meaning with verify_tls: false'),
    ({'remote': 'nope', 'aws_identity': None, 'aws_secret': None}, 'remote', 'there is no such entry under remotes'),
    ({'remote': 3, 'aws_identity': None, 'aws_secret': None}, 'remote', 'there is no such entry under remotes'),
    # combinations
    ({'delete_policy': 'tombstone', 'propagate_delete': True}, 'delete_policy', 'keeps the remote copy'),
    ({'delete_policy': 'local', 'propagate_delete': True}, 'delete_policy', 'keeps the remote copy'),
    ({'delete_policy': 'propagate', 'propagate_delete': False}, 'delete_policy', 'deletes the remote copy'),
    ({'retain_local_segments': True}, 'retain_local_segments', 'only with retain_local: false'),
    ({'kms_key_id': 'k'}, 'kms_key_id', 'needs encryption: "aws:kms"'),
    ({'tags': {str(n): '' for n in range(11)}}, 'tags', 'at most 10'),
    ({'tags': {'k' * 129: ''}}, 'tags', 'keys of 1 to 128'),
    ({'custom_prefix': 'x' * 901}, 'custom_prefix', 'no room for names'),
    ({'remote_delete_after': 43200}, 'remote_delete_after', 'rounds to none'),
    ({'remote_delete_after': 1}, 'remote_delete_after', 'rounds to none'),
    ({'remote_delete_after': 86400, 'custom_prefix': ''}, 'remote_delete_after', 'the whole bucket expire'),
    ({'remote_delete_after': 86400, 'custom_prefix': '//'}, 'remote_delete_after', 'the whole bucket expire'),
    ({'propagate_expiration_offset': 5}, 'propagate_expiration_offset', 'needs propagate_expiration: true'),
    # Swift's keys on S3
    ({'storage_policy': 'gold'}, 'storage_policy', 'Swift remotes only'),
    ({'sync_container_metadata': True}, 'sync_container_metadata', 'Swift remotes only'),
    ({'sync_container_acl': True}, 'sync_container_acl', 'Swift remotes only'),
    ({'convert_dlo': True}, 'convert_dlo', 'Swift remotes only'),
    ({'min_segment_size': 5}, 'min_segment_size', 'Swift remotes only'),
    ({'symlinks': 'link'}, 'symlinks', 'Swift remotes only'),
    ({'auth_type': 'keystone_v3'}, 'auth_type', 'Swift remotes only'),
    ({'tenant_name': 't'}, 'tenant_name', 'Swift remotes only'),
    ({'remote_account': 'a'}, 'remote_account', 'Swift remotes only'),
    ({'application_credential_secret': 'hunter2'}, 'application_credential_secret', 'Swift remotes only'),
    # regular expressions and criteria
    ({'exclude_pattern': '('}, 'exclude_pattern', 'is not a regular expression'),
    ({'exclude_pattern': '*'}, 'exclude_pattern', 'is not a regular expression'),
    ({'selection_criteria': {'AND': [{'A': 'b', 'C': 'd'}]}}, 'selection_criteria.AND[0]', 'exactly one key, not 2'),
    ({'selection_criteria': {'A': 'b', 'C': 'd'}}, 'selection_criteria', 'exactly one key, not 2'),
    ({'selection_criteria': {'SIZE': {'min': '1 furlong'}}}, 'selection_criteria.SIZE.min', 'unknown unit'),
])
def test_an_s3_mapping_is_refused(refused: Make, s3: Make, changes: dict[str, Any], place: str, reason: str) -> None:
    found = refused(s3(**changes))
    assert [p for p in found if p.startswith(f'containers[0].{place}: ') and reason in p], found
    assert len(found) == 1, found


@pytest.mark.parametrize(('changes', 'place', 'reason'), [
    ({'aws_endpoint': None}, 'aws_endpoint', 'is required for a Swift remote with auth_type: swift'),
    ({'aws_identity': None}, 'aws_identity', 'is required for a Swift remote'),
    ({'aws_secret': None}, 'aws_secret', 'is required for a Swift remote'),
    ({'auth_type': 'keystone_v2'}, 'tenant_name', 'is required for a Swift remote with auth_type: keystone_v2'),
    ({'tenant_name': 't'}, 'tenant_name', 'is for auth_type: keystone_v2 only'),
    ({'project_name': 't'}, 'project_name', 'is for auth_type: keystone_v3 only'),
    ({'application_credential_id': 't'}, 'application_credential_id', 'is for auth_type: keystone_v3 only'),
    ({'auth_type': 'kerberos'}, 'auth_type', 'must be swift, keystone_v2 or keystone_v3'),
    ({'region': 'r'}, 'region', 'S3 remotes only'),
    ({'path_style': True}, 'path_style', 'S3 remotes only'),
    ({'aws_session_token': 'hunter2'}, 'aws_session_token', 'S3 remotes only'),
    ({'signature': 'v2'}, 'signature', 'S3 remotes only'),
    ({'custom_prefix': ''}, 'custom_prefix', 'S3 remotes only'),
    ({'storage_class': 'X'}, 'storage_class', 'S3 remotes only'),
    ({'kms_key_id': 'X'}, 'kms_key_id', 'S3 remotes only'),
    ({'tags': {'a': 'b'}}, 'tags', 'S3 remotes only'),
    ({'encryption': 'AES256'}, 'encryption', 'S3 remotes only'),
    ({'sync_container_acl': True}, 'sync_container_acl', 'needs sync_container_metadata: true'),
    ({'min_segment_size': '5MiB'}, 'min_segment_size', 'needs convert_dlo: true'),
    ({'symlinks': 'copy'}, 'symlinks', 'must be follow, link or skip'),
    ({'container': '/*', 'aws_bucket': '/*'}, 'aws_bucket', 'leave it empty'),
    ({'aws_bucket': ''}, 'aws_bucket', 'must not be empty'),
])
def test_a_swift_mapping_is_refused(refused: Make, swift: Make, changes: dict[str, Any], place: str,
                                    reason: str) -> None:
    found = refused(swift(**changes))
    assert [p for p in found if p.startswith(f'containers[0].{place}: ') and reason in p], found
    assert len(found) == 1, found


def test_every_missing_key_of_a_login_is_named(refused: Make) -> None:
    entry = {'account': 'a', 'container': 'c', 'protocol': 'swift', 'aws_bucket': 'b'}
    assert [p.partition(':')[0] for p in refused({**entry, 'auth_type': 'keystone_v3'})] == [
        f'containers[0].{key}' for key in ('aws_endpoint', 'aws_identity', 'aws_secret', 'project_name',
                                           'project_domain_name', 'user_domain_name')]
    found = refused({**entry, 'auth_type': 'keystone_v3', 'aws_endpoint': 'https://h',
                     'application_credential_id': 'x'})
    assert [p.partition(':')[0] for p in found] == ['containers[0].application_credential_secret']
    found = refused({**entry, 'auth_type': 'keystone_v3', 'aws_endpoint': 'https://h',
                     'application_credential_name': 'x', 'application_credential_secret': 'y'})
    assert [p.partition(':')[0] for p in found] == ['containers[0].aws_identity', 'containers[0].user_domain_name']


@pytest.mark.parametrize(('extra', 'reason'), [
    ({'application_credential_name': 'n', 'aws_identity': 'u', 'user_domain_name': 'd'}, 'give one of them'),
    ({'project_name': 'p'}, 'which has its project'), ({'aws_secret': 'hunter2'}, 'give one of them'),
])
def test_an_application_credential_takes_the_place_of_the_rest(refused: Make, extra: dict[str, str],
                                                               reason: str) -> None:
    found = refused({'account': 'a', 'container': 'c', 'protocol': 'swift', 'aws_bucket': 'b',
                     'aws_endpoint': 'https://h', 'auth_type': 'keystone_v3', 'application_credential_id': 'i',
                     'application_credential_secret': 's', **extra})
    assert any(reason in p for p in found), found


@pytest.mark.parametrize('key', ['aws_identity', 'aws_secret', 'aws_endpoint', 'region', 'protocol', 'verify_tls'])
def test_a_key_of_the_remote_beside_its_name_is_refused(refused: Make, key: str) -> None:
    found = refused({'account': 'a', 'container': 'c', 'aws_bucket': 'b', 'remote': 'r', key: 'hunter2'},
                    remotes={'r': {}})
    assert found == [f'containers[0].{key}: stands beside remote; give it there or here, not in both places']


@pytest.mark.parametrize(('remotes', 'problem'), [
    ([], 'remotes: must be an object with one entry per remote'),
    ({'r': 3}, 'remotes.r: must be an object'),
    ({'r': {'aws_bucket': 'b'}}, 'remotes.r.aws_bucket: is not a known key; it belongs in the mapping'),
    ({'r': {'copy_after': 3}}, 'remotes.r.copy_after: is not a known key; it belongs in the mapping'),
    ({'r': {'aws_identity': 'k'}}, 'remotes.r.aws_secret: is required beside aws_identity'),
    ({'r': {'protocol': 'swift', 'aws_endpoint': 'https://h', 'aws_identity': 'k'}}, 'remotes.r.aws_secret: is req'),
    ({'r': {'regoin': 'x'}}, 'remotes.r.regoin: is not a known key; did you mean region?'),
])
def test_a_named_remote_is_checked_once_and_even_when_unused(refused: Make, remotes: Any, problem: str) -> None:
    found = refused(remotes=remotes)
    assert len(found) == 1
    assert found[0].startswith(problem)


def test_a_broken_remote_is_reported_once_not_for_each_user(refused: Make) -> None:
    users = [{'account': 'a', 'container': name, 'aws_bucket': 'b', 'remote': 'r'} for name in 'xyz']
    assert refused(*users, remotes={'r': {'path_style': 3}}) == ['remotes.r.path_style: must be true or false']


@pytest.mark.parametrize(('top', 'problem'), [
    ({'workers': 0}, 'workers: must be at least 1'), ({'workers': '10'}, 'workers: must be a whole number'),
    ({'processes': 0}, 'processes: must be at least 1'), ({'items_chunk': 0}, 'items_chunk: must be at least 1'),
    ({'enumerator_workers': -1}, 'enumerator_workers: must be at least 1'),
    ({'poll_interval': 0}, 'poll_interval: must be greater than 0'),
    ({'verification_slack': -1}, 'verification_slack: must be at least 0'),
    ({'statsd_host': 'h', 'statsd_port': 65536}, 'statsd_port: must be at most 65535'),
    ({'metrics_port': 0}, 'metrics_port: must be at least 1'),
    ({'log_level': 'loud'}, 'log_level: must be debug, info, warning or error'),
    ({'syslog': {'port': 0, 'prto': 'udp'}}, 'syslog.prto: is not a known key'),
    ({'syslog': True}, 'syslog: must be an object'),
    ({'status_dir': ''}, 'status_dir: is required with containers'),
    ({'containers': {}}, 'containers: must be a list'), ({'migrations': 'x'}, 'migrations: must be a list'),
    ({'migrator_settings': []}, 'migrator_settings: must be an object'),
    ({'migrator_settings': {}}, 'migrator_settings.status_file: is required'),
    ({'migrator_settings': {'status_file': 'x', 'segment_size': 0}}, 'migrator_settings.segment_size: must be at'),
    ({'account': 'a'}, 'account: is not a known key; it belongs in an entry'),
    ({'verification_slack_minutes': 3}, 'verification_slack_minutes: is not a known key; in the file it is called'),
    ({'path': '/x'}, 'path: is not a known key'), ({'warnings': []}, 'warnings: is not a known key'),
    ({'pol_interval': 3}, 'pol_interval: is not a known key; did you mean poll_interval?'),
    ({'bypass_key': {'env': 'NO'}}, 'bypass_key: environment variable NO is not set'),
])
def test_a_top_level_key_is_refused(refused: Make, s3: Make, top: dict[str, Any], problem: str) -> None:
    found = refused(s3(), **top)
    assert any(p.startswith(problem) for p in found), found


@pytest.mark.parametrize(('profile', 'problem'), [
    ({'aws_bucket': '/*', 'container': 'c'}, 'container: must be /* or left out'),
    ({'aws_bucket': 'b', 'container': '/*'}, 'container: /* needs aws_bucket'),
    ({'aws_bucket': ''}, 'aws_bucket: must be a bucket name'),
    ({'aws_bucket': 'b', 'custom_prefix': ''}, 'custom_prefix: is not a known key; migrations take names as they are'),
    ({'aws_bucket': 'b', 'older_than': -1}, 'older_than: must be at least 0'),
    ({'aws_bucket': 'b', 'propagate_account_metadata': True}, 'propagate_account_metadata: is for Swift remotes only'),
    ({'aws_bucket': 'b', 'name': 'x', 'copy_after': 3}, 'copy_after: is not a known key'),
])
def test_a_migration_is_refused(refused: Make, profile: dict[str, Any], problem: str) -> None:
    found = refused(migrations=[{'account': 'a', **profile}])
    assert any(p.startswith(f'migrations[0].{problem}') for p in found), found


@pytest.mark.parametrize(('profile', 'problem'), [
    ({'es_hosts': ['http://h']}, 'index_prefix: is required with es_hosts'),
    ({'es_hosts': ['http://u:hunter2@h'], 'index': 'i'}, 'es_hosts: must not hold a user or password'),
    ({'es_hosts': 'http://h', 'index': 'i', 'index_path': '/x'}, 'index_path: is for the SQLite index'),
    ({'es_username': 'u'}, 'es_username: and es_password belong together'),
    ({'es_hosts': 'http://h', 'index': 'i', 'es_username': 'u', 'es_password': 'hunter2', 'es_api_key': 'hunter2'},
     'es_api_key: stands beside es_password'),
    ({'es_hosts': 3}, 'es_hosts: must be a list'),
])
def test_a_metadata_migration_is_refused(refused: Make, profile: dict[str, Any], problem: str) -> None:
    found = refused(metadata_migrations=[{'account': 'a', 'aws_bucket': 'b', **profile}])
    assert any(p.startswith(f'metadata_migrations[0].{problem}') for p in found), found


def test_one_remote_has_one_limit(refused: Make, s3: Make) -> None:
    found = refused(s3(max_bytes_per_second=5), s3(container='d'))
    assert len(found) == 1
    assert found[0].startswith('containers[1].max_bytes_per_second: differs from containers[0]')


def test_equal_names_are_refused(refused: Make, s3: Make) -> None:
    found = refused(s3(name='x'), s3(container='d', name='x'))
    assert found == ['containers[0].name: another entry has the same name',
                     'containers[1].name: another entry has the same name']


def test_keys_for_the_other_protocol_may_stand_there_with_their_defaults(loaded: Make, s3: Make, swift: Make) -> None:
    loaded(s3(convert_dlo=False, min_segment_size=0, sync_container_metadata=False, auth_type='swift'),
           swift(container='d', encryption=True, signature='v4', tags={}))
