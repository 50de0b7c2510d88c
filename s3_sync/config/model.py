"""``Settings``: the whole configuration file, read, checked and frozen."""
from __future__ import annotations

import os

from pydantic import Field

from s3_sync.config.fields import DAY, INTERNAL, Count, LogLevel, Model, Port, PositiveSeconds, Seconds, Text
from s3_sync.config.mapping import Mapping, SharedKeys
from s3_sync.config.migration import MetadataMigration, MetadataMigratorSettings, Migration, MigratorSettings, Syslog
from s3_sync.config.remote import RateLimits, Remote
from s3_sync.config.secrets import Secret

__all__ = ['Mapping', 'MetadataMigration', 'MetadataMigratorSettings', 'Migration', 'MigratorSettings', 'Remote',
           'Settings', 'Syslog']


class Node(Model):
    """Swift node

    Where this node's Swift is.
    """

    swift_dir: Text = Field(default='/etc/swift', description='Folder with swift.conf and the rings.')
    devices: Text = Field(default='/srv/node', description='Folder under which the devices are mounted.')
    swift_bind_ip: Text = Field(default='0.0.0.0', description=(
        'Address that the container server listens on; it tells which ring devices are on this node. '
        '`0.0.0.0`: any address of this machine.'))
    internal_client_path: Text | None = Field(default=None, description=(
        'Configuration of the internal client. Without it: internal-client.conf in `swift_dir`, and where that is '
        'missing a built-in pipeline, which cannot read encrypted objects.'))
    internal_client_logname: Text = Field(default='ContainerCrawler', description=(
        'User agent of requests inside the cluster.'))
    reclaim_age: PositiveSeconds = Field(default=7.0 * DAY, description=(
        'Seconds after which Swift forgets that something was deleted: the smallest `reclaim_age` of its object and '
        'container servers. Archived objects older than this less a day are deleted locally only while every replica '
        'answers, so that none brings them back.'))
    cluster_id: Text | None = Field(default=None, description=(
        'Name of this cluster in `X-1space-Via`, which stops loops between clusters. Without it: derived from the '
        'hash prefix and suffix of swift.conf.'))
    bypass_key: Secret | None = Field(default=None, description=(
        'Key that signs `X-Cloud-Sync-Shunt-Bypass`; without it the header never counts. A secret.'))


class Daemon(Model):
    """Sync daemon

    How `swift-s3-sync` works through containers.
    """

    status_dir: str = Field(default='', description=(
        'Folder for the ledger (progress, waiting and failed work). Required as soon as there are `containers`. The '
        'predecessor\'s status files in it are imported once.'))
    items_chunk: Count = Field(default=1000, description=(
        'Rows read from a container before the next container has its turn.'))
    poll_interval: PositiveSeconds = Field(default=5.0, description='Seconds between two looks at all containers.')
    workers: Count = Field(default=10, description='Objects handled at once by each process.')
    processes: Count = Field(default_factory=lambda: os.cpu_count() or 1, description=(
        'Worker processes, which share the rows of every container. Default: one for each processor.'))
    enumerator_workers: Count = Field(default=10, description='Containers handled at once.')
    verification_slack_minutes: Seconds = Field(default=60.0, validation_alias='verification_slack', description=(
        'Minutes after which rows that another node is responsible for are verified.'))
    bulk_process: bool = Field(default=False, description=(
        'Crawler\'s bulk mode for handlers that take many rows at once. The sync daemon does not need it.'))


class Logging(Model):
    """Logging and metrics

    Where messages and numbers go.
    """

    log_file: Text | None = Field(default=None, description='Log file (rotated at 100 MiB, five kept). Without it: '
                                                    'standard error.')
    log_level: LogLevel = Field(default='info', description='`debug`, `info`, `warning` or `error`.')
    console: bool = Field(default=False, description='Log to standard error instead of the file.')
    syslog: Syslog | None = Field(default=None, description='Log to syslog as well; see "Syslog".')
    statsd_host: Text | None = Field(default=None, description=(
        'Host that receives statsd metrics. Without it: none are sent.'))
    statsd_port: Port = Field(default=8125, description='Its port (UDP).')
    statsd_prefix: Text | None = Field(default=None, description='First part of statsd names.')
    metrics_port: Port | None = Field(default=None, description=(
        'Port of the Prometheus endpoint. Without it: none. Metrics are listed in metrics.md.'))


class Network(Model):
    """Outgoing connections

    Proxies for requests to remotes.
    """

    http_proxy: Secret | None = Field(default=None, description=(
        'URL of the proxy for `http:` endpoints. A secret, because it may hold a password.'))
    https_proxy: Secret | None = Field(default=None, description=(
        'URL of the proxy for `https:` endpoints. A secret likewise.'))


class Settings(RateLimits, SharedKeys, Network, Logging, Daemon, Node):
    """Everything that one file says; see the base classes for its top-level keys."""

    containers: tuple[Mapping, ...] = Field(default=(), description='Sync mappings.', json_schema_extra=INTERNAL)
    migrations: tuple[Migration, ...] = Field(default=(), description='Migration profiles.', json_schema_extra=INTERNAL)
    migrator_settings: MigratorSettings | None = Field(default=None, json_schema_extra=INTERNAL)
    metadata_migrations: tuple[MetadataMigration, ...] = Field(default=(), json_schema_extra=INTERNAL)
    metadata_migrator_settings: MetadataMigratorSettings | None = Field(default=None, json_schema_extra=INTERNAL)
    warnings: tuple[str, ...] = Field(default=(), json_schema_extra=INTERNAL)
    """Things that work but deserve a look; to be logged once at start and after a reload."""
    path: str = Field(default='', json_schema_extra=INTERNAL)
    """The file all this was read from."""
    secret_files: tuple[str, ...] = Field(default=(), json_schema_extra=INTERNAL)
    """Files that secrets were read from; a change of one is a change of the configuration."""

    @property
    def verification_slack_seconds(self) -> float:
        return self.verification_slack_minutes * 60

    def mapping(self, name: str) -> Mapping | None:
        """The sync mapping of that name."""
        return next((m for m in self.containers if m.name == name), None)
