"""One sync mapping: a Swift container (or all of an account) and the remote that it is copied to."""
from __future__ import annotations

import re
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from s3_sync.config import identity
from s3_sync.config.fields import (
    DAY,
    INTERNAL,
    SEE_RIGHT,
    Count,
    MiB,
    Model,
    PositiveSeconds,
    Seconds,
    Size,
    Text,
    WholeSeconds,
)
from s3_sync.config.remote import ANY, Remote
from s3_sync.wire.selection import Criteria, parse_criteria


def _is_encryption(value: object) -> object:
    if not isinstance(value, bool) and value not in ('AES256', 'aws:kms'):
        raise ValueError('must be true, false, AES256 or aws:kms')
    return value


# Checked by hand, because a union would answer with one problem for each of its members.
Encryption = Annotated[bool | Literal['AES256', 'aws:kms'], BeforeValidator(_is_encryption)]
DeletePolicy = Literal['propagate', 'tombstone', 'local']
Symlinks = Literal['follow', 'link', 'skip']


class SharedKeys(Model):
    """Care and limits

    These keys stand in a mapping or profile; at the top level of the file they are the default for all of them.
    """

    max_delete_fraction: float = Field(default=0.2, ge=0, le=1, description=(
        'Mass-delete guard: deletions inferred from listings stop, and ask, when one pass would delete more than this '
        'fraction of the objects last counted, and more than `max_delete_count`. 1 switches the guard off.'))
    max_delete_count: int = Field(default=100, ge=0, description=(
        'Mass-delete guard: so many deletions are always allowed.'))
    guard_tombstones: bool = Field(default=False, description=(
        'Whether the mass-delete guard counts users\' own deletes (tombstone rows) as well.'))
    local_reads: Literal['auto', 'off'] = Field(default='auto', description=(
        'Whether objects are read straight from this node\'s disks when a replica lies there. It is the cheapest way; '
        '`off` reads through Swift\'s servers only.'))
    segments_grace: Seconds = Field(default=float(DAY), description=(
        'Seconds that archived segments wait for a manifest that names them before the sweep deletes them locally. '
        '0: the sweep runs at the end of every pass.'))
    restore_days: float = Field(default=7.0, ge=0, lt=36500, description=(
        'Days that a restored object stays local before it is archived again. 0: at once.'))
    coalesce_size: Size = Field(default=16 * MiB, description=(
        'Shunt: readers of one archived object up to this size share one remote GET per process.'))
    remote_concurrency: Count = Field(default=16, description=(
        'Shunt: remote GETs of larger objects at once per process; further readers get 503 and Retry-After.'))
    reverse_scan_limit: Count = Field(default=100_000, description=(
        'Shunt: names of an S3 bucket that a reverse listing may scan before `on_remote_error` applies.'))


class NamespaceKeys(Model):
    """The merged namespace

    How the shunt treats requests for objects that are only at the remote.
    """

    on_remote_error: Literal['fail', 'partial'] = Field(default='fail', description=(
        'A listing whose remote part cannot be had is answered 503 (`fail`) or with the local part and '
        '`X-1space-Partial` (`partial`). Of several remotes of a container those behind it are then asked for an '
        'object only with `partial`.'))
    delete_policy: DeletePolicy = Field(default='propagate', json_schema_extra=SEE_RIGHT, description=(
        'What a user\'s DELETE means. `propagate`: at the remote too. `tombstone`: it stays deleted here and the '
        'remote keeps its copy. `local`: only the local object. Default: for a sync mapping `propagate` when '
        '`propagate_delete` is true, else `tombstone`; for a migration `tombstone`.'))
    post_archived: Literal['propagate', 'deny'] = Field(default='propagate', description=(
        'A POST to an object that is only at the remote: changes it there, or is denied with 409.'))
    remote_timeout: PositiveSeconds = Field(default=15.0, description=(
        'Seconds to wait for the first byte of a remote answer.'))


class Source(Model):
    """What is copied

    The local side, and which of its objects count.
    """

    name: Text = Field(default='', description=(
        'Name of the mapping in metrics, logs and commands; must be unique. Without it: `account/container`, with the '
        'bucket where several mappings share a container.'))
    account: Text = Field(description='Local Swift account, for example `AUTH_test`.')
    container: Text = Field(description=(
        'Local container, or `/*` for every container of the account (hidden ones excepted).'))
    copy_after: Seconds = Field(default=0.0, description=(
        'Seconds since an object\'s last change after which it is copied. It is a due time: younger objects wait '
        'without holding up others.'))
    exclude_pattern: str = Field(default='', description=(
        'Python regular expression; objects whose name it matches *from its beginning* are left alone, their deletes '
        'too. Empty excludes nothing.'))
    selection_criteria: dict[str, Any] = Field(default_factory=dict, description=(
        'Which objects count, by headers, size, age and name; see "Selection criteria". Empty selects all.'))
    symlinks: Symlinks = Field(default='follow', description=(
        'What becomes of symbolic links. `follow`: what they point to is copied under the link\'s name. `link` (Swift '
        'remotes): the link itself. `skip`: they are left alone. Versioned containers are made of links of Swift\'s '
        'own; those are always followed.'))


class Deletes(Model):
    """Deleting

    What happens to either side when the other loses an object.
    """

    propagate_delete: bool = Field(default=True, description='Whether a local delete deletes at the remote.')
    retain_local: bool = Field(default=True, description=(
        'false archives: the local object is deleted once the remote copy is proven.'))
    retain_local_segments: bool = Field(default=False, description=(
        'With `retain_local: false`: true keeps the segments of archived large objects.'))


class Target(Model):
    """How it is stored at the remote

    Names and storage options.
    """

    custom_prefix: str | None = Field(default=None, description=(
        'S3: objects are stored as `custom_prefix/object`, or as `object` when it is empty. Account and container are '
        'then not in the key. Without it: `hash/account/container/object`.'))
    encryption: Encryption = Field(default=True, description=(
        'S3: server-side encryption. true: `AES256` on Amazon, nothing elsewhere; false: none asked for; `AES256` or '
        '`aws:kms`: asked for everywhere.'))
    kms_key_id: Text | None = Field(default=None, description=(
        'S3: key of `encryption: "aws:kms"`. Without it: the account\'s default key.'))
    storage_class: Text | None = Field(default=None, description=(
        'S3: storage class of new copies, for example `STANDARD_IA`. Without it: the bucket\'s default.'))
    tags: dict[str, str] = Field(default_factory=dict, description='S3: tags of new copies, at most ten.')
    storage_policy: Text | None = Field(default=None, description=(
        'Swift: policy of containers that have to be created at the remote. Without it: the remote\'s default.'))
    sync_container_metadata: bool = Field(default=False, description=(
        'Swift: copy container metadata (X-Container-Meta-*).'))
    sync_container_acl: bool = Field(default=False, description=(
        'Swift: copy the container\'s read and write ACL. Needs `sync_container_metadata`.'))
    convert_dlo: bool = Field(default=False, description=(
        'Swift: store dynamic large objects as static ones.'))
    min_segment_size: Size = Field(default=0, description=(
        'Swift: join smaller segments until they are this large. Needs `convert_dlo`. 0: segments stay as they are.'))


class Expiry(Model):
    """Expiry at the remote

    Copies may live shorter, or have an expiry of their own.
    """

    remote_delete_after: WholeSeconds = Field(default=0, description=(
        'Seconds after which copies vanish at the remote. 0: never. Swift: X-Delete-After on the copy; S3: a lifecycle '
        'rule of the bucket for the mapping\'s prefix, in whole days.'))
    remote_delete_after_addition: WholeSeconds = Field(default=DAY, description=(
        'Swift: seconds that segments live longer than their manifests.'))
    propagate_expiration: bool = Field(default=False, description=(
        'Whether X-Delete-At travels to Swift, which enforces it. On S3 it is always kept as it is, as metadata '
        '(`1space-delete-at`), and the local expirer\'s delete is propagated.'))
    propagate_expiration_offset: WholeSeconds = Field(default=0, description=(
        'Seconds added to a travelling X-Delete-At, so that copies outlive the originals.'))


class Shunt(Model):
    """Shunt

    Whether and how the proxy's `cloud-shunt` filter uses the mapping.
    """

    merge_namespaces: bool = Field(default=False, description='Whether the shunt serves what is only at the remote.')
    restore_object: bool = Field(default=False, description='Whether a GET of an archived object brings it back.')


def default_name(raw: dict[str, Any]) -> str:
    """``account/container``, with one slash for ``/*`` too."""
    return f'{raw.get("account")}/{str(raw.get("container")).lstrip("/")}'


class Mapping(NamespaceKeys, Shunt, SharedKeys, Expiry, Target, Deletes, Source):
    """One entry of ``containers``; see the base classes for its keys."""

    remote: Remote = Field(json_schema_extra=INTERNAL)
    of_all_containers: bool = Field(default=False, json_schema_extra=INTERNAL)
    """Set by ``for_container``: one container of a ``/*`` mapping, so that its Swift target is created when missing."""

    @model_validator(mode='before')
    @classmethod
    def _settle_deletes(cls, raw: Any) -> Any:
        """One fact, two keys: afterwards ``propagate_delete`` is true exactly when ``delete_policy`` propagates."""
        if not isinstance(raw, dict):
            return raw
        raw = dict(raw)
        if raw.get('delete_policy') is None:
            raw['delete_policy'] = 'tombstone' if raw.get('propagate_delete') is False else 'propagate'
        elif 'propagate_delete' not in raw:
            raw['propagate_delete'] = raw['delete_policy'] == 'propagate'
        if not raw.get('name'):
            raw['name'] = default_name(raw)
        return raw

    @field_validator('exclude_pattern')
    @classmethod
    def _is_regex(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as err:
            raise ValueError(f'is not a regular expression: {err}') from None
        return pattern

    @property
    def all_containers(self) -> bool:
        """Whether this stands for every container of the account."""
        return self.container == ANY

    @property
    def server_side_encryption(self) -> str | None:
        """What an S3 PUT asks for: ``AES256``, ``aws:kms``, or None for no header at all."""
        if isinstance(self.encryption, str):
            return self.encryption
        return 'AES256' if self.encryption and self.remote.is_amazon else None

    @cached_property
    def criteria(self) -> Criteria:
        """``selection_criteria``, parsed."""
        return parse_criteria(self.selection_criteria)

    @cached_property
    def exclude_regex(self) -> re.Pattern[str] | None:
        """Compiled ``exclude_pattern``, to be used with ``match``; None excludes nothing."""
        return re.compile(self.exclude_pattern) if self.exclude_pattern else None

    @cached_property
    def generation(self) -> str:
        """16 hex digits: where the data goes. State of another generation is never used (semantics 5.5)."""
        return identity.generation(self)

    @cached_property
    def evaluation(self) -> str:
        """16 hex digits: what is selected and which headers travel. A change evaluates from row 0 again."""
        return identity.evaluation(self)

    def for_container(self, container: str) -> Mapping:
        """The mapping of one container of a ``/*`` mapping, the same object otherwise.

        On Swift the remote container is the bucket (as prefix) plus the container's name. Its generation is that of
        a mapping that names the container itself.
        """
        if not self.all_containers:
            return self
        remote = self.remote
        if remote.protocol == 'swift':
            remote = remote.model_copy(update={'bucket': remote.bucket + container})
        values = {name: getattr(self, name) for name in type(self).model_fields}
        values.update(container=container, remote=remote, of_all_containers=True)
        return Mapping.model_construct(**values)
