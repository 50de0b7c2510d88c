"""From a client's PUT to its copy being there, on a system that does nothing else."""
from __future__ import annotations

import threading
import time
from contextlib import closing
from random import Random
from statistics import quantiles

from ours import Daemon, mapping
from rig import Rig, Table

PAUSE_SECONDS = 0.4
LOOK_SECONDS = 0.05
POLL_SECONDS = 5.0


def run(rig: Rig, puts: int) -> Table:
    container = 'latency'
    rig.filler.container(container)
    bucket = rig.bucket()
    daemon = Daemon(rig.cluster, [mapping(rig.endpoint, container, bucket)])
    done: dict[str, float] = {}
    seen: dict[str, float] = {}
    try:
        with daemon:
            daemon.wait_for_poll()
            writer = threading.Thread(target=_write, args=(rig, container, puts, done))
            writer.start()
            while len(seen) < puts:
                names = rig.listed(bucket)
                now = time.monotonic()
                for name in names:
                    seen.setdefault(name, now)
                time.sleep(LOOK_SECONDS)
            writer.join()
    finally:
        daemon.close()
    waits = sorted(seen[name] - done[name] for name in done)
    cuts = quantiles(waits, n=100)
    table = Table(
        'PUT to visible at the remote',
        f'{puts} objects of 4096 bytes, one after the other with random pauses (mean {PAUSE_SECONDS} s), '
        f'`poll_interval` {POLL_SECONDS:g} s (the default); from the answer to the PUT until a listing of the bucket, '
        f'taken every {LOOK_SECONDS} s, has the name.',
        ('', 'p50', 'p99', 'longest'))
    table.rows.append(('seconds', f'{cuts[49]:.2f}', f'{cuts[98]:.2f}', f'{waits[-1]:.2f}'))
    return table


def _write(rig: Rig, container: str, puts: int, done: dict[str, float]) -> None:
    random = Random(1)
    with closing(rig.cluster.client()) as client:
        for number in range(puts):
            name = f'object-{number}'
            client.put_object(container, name, b'x' * 4096)
            done[name] = time.monotonic()
            time.sleep(random.uniform(0, 2 * PAUSE_SECONDS))
