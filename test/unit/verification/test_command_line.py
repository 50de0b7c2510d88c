"""Flags, passwords, configuration files and exit codes of ``swift-s3-verify``."""
from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s3_sync.config.load import parse
from s3_sync.verification.arguments import PASSWORD_VARIABLE, make_parser
from s3_sync.verification.targets import UsageError, targets
from test.fakes.odd_store import OddStore
from test.unit.verification.conftest import SECRET, Ended

Run = Callable[..., Ended]
S3 = ('--protocol', 's3', '--username', 'access')
SWIFT = ('--protocol', 'swift', '--endpoint', 'http://127.0.0.1:1/auth', '--username', 'u', '--password', SECRET)


def usage(run: Run, *words: str) -> list[str]:
    """The lines that it says, with exit code 2."""
    ended = run(*words)
    assert (ended.code, ended.out) == (2, '')
    return ended.said


# -- usage --------------------------------------------------------------------------------

def test_what_is_missing_for_keystone_v3_is_named_line_by_line(run: Run) -> None:
    assert usage(run, *SWIFT, '--auth-type', 'keystone_v3', '--project-domain-name', 'd') == [
        'swift-s3-verify: error: argument --project-name: is required with --auth-type keystone_v3',
        'swift-s3-verify: error: argument --user-domain-name: is required with --auth-type keystone_v3']


def test_what_is_missing_for_keystone_v2(run: Run) -> None:
    assert usage(run, *SWIFT, '--auth-type', 'keystone_v2') == [
        'swift-s3-verify: error: argument --tenant-name: is required with --auth-type keystone_v2']


@pytest.mark.parametrize(('words', 'said'), [
    ((), '--protocol'),
    (('--protocol', 's3', '--password', SECRET), '--username'),
    (('--protocol', 'swift', '--username', 'u', '--password', SECRET), '--endpoint'),
    ((*S3, '--password', SECRET, '--bucket', 'a/b'), '--bucket'),
    ((*S3, '--password', SECRET, '--bucket', '/*'), '--read-only'),
    ((*S3, '--password', SECRET, '--read-only'), '--bucket'),
    ((*S3, '--password', SECRET, '--endpoint', 'store.example'), 'argument --endpoint: must be a URL'),
    ((*S3, '--password', SECRET, '--tenant-name', 't'), 'argument --tenant-name'),
    ((*S3, '--password', ''), 'argument --password'),
    ((*S3, '--password', SECRET, '--password-file', 'f'), 'argument --password-file: not allowed'),
    ((*S3, '--password-file', '/does/not/exist'), 'argument --password-file: cannot read'),
    ((*S3, '--bucket', 'b'), '--password-file'),
    ((*S3, '--password', SECRET, '--mapping', 'm'), 'needs --config'),
    (('--config', 'f', '--bucket', 'b'), 'argument --bucket: not allowed with --config'),
    (('--config', '/does/not/exist'), '/does/not/exist: cannot be read'),
    ((*S3, '--password', SECRET, '--ca-file', '/does/not/exist'), 'argument --ca-file: /does/not/exist'),
    (('--protocol', 'ftp'), 'invalid choice'),
    ((*S3, '--password', SECRET, '--timeout', '0'), '--timeout'),
    ((*S3, '--password', SECRET, '--skip', 'put,multpart'), 'no such step: multpart'),
])
def test_usage_errors_are_exit_2_and_say_what(run: Run, words: tuple[str, ...], said: str) -> None:
    assert said in '\n'.join(usage(run, *words))


def test_a_mistyped_flag_does_not_show_the_password(run: Run) -> None:
    said = '\n'.join(usage(run, *S3, f'--pasword={SECRET}', SECRET))
    assert '--pasword' in said


def test_all_flags_of_the_predecessor_are_there() -> None:
    known = make_parser().format_help()
    for flag in ('protocol', 'endpoint', 'username', 'password', 'account', 'bucket', 'prefix', 'auth-type',
                 'tenant-name', 'project-name', 'project-domain-name', 'user-domain-name', 'read-only',
                 'storage-policy'):
        assert f'--{flag} ' in known or f'--{flag}\n' in known


# -- passwords ----------------------------------------------------------------------------

def verify_with(run: Run, store: OddStore, *words: str) -> Ended:
    return run(*S3, '--endpoint', store.url, '--bucket', 'bucket', '--skip', 'multipart', '--json', *words)


def test_a_password_from_a_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / 'key'
    file.write_text(SECRET + '\n')
    with OddStore() as store:
        ended = verify_with(run, store, '--password-file', str(file))
    assert ended.code == 0
    assert ended.target['settings']['aws_secret'] == {'file': str(file)}


def test_a_password_from_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'stdin', io.StringIO(SECRET + '\n'))
    with OddStore() as store:
        assert verify_with(run, store, '--password-file', '-').code == 0


def test_a_password_from_the_environment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, SECRET)
    with OddStore() as store:
        ended = verify_with(run, store)
    assert ended.target['settings']['aws_secret'] == {'env': PASSWORD_VARIABLE}


def test_a_password_of_the_command_line_is_not_put_into_the_suggestion(run: Run) -> None:
    with OddStore() as store:
        ended = verify_with(run, store, '--password', SECRET)
    assert ended.target['settings']['aws_secret'] == {'file': '/etc/swift-s3-sync/remote.key'}


# -- suggestions and documents --------------------------------------------------------------

def accepted(section: str, settings: dict[str, Any]) -> None:
    """The configuration check has nothing against the entry."""
    parse(json.dumps({'status_dir': '/var/lib/x', section: [settings]}).encode(), 'sync.json',
          environ={PASSWORD_VARIABLE: 'x'})


@pytest.mark.parametrize(('words', 'entry'), [
    ((), {}), (('--prefix', 'p'), {'custom_prefix': 'p'}), (('--path-style', 'yes'), {'path_style': True}),
    (('--signature', 'v2'), {'signature': 'v2'}),
    (('--region', 'eu-west-1'), {'region': 'us-east-1'})])  # where the store says that the bucket is
def test_the_suggested_settings_are_a_good_configuration(run: Run, monkeypatch: pytest.MonkeyPatch,
                                                         words: tuple[str, ...], entry: dict[str, Any]) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, SECRET)
    with OddStore() as store:
        ended = verify_with(run, store, *words)
        assert ended.code == 0
        accepted(ended.target['section'], ended.target['settings'])
        assert not store.objects
    assert {name: ended.target['settings'][name] for name in entry} == entry


def test_reading_suggests_a_migration(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, SECRET)
    with OddStore() as store:
        store.take('PUT', '/bucket/p/o', {}, b'data')
        before = len(store.seen)
        ended = verify_with(run, store, '--read-only', '--prefix', 'p/')
        assert {method for method, _, _ in store.seen[before:]} <= {'GET', 'HEAD'}
    assert ended.code == 0
    assert (ended.target['section'], ended.target['settings']['prefix']) == ('migrations', 'p/')
    accepted('migrations', ended.target['settings'])


def test_the_document_has_the_form_that_is_promised(run: Run) -> None:
    with OddStore('no-copy') as store:
        ended = verify_with(run, store, '--password', SECRET)
    whole = json.loads(ended.out)
    assert whole.keys() == {'ok', 'targets'} and whole['ok'] is False
    target = ended.target
    assert target.keys() == {'name', 'protocol', 'endpoint', 'bucket', 'mode', 'ok', 'steps', 'findings', 'advice',
                             'section', 'settings', 'notes', 'left_behind', 'late', 'interrupted'}
    assert all(step.keys() == {'name', 'title', 'needs', 'outcome', 'detail', 'status', 'milliseconds'}
               for step in target['steps'])
    failed = ended.step('update-metadata')
    assert (failed['outcome'], failed['status']) == ('failed', 403)
    assert ended.out.isascii()


def test_people_see_steps_and_settings_and_quiet_shows_nothing(run: Run) -> None:
    with OddStore() as store:
        words = (*S3, '--endpoint', store.url, '--bucket', 'bucket', '--password', SECRET, '--skip', 'multipart')
        shown, quiet = run(*words), run(*words, '--quiet')
    assert shown.code == quiet.code == 0
    assert 'ok       PUT object' in shown.out and '"conditional_put": "always"' in shown.out
    assert (quiet.out, quiet.err, shown.err) == ('', '', '')


# -- configuration files --------------------------------------------------------------------

@pytest.fixture
def config(tmp_path: Path) -> Callable[..., str]:
    def write(url: str, *containers: dict[str, Any], migrations: list[dict[str, Any]] | None = None) -> str:
        remote = {'aws_endpoint': url, 'aws_identity': 'access', 'aws_secret': SECRET}
        file = tmp_path / 'sync.json'
        file.touch(mode=0o600)
        file.write_text(json.dumps({
            'status_dir': str(tmp_path), 'remotes': {'far': remote},
            'containers': [{'account': 'AUTH_a', 'remote': 'far', 'aws_bucket': 'bucket', **c} for c in containers],
            'migrations': [{'account': 'AUTH_a', 'remote': 'far', 'aws_bucket': 'bucket', **m}
                           for m in migrations or ()]}))
        return str(file)
    return write


def test_all_mappings_of_a_file_are_verified_under_names_of_nobody(run: Run, config: Callable[..., str]) -> None:
    with OddStore() as store:
        file = config(store.url, {'container': 'one'}, {'container': 'two', 'custom_prefix': 'pre'})
        ended = run('--config', file, '--json', '--skip', 'multipart')
        fronts = {target.split('cloud_sync_test')[0] for method, target, _ in store.seen
                  if method == 'PUT' and '.1space' not in target}
    assert ended.code == 0
    assert [target['ok'] for target in json.loads(ended.out)['targets']] == [True, True]
    assert fronts == {'/bucket/4dbbd/verify-auth/testing-%C3%AF/fabcab/', '/bucket/pre/'}
    assert not store.objects


def test_one_mapping_and_what_it_asks_for(run: Run, config: Callable[..., str]) -> None:
    with OddStore('no-lifecycle') as store:
        file = config(store.url, {'container': 'one', 'name': 'expiring', 'remote_delete_after': 864000},
                      {'container': 'two', 'name': 'other'})
        words = ('--config', file, '--json', '--skip', 'multipart', '--mapping')
        assert run(*words, 'expiring').code == 1
        other = run(*words, 'other')
        unknown = run(*words, 'third')
    assert other.code == 0 and other.target['settings']['container'] == 'two'
    assert unknown.code == 2 and "no mapping 'third'" in unknown.err


def test_a_migration_is_only_read_from(run: Run, config: Callable[..., str]) -> None:
    with OddStore() as store:
        store.take('PUT', '/bucket/o', {}, b'data')
        before = len(store.seen)
        ended = run('--config', config(store.url, migrations=[{'container': 'm'}]), '--json')
        assert {method for method, _, _ in store.seen[before:]} <= {'GET', 'HEAD'}
    assert ended.code == 0 and ended.target['mode'] == 'read'


def test_a_bad_file_is_exit_2_with_all_that_is_wrong(run: Run, tmp_path: Path) -> None:
    file = tmp_path / 'bad.json'
    file.write_text('{"containers": [{"account": "a"}], "nonsense": 1}')
    said = usage(run, '--config', str(file))
    assert len(said) > 2 and any('nonsense' in line for line in said)


def test_application_credentials_take_the_place_of_user_and_project() -> None:
    arguments = make_parser().parse_args([
        '--protocol', 'swift', '--endpoint', 'http://127.0.0.1:1', '--auth-type', 'keystone_v3', '--password', SECRET,
        '--application-credential-id', 'id', '--bucket', 'b'])
    target, = targets(arguments, {})
    remote = target.mapping.remote
    assert remote.application_credential_secret is not None and remote.secret is None


def test_the_flags_of_keystone_v2_and_of_another_account_reach_the_provider() -> None:
    target, = targets(make_parser().parse_args([
        *SWIFT, '--auth-type', 'keystone_v2', '--tenant-name', 'tenant', '--account', 'AUTH_other',
        '--bucket', 'b']), {})
    remote = target.mapping.remote
    assert (remote.auth_type, remote.tenant_name, remote.remote_account) == ('keystone_v2', 'tenant', 'AUTH_other')


def test_amazon_needs_no_endpoint() -> None:
    target, = targets(make_parser().parse_args([*S3, '--password', SECRET, '--bucket', 'b']), {})
    assert target.mapping.remote.is_amazon


def test_a_swift_with_all_containers_is_a_mapping_of_the_whole_account() -> None:
    target, = targets(make_parser().parse_args([*SWIFT, '--bucket', '/*', '--storage-policy', 'p']), {})
    assert target.mapping.all_containers and target.mapping.remote.bucket == '' and target.bucket == '/*'


def test_no_password_and_no_terminal_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match='--password-file'):
        targets(make_parser().parse_args([*S3, '--bucket', 'b']), {})
