"""Rules between the keys of one entry: what must stand together, what must not, and what is only odd.

Rules between entries are in ``overlap``. Every refusal says why.
"""
from __future__ import annotations

from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from s3_sync.config import identity
from s3_sync.config.fields import DAY, Model, file_name, file_names
from s3_sync.config.mapping import Mapping
from s3_sync.config.migration import MetadataMigration, Migration, Profile
from s3_sync.config.model import Settings
from s3_sync.config.parse import join
from s3_sync.config.remote import ANY, NamedRemote, RateLimits, Remote
from s3_sync.config.report import Report
from s3_sync.wire.selection import CriteriaError, parse_criteria

S3_ONLY = ('region', 'path_style', 'session_token', 'signature', 'custom_prefix', 'kms_key_id', 'storage_class', 'tags')
SWIFT_ONLY = ('auth_type', 'tenant_name', 'project_name', 'project_domain_name', 'user_domain_name',
              'application_credential_id', 'application_credential_name', 'application_credential_secret',
              'remote_account', 'convert_dlo', 'min_segment_size', 'sync_container_metadata', 'sync_container_acl',
              'propagate_account_metadata')
MAX_TAGS = 10


def hint_for(key: str, model: type[Model]) -> str:
    """Where an unknown key belongs or how it is spelt, when it is a key of ours elsewhere."""
    if key in model.model_fields:
        return f'; in the file it is called {file_name(key, model.model_fields[key])}'
    if issubclass(model, (Mapping, Profile)) and key in Remote.model_fields:
        return f'; in the file it is called {file_name(key, Remote.model_fields[key])}'
    if issubclass(model, Profile) and key == 'custom_prefix':
        return '; migrations take names as they are, prefix selects among them'
    if model is Settings and (key in file_names(Mapping) or key in file_names(Remote)):
        return '; it belongs in an entry of containers, migrations or remotes'
    if model is NamedRemote and (key in file_names(Mapping) or key == 'aws_bucket'):
        return '; it belongs in the mapping that names this remote'
    if model is not Settings and key in file_names(Settings):
        return '; it belongs at the top level'
    return ''


# -- one remote -------------------------------------------------------------------------

def check_remote(remote: NamedRemote, path: str, report: Report) -> None:
    """Endpoint and credentials complete and of one kind."""
    if remote.endpoint is not None:
        check_url(remote.endpoint, join(path, 'aws_endpoint'), report)
    _wrong_protocol(remote, remote.protocol, path, report)
    if remote.protocol == 's3':
        _check_s3_login(remote, path, report)
    else:
        _check_swift_login(remote, path, report)
    if not remote.verify_tls:
        report.warn(join(path, 'verify_tls'), 'certificates of this remote are not checked')
        if remote.ca_file is not None:
            report.problem(join(path, 'ca_file'), 'has no meaning with verify_tls: false')


def check_url(url: str, path: str, report: Report) -> None:
    """An http or https URL with a host and without a password, a query or a fragment."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        report.problem(path, 'is not a URL (port or address malformed)')
        return
    if parts.scheme not in ('http', 'https') or not parts.hostname:
        report.problem(path, 'must be a URL that begins with http:// or https://')
    elif '@' in parts.netloc:
        report.problem(path, 'must not hold a user or password; they have keys of their own')
    elif parts.query or parts.fragment:
        report.problem(path, 'must not have a query or a fragment')
    elif port == 0 or any(c.isspace() or ord(c) < 32 for c in url):
        report.problem(path, 'is not a URL (port 0, spaces or control characters)')


def _check_s3_login(remote: NamedRemote, path: str, report: Report) -> None:
    if remote.identity is None and remote.secret is not None:
        report.problem(join(path, 'aws_identity'), 'is required beside aws_secret; leave out both for the default '
                                                   'credential chain')
    if remote.secret is None and remote.identity is not None:
        report.problem(join(path, 'aws_secret'), 'is required beside aws_identity; leave out both for the default '
                                                 'credential chain')
    if remote.session_token is not None and remote.identity is None:
        report.problem(join(path, 'aws_session_token'), 'needs aws_identity and aws_secret')


def _check_swift_login(remote: NamedRemote, path: str, report: Report) -> None:
    for name in _missing_swift(remote):
        report.problem(join(path, name), f'is required for a Swift remote with auth_type: {remote.auth_type}')
    if remote.auth_type != 'keystone_v3':
        for name in ('application_credential_id', 'application_credential_name', 'application_credential_secret',
                     'project_name', 'project_domain_name', 'user_domain_name'):
            if getattr(remote, name) is not None:
                report.problem(join(path, name), 'is for auth_type: keystone_v3 only')
    elif remote.application_credential_secret is not None:
        if remote.application_credential_id and remote.application_credential_name:
            report.problem(join(path, 'application_credential_name'), 'stands beside application_credential_id; '
                                                                      'give one of them')
        for name in ('project_name', 'project_domain_name'):
            if getattr(remote, name) is not None:
                report.problem(join(path, name), 'has no meaning with an application credential, which has its project')
        if remote.secret is not None:
            report.problem(join(path, 'aws_secret'), 'stands beside application_credential_secret; give one of them')
    if remote.auth_type != 'keystone_v2' and remote.tenant_name is not None:
        report.problem(join(path, 'tenant_name'), 'is for auth_type: keystone_v2 only')
    if remote.endpoint and remote.endpoint.startswith('http:') and not is_loopback(remote.endpoint):
        report.warn(join(path, 'aws_endpoint'), 'passwords travel unencrypted to an http: authentication URL')


def _missing_swift(remote: NamedRemote) -> list[str]:
    """File names of every key that this kind of login lacks."""
    needed = ['endpoint']
    if remote.auth_type == 'keystone_v3' and (remote.application_credential_id or remote.application_credential_name
                                              or remote.application_credential_secret):
        needed.append('application_credential_secret')
        if remote.application_credential_name:
            needed += ['identity', 'user_domain_name']
        else:
            needed.append('application_credential_id')
    else:
        needed += ['identity', 'secret']
        needed += {'keystone_v2': ['tenant_name'],
                   'keystone_v3': ['project_name', 'project_domain_name', 'user_domain_name']}.get(remote.auth_type, [])
    return [file_name(name, NamedRemote.model_fields[name]) for name in needed if getattr(remote, name) is None]


def is_loopback(endpoint: str) -> bool:
    host = identity.endpoint_host(endpoint)
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == 'localhost'


def _wrong_protocol(item: Model, protocol: str, path: str, report: Report) -> None:
    """Keys that would do nothing with this protocol. One that holds its default says nothing wrong."""
    names, other = (SWIFT_ONLY, 'Swift') if protocol == 's3' else (S3_ONLY, 'S3')
    fields = type(item).model_fields
    for name in names:
        if name in fields and getattr(item, name) != fields[name].get_default(call_default_factory=True):
            report.problem(join(path, file_name(name, fields[name])),
                           f'is for {other} remotes only and would do nothing with protocol: {protocol}')


# -- one mapping or profile -------------------------------------------------------------

def check_profile(item: Mapping | Migration | MetadataMigration, raw: dict[str, Any], path: str,
                  report: Report) -> None:
    """Rules inside one entry. ``raw`` tells what was written and what is a default."""
    _check_names(item, raw, path, report)
    _wrong_protocol(item, item.remote.protocol, path, report)
    if isinstance(item, Mapping):
        _check_mapping(item, raw, path, report)
    else:
        _check_profile_names(item, path, report)
    if isinstance(item, MetadataMigration):
        _check_index(item, path, report)


def _check_names(item: Mapping | Migration | MetadataMigration, raw: dict[str, Any], path: str,
                 report: Report) -> None:
    if '/' in item.account or _has_control(item.account):
        report.problem(join(path, 'account'), 'is not an account name (no slash, no control characters)')
    if item.container != ANY and ('/' in item.container or _has_control(item.container)
                                  or len(item.container.encode('utf-8', 'replace')) > 256):
        report.problem(join(path, 'container'), f'is not a container name (no slash, at most 256 bytes), nor {ANY}')
    if 'name' in raw and _has_control(item.name):
        report.problem(join(path, 'name'), 'holds control characters')


def _has_control(text: str) -> bool:
    return any(ord(c) < 32 or c == '\x7f' for c in text)


def _check_mapping(item: Mapping, raw: dict[str, Any], path: str, report: Report) -> None:
    try:
        parse_criteria(item.selection_criteria)
    except CriteriaError as err:
        report.problem(join(join(path, 'selection_criteria'), err.path) if err.path
                       else join(path, 'selection_criteria'), err.message)
    _check_bucket(item, path, report)
    _check_deletes(item, raw, path, report)
    _check_storage(item, path, report)
    _check_expiry(item, path, report)
    _warn_of_itself(item, path, report)
    if item.restore_object and not item.merge_namespaces:
        report.warn(join(path, 'restore_object'), 'does nothing without merge_namespaces: true')
    if item.symlinks == 'link' and item.remote.protocol != 'swift':
        report.problem(join(path, 'symlinks'), 'link is for Swift remotes only, S3 has no symbolic links; use follow '
                                               'or skip')
    if item.remote.protocol == 'swift':
        if item.sync_container_acl and not item.sync_container_metadata:
            report.problem(join(path, 'sync_container_acl'), 'needs sync_container_metadata: true')
        if item.min_segment_size and not item.convert_dlo:
            report.problem(join(path, 'min_segment_size'), 'needs convert_dlo: true, because a dynamic large object '
                                                           'cannot name joined segments')


def _warn_of_itself(item: Mapping, path: str, report: Report) -> None:
    """A mapping that may copy a container onto itself. Two clusters on one machine look the same, so it is allowed."""
    remote = item.remote
    account = remote.remote_account or (remote.identity or '').partition(':')[0]
    if (remote.protocol == 'swift' and remote.endpoint and is_loopback(remote.endpoint) and account
            and item.account.endswith(account) and remote.bucket in (item.container, '')):
        report.warn(path, 'the remote is on this machine and has the same account and container names; make sure '
                          'that it is another cluster')


def _check_bucket(item: Mapping, path: str, report: Report) -> None:
    bucket, where = item.remote.bucket, join(path, 'aws_bucket')
    prefix_only = item.remote.protocol == 'swift' and item.all_containers
    if bucket == ANY:
        report.problem(where, f'{ANY} is for migrations only; '
                              + ('leave it empty to keep the names of the containers' if prefix_only
                                 else 'a sync mapping copies into one bucket'))
    elif '/' in bucket or _has_control(bucket):
        report.problem(where, 'is not a bucket name (no slash, no control characters)')
    elif not bucket and not prefix_only:
        report.problem(where, 'must not be empty')


def _check_deletes(item: Mapping, raw: dict[str, Any], path: str, report: Report) -> None:
    explicit = raw.get('propagate_delete')
    policy = raw.get('delete_policy')
    if explicit is True and policy in ('tombstone', 'local'):
        report.problem(join(path, 'delete_policy'), f'{policy} keeps the remote copy, but propagate_delete: true '
                                                    'deletes it; leave out one of them')
    if explicit is False and policy == 'propagate':
        report.problem(join(path, 'delete_policy'), 'propagate deletes the remote copy, but propagate_delete: false '
                                                    'keeps it; leave out one of them')
    if item.retain_local_segments and item.retain_local:
        report.problem(join(path, 'retain_local_segments'), 'has a meaning only with retain_local: false')


def _check_storage(item: Mapping, path: str, report: Report) -> None:
    if item.remote.protocol != 's3':
        if isinstance(item.encryption, str):
            report.problem(join(path, 'encryption'), 'is for S3 remotes only and would do nothing with protocol: swift')
        return
    if item.storage_policy is not None:
        report.problem(join(path, 'storage_policy'), 'is for Swift remotes only; on S3 use storage_class')
    if item.kms_key_id is not None and item.encryption != 'aws:kms':
        report.problem(join(path, 'kms_key_id'), 'needs encryption: "aws:kms"')
    if len(item.tags) > MAX_TAGS:
        report.problem(join(path, 'tags'), f'S3 allows at most {MAX_TAGS} tags')
    for key, value in item.tags.items():
        if not key or len(key) > 128 or len(value) > 256:
            report.problem(join(path, 'tags'), 'S3 allows keys of 1 to 128 and values of up to 256 characters')
    if item.custom_prefix is not None and len(item.custom_prefix.encode('utf-8', 'replace')) > 900:
        report.problem(join(path, 'custom_prefix'), 'leaves no room for names in S3 keys of 1,024 bytes')


def _check_expiry(item: Mapping, path: str, report: Report) -> None:
    where = join(path, 'remote_delete_after')
    if item.propagate_expiration_offset and not item.propagate_expiration:
        report.problem(join(path, 'propagate_expiration_offset'), 'needs propagate_expiration: true')
    if not item.remote_delete_after:
        return
    if not item.retain_local:
        report.warn(where, f'archived objects have no other copy, and this one vanishes after '
                           f'{item.remote_delete_after} seconds')
    if item.remote.protocol == 'swift':
        return
    days = round(item.remote_delete_after / DAY)
    if days < 1:
        report.problem(where, 'S3 counts whole days, and this rounds to none; give at least 43201 seconds')
    elif days * DAY != item.remote_delete_after:
        report.warn(where, f'S3 counts whole days; this becomes {days}')
    if item.custom_prefix is not None and not item.custom_prefix.strip('/'):
        report.problem(where, 'with an empty custom_prefix the lifecycle rule would let the whole bucket expire, '
                              'objects of others included; give a custom_prefix')


def _check_profile_names(item: Migration | MetadataMigration, path: str, report: Report) -> None:
    bucket = item.remote.bucket
    if bucket == ANY and item.container != ANY:
        report.problem(join(path, 'container'), f'must be {ANY} or left out when aws_bucket is {ANY}, because every '
                                                'bucket keeps its name')
    if item.container == ANY and bucket != ANY:
        report.problem(join(path, 'container'), f'{ANY} needs aws_bucket: "{ANY}"; one bucket fills one container')
    if not bucket or bucket != ANY and ('/' in bucket or _has_control(bucket)):
        report.problem(join(path, 'aws_bucket'), f'must be a bucket name or {ANY}')


def _check_index(item: MetadataMigration, path: str, report: Report) -> None:
    for url in item.es_hosts:
        if '://' in url:
            check_url(url, join(path, 'es_hosts'), report)
    if item.es_hosts and item.index_prefix is None and item.index is None:
        report.problem(join(path, 'index_prefix'), 'is required with es_hosts (or index)')
    if item.es_hosts and item.index_path is not None:
        report.problem(join(path, 'index_path'), 'is for the SQLite index, but es_hosts names Elasticsearch')
    if (item.es_username is None) != (item.es_password is None):
        report.problem(join(path, 'es_username'), 'and es_password belong together')
    if item.es_api_key is not None and item.es_password is not None:
        report.problem(join(path, 'es_api_key'), 'stands beside es_password; give one of them')


# -- the whole file ---------------------------------------------------------------------

def check_limits(remotes: list[tuple[str, Remote]], report: Report) -> None:
    """One remote has one limit, however many mappings name it."""
    seen: dict[tuple[str, ...], tuple[str, Remote]] = {}
    for path, remote in remotes:
        key = (remote.protocol, identity.canonical_endpoint(remote), remote.identity or '',
               remote.application_credential_id or '')
        first_path, first = seen.setdefault(key, (path, remote))
        for name in RateLimits.model_fields:
            if getattr(first, name) != getattr(remote, name):
                report.problem(join(path, name), f'differs from {first_path}, but both mean the same remote, which has '
                                                 'one limit; say it under remotes or in both')


def check_settings(settings: Settings, syncs: bool, raw: dict[str, Any], report: Report) -> None:
    """Rules among top-level keys."""
    if syncs and not settings.status_dir:
        report.problem('status_dir', 'is required with containers: progress is kept there')
    if settings.statsd_host is None and ('statsd_port' in raw or 'statsd_prefix' in raw):
        report.warn('statsd_host', 'is not given, so no statsd metrics are sent')
    for name in ('http_proxy', 'https_proxy'):
        if getattr(settings, name) is not None:
            report.warn(name, 'requests to remotes go through this proxy')
    for section in ('migrator_settings', 'metadata_migrator_settings'):
        for name in ('process', 'processes'):
            if isinstance(raw.get(section), dict) and name in raw[section]:
                report.warn(f'{section}.{name}', 'has no effect; the container ring shares the work')
    for profiles, section in (('migrations', 'migrator_settings'),
                              ('metadata_migrations', 'metadata_migrator_settings')):
        if raw.get(profiles) and section not in raw:
            report.warn(section, f'is missing, so {profiles} are served by the shunt but not migrated')
