"""One large object: throughput and memory."""
from __future__ import annotations

from ours import Daemon, mapping
from prometheus import Requests
from rig import Rig, Table, mib, ratio

POLL_SECONDS = 1.0


def run(rig: Rig, size_mib: int) -> Table:
    size = size_mib * 1024 ** 2
    table = Table(
        f'One object of {size_mib} MiB', 'Ours: from the begin of the poll that finds it until it is copied. rclone: '
        'the whole process. Peak resident memory of the main process and of the largest worker.',
        ('', 'MB/s', 'times rclone', 'CPU s', 'peak MiB main', 'largest worker', 'requests'))
    results = []
    for name, reads in (('local reads', 'auto'), ('local_reads: off', 'off')):
        results.append((name, *_ours(rig, f'large-{reads}', size, reads)))
        rig.say(f'{name}: {size / results[-1][1] / 1e6:.0f} MB/s')
    if rig.rclone.available:
        bucket = rig.bucket()
        requests = Requests(rig.endpoint.metrics_url, bucket)
        done = rig.rclone.sync('large-auto', bucket)
        results.append(('rclone', done.seconds, done.usage.cpu, done.usage.peak, 0, requests.since()))
    theirs = size / results[-1][1] if rig.rclone.available else None
    for name, seconds, cpu, main, worker, counted in results:
        table.rows.append((name, f'{size / seconds / 1e6:.0f}', ratio(size / seconds, theirs), f'{cpu:.1f}', mib(main),
                           mib(worker) if worker else '-', ', '.join(f'{v} {k}' for k, v in counted.items())))
    return table


def _ours(rig: Rig, container: str, size: int, reads: str) -> tuple[float, float, int, int, dict[str, int]]:
    rig.filler.container(container)
    rows = rig.filler.write(container, ['large'], size)
    bucket = rig.bucket()
    requests = Requests(rig.endpoint.metrics_url, bucket)
    daemon = Daemon(rig.cluster, [mapping(rig.endpoint, container, bucket, local_reads=reads)],
                    poll_interval=POLL_SECONDS)
    try:
        with daemon:
            daemon.wait_for_poll(every=0.05)
            rig.filler.list(container, rows)
            before = daemon.moment()
            began, _ = daemon.wait_for_poll(every=0.05)
            after = daemon.wait_for_rows(before.rows + 1)
    finally:
        daemon.close()
    return (after.at - began, after.cpu - before.cpu, after.main.peak, max(u.peak for u in after.workers),
            requests.since())
