"""Generates docs/config.md and docs/metrics.md from the models and the metric definitions.

``python -m s3_sync.config.document`` writes both, ``--check`` only tells
(exit 1) whether the files on disk are what would be written.
"""
from __future__ import annotations

import argparse
import json
import sys
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from s3_sync import metric_defs
from s3_sync.config import mapping, migration, model, remote
from s3_sync.config.fields import Model, file_name, in_file
from s3_sync.config.secrets import Secret
from s3_sync.wire import selection
from s3_sync.wire.units import parse_size

_DOCS = Path(__file__).parents[2] / 'docs'

_TOP = (model.Node, model.Daemon, model.Logging, model.Network, migration.Syslog)
_MAPPING = (mapping.Source, remote.Bucket, remote.Place, remote.Credentials, mapping.Target, mapping.Deletes,
            mapping.Expiry, mapping.Shunt, mapping.NamespaceKeys)
_DEFAULTS = (remote.RateLimits, mapping.SharedKeys)

_INTRODUCTION = """\
# Configuration

One file configures every job of 1space. It is JSON or YAML: by its ending (`.json`, `.yaml`, `.yml`), otherwise JSON
when it begins with a brace. YAML is read as version 1.2 means it: only `true` and `false` are truth values.

Every daemon reads the file given by `--config` and checks it as a whole before it starts. Everything that is wrong is
reported at once, with its place in the file, and the exit code is 78; `1space check-config --config FILE` prints the
same without starting anything. Unknown keys, keys given twice, values of the wrong type, numbers that make no sense
and combinations that would lose data are all errors. A key whose value is `null` counts as not given.

A change of the file, or of a file that a secret is read from, is noticed within 30 seconds (at once on SIGHUP). If the
new version is bad, the last good one stays in use, the problems are logged once and the metric `onespace_config_ok`
becomes 0.

Sizes are bytes or text such as `16MiB` or `5GB`. Durations are seconds unless the table says otherwise.
"""

_ENTRIES = """\
## Sync mappings: `containers`

A list. Each entry maps one Swift container, or with `/*` all containers of an account, to one remote. A container may
have several entries, one for each destination.
"""

_REMOTES = """\
## Remotes: `remotes`

An object of names. Each entry holds the keys of "Where the remote is", "Logging in at the remote" and "Limits of one
remote", and is used by mappings and profiles that say `remote: NAME`. Beside `remote` an entry gives only its
`aws_bucket` and, if need be, limits. Without `remote` these keys stand in the entry itself.
"""

_METRICS = """\
# Metrics

Prometheus reads them at `metrics_port`. Those with a statsd name are also sent there when `statsd_host` is set, as
`[statsd_prefix.]ENDPOINT.ACCOUNT.BUCKET[/PREFIX].CONTAINER.NAME`, each part percent-encoded, dots included.
"""

_PROFILES = """\
## Migrations: `migrations` and `metadata_migrations`

Lists. The keys of "The merged namespace", "Care and limits" and of the remote may stand in an entry too.
"""

_IDENTITY = """\
## What a change of the file does

A mapping's identity, its *generation*, is where its data goes: endpoint, Swift account or project of the remote,
bucket, prefix, local account and container. Another generation starts with the first row and an empty ledger; the
entries of the old one stay in the ledger, are shown as orphaned, and are taken up again if the mapping comes back.

A change of `selection_criteria`, `exclude_pattern`, `symlinks`, `copy_after`, `retain_local`, `retain_local_segments`,
`propagate_delete` or `delete_policy`, `propagate_expiration` and its offset, `remote_delete_after` and its addition,
`convert_dlo` or `min_segment_size` reads all rows again and sends only what differs.

Credentials, limits, storage class, encryption, tags and everything else take effect for what is copied from then on.
"""

_USELESS = 'the key would do nothing'
_REFUSED = (
    ('S3 mappings into one bucket with the same account and container, the same or nested, or an empty `custom_prefix`',
     'they would overwrite each other\'s objects, and let each other\'s expire'),
    ('Swift mappings into one remote container, or into one that `/*` already fills', 'the same'),
    ('a migration from the bucket that a mapping of the same local container writes to',
     'it would bring back what was sent out'),
    ('two migrations into one local container', 'deletions at one source would remove what came from the other'),
    ('`remote_delete_after` with an empty `custom_prefix` on S3',
     'the lifecycle rule would let the whole bucket expire'),
    ('`remote_delete_after` up to 43,200 seconds on S3', 'lifecycle rules count days, and this rounds to none'),
    ('`propagate_delete` that contradicts `delete_policy`', 'one keeps the remote copy, the other deletes it'),
    ('`sync_container_acl` without `sync_container_metadata`', _USELESS),
    ('`min_segment_size` without `convert_dlo`', 'a dynamic large object cannot name joined segments'),
    ('`symlinks: link` on an S3 remote', 'S3 has no symbolic links'),
    ('`kms_key_id` without `encryption: "aws:kms"`', _USELESS),
    ('`propagate_expiration_offset` without `propagate_expiration`', _USELESS),
    ('`retain_local_segments` without `retain_local: false`', _USELESS),
    ('keys for Swift on an S3 remote, and the other way round, unless they hold their default', _USELESS),
    ('`aws_identity` without `aws_secret` and the other way round', 'only both missing means the default chain'),
    ('keys of the remote beside `remote: NAME`', 'it would be unclear which of them counts'),
    ('different limits for one remote', 'a remote has one limit'),
    ('a user or password inside a URL', 'URLs are shown in logs and statsd names'),
)
_WARNED = """\
Combinations that work but deserve a look are warnings: `retain_local: false` with `remote_delete_after` (the only copy
expires, which is what a retention time means), secret files that everybody can read, certificates that are not
checked, passwords sent to an `http:` authentication URL, a remote on this machine with the same names, proxies.
"""


def config_page(samples: Path) -> str:
    """Text of docs/config.md."""
    parts = [_INTRODUCTION]
    for kind in ('yaml', 'json'):
        text = (samples / f'sync.{kind}').read_text()
        parts.append(f'## Example in {kind.upper()}\n\n`docs/samples/sync.{kind}`:\n\n```{kind}\n{text}```\n')
    parts.append('## Top-level keys\n')
    parts += [_section(section) for section in (*_TOP, *_DEFAULTS)]
    parts += [_REMOTES, _ENTRIES]
    parts += [_section(section) for section in _MAPPING]
    parts.append('The keys of "Care and limits" and "Limits of one remote" may stand in an entry too.\n')
    parts += ['## Selection criteria\n', _criteria(), _IDENTITY, '## Combinations that are refused\n']
    parts += [*_table(('Combination', 'Why'), _REFUSED), '', _WARNED]
    parts.append(_PROFILES)
    parts += [_section(section) for section in (migration.Profile, migration.MetadataMigration,
                                                migration.MigratorSettings, migration.MetadataMigratorSettings)]
    return '\n'.join(parts)


def metrics_page() -> str:
    """Text of docs/metrics.md."""
    rows = [(f'`{m.name}`', m.kind, ', '.join(f'`{label}`' for label in m.labels) or '-', m.help,
             f'`{m.statsd}`' if m.statsd else '-') for m in metric_defs.ALL]
    return '\n'.join([_METRICS, *_table(('Metric', 'Kind', 'Labels', 'Meaning', 'statsd'), rows), ''])


def _section(section: type[Model]) -> str:
    title, _, text = (section.__doc__ or '').partition('\n')
    prose = '\n'.join(line.strip() for line in text.strip().splitlines())
    rows = [(f'`{file_name(name, info)}`', _type(info.annotation, info.metadata), _default(info),
             info.description or '') for name, info in _own_fields(section)]
    return '\n'.join([f'### {title}\n', f'{prose}\n', *_table(('Key', 'Type', 'Default', 'Meaning'), rows), ''])


def _own_fields(section: type[Model]) -> Iterator[tuple[str, FieldInfo]]:
    """Fields that the class itself adds to its bases."""
    for name, info in section.model_fields.items():
        inherited = any(name in getattr(base, 'model_fields', {}) for base in section.__mro__[1:])
        if in_file(info) and (not inherited or section is migration.MigratorSettings):
            yield name, info


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [head, tuple('---' for _ in head), *rows]
    return ['| ' + ' | '.join(cell.replace('|', r'\|') for cell in line) + ' |' for line in lines]


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return 'required'
    extra: Any = info.json_schema_extra
    if isinstance(extra, dict) and 'default_text' in extra:
        return str(extra['default_text'])
    value = info.get_default()
    if value is None or value in ((), '') or info.default_factory is not None:
        return '-'
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f'`{json.dumps(value)}`'


def _type(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """A type in an operator's words."""
    if any(getattr(item, 'func', None) is parse_size for item in metadata):
        return 'size'
    if annotation == tuple[Annotated[str, Any], ...] or get_origin(annotation) is tuple:
        return 'text or list'
    if get_origin(annotation) is Annotated:
        return _type(get_args(annotation)[0], annotation.__metadata__)
    if get_origin(annotation) is Literal:
        return ', '.join(f'`{value}`' for value in get_args(annotation))
    if get_origin(annotation) in (Union, types.UnionType):
        return ' or '.join(_type(part) for part in get_args(annotation) if part is not type(None))
    names = {str: 'text', int: 'whole number', float: 'number', bool: 'true or false', Secret: 'secret'}
    return names.get(annotation, 'object')


def _criteria() -> str:
    """The grammar's own text, from the module that implements it."""
    text = (selection.__doc__ or '').partition('\n\n')[2]
    return text.replace('``', '`').strip() + '\n'


def main(arguments: list[str] | None = None, docs: Path = _DOCS) -> int:
    """Write the pages, or compare them; 1 when a page on disk is not what it should be."""
    parser = argparse.ArgumentParser(description='Generate docs/config.md and docs/metrics.md.')
    parser.add_argument('--check', action='store_true', help='only tell whether the pages are up to date')
    check = parser.parse_args(arguments).check
    stale = []
    for name, text in (('config.md', config_page(docs / 'samples')), ('metrics.md', metrics_page())):
        page = docs / name
        if check:
            if not page.exists() or page.read_text() != text:
                stale.append(name)
        else:
            page.write_text(text)
    if stale:
        print(f'out of date: {", ".join(stale)}; run python -m s3_sync.config.document', file=sys.stderr)
    return 1 if stale else 0


if __name__ == '__main__':
    sys.exit(main())
