"""One static large object, to S3 and to another Swift: throughput and memory."""
from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from filling import mtime
from ours import Daemon, mapping, swift_mapping
from rig import Rig, Table, mib, ratio

POLL_SECONDS = 1.0
SEGMENT_MIB = 32


@dataclass(frozen=True)
class Run:
    name: str
    seconds: float
    cpu: float
    main: int
    worker: int


def run(rig: Rig, size_mib: int) -> Table:
    size = size_mib * 1024 ** 2
    table = Table(
        f'One SLO of {size_mib} MiB in segments of {SEGMENT_MIB} MiB',
        'Ours: from the PUT of the manifest until the copy is done, the wait for the poll (up to '
        f'{POLL_SECONDS:g} s) left out. rclone: the whole process; it writes a plain or multipart object to S3 and a '
        'plain one to Swift. Peak resident memory of the main process and of the largest worker.',
        ('', 'MB/s', 'times rclone', 'CPU s', 'peak MiB main', 'largest worker'))
    targets: dict[str, tuple[Callable[[], str], str]] = {'S3': (rig.bucket, 's3'),
                                                         'Swift': (rig.other_container, 'other')}
    for target, (make, remote) in targets.items():
        runs = [_ours(rig, f'slo-{remote}-{reads}', size, target, make(), reads) for reads in ('auto', 'off')]
        if rig.rclone.available:
            done = rig.rclone.sync(f'slo-{remote}-auto', make(), remote=remote)
            runs.append(Run(f'{target}, rclone', done.seconds, done.usage.cpu, done.usage.peak, 0))
        theirs = size / runs[-1].seconds if rig.rclone.available else None
        for r in runs:
            rig.say(f'{r.name}: {size / r.seconds / 1e6:.0f} MB/s')
            table.rows.append((r.name, f'{size / r.seconds / 1e6:.0f}', ratio(size / r.seconds, theirs),
                               f'{r.cpu:.1f}', mib(r.main), mib(r.worker) if r.worker else '-'))
    return table


def _ours(rig: Rig, container: str, size: int, target: str, bucket: str, reads: str) -> Run:
    segments = f'{container}_segments'
    rig.filler.container(container)
    rig.filler.container(segments)
    rows = rig.filler.write(segments, [f'slo/{number:06}' for number in range(size // (SEGMENT_MIB * 1024 ** 2))],
                            SEGMENT_MIB * 1024 ** 2)
    rig.filler.list(segments, rows)
    manifest = json.dumps([{'path': f'/{segments}/{row["name"]}', 'etag': row['etag'], 'size_bytes': row['size']}
                           for row in rows])
    keys = {'local_reads': reads}
    wanted = (mapping(rig.endpoint, container, bucket, **keys) if target == 'S3'
              else swift_mapping(rig.cluster, container, bucket, **keys))
    daemon = Daemon(rig.cluster, [wanted], poll_interval=POLL_SECONDS)
    try:
        with daemon, closing(rig.cluster.client()) as client:
            daemon.wait_for_poll(every=0.05)
            before = daemon.moment()
            client.put_object(container, 'slo', manifest, query_string='multipart-manifest=put',
                              headers={'X-Object-Meta-Mtime': mtime()})
            placed = time.monotonic()
            began, _ = daemon.wait_for_poll(every=0.05)
            after = daemon.wait_for_rows(before.rows + 1)
    finally:
        daemon.close()
    name = f'{target}, local reads' if reads == 'auto' else f'{target}, local_reads: off'
    return Run(name, after.at - max(began, placed), after.cpu - before.cpu, after.main.peak,
               max(u.peak for u in after.workers))
