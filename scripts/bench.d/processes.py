"""What processes cost, as the kernel counts it."""
from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf('SC_CLK_TCK')


@dataclass(frozen=True)
class Usage:
    """CPU seconds (user and system) and peak resident memory in bytes."""

    cpu: float = 0.0
    peak: int = 0

    def since(self, before: Usage) -> Usage:
        return Usage(self.cpu - before.cpu, self.peak)


def usage(pid: int) -> Usage:
    """Of one process and all its threads; children count for themselves."""
    fields = Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()
    peak = next((line.split()[1] for line in Path(f'/proc/{pid}/status').read_text().splitlines()
                 if line.startswith('VmHWM:')), '0')
    return Usage((int(fields[11]) + int(fields[12])) / TICKS, int(peak) * 1024)


def children(pid: int) -> list[int]:
    return [int(child) for task in Path(f'/proc/{pid}/task').iterdir()
            for child in (task / 'children').read_text().split()]
