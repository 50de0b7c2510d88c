"""``scripts/bench``: the figures of docs/benchmarks.md. Nothing is asserted; a run says what it found."""
from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

with warnings.catch_warnings():
    warnings.filterwarnings('ignore', message='\nEventlet is deprecated')
    import first_sync
    import idle
    import large
    import large_slo
    import latency
    import machine
    import report
    import shunt
    import steady
    from filling import Filler
    from rclone import Rclone
    from rig import Rig, Table

    from s3_sync.trial.s3_endpoint import S3Endpoint
    from s3_sync.trial.swift_cluster import SwiftCluster

PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'benchmarks.md'


def main() -> None:
    options = _options()
    benches: dict[str, Callable[[Rig], Table | Iterator[Table]]] = {
        'first': lambda rig: first_sync.run(rig, options.objects, options.rounds),
        'steady': lambda rig: steady.run(rig, options.steady_objects),
        'large': lambda rig: large.run(rig, options.large_mib),
        'slo': lambda rig: large_slo.run(rig, options.large_mib),
        'latency': lambda rig: latency.run(rig, options.puts),
        'idle': lambda rig: idle.run(rig, options.containers),
        'shunt': shunt.run,
    }
    wanted = [name for name in benches if not options.benches or name in options.benches]
    about = machine.describe()
    available = bool(machine.rclone_version())
    if not available:
        _say('rclone is not installed (on Debian: apt-get install rclone); its side is left out')
    tables: list[Table] = []
    with SwiftCluster() as cluster, S3Endpoint() as endpoint:
        rig = Rig(cluster, endpoint, Filler(cluster), Rclone(cluster, endpoint, available=available), _say)
        for name in wanted:
            _say(f'== {name}')
            found = benches[name](rig)
            for table in [found] if isinstance(found, Table) else found:
                tables.append(table)
                print(report.section(table), flush=True)
    output = options.output or (PAGE if len(wanted) == len(benches) else None)
    if output is not None:
        output.write_text(report.page(about, tables))
        _say(f'written to {output}')


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='scripts/bench', description=__doc__)
    parser.add_argument('benches', nargs='*', metavar='BENCH', default=[],
                        help='first, steady, large, slo, latency, idle, shunt; default: all, for docs/benchmarks.md')
    parser.add_argument('--objects', type=int, default=5000, help='of the first sync (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=3, help='of the first sync (default: %(default)s)')
    parser.add_argument('--steady-objects', type=int, default=50_000, help='(default: %(default)s)')
    parser.add_argument('--large-mib', type=int, default=1024, help='size of the large object (default: %(default)s)')
    parser.add_argument('--puts', type=int, default=200, help='of the latency bench (default: %(default)s)')
    parser.add_argument('--containers', type=int, default=10_000, help='idle ones (default: %(default)s)')
    parser.add_argument('--output', type=Path, help='write the page there')
    options = parser.parse_args()
    unknown = set(options.benches) - {'first', 'steady', 'large', 'slo', 'latency', 'idle', 'shunt'}
    if unknown:
        parser.error(f'no such bench: {", ".join(sorted(unknown))}')
    return options


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == '__main__':
    main()
