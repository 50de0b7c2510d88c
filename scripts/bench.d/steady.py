"""Ten changes in a container that is in step, found by the running daemon and by rclone."""
from __future__ import annotations

import os
import time
from contextlib import closing
from statistics import median

from filling import mtime
from ours import Daemon, mapping
from prometheus import Requests
from rclone import BEST
from rig import Rig, Table, mib, name, ratio

CHANGES = 10
ROUNDS = 5
POLL_SECONDS = 4.0
CONTAINER = 'steady'


def run(rig: Rig, objects: int) -> Table:
    rig.fill(CONTAINER, objects, 4096)
    ours, theirs = rig.bucket(), rig.bucket()
    names = sorted(map(name, range(objects)))
    daemon = Daemon(rig.cluster, [mapping(rig.endpoint, CONTAINER, bucket) for bucket in (ours, theirs)])
    try:
        rig.say(f'both buckets filled by the daemon in {daemon.once():.0f} s')
        daemon.use([mapping(rig.endpoint, CONTAINER, ours)], poll_interval=POLL_SECONDS)
        requests = Requests(rig.endpoint.metrics_url, ours)
        found = []
        with daemon:
            for number in range(ROUNDS):
                found.append(_one_round(rig, daemon, names[number::ROUNDS]))
                rig.say(f'round {number + 1}: found and copied {found[-1]:.2f} s after the poll began')
            peak = daemon.moment()
        counted = requests.since()
        table = _table(objects, found)
        table.rows.append(('ours, a round', f'{median(found):.2f}', '1',
                           _told({k: v / ROUNDS for k, v in counted.items()}), '-', mib(peak.main.peak)))
        if rig.rclone.available:
            daemon.use([mapping(rig.endpoint, CONTAINER, theirs)])
            _add_rclone(rig, daemon, table, theirs, names, median(found))
        return table
    finally:
        daemon.close()


def _table(objects: int, found: list[float]) -> Table:
    return Table(
        f'{CHANGES} changes in a synchronised container of {objects:,} objects',
        'Overwritten through the proxy. Ours: the running daemon, from the begin of the poll that finds them until '
        f'they are copied, median of {ROUNDS} rounds ({min(found):.2f} to {max(found):.2f} s). rclone: the whole '
        '`rclone sync`, 16 transfers; it compares modification times, which uploads by rclone have, so it need not '
        'look at contents.',
        ('', 'seconds', 'times ours', 'requests', 'CPU s', 'peak MiB'))


def _one_round(rig: Rig, daemon: Daemon, names: list[str]) -> float:
    """Seconds from the poll that sees the changes until they are copied."""
    before = daemon.wait_for_poll()
    rows = daemon.moment().rows
    _change(rig, CONTAINER, names)
    if time.monotonic() - before[0] > POLL_SECONDS - 0.5:
        rig.say('the changes took longer than the pause between two polls; this round looks slower than it was')
    began, _ = daemon.wait_for_poll()
    return daemon.wait_for_rows(rows + CHANGES, every=0.01).at - began


def _change(rig: Rig, container: str, names: list[str]) -> None:
    step = max(1, len(names) // CHANGES)
    with closing(rig.cluster.client()) as client:
        for name in names[::step][:CHANGES]:
            client.put_object(container, name, os.urandom(4096), headers={'X-Object-Meta-Mtime': mtime()})


def _add_rclone(rig: Rig, daemon: Daemon, table: Table, bucket: str, names: list[str], ours: float) -> None:
    """The daemon, not running, brings rclone's bucket into step again before each run."""
    requests = Requests(rig.endpoint.metrics_url, bucket)
    for flags in (BEST, ()):
        daemon.once()
        _change(rig, CONTAINER, names)
        requests.since()
        done = rig.rclone.sync(CONTAINER, bucket, *flags)
        rig.say(f'rclone {" ".join(flags)}: {done.seconds:.1f} s')
        table.rows.append((' '.join(('rclone', *flags)), f'{done.seconds:.2f}', ratio(done.seconds, ours),
                           _told(requests.since()), f'{done.usage.cpu:.1f}', mib(done.usage.peak)))


def _told(counts: dict[str, float] | dict[str, int]) -> str:
    return ', '.join(f'{count:g} {kind}' for kind, count in counts.items())
