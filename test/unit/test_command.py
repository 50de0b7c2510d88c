"""The command's edges: exit codes, output that nobody reads, terminals that know no Unicode."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from s3_sync import command
from s3_sync.ledger import Ledger, ledger_path
from test.unit.commands.conftest import entry, waiting

COMMANDS = ('check-config', 'status', 'pause', 'resume', 'plan', 'try')


def _config(folder: Path) -> Path:
    path = folder / 'sync.json'
    path.write_text(json.dumps({'status_dir': str(folder / 'state'), 'swift_dir': str(folder),
                                'containers': [entry('one')]}))
    return path


def _filled(folder: Path, names: list[str]) -> Path:
    from s3_sync.config import load
    config = _config(folder)
    settings = load(config)
    with Ledger.open(settings.status_dir) as ledger, ledger.transaction():
        for name in names:
            ledger.record(settings.containers[0].generation, waiting('one', name))
    return config


def _process(*words: str, **options: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, '-m', 's3_sync.command', *words], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, **options)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize('words', [[], ['nonsense'], ['status'], ['failures'], ['failures', 'nonsense'],
                                   ['plan', '--config', 'x', '--limit', '0'], ['failures', 'list', '--kind', 'x']])
def test_wrong_usage_is_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(words)
    assert ended.value.code == 2
    assert 'usage:' in capsys.readouterr().err


@pytest.mark.parametrize('words', [[name] for name in COMMANDS] + [['failures', n] for n in ('list', 'retry', 'drop')])
def test_every_command_explains_itself_within_80_columns(
        words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('COLUMNS', '80')
    with pytest.raises(SystemExit) as ended:
        command.main([*words, '--help'])
    assert ended.value.code == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_output_that_nobody_reads_any_more_ends_the_command_quietly(tmp_path: Path) -> None:
    config = _filled(tmp_path, [f'o{number:05}' for number in range(5000)])
    with _process('failures', 'list', '--config', str(config)) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b'', 141)


def test_a_terminal_without_unicode_gets_paths_that_can_still_be_given_back(tmp_path: Path) -> None:
    config = _filled(tmp_path, ['größe'])
    environment = os.environ | {'PYTHONIOENCODING': 'ascii'}
    with _process('failures', 'list', '--config', str(config), env=environment) as process:
        output, errors = process.communicate()
    assert output.startswith(b'AUTH_a/one/gr%C3%B6%C3%9Fe\n') and errors == b''


def test_a_ledger_that_cannot_be_read_is_1_with_its_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = _filled(tmp_path, ['a'])
    path = Path(ledger_path(str(tmp_path / 'state')))
    path.write_bytes(b'garbage' * 200)
    assert command.main(['status', '--config', str(config)]) == 1
    assert str(path) in capsys.readouterr().err


def test_the_status_folder_may_be_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = _config(tmp_path)
    (tmp_path / 'state').write_text('')
    assert command.main(['status', '--config', str(config)]) == 1
    assert 'Not a directory' in capsys.readouterr().err


def test_only_commands_that_need_green_threads_ask_for_them() -> None:
    """Everything else must work without, however often it is called in one process."""
    program = ('import socket, sys\nfrom s3_sync import command\noriginal = socket.socket\n'
               'command.main(["status", "--config", "/nonexistent"])\nassert socket.socket is original\n'
               'command.main(["plan", "--config", "/nonexistent"])\nassert socket.socket is not original\n')
    subprocess.run([sys.executable, '-c', program], check=True, timeout=60)
