"""Ten thousand containers in which nothing happens."""
from __future__ import annotations

import time

from ours import Daemon, mapping
from processes import usage
from prometheus import Requests, total
from rig import Rig, Table, mib

ACCOUNT = 'AUTH_idle'
POLLS = 5
POLL_SECONDS = 2.0
QUIET_SECONDS = 3.0
"""Longer than the pause between polls, so that it has not merely been waiting for one."""
QUIET_CORES = 0.25
"""A poll of idle containers uses less of a core; what is more is work."""


def run(rig: Rig, containers: int) -> Table:
    started = time.monotonic()
    rig.filler.idle_account(ACCOUNT, [f'container-{number:06}' for number in range(containers)])
    rig.say(f'made {containers} container databases in {time.monotonic() - started:.0f} s')
    bucket = rig.bucket()
    table = Table(
        f'{containers:,} idle containers',
        f'One mapping of the whole account (`/*`), one replica of every database on this node. Start: from the '
        f'process\' start until its main process came to rest (less than {QUIET_CORES:g} of a core for '
        f'{QUIET_SECONDS:g} s). A poll: CPU of the main process '
        f'from the begin of one poll to the begin of the next, mean of {POLLS}, `poll_interval` {POLL_SECONDS:g} s '
        '(so everything that comes round is included).',
        ('', 'start s', 'start CPU s', 'CPU s of a poll', 'seconds of a poll', 'peak MiB main', 'remote requests'))
    daemon = Daemon(rig.cluster, [mapping(rig.endpoint, '/*', bucket, account=ACCOUNT, custom_prefix=None)],
                    poll_interval=POLL_SECONDS)
    try:
        for name in ('new ledger', 'restart'):
            table.rows.append((name, *_one_life(rig, daemon, bucket)))
            rig.say(' '.join(table.rows[-1]))
    finally:
        daemon.close()
    return table


def _one_life(rig: Rig, daemon: Daemon, bucket: str) -> tuple[str, ...]:
    requests = Requests(rig.endpoint.metrics_url, bucket)
    with daemon:
        daemon.wait_for_poll()
        seconds, cpu = _until_quiet(daemon)
        daemon.wait_for_poll()
        before, samples = daemon.moment(), daemon.scrape()
        time.sleep(POLLS * POLL_SECONDS - 0.5)  # asking would cost it more than its work
        daemon.wait_for_poll()
        after, later = daemon.moment(), daemon.scrape()
        took = total(later, 'onespace_poll_seconds_sum') - total(samples, 'onespace_poll_seconds_sum')
        return (f'{seconds:.1f}', f'{cpu:.1f}', f'{after.main.since(before.main).cpu / POLLS:.3f}',
                f'{took / POLLS:.3f}', mib(after.main.peak),
                ', '.join(f'{v} {k}' for k, v in requests.since().items()) or '0')


def _until_quiet(daemon: Daemon) -> tuple[float, float]:
    """Seconds since the start until the main process last worked, and the CPU of all processes until then."""
    assert daemon.process is not None
    pid = daemon.process.pid
    window = [(time.monotonic(), usage(pid).cpu)]
    while True:
        time.sleep(0.1)
        window.append((time.monotonic(), usage(pid).cpu))
        window = [point for point in window if window[-1][0] - point[0] <= QUIET_SECONDS + 0.2]
        if window[-1][0] - window[0][0] >= QUIET_SECONDS and window[-1][1] - window[0][1] < QUIET_SECONDS * QUIET_CORES:
            now = daemon.moment()
            return window[0][0] - daemon.started, now.cpu
