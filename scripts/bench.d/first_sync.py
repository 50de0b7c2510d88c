"""A full container to an empty bucket: local reads, no local reads, rclone; in turns."""
from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from ours import Daemon, mapping
from prometheus import Requests
from rig import Rig, Table, mib, per, ratio

SIZE = 4096


@dataclass(frozen=True)
class Run:
    """``seconds`` and ``cpu`` are for ``objects``, which leave out those done before the first look."""

    objects: int
    seconds: float
    main: float
    workers: float
    peak_main: int
    peak_worker: int
    start_seconds: float
    start_cpu: float
    requests: dict[str, int]

    @property
    def rate(self) -> float:
        return self.objects / self.seconds


def run(rig: Rig, objects: int, rounds: int) -> Table:
    container = 'first'
    rig.fill(container, objects, SIZE)
    runs: dict[str, list[Run]] = {'local reads': [], 'local_reads: off': []}
    theirs = []
    for number in range(rounds):
        for name, reads in (('local reads', 'auto'), ('local_reads: off', 'off')):
            runs[name].append(_ours(rig, container, objects, reads))
            rig.say(f'round {number + 1}, {name}: {runs[name][-1].rate:.0f} objects/s')
        if rig.rclone.available:
            theirs.append(_theirs(rig, container, objects))
            rig.say(f'round {number + 1}, rclone: {theirs[-1].rate:.0f} objects/s')
    table = Table(
        f'First sync of {objects:,} objects of {SIZE} bytes',
        f'From one Swift container to an empty bucket of one SeaweedFS; {rounds} round(s) in turns, medians. Ours: the '
        'daemon with shipped defaults, from the first finished row to the last; its start is told apart. rclone: the '
        'whole process, 16 transfers. CPU is user and system of the program alone, servers not included.',
        ('', 'objects/s', 'times rclone', 'CPU ms/object', 'main', 'workers', 'peak MiB main', 'largest worker',
         'requests', 'start s', 'start CPU s', 'objects/s with start'))
    rclone_rate = median(r.rate for r in theirs) if theirs else None
    for name, done in [*runs.items(), ('rclone', theirs)]:
        if done:
            table.rows.append(_row(name, done, rclone_rate))
    return table


def _row(name: str, runs: list[Run], rclone_rate: float | None) -> tuple[str, ...]:
    middle = sorted(runs, key=lambda r: r.rate)[len(runs) // 2]
    main = median(r.main / r.objects for r in runs)
    workers = median(r.workers / r.objects for r in runs)
    rate = median(r.rate for r in runs)
    start = median(r.start_seconds for r in runs)
    return (name, f'{rate:.0f}', ratio(rate, rclone_rate), per(main + workers, 1), per(main, 1),
            per(workers, 1) if workers else '-', mib(max(r.peak_main for r in runs)),
            mib(max(r.peak_worker for r in runs)) if workers else '-',
            ', '.join(f'{count} {kind}' for kind, count in middle.requests.items()),
            f'{start:.1f}' if workers else '-', f'{median(r.start_cpu for r in runs):.1f}' if workers else '-',
            f'{middle.objects / (middle.objects / rate + start):.0f}')


def _ours(rig: Rig, container: str, objects: int, local_reads: str) -> Run:
    bucket = rig.bucket()
    requests = Requests(rig.endpoint.metrics_url, bucket)
    daemon = Daemon(rig.cluster, [mapping(rig.endpoint, container, bucket, local_reads=local_reads)])
    try:
        with daemon:
            first = daemon.wait_for_rows(1)
            last = daemon.wait_for_rows(objects)
    finally:
        daemon.close()
    counted = requests.since()
    _check(rig, bucket, objects)
    used = [b.since(a) for a, b in zip(first.workers, last.workers, strict=True)]
    return Run(last.rows - first.rows, last.at - first.at, last.main.since(first.main).cpu, sum(u.cpu for u in used),
               last.main.peak, max(u.peak for u in used), first.at - daemon.started,
               first.cpu, counted)


def _theirs(rig: Rig, container: str, objects: int) -> Run:
    bucket = rig.bucket()
    requests = Requests(rig.endpoint.metrics_url, bucket)
    done = rig.rclone.sync(container, bucket)
    counted = requests.since()
    _check(rig, bucket, objects)
    return Run(objects, done.seconds, done.usage.cpu, 0.0, done.usage.peak, 0, 0.0, 0.0, counted)


def _check(rig: Rig, bucket: str, objects: int) -> None:
    found = len(rig.listed(bucket))
    if found != objects:
        raise RuntimeError(f'{found} of {objects} objects arrived')
