from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from s3_sync.config import Mapping, Migration, Remote, Secret, Settings, load
from s3_sync.config.describe import describe, lines
from s3_sync.errors import ConfigError

Make = Callable[..., Any]


def test_predecessor_keys_are_read_into_neutral_names(loaded: Make, s3: Make) -> None:
    settings: Settings = loaded(s3(
        aws_endpoint='https://s3.example.com', aws_session_token='t', copy_after=60, retain_local=False,
        retain_local_segments=True, propagate_delete=False, exclude_pattern='^x', custom_prefix='p/q',
        encryption=False, remote_delete_after=86400, merge_namespaces=True, restore_object=True),
        verification_slack=2, items_chunk=7, workers=3, poll_interval=0.5, statsd_host='h', log_level='debug',
        syslog={'proto': 'tcp'})
    mapping = settings.containers[0]
    assert mapping.remote == Remote(bucket='b', identity='key', secret=Secret('hunter2'), session_token=Secret('t'),
                                    endpoint='https://s3.example.com')
    assert (mapping.copy_after, mapping.retain_local, mapping.propagate_delete, mapping.custom_prefix) == (
        60, False, False, 'p/q')
    assert settings.verification_slack_seconds == 120
    assert (settings.items_chunk, settings.workers, settings.poll_interval) == (7, 3, 0.5)
    assert settings.syslog is not None
    assert (settings.syslog.host, settings.syslog.port, settings.syslog.proto) == ('localhost', 514, 'tcp')


def test_defaults_are_the_predecessors(loaded: Make, s3: Make) -> None:
    settings: Settings = loaded(s3())
    mapping = settings.containers[0]
    assert mapping.remote.protocol == 's3'
    assert (mapping.copy_after, mapping.retain_local, mapping.propagate_delete, mapping.encryption) == (
        0, True, True, True)
    assert (mapping.custom_prefix, mapping.exclude_regex, mapping.criteria.node) == (None, None, None)
    assert (mapping.remote_delete_after, mapping.remote_delete_after_addition) == (0, 86400)
    assert (settings.workers, settings.enumerator_workers, settings.poll_interval) == (10, 10, 5)
    assert settings.verification_slack_seconds == 3600
    assert settings.swift_dir == '/etc/swift'
    assert settings.processes == os.cpu_count()
    assert settings.log_file is None


def test_yaml_and_json_say_the_same(write: Make, s3: Make) -> None:
    yaml = write("""
status_dir: /var/lib/x
containers:
- {account: AUTH_a, container: c, aws_bucket: b, aws_identity: key, aws_secret: hunter2, local_reads: off}
""", 'sync.yaml')
    json = write({'status_dir': '/var/lib/x', 'containers': [s3(local_reads='off')]})
    assert load(yaml, environ={}).containers == load(json, environ={}).containers


def test_every_problem_is_reported_at_once_with_file_and_place(write: Make, s3: Make) -> None:
    path = write({'worker': 3, 'poll_interval': 0, 'containers': [
        s3(copy_after=-1), 'x', s3(container='d', exclude_pattern='(', unknown='hunter2'), s3(aws_secret={'env': 'NO'}),
    ], 'migrations': [{'account': 'a'}], 'remotes': {'r': {'protocol': 'ftp'}}})
    with pytest.raises(ConfigError) as caught:
        load(path, environ={})
    assert [str(p).partition(':')[0] for p in caught.value.problems] == [
        'worker', 'poll_interval', 'remotes.r.protocol', 'containers[0].copy_after', 'containers[1]',
        'containers[2].unknown', 'containers[2].exclude_pattern', 'containers[3].aws_secret',
        'migrations[0].aws_bucket']
    assert all(line.startswith(f'{path}: ') for line in str(caught.value).splitlines())
    assert 'hunter2' not in str(caught.value)


@pytest.mark.parametrize('name', ['missing.json', '.'])
def test_a_file_that_cannot_be_read_is_a_config_error(tmp_path: Any, name: str) -> None:
    with pytest.raises(ConfigError, match='cannot be read: (No such file|Is a directory)'):
        load(tmp_path / name)


def test_null_counts_as_not_given(loaded: Make, s3: Make) -> None:
    settings: Settings = loaded(s3(aws_endpoint=None, custom_prefix=None, name=None), migrations=None, workers=None)
    assert settings.containers[0].remote.endpoint is None
    assert settings.workers == 10


def test_a_criterion_with_null_is_refused_not_dropped(refused: Make, s3: Make) -> None:
    assert refused(s3(selection_criteria={'X-Object-Meta-A': None})) == [
        'containers[0].selection_criteria.X-Object-Meta-A: the value of a header must be text (in quotes)']


def test_named_remotes_are_put_in_place(loaded: Make) -> None:
    settings: Settings = loaded(
        {'account': 'a', 'container': 'c', 'remote': 'far', 'aws_bucket': 'b'},
        {'account': 'a', 'container': 'c', 'remote': 'far', 'aws_bucket': 'b2'},
        remotes={'far': {'aws_endpoint': 'https://s3.example.com', 'aws_identity': 'k', 'aws_secret': {'env': 'S'},
                         'max_bytes_per_second': '10MiB'}}, environ={'S': 'hunter2'})
    assert [m.remote for m in settings.containers] == [
        Remote(endpoint='https://s3.example.com', identity='k', secret=Secret('hunter2'), bucket=bucket,
               max_bytes_per_second=10 * 1024 ** 2) for bucket in ('b', 'b2')]


def test_top_level_values_are_the_defaults_of_entries(loaded: Make, s3: Make) -> None:
    settings: Settings = loaded(
        s3(restore_days=1), s3(container='d'), restore_days=3, max_delete_fraction=0.5, coalesce_size='1KiB',
        max_requests_per_second=5,
        migrations=[{'account': 'x', 'aws_bucket': 'm', 'max_delete_fraction': 0}])
    first, second = settings.containers
    assert (first.restore_days, second.restore_days) == (1, 3)
    assert (first.max_delete_fraction, settings.migrations[0].max_delete_fraction) == (0.5, 0)
    assert first.coalesce_size == 1024
    assert first.remote.max_requests_per_second == 5


def test_a_limit_of_a_remote_beats_the_top_level(loaded: Make) -> None:
    settings: Settings = loaded({'account': 'a', 'container': 'c', 'remote': 'far', 'aws_bucket': 'b'},
                                remotes={'far': {'max_requests_per_second': 9}}, max_requests_per_second=5)
    assert settings.containers[0].remote.max_requests_per_second == 9


def test_s3_without_identity_and_secret_uses_the_default_chain(loaded: Make) -> None:
    settings: Settings = loaded({'account': 'a', 'container': 'c', 'aws_bucket': 'b'})
    assert settings.containers[0].remote.identity is None
    assert settings.containers[0].remote.secret is None


@pytest.mark.parametrize(('login', 'kind'), [
    ({'auth_type': 'swift', 'aws_identity': 'a:u', 'aws_secret': 's'}, 'swift'),
    ({'auth_type': 'keystone_v2', 'aws_identity': 'u', 'aws_secret': 's', 'tenant_name': 't'}, 'keystone_v2'),
    ({'auth_type': 'keystone_v3', 'aws_identity': 'u', 'aws_secret': 's', 'project_name': 'p',
      'project_domain_name': 'd', 'user_domain_name': 'd'}, 'keystone_v3'),
    ({'auth_type': 'keystone_v3', 'application_credential_id': 'i', 'application_credential_secret': 's'},
     'keystone_v3'),
    ({'auth_type': 'keystone_v3', 'application_credential_name': 'n', 'application_credential_secret': 's',
      'aws_identity': 'u', 'user_domain_name': 'd'}, 'keystone_v3'),
])
def test_complete_swift_logins_are_accepted(loaded: Make, login: dict[str, str], kind: str) -> None:
    settings: Settings = loaded({'account': 'a', 'container': 'c', 'protocol': 'swift', 'aws_bucket': 'b',
                                 'aws_endpoint': 'https://h/auth', **login})
    assert settings.containers[0].remote.auth_type == kind


def test_names_are_unique_and_short_where_they_can_be(loaded: Make, s3: Make) -> None:
    settings: Settings = loaded(
        s3(), s3(aws_bucket='b2'), s3(aws_bucket='b2', aws_endpoint='https://h'), s3(container='d'),
        s3(container='/*', account='AUTH_b'), s3(container='e', name='mine'))
    assert [m.name for m in settings.containers] == [
        'AUTH_a/c -> b', 'AUTH_a/c -> b2 at S3', 'AUTH_a/c -> b2 at https://h', 'AUTH_a/d', 'AUTH_b/*', 'mine']
    assert settings.mapping('mine') is settings.containers[5]
    assert settings.mapping('AUTH_a/c') is None


def test_a_default_name_yields_to_a_given_one(loaded: Make, s3: Make) -> None:
    settings: Settings = loaded(s3(), s3(container='d', name='AUTH_a/c'))
    assert [m.name for m in settings.containers] == ['AUTH_a/c -> b', 'AUTH_a/c']


def test_delete_policy_and_propagate_delete_are_one_fact(loaded: Make, s3: Make) -> None:
    settings: Settings = loaded(
        s3(), s3(container='1', propagate_delete=False), s3(container='2', delete_policy='local'),
        s3(container='3', delete_policy='tombstone', propagate_delete=False),
        s3(container='4', delete_policy='propagate'))
    assert [(m.propagate_delete, m.delete_policy) for m in settings.containers] == [
        (True, 'propagate'), (False, 'tombstone'), (False, 'local'), (False, 'tombstone'), (True, 'propagate')]


def test_the_same_holds_for_models_made_in_code() -> None:
    made = Mapping(account='a', container='c', remote=Remote(bucket='b'), propagate_delete=False)
    assert (made.delete_policy, made.name) == ('tombstone', 'a/c')
    assert Migration(account='a', remote=Remote(bucket='b')).delete_policy == 'tombstone'


def test_encryption_is_asked_for_on_amazon_or_when_named(loaded: Make, s3: Make) -> None:
    far = {'aws_endpoint': 'https://s3.example.com'}
    settings: Settings = loaded(
        s3(), s3(container='1', aws_endpoint='https://s3.eu-west-1.amazonaws.com'), s3(container='2', **far),
        s3(container='3', encryption='AES256', **far), s3(container='4', encryption='aws:kms', kms_key_id='k'),
        s3(container='5', encryption=False))
    assert [m.server_side_encryption for m in settings.containers] == [
        'AES256', 'AES256', None, 'AES256', 'aws:kms', None]


@pytest.mark.parametrize(('endpoint', 'amazon'), [
    (None, True), ('https://s3.amazonaws.com', True), ('https://S3.eu-west-1.Amazonaws.com:443/', True),
    ('https://s3.cn-north-1.amazonaws.com.cn', True), ('https://amazonaws.com.example.com', False),
    ('https://evilamazonaws.com', False), ('https://storage.googleapis.com', False),
])
def test_amazon_is_known_by_its_host(endpoint: str | None, amazon: bool) -> None:
    assert Remote(bucket='b', endpoint=endpoint).is_amazon is amazon
    assert not Remote(bucket='b', endpoint=endpoint, protocol='swift').is_amazon


def test_migrations_are_read_with_their_defaults(loaded: Make) -> None:
    settings: Settings = loaded(
        migrations=[
            {'account': 'a', 'aws_bucket': '/*', 'aws_identity': 'k', 'aws_secret': 's'},
            {'account': 'a', 'aws_bucket': 'b', 'container': 'renamed', 'prefix': 'ä', 'older_than': 60,
             'protocol': 'swift', 'aws_endpoint': 'https://h', 'aws_identity': 'k', 'aws_secret': 's',
             'propagate_account_metadata': True, 'storage_policy': 'gold', 'on_remote_error': 'partial'}],
        migrator_settings={'status_file': '/s', 'items_chunk': 100, 'process': 0, 'processes': 3},
        metadata_migrations=[{'account': 'a', 'aws_bucket': 'b', 'es_hosts': 'http://h:9200', 'index_prefix': 'p_'},
                             {'account': 'a', 'aws_bucket': 'c'}],
        metadata_migrator_settings={'status_file': '/t'})
    everything, one = settings.migrations
    assert everything.all_containers
    assert everything.container == '/*'
    assert not one.all_containers
    assert (one.container, one.delete_policy, one.restore_object) == ('renamed', 'tombstone', True)
    assert settings.migrator_settings is not None
    assert settings.migrator_settings.segment_size == 100_000_000
    assert settings.metadata_migrations[0].es_hosts == ('http://h:9200',)
    assert any('migrator_settings.process' in w for w in settings.warnings)


def test_a_file_without_any_section_is_good(write: Make) -> None:
    settings = load(write({'swift_dir': '/etc/other'}))
    assert settings.containers == ()
    assert settings.swift_dir == '/etc/other'


@pytest.mark.parametrize(('changes', 'top', 'warning'), [
    ({'retain_local': False, 'remote_delete_after': 86400}, {}, 'archived objects have no other copy'),
    ({'remote_delete_after': 100_000}, {}, 'this becomes 1'),
    ({'verify_tls': False}, {}, 'certificates of this remote are not checked'),
    ({'restore_object': True}, {}, 'does nothing without merge_namespaces'),
    ({}, {'http_proxy': 'http://user:hunter2@proxy:3128'}, 'go through this proxy'),
    ({}, {'statsd_port': 99}, 'no statsd metrics'),
])
def test_what_works_but_deserves_a_look_is_a_warning(loaded: Make, s3: Make, changes: dict[str, Any],
                                                     top: dict[str, Any], warning: str) -> None:
    settings: Settings = loaded(s3(**changes), **top)
    assert [w for w in settings.warnings if warning in w]
    assert 'hunter2' not in repr(settings)


@pytest.mark.parametrize(('changes', 'warning'), [
    ({'aws_endpoint': 'http://far.example.com/auth'}, 'passwords travel unencrypted'),
    ({'aws_endpoint': 'http://127.0.0.1:8080/auth', 'account': 'AUTH_acc', 'aws_bucket': 'c'}, 'another cluster'),
])
def test_odd_swift_remotes_are_warnings(loaded: Make, swift: Make, changes: dict[str, Any], warning: str) -> None:
    assert [w for w in loaded(swift(**changes)).warnings if warning in w]


def test_settings_travel_to_worker_processes_with_their_secrets(loaded: Make, s3: Make) -> None:
    settings: Settings = loaded(s3(selection_criteria={'NAME': ['a*']}, exclude_pattern='^x'))
    assert settings.containers[0].criteria.node is not None
    copy: Settings = pickle.loads(pickle.dumps(settings))
    assert copy == settings
    assert copy.containers[0].remote.secret == Secret('hunter2')


def test_settings_cannot_be_changed(loaded: Make, s3: Make) -> None:
    settings: Settings = loaded(s3())
    with pytest.raises(ValueError, match='frozen'):
        settings.containers[0].copy_after = 3.0  # type: ignore[misc]


def test_a_summary_shows_origins_in_place_of_secrets(loaded: Make, s3: Make, swift: Make) -> None:
    settings: Settings = loaded(s3(aws_secret={'env': 'S'}), swift(container='d', retain_local=False),
                                environ={'S': 'hunter2'})
    assert describe(settings)['containers'][0]['remote']['secrets'] == {'secret': 'env S'}
    text = '\n'.join(lines(settings)) + repr(describe(settings))
    assert 'hunter2' not in text
    assert 'AUTH_a/c: copies to s3 S3 b' in text
    assert 'AUTH_a/d: archives to swift https://far.example.com/auth/v1.0 b' in text
