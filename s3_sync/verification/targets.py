"""From the command line, or a configuration file, to what is verified. Whatever is wrong comes out together."""
from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping as Table
from pathlib import Path
from typing import Any

from s3_sync.config import Mapping, Migration, Remote, Secret, Settings, load
from s3_sync.config.checks import check_remote
from s3_sync.config.remote import ANY
from s3_sync.config.report import Report
from s3_sync.config.secrets import SecretProblem
from s3_sync.errors import ConfigError, Error
from s3_sync.verification.common import ACCOUNT, CONTAINER
from s3_sync.verification.outcomes import Mode, Target
from s3_sync.verification.password import read_password

FLAGS = {'aws_endpoint': '--endpoint', 'aws_identity': '--username', 'aws_secret': '--password',
         'application_credential_secret': '--password', 'verify_tls': '--insecure'}
OF_THE_REMOTE = ('protocol', 'endpoint', 'username', 'password', 'password_file', 'account', 'bucket', 'prefix',
                 'tenant_name', 'project_name', 'project_domain_name', 'user_domain_name', 'storage_policy', 'region',
                 'path_style', 'ca_file', 'application_credential_id', 'application_credential_name')


class UsageError(Error):
    """The arguments make no sense; one line for each problem."""

    def __init__(self, *problems: str) -> None:
        super().__init__('\n'.join(problems))


def targets(arguments: Namespace, environ: Table[str, str] = os.environ) -> list[Target]:
    """UsageError when there is none."""
    if arguments.config is not None:
        return _of_file(arguments)
    if arguments.mapping:
        raise UsageError('argument --mapping: needs --config')
    return [_of_flags(arguments, environ)]


# -- the flags --------------------------------------------------------------------------

def _of_flags(arguments: Namespace, environ: Table[str, str]) -> Target:
    problems = _problems(arguments)
    if problems:
        raise UsageError(*problems)
    try:
        secret = read_password(arguments, environ)
    except SecretProblem as error:
        raise UsageError(str(error)) from None
    report = Report(environ=environ, folder=Path())
    remote = _remote(arguments, secret)
    check_remote(remote, '', report)
    if report.problems:
        raise UsageError(*(f'argument {_flag(p.path)}: {p.message}' for p in report.problems))
    creates = arguments.bucket == ANY and not arguments.read_only
    prefix = arguments.prefix
    mode: Mode = 'list' if arguments.bucket is None else 'read' if arguments.read_only else 'write'
    mapping = Mapping(
        account=ACCOUNT, container=ANY if creates else CONTAINER, remote=remote,
        custom_prefix='' if mode == 'read' else prefix if arguments.protocol == 's3' else None,
        storage_policy=arguments.storage_policy)
    return Target(_label(remote, arguments.bucket), mapping, mode, prefix=(prefix or '') if mode == 'read' else '',
                  lifecycle=arguments.lifecycle, notes=tuple(f'{_flag(*w.split(": ", 1))}' for w in report.warnings),
                  container=ANY if creates else 'container')


def _problems(arguments: Namespace) -> list[str]:
    """What can be said before the password is asked for."""
    found = []
    if arguments.protocol is None:
        found.append('the following arguments are required: --protocol (or --config)')
    swift = arguments.protocol == 'swift'
    by_credential = arguments.application_credential_id or arguments.application_credential_name
    if arguments.username is None and not (swift and by_credential):
        found.append('the following arguments are required: --username')
    if swift and arguments.endpoint is None:
        found.append('the following arguments are required: --endpoint (the authentication URL)')
    found += _missing_names(arguments) if swift and not by_credential else []
    bucket = arguments.bucket
    if bucket == ANY and not swift and not arguments.read_only:
        found.append(f'argument --bucket: with S3 {ANY} is for --read-only; a mapping copies into one bucket')
    elif bucket is not None and bucket != ANY and (not bucket or '/' in bucket or not bucket.isprintable()):
        found.append('argument --bucket: is not the name of a bucket or container')
    if arguments.ca_file is not None and not os.access(arguments.ca_file, os.R_OK):
        found.append(f'argument --ca-file: {arguments.ca_file} cannot be read')
    if bucket is None and arguments.read_only:
        found.append('argument --read-only: needs --bucket')
    return found


def _missing_names(arguments: Namespace) -> list[str]:
    needed = {'keystone_v2': ('tenant_name',),
              'keystone_v3': ('project_name', 'project_domain_name', 'user_domain_name')}
    return [f'argument --{name.replace("_", "-")}: is required with --auth-type {arguments.auth_type}'
            for name in needed.get(arguments.auth_type, ()) if getattr(arguments, name) is None]


def _remote(arguments: Namespace, secret: Secret) -> Remote:
    by_credential = arguments.application_credential_id or arguments.application_credential_name
    values: dict[str, Any] = {
        'protocol': arguments.protocol, 'endpoint': arguments.endpoint, 'region': arguments.region,
        'path_style': None if arguments.path_style is None else arguments.path_style == 'yes',
        'signature': arguments.signature, 'ca_file': arguments.ca_file, 'verify_tls': not arguments.insecure,
        'identity': arguments.username, 'auth_type': arguments.auth_type, 'tenant_name': arguments.tenant_name,
        'project_name': arguments.project_name, 'project_domain_name': arguments.project_domain_name,
        'user_domain_name': arguments.user_domain_name, 'remote_account': arguments.account,
        'application_credential_id': arguments.application_credential_id,
        'application_credential_name': arguments.application_credential_name,
        'application_credential_secret' if by_credential else 'secret': secret,
        'bucket': _bucket(arguments)}
    try:
        return Remote(**{name: value for name, value in values.items() if value is not None})
    except ValueError:
        raise UsageError('arguments must not be empty') from None


def _bucket(arguments: Namespace) -> str:
    """``/*`` of a writing verification is an empty prefix of the containers that are created."""
    bucket: str = arguments.bucket or ''
    return '' if bucket == ANY and not arguments.read_only else bucket


def _flag(path: str, message: str | None = None) -> str:
    name = FLAGS.get(path, '--' + path.removeprefix('aws_').replace('_', '-'))
    return name if message is None else f'{name}: {message}'


def _label(remote: Remote, bucket: str | None) -> str:
    return ' '.join(filter(None, (remote.protocol, remote.label, bucket)))


# -- a configuration file ---------------------------------------------------------------

def _of_file(arguments: Namespace) -> list[Target]:
    beside = [name for name in OF_THE_REMOTE if getattr(arguments, name) is not None]
    if beside:
        raise UsageError(*(f'argument --{name.replace("_", "-")}: not allowed with --config' for name in beside))
    try:
        settings = load(arguments.config)
    except ConfigError as error:
        raise UsageError(*(f'{error.file}: {problem}' for problem in error.problems)) from None
    found: list[Mapping | Migration] = [*settings.containers, *settings.migrations]
    names = {item.name for item in found}
    unknown = [name for name in arguments.mapping or () if name not in names]
    if unknown:
        raise UsageError(*(f'argument --mapping: there is no mapping {name!r}; there are: {", ".join(sorted(names))}'
                           for name in unknown))
    chosen = [item for item in found if not arguments.mapping or item.name in arguments.mapping]
    if not chosen:
        raise UsageError(f'{settings.path}: there are no mappings')
    return [_of_entry(item, settings, arguments) for item in chosen]


def _of_entry(item: Mapping | Migration, settings: Settings, arguments: Namespace) -> Target:
    label = f'{item.name}: {_label(item.remote, item.remote.bucket or ANY)}'
    if isinstance(item, Migration):
        mapping = Mapping(account=ACCOUNT, container=CONTAINER, remote=item.remote, custom_prefix='')
        return Target(label, mapping, 'read', prefix=item.prefix, account=item.account, container=item.container)
    creates = item.all_containers and item.remote.protocol == 'swift'
    mapping = item.model_copy(update={'account': ACCOUNT, 'container': ANY if creates else CONTAINER})
    if not arguments.read_only:
        return Target(label, mapping, 'write', lifecycle=bool(arguments.lifecycle or item.remote_delete_after),
                      account=item.account, container=item.container)
    remote = item.remote.model_copy(update={'bucket': item.remote.bucket or ANY})
    return Target(label, mapping.model_copy(update={'container': CONTAINER, 'remote': remote}), 'read',
                  account=item.account, container=item.container)
