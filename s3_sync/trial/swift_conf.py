"""The configuration files of a trial cluster, as values first and text last.

Nothing here touches a disk or a socket, so every file can be looked at in a
test. The pipeline is the one an operator of Swift 2.38 runs, s3api included:
the cluster is an S3 endpoint too.
"""
from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from s3_sync.trial import log_sink
from s3_sync.trial.swift_rings import Node, Policy

Sections = Mapping[str, Mapping[str, object]]

USERS = {
    ('test', 'tester'): ('testing', '.admin'),
    ('test2', 'tester2'): ('testing2', '.admin'),
    ('test', 'tester3'): ('testing3', ''),
    ('admin', 'admin'): ('admin', '.admin .reseller_admin'),
}
"""(account, user) to (key, groups) of tempauth."""

ENTRY_POINTS = {
    'proxy-logging': 'proxy_logging', 'cache': 'memcache', 'container-quotas': 'container_quotas',
    'account-quotas': 'account_quotas',
}
"""Filters whose entry point in the swift package is spelt otherwise than in the pipeline."""


@dataclass(frozen=True, slots=True)
class KeystoneAccess:
    """What the proxy needs to check tokens with a Keystone."""

    url: str
    """Root of the v3 API."""
    user: str
    password: str = field(repr=False)
    project: str
    domain: str = 'Default'


@dataclass(frozen=True, slots=True)
class ClusterConf:
    """What all files of one cluster have in common."""

    swift_dir: Path
    log_port: int
    """UDP port of the log sink on loopback."""
    log_level: str = 'INFO'
    policies: tuple[Policy, ...] = (Policy('gold', default=True),)
    hash_prefix: str = ''
    hash_suffix: str = ''
    constraints: Mapping[str, object] = field(default_factory=dict)
    memcached: str | None = None
    """host:port, or None for the in-process cache."""
    encryption_secret: str | None = field(default=None, repr=False)
    """Base64 root secret when objects are encrypted at rest."""
    keystone: KeystoneAccess | None = None

    def common(self, name: str, address: str, port: int | None) -> dict[str, object]:
        """The [DEFAULT] section of any server; a daemon of the same node has no port."""
        values: dict[str, object] = {
            'swift_dir': self.swift_dir, 'bind_ip': address, 'workers': 0, 'user': _own_user(),
            **self.logging(name), 'log_level': self.log_level,
        }
        if port is not None:
            values['bind_port'] = port
        return values

    def logging(self, name: str) -> dict[str, object]:
        return {'log_name': name, 'log_udp_host': log_sink.ADDRESS, 'log_udp_port': self.log_port}


def render(sections: Sections) -> str:
    """The text of one file. A ``%`` in a value is doubled, as the readers of these files interpolate."""
    return '\n'.join(
        '\n'.join([f'[{name}]', *(f'{key} = {str(value).replace("%", "%%")}' for key, value in values.items()), ''])
        for name, values in sections.items())


def swift_conf(conf: ClusterConf) -> Sections:
    sections: dict[str, Mapping[str, object]] = {
        'swift-hash': {'swift_hash_path_prefix': conf.hash_prefix, 'swift_hash_path_suffix': conf.hash_suffix}}
    for index, policy in enumerate(conf.policies):
        values: dict[str, object] = {'name': policy.name, 'policy_type': policy.kind}
        if policy.default:
            values['default'] = 'yes'
        if policy.kind == 'erasure_coding':
            values |= {'ec_type': 'liberasurecode_rs_vand', 'ec_num_data_fragments': policy.ec_data,
                       'ec_num_parity_fragments': policy.ec_parity, 'ec_object_segment_size': 1 << 20}
        sections[f'storage-policy:{index}'] = values
    if conf.constraints:
        sections['swift-constraints'] = conf.constraints
    return sections


def storage_conf(conf: ClusterConf, node: Node, kind: str) -> Sections:
    """One node's server of a kind (account, container, object) and all daemons that belong to it."""
    name = f'{kind}-server-{node.index}'
    # Nodes are folders of one machine: whole databases go to a neighbour by copying into its folder.
    copying = {'rsync_module': f'{node.folder.parent}/{{replication_ip}}', 'interval': 1}
    internal = {'internal_client_conf_path': conf.swift_dir / 'internal-client.conf'}
    # Who has written something finds it in the listing, however busy the machine: by default an object server answers
    # after a second without its container's, and leaves the row to the updater after three.
    patience = {'conn_timeout': 5, 'node_timeout': 15, 'container_update_timeout': 15}
    daemons: dict[str, Mapping[str, object]] = {
        'account': {'account-replicator': copying, 'account-auditor': {}, 'account-reaper': {'delay_reaping': 0}},
        'container': {'container-replicator': copying, 'container-updater': {'interval': 1},
                      'container-sharder': copying | internal | {'cleave_batch_size': 100, 'auto_shard': 'false'},
                      'container-auditor': {}},
        # Objects go by ssync: it needs no program beside Swift.
        'object': {'object-replicator': {'sync_method': 'ssync', 'interval': 1}, 'object-updater': {'interval': 1},
                   'object-reconstructor': {}, 'object-auditor': {},
                   'object-expirer': internal | {'interval': 1, 'report_interval': 1, 'dequeue_from_legacy': 'true'}},
    }[kind]  # type: ignore[assignment]
    return {
        'DEFAULT': conf.common(name, node.address, node.port(kind)) | {
            'devices': node.folder, 'mount_check': 'false', 'disable_fallocate': 'true',
            'recon_cache_path': node.recon, 'db_preallocation': 'false'},
        'pipeline:main': {'pipeline': f'healthcheck recon {kind}-server'},
        f'app:{kind}-server': {'use': f'egg:swift#{kind}', 'log_requests': 'false', **patience},
        'filter:healthcheck': {'use': 'egg:swift#healthcheck'},
        'filter:recon': {'use': 'egg:swift#recon', 'recon_cache_path': node.recon},
        **daemons,
    }


def shunt_filters(conf_file: Path, options: Mapping[str, object]) -> tuple[tuple[str, Mapping[str, object], str], ...]:
    """Our two filters at the places they belong, as ``filters`` of ``proxy_conf`` wants them."""
    places = (('cloud-shunt', 'container-quotas'), ('cloud-shunt-segments', 'versioned_writes'))
    return tuple((name, {'use': f'egg:swift-s3-sync#{name}', 'conf_file': conf_file, **options}, before)
                 for name, before in places)


def proxy_conf(conf: ClusterConf, name: str, address: str, port: int, *,
               filters: Sequence[tuple[str, Mapping[str, object], str]] = (),
               options: Mapping[str, Mapping[str, object]] | None = None) -> Sections:
    """The proxy. ``filters``: extra (name, section, the filter it goes right before).

    ``options``: added to what the named filters say, as well as to ``DEFAULT`` and ``proxy-server``.
    """
    pipeline = ['catch_errors', 'gatekeeper', 'healthcheck', 'proxy-logging', 'cache', 'listing_formats', 'bulk',
                'tempurl', 's3api', *_auth_pipeline(conf), 'copy', 'container-quotas', 'account-quotas', 'slo', 'dlo',
                'versioned_writes', 'symlink', *_crypto_pipeline(conf), 'proxy-logging', 'proxy-server']
    extra: dict[str, Mapping[str, object]] = {}
    for added, values, before in filters:
        pipeline.insert(pipeline.index(before), added)
        extra[f'filter:{added}'] = values
    sections: dict[str, Mapping[str, object]] = {
        'DEFAULT': conf.common(name, address, port) | {'cors_allow_origin': '*'},
        'pipeline:main': {'pipeline': ' '.join(pipeline)},
        'app:proxy-server': _proxy_app(),
        **_filter_sections(conf, [item for item in pipeline[:-1] if f'filter:{item}' not in extra]),
        **extra,
    }
    for item, added_options in (options or {}).items():
        section = {'DEFAULT': 'DEFAULT', 'proxy-server': 'app:proxy-server'}.get(item, f'filter:{item}')
        sections[section] = {**sections[section], **added_options}
    return sections


def internal_client_conf(conf: ClusterConf) -> Sections:
    """What Swift's own daemons and ours read and write through: decrypts where the cluster encrypts."""
    pipeline = ['catch_errors', 'proxy-logging', 'cache', 'symlink', *_crypto_pipeline(conf), 'proxy-server']
    return {
        'DEFAULT': {'swift_dir': conf.swift_dir, **conf.logging('internal-client'), 'log_level': 'WARNING',
                    'user': _own_user()},
        'pipeline:main': {'pipeline': ' '.join(pipeline)},
        'app:proxy-server': _proxy_app(),
        **_filter_sections(conf, pipeline[:-1]),
    }


def reconciler_conf(conf: ClusterConf) -> Sections:
    """The container-reconciler is the one daemon that wants its proxy pipeline in its own file."""
    return {**internal_client_conf(conf), 'container-reconciler': {'reclaim_age': 604800}}


def _own_user() -> str:
    """Swift's servers change to a user of this name; ours run as whoever starts them."""
    return pwd.getpwuid(os.getuid()).pw_name


def _proxy_app() -> dict[str, object]:
    return {'use': 'egg:swift#proxy', 'account_autocreate': 'true', 'allow_account_management': 'true',
            # A stopped node is asked again as soon as it is back.
            'error_suppression_interval': 1, 'error_suppression_limit': 1000, 'conn_timeout': 1, 'node_timeout': 20,
            'recoverable_node_timeout': 10}


def _auth_pipeline(conf: ClusterConf) -> list[str]:
    if conf.keystone is None:
        return ['tempauth']
    return ['s3token', 'authtoken', 'keystoneauth', 'tempauth']


def _crypto_pipeline(conf: ClusterConf) -> list[str]:
    return ['keymaster', 'encryption'] if conf.encryption_secret else []


def _filter_sections(conf: ClusterConf, names: Sequence[str]) -> dict[str, Mapping[str, object]]:
    special: dict[str, Callable[[], Mapping[str, object]]] = {
        'tempauth': lambda: {'use': 'egg:swift#tempauth', 'account_autocreate': 'true', **_users()},
        's3api': lambda: {'use': 'egg:swift#s3api', 'location': 'us-east-1', 's3_acl': 'false',
                          'check_bucket_owner': 'false', 'allow_multipart_uploads': 'true'},
        'cache': lambda: _cache(conf),
        'keymaster': lambda: {'use': 'egg:swift#keymaster', 'encryption_root_secret': conf.encryption_secret},
        'tempurl': lambda: {'use': 'egg:swift#tempurl'},
        'keystoneauth': lambda: {'use': 'egg:swift#keystoneauth', 'operator_roles': 'admin, member, swiftoperator',
                                 'reseller_prefix': 'KEY', 'reseller_admin_role': 'ResellerAdmin'},
        'versioned_writes': lambda: {'use': 'egg:swift#versioned_writes', 'allow_versioned_writes': 'true',
                                     'allow_object_versioning': 'true'},
        # Readers of objects with many small segments are slowed down to one a second otherwise.
        'slo': lambda: {'use': 'egg:swift#slo', 'rate_limit_after_segment': 100_000},
        'dlo': lambda: {'use': 'egg:swift#dlo', 'rate_limit_after_segment': 100_000},
    }
    if conf.keystone is not None:
        special |= {'authtoken': partial(_authtoken, conf.keystone), 's3token': partial(_s3token, conf.keystone)}
    return {f'filter:{name}': special[name]() if name in special
            else {'use': f'egg:swift#{ENTRY_POINTS.get(name, name)}'} for name in names}


def _cache(conf: ClusterConf) -> dict[str, object]:
    if conf.memcached is None:
        return {'paste.filter_factory': 's3_sync.trial.memory_cache:filter_factory'}
    # What takes too long counts as not there: of a token that is a 401.
    return {'use': 'egg:swift#memcache', 'memcache_servers': conf.memcached, 'memcache_max_connections': 50,
            'connect_timeout': 5, 'pool_timeout': 10, 'io_timeout': 10}


def _users() -> dict[str, object]:
    return {f'user_{account}_{user}': f'{key} {groups}'.rstrip() for (account, user), (key, groups) in USERS.items()}


def _authtoken(keystone: KeystoneAccess) -> dict[str, object]:
    return {'paste.filter_factory': 'keystonemiddleware.auth_token:filter_factory',
            'www_authenticate_uri': keystone.url, 'auth_url': keystone.url, 'auth_type': 'password',
            'username': keystone.user, 'password': keystone.password, 'project_name': keystone.project,
            'user_domain_name': keystone.domain, 'project_domain_name': keystone.domain,
            'delay_auth_decision': 'true', 'cache': 'swift.cache', 'include_service_catalog': 'false'}


def _s3token(keystone: KeystoneAccess) -> dict[str, object]:
    return {'use': 'egg:swift#s3token', 'reseller_prefix': 'KEY', 'delay_auth_decision': 'true',
            'auth_uri': keystone.url, 'http_timeout': 10}
