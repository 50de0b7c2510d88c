"""Every metric of the project: name, kind, labels, meaning. ``docs/metrics.md`` is generated from this."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal['counter', 'gauge', 'histogram']


@dataclass(frozen=True, slots=True)
class MetricDef:
    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    statsd: str = ''
    """Name of the predecessor's statsd counter that it also feeds."""


OBJECTS = MetricDef('onespace_objects_total', 'counter', ('mapping', 'outcome', 'reason'),
                    'Rows ended, by outcome (copied, updated, deleted, same, excluded, deferred, failed, permanent).')
COPIED = MetricDef('onespace_copied_objects_total', 'counter', ('mapping',),
                   'Objects whose data was sent.', statsd='copied_objects')
BYTES = MetricDef('onespace_bytes_total', 'counter', ('mapping',),
                  'Bytes of objects whose data was sent and accepted.', statsd='bytes')
DELETED = MetricDef('onespace_deleted_objects_total', 'counter', ('mapping',),
                    'Objects deleted at the remote.', statsd='deleted_objects')
SOURCES = MetricDef('onespace_source_opens_total', 'counter', ('origin',),
                    'Local objects opened, by where from (disk, direct, proxy).')
REQUESTS = MetricDef('onespace_remote_requests_total', 'counter', ('remote', 'operation', 'code'),
                     'Requests to the remote by operation and HTTP status ("error" without one).')
LATENCY = MetricDef('onespace_remote_request_seconds', 'histogram', ('remote', 'operation'),
                    'Seconds from sending a request to the end of its answer headers.')
LAG = MetricDef('onespace_lag_seconds', 'gauge', ('mapping',),
                'Age of the oldest change that is not processed yet; 0 when there is none.')
LEDGER = MetricDef('onespace_ledger_entries', 'gauge', ('mapping', 'kind'),
                   'Entries of the ledger: deferred, failed, permanent.')
REMOVALS = MetricDef('onespace_waiting_removals', 'gauge', ('mapping', 'kind'),
                     'Archived objects and segments (kind objects, segments) that wait to be deleted here.')
SEGMENTS = MetricDef('onespace_segments_total', 'counter', ('mapping', 'outcome'),
                     'Archived segments whose turn it was: removed; gone, changed or superseded (not here any more as '
                     'they were archived); kept (the remote no longer has them); waits.')
TOMBSTONES = MetricDef('onespace_tombstones_total', 'counter', ('mapping', 'outcome'),
                       'Tombstones of merged namespaces that were looked at: removed, gone (the remote copy is now, or '
                       'was already); remote-newer, superseded, kept, exclude-pattern (the remote copy stays); dropped '
                       '(rows of markers that are gone); deferred, '
                       'failed, permanent.')
SHUNT = MetricDef('onespace_shunt_requests_total', 'counter', ('verb', 'outcome', 'mapping'),
                  'Decisions of a proxy about a remote, of which a request may take several: served, absent '
                  '(reads); '
                  'listed, partial (listings); created (containers made as at the remote); '
                  'exists (a PUT with If-None-Match); updated, denied (POST); marked, removed, later (DELETE: a marker '
                  'was written, the remote copy is gone, the daemon finishes it); undone (the local delete failed); '
                  'kept (a container that has objects at the remote); '
                  'unavailable. Proxies only.')
RESTORES = MetricDef('onespace_restores_total', 'counter', ('outcome', 'reason', 'mapping'),
                     'Objects at a remote that a GET was to bring back, by outcome (restored; already, newer: it is '
                     'here; deleted; failed) and reason. Proxies only.')
SWEEP_SECONDS = MetricDef('onespace_sweep_seconds', 'histogram', (),
                          'Seconds that finding the unreferenced archived objects of one account took.')
POLL_SECONDS = MetricDef('onespace_poll_seconds', 'histogram', (), 'Seconds that one look at all containers took.')
DATABASES = MetricDef('onespace_container_databases', 'gauge', ('state',),
                      'Container databases of this node: idle (nothing to do), active.')
PAUSED = MetricDef('onespace_mapping_paused', 'gauge', ('mapping',), '1 while an operator has paused the mapping.')
REMOTE_HELD = MetricDef('onespace_remote_held', 'gauge', ('mapping',),
                        '1 while the mapping waits because its remote does not work.')
CONFIG_OK = MetricDef('onespace_config_ok', 'gauge', (),
                      '0 while the file on disk is refused and the last good one is in use.')

ALL: tuple[MetricDef, ...] = tuple(v for v in list(globals().values()) if isinstance(v, MetricDef))
