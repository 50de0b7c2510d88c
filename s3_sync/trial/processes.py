"""Child servers that start when they say so, stop when told, and never outlive their owner.

Each server leads a process group of its own (a Ctrl-C in the terminal reaches
only the owner, which then stops them in order), writes to one log file, and is
killed by the kernel when the owner dies. A server counts as started when its
probe succeeds; when it does not, the error carries the end of its log.
"""
from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType

from s3_sync.clock import Clock, SystemClock
from s3_sync.errors import Error

POLL_SECONDS = 0.02
GROUP_SECONDS = 2.0
TAIL_LINES = 30
LAUNCHER = Path(__file__).with_name('die_with_parent.py')

# The kernel watches the *thread* that started a child, so all children are started by one that lives as long
# as the interpreter. It must not be replaced by a direct call from a thread of the moment.
_STARTER = ThreadPoolExecutor(max_workers=1, thread_name_prefix='child-starter')


class ServerError(Error):
    """A trial server did not start, or ended by itself."""


@dataclass(frozen=True, slots=True)
class Server:
    """How to run one server and how to see that it is ready."""

    name: str
    command: Sequence[str]
    ready: Callable[[], bool]
    """True when the server serves; False or OSError: not yet."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to our own environment."""
    start_seconds: float = 30.0
    stop_seconds: float = 10.0
    """How long it may take to end by itself after SIGTERM."""


class Processes:
    """The servers of one cluster or endpoint, by name. Use as a context manager or call ``close``."""

    def __init__(self, log_folder: Path, *, clock: Clock | None = None) -> None:
        self.log_folder = log_folder
        self._clock = clock or SystemClock()
        self._servers: dict[str, Server] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        log_folder.mkdir(parents=True, exist_ok=True)

    def add(self, server: Server) -> None:
        """Make a server known without starting it. Adding a name again replaces how it starts next."""
        self._servers[server.name] = server

    def start(self, *names: str) -> None:
        """Start servers together and wait until all are ready. Those that run already are left alone.

        Raises ServerError, with none of the new ones left running, when one of them fails.
        """
        new = [name for name in names if not self.running(name)]
        for name in new:
            self._running[name] = self._spawn(self._servers[name])
        try:
            for name in new:
                self._wait_ready(self._servers[name], self._running[name])
        except BaseException:
            self.stop(*new)
            raise

    def stop(self, *names: str) -> None:
        """SIGTERM, then SIGKILL for those that do not listen; returns when the processes are gone."""
        processes = {name: self._running.pop(name) for name in names if name in self._running}
        for process in processes.values():
            _signal_group(process, signal.SIGTERM)
        begin = self._clock.monotonic()
        for name, process in processes.items():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, begin + self._servers[name].stop_seconds - self._clock.monotonic()))
            self._kill_group(process)

    def kill9(self, *names: str) -> None:
        """SIGKILL to the whole group of each; returns when the processes are gone."""
        for name in names:
            process = self._running.pop(name, None)
            if process is not None:
                self._kill_group(process)

    def running(self, name: str) -> bool:
        process = self._running.get(name)
        return process is not None and process.poll() is None

    def pid(self, name: str) -> int:
        """Process id of a started server; KeyError when it was not started."""
        return self._running[name].pid

    def pids(self) -> list[int]:
        """Process ids of all that run."""
        return [process.pid for process in self._running.values() if process.poll() is None]

    def run_once(self, name: str, command: Sequence[str], *, env: Mapping[str, str] | None = None,
                 seconds: float = 60.0) -> None:
        """Run a command to its end with the same care; ServerError when it fails or takes longer."""
        process = self._spawn(Server(name, command, ready=lambda: True, env=env or {}))
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ServerError(f'{name} is still running after {seconds} s\n{self.log_tail(name)}') from None
        finally:
            self._kill_group(process)
        if code != 0:
            raise ServerError(f'{name} exited with {code}\n{self.log_tail(name)}')

    def log_path(self, name: str) -> Path:
        return self.log_folder / f'{name}.log'

    def log_tail(self, name: str, lines: int = TAIL_LINES) -> str:
        """The last lines that a server wrote; '' when it wrote none."""
        try:
            text = self.log_path(name).read_text(errors='replace')
        except FileNotFoundError:
            return ''
        return '\n'.join(text.splitlines()[-lines:])

    def close(self) -> None:
        """Stop everything, in the reverse order of starting."""
        self.stop(*reversed(self._running))

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def _spawn(self, server: Server) -> subprocess.Popen[bytes]:
        command = [sys.executable, '-I', '-S', str(LAUNCHER), str(os.getpid()), *server.command]
        with self.log_path(server.name).open('ab') as log:
            return _STARTER.submit(
                subprocess.Popen, command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env={**os.environ, **server.env}, start_new_session=True).result()

    def _kill_group(self, process: subprocess.Popen[bytes]) -> None:
        """SIGKILL to a server and all that it has started; returns when they are gone."""
        _signal_group(process, signal.SIGKILL)
        process.wait()
        deadline = self._clock.monotonic() + GROUP_SECONDS
        while _group_lives(process.pid) and self._clock.monotonic() < deadline:
            self._clock.sleep(POLL_SECONDS / 10)

    def _wait_ready(self, server: Server, process: subprocess.Popen[bytes]) -> None:
        deadline = self._clock.monotonic() + server.start_seconds
        while True:
            code = process.poll()
            if code is not None:
                raise ServerError(f'{server.name} ended with {code} while starting\n{self.log_tail(server.name)}')
            try:
                if server.ready():
                    return
            except OSError:
                pass
            if self._clock.monotonic() > deadline:
                raise ServerError(f'{server.name} ({_doing(process.pid)}) was not ready within '
                                  f'{server.start_seconds} s\n{self.log_tail(server.name)}')
            self._clock.sleep(POLL_SECONDS)


def accepts(address: str, port: int) -> bool:
    """A probe: somebody listens there."""
    try:
        socket.create_connection((address, port), timeout=2).close()
    except OSError:
        return False
    return True


def answers(address: str, port: int, path: str, expected: int = 200) -> bool:
    """A probe: a plain GET is answered with this status."""
    connection = HTTPConnection(address, port, timeout=5)
    try:
        connection.request('GET', path)
        response = connection.getresponse()
        response.read()
        return response.status == expected
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _doing(pid: int) -> str:
    """State and command line of a process, for messages; '' when it is gone. No environment: that has secrets."""
    folder = Path(f'/proc/{pid}')
    try:
        state = (folder / 'stat').read_text(errors='replace').rsplit(')', 1)[1].split()[0]
        waits = (folder / 'wchan').read_text()
        command = (folder / 'cmdline').read_bytes().replace(b'\0', b' ').decode(errors='replace').strip()
    except OSError:
        return ''
    return f'pid {pid}, state {state} {waits}, {command}'


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """To the server and whatever it started; nothing when they are all gone."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _group_lives(group: int) -> bool:
    """Whether any process of the group still runs. Zombies do not count: some init may take its time with them."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    for stat in Path('/proc').glob('[0-9]*/stat'):
        try:
            state, _parent, its_group = stat.read_text(errors='replace').rsplit(')', 1)[1].split()[:3]
        except OSError:
            continue  # gone meanwhile
        if int(its_group) == group and state not in 'ZX':
            return True
    return False
