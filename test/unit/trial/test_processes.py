from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from s3_sync.trial.ports import Ports
from s3_sync.trial.processes import Processes, Server, ServerError, accepts

SERVE = """
import socket, subprocess, sys
if 'child' in sys.argv:
    child = subprocess.Popen(['sleep', '600'])
    print('child', child.pid, flush=True)
if 'stubborn' in sys.argv:
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
server = socket.create_server(('127.0.0.1', int(sys.argv[1])))
while True:
    server.accept()[0].close()
"""


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path / 'logs') as processes:
        yield processes


@pytest.fixture
def port() -> Iterator[int]:
    ports = Ports()
    yield ports.reserve()
    ports.close()


def server(port: int, *options: str, stop_seconds: float = 10) -> Server:
    return Server('it', [sys.executable, '-S', '-c', SERVE, str(port), *options],
                  ready=lambda: accepts('127.0.0.1', port), stop_seconds=stop_seconds)


def script(text: str, *, start_seconds: float = 30) -> Server:
    return Server('it', [sys.executable, '-S', '-c', text], ready=lambda: False, start_seconds=start_seconds)


def test_it_serves_when_started_and_is_gone_when_stopped(processes: Processes, port: int) -> None:
    processes.add(server(port))
    for _ in range(2):
        processes.start('it')
        assert accepts('127.0.0.1', port) and processes.running('it')
        processes.stop('it')
        assert not accepts('127.0.0.1', port) and not processes.running('it')


def test_starting_twice_keeps_the_first(processes: Processes, port: int) -> None:
    processes.add(server(port))
    processes.start('it')
    pid = processes.pid('it')
    processes.start('it')
    assert processes.pids() == [pid]


def test_a_server_that_ends_while_starting_is_reported_with_its_last_words(processes: Processes) -> None:
    processes.add(script('import sys; sys.exit("no such device")'))
    with pytest.raises(ServerError, match='ended with 1(.|\n)*no such device'):
        processes.start('it')


def test_a_server_that_never_gets_ready_is_reported_and_killed(processes: Processes) -> None:
    processes.add(script('print("thinking", flush=True); import time; time.sleep(600)', start_seconds=0.5))
    with pytest.raises(ServerError, match='not ready within 0.5 s(.|\n)*thinking'):
        processes.start('it')
    assert not processes.running('it')


def test_a_server_that_ignores_sigterm_is_killed(processes: Processes, port: int) -> None:
    processes.add(server(port, 'stubborn', stop_seconds=0.1))
    processes.start('it')
    processes.stop('it')
    assert not accepts('127.0.0.1', port)


@pytest.mark.parametrize('end', ['stop', 'kill9'])
def test_what_a_server_has_started_ends_with_it(processes: Processes, port: int, end: str) -> None:
    processes.add(server(port, 'child'))
    processes.start('it')
    child = int(processes.log_tail('it').split()[-1])
    getattr(processes, end)('it')
    state = Path(f'/proc/{child}/stat')
    assert not state.exists() or state.read_text().rsplit(')', 1)[1].split()[0] in ('Z', 'X')


def test_a_command_runs_to_its_end_with_its_environment(processes: Processes) -> None:
    processes.run_once('tell', [sys.executable, '-S', '-c', 'import os; print(os.environ["WORD"])'],
                       env={'WORD': 'loud'})
    assert processes.log_tail('tell') == 'loud'


def test_a_command_that_fails_or_hangs_is_reported(processes: Processes) -> None:
    with pytest.raises(ServerError, match='exited with 7'):
        processes.run_once('bad', [sys.executable, '-S', '-c', 'import os; os._exit(7)'])
    with pytest.raises(ServerError, match='still running after 0.2 s'):
        processes.run_once('slow', ['sleep', '600'], seconds=0.2)


def test_children_do_not_share_our_process_group(processes: Processes, port: int) -> None:
    processes.add(server(port))
    processes.start('it')
    assert os.getpgid(processes.pid('it')) == processes.pid('it') != os.getpgid(0)
