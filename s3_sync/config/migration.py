"""Profiles and settings of the migrator and of the metadata migrator.

Their jobs read them; here they are accepted and checked like everything else
in the file, so that one file is right or wrong as a whole.
"""
from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from s3_sync.config.fields import INTERNAL, Count, LogLevel, Model, Port, PositiveSeconds, PositiveSize, Seconds, Text
from s3_sync.config.mapping import NamespaceKeys, SharedKeys, default_name
from s3_sync.config.remote import ANY, Remote
from s3_sync.config.secrets import Secret


class Syslog(Model):
    """Syslog

    Where log lines go in addition to the file. Keys of the object `syslog`.
    """

    host: Text = Field(default='localhost', description='Host that receives the messages.')
    port: Port = Field(default=514, description='Its port.')
    proto: Literal['udp', 'tcp'] = Field(default='udp', description='Transport.')


class Profile(Model):
    """Keys of a migration profile

    The remote's keys stand in the profile or under `remotes:`, as in a mapping. Names at the remote are taken as they
    are, without hash or `custom_prefix`.
    """

    name: Text = Field(default='', description='Name in metrics, logs and commands; must be unique. Default: '
                                       '`account/container`.')
    account: Text = Field(description='Local Swift account that is filled.')
    container: Text = Field(default='', description='Local container. Without it: the name of the bucket.')
    prefix: str = Field(default='', description='Only names that begin with this are migrated.')
    older_than: Seconds = Field(default=0.0, description=(
        'Seconds; objects changed more recently at the remote wait. 0: all are copied at once.'))
    storage_policy: Text | None = Field(default=None, description=(
        'Policy of the containers that are created here. Without it: the cluster\'s default.'))
    propagate_account_metadata: bool = Field(default=False, description='Swift: copy the account\'s metadata too.')
    restore_object: bool = Field(default=True, description=(
        'Whether a GET through the shunt migrates the object at once.'))
    remote: Remote = Field(json_schema_extra=INTERNAL)

    @model_validator(mode='before')
    @classmethod
    def _fill_names(cls, raw: Any) -> Any:
        if not isinstance(raw, dict):
            return raw
        raw = dict(raw)
        remote = raw.get('remote')
        if not raw.get('container') and isinstance(remote, Remote):
            # An empty bucket is reported as such, not as an empty container.
            raw['container'] = remote.bucket or '-'
        if not raw.get('delete_policy'):
            raw['delete_policy'] = 'tombstone'
        if not raw.get('name'):
            raw['name'] = default_name(raw)
        return raw

    @property
    def all_containers(self) -> bool:
        """Whether this stands for every bucket of the remote account."""
        return self.remote.bucket == ANY


class Migration(Profile, NamespaceKeys, SharedKeys):
    """One entry of ``migrations``."""


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


class MetadataMigration(Profile, NamespaceKeys, SharedKeys):
    """Keys of a metadata migration

    In addition to those of a migration profile. Without `es_hosts` the index is an SQLite file.
    """

    es_hosts: Annotated[tuple[Text, ...], BeforeValidator(_as_tuple)] = Field(default=(), description=(
        'URL of an Elasticsearch node, or a list of them. Without it: the SQLite index.'))
    es_username: Text | None = Field(default=None, description='Elasticsearch user.')
    es_password: Secret | None = Field(default=None, description='Password of `es_username`. A secret.')
    es_api_key: Secret | None = Field(default=None, description='API key, in place of user and password. A secret.')
    index_prefix: Text | None = Field(default=None, description=(
        'Beginning of index names. Required with `es_hosts` unless `index` is set.'))
    index: Text | None = Field(default=None, description='One fixed index name.')
    index_path: Text | None = Field(default=None, description=(
        'File of the SQLite index. Without it: beside the status file.'))
    parse_json: bool = Field(default=False, description='Index user metadata that is JSON as structures.')
    pipeline: Text | None = Field(default=None, description='Elasticsearch ingest pipeline.')
    verify_certs: bool = Field(default=True, description='Whether certificates of `es_hosts` are checked.')
    ca_certs: Text | None = Field(default=None, description='PEM file with the authorities that signed them.')


class MetadataMigratorSettings(Model):
    """Settings of the metadata migrator

    Keys of `metadata_migrator_settings`.
    """

    status_file: Text = Field(description='File that holds progress and statistics.')
    items_chunk: Count = Field(default=1000, description='Names per page of the remote listing.')
    workers: Count = Field(default=10, description='Objects handled at once.')
    poll_interval: PositiveSeconds = Field(default=5.0, description='Seconds between the starts of two passes.')
    statsd_prefix: Text | None = Field(default=None, description='First part of statsd names.')
    log_file: Text | None = Field(default=None, description='Log file. Without it: standard error.')
    log_level: LogLevel = Field(default='info', description='`debug`, `info`, `warning` or `error`.')
    syslog: Syslog | None = Field(default=None, description='See "Syslog".')
    process: int | None = Field(default=None, ge=0, description='Has no effect: the container ring shares the work.')
    processes: int | None = Field(default=None, ge=0, description='Has no effect: the container ring shares the work.')


class MigratorSettings(MetadataMigratorSettings):
    """Settings of the migrator

    Keys of `migrator_settings`.
    """

    segment_size: PositiveSize = Field(default=100_000_000, description=(
        'Bytes of the segments that objects larger than Swift\'s maximum are cut into.'))
    ring_name: Text = Field(default='container', description='Ring that decides which node does what.')
