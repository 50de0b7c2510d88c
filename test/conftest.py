"""What holds for every test: no network but loopback, no unannounced warnings, nothing left behind."""
from __future__ import annotations

import ipaddress
import logging
import os
import re
import signal
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

OUR_LOGGERS = ('s3_sync', 'container_crawler')
RUN_MARK = 'ONESPACE_TEST_RUN'

settings.register_profile('ci', derandomize=True, deadline=None, print_blob=True,
                          suppress_health_check=[HealthCheck.too_slow])
settings.register_profile('dev', deadline=None)
settings.load_profile(os.environ.get('HYPOTHESIS_PROFILE', 'ci'))

# -- loopback only ------------------------------------------------------------------------


class LeftTheMachine(Exception):
    """A test tried to talk to something that is not on this machine."""


def _refuse_other_hosts(event: str, args: tuple[object, ...]) -> None:
    if event in ('socket.connect', 'socket.sendto'):
        address = args[1]
        if isinstance(address, tuple) and not _is_loopback(address[0]):
            raise LeftTheMachine(f'{event} to {address[0]}')
    elif event == 'socket.getaddrinfo' and not _is_loopback(args[0]):
        raise LeftTheMachine(f'{event} of {args[0]}')


def _is_loopback(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode('ascii', 'replace')
    if not host or host == 'localhost':
        return True
    try:
        address = ipaddress.ip_address(str(host))
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


# -- log records --------------------------------------------------------------------------


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class ExpectedWarnings:
    """Call it with regular expressions: each must be found in a record of WARNING or above, or the test fails."""

    def __init__(self) -> None:
        self.patterns: list[str] = []

    def __call__(self, *patterns: str) -> None:
        self.patterns.extend(patterns)


@pytest.fixture
def expected_warnings() -> ExpectedWarnings:
    """Announce warnings of our own loggers: ``expected_warnings(r'remote .* refused')``."""
    return ExpectedWarnings()


@pytest.fixture(autouse=True)
def _no_unannounced_warnings(expected_warnings: ExpectedWarnings) -> Iterator[None]:
    collector = _Collector()
    loggers = [logging.getLogger(name) for name in OUR_LOGGERS]
    for logger in loggers:
        logger.addHandler(collector)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(collector)
    messages = [f'{record.levelname} {record.name}: {record.getMessage()}' for record in collector.records]
    unexpected = [m for m in messages if not any(re.search(p, m) for p in expected_warnings.patterns)]
    missing = [p for p in expected_warnings.patterns if not any(re.search(p, m) for m in messages)]
    assert not unexpected, 'unexpected log records:\n' + '\n'.join(unexpected)
    assert not missing, 'announced, but never logged:\n' + '\n'.join(missing)


# -- child processes ----------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    os.environ[RUN_MARK] = uuid.uuid4().hex
    _forget_the_users_clouds()
    sys.addaudithook(_refuse_other_hosts)


def _forget_the_users_clouds() -> None:
    """Whoever runs the tests may have credentials and proxies; no test may find them."""
    for name in list(os.environ):
        if name.startswith(('AWS_', 'OS_', 'ST_')) or name.lower().endswith('_proxy'):
            del os.environ[name]
    os.environ |= {'AWS_EC2_METADATA_DISABLED': 'true', 'AWS_CONFIG_FILE': os.devnull,
                   'AWS_SHARED_CREDENTIALS_FILE': os.devnull}


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Every process that any test started carries the mark in its environment, whoever its parent is now."""
    leaked = dict(_marked_processes(os.environ[RUN_MARK]))
    for pid in leaked:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    if leaked:
        sys.stderr.write('\nleaked processes (killed now):\n' + '\n'.join(
            f'  {pid} {command}' for pid, command in leaked.items()) + '\n')
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _marked_processes(mark: str) -> Iterator[tuple[int, str]]:
    wanted = f'{RUN_MARK}={mark}'.encode()
    for folder in Path('/proc').glob('[0-9]*'):
        pid = int(folder.name)
        try:
            if pid != os.getpid() and wanted in (folder / 'environ').read_bytes().split(b'\0'):
                yield pid, (folder / 'cmdline').read_bytes().replace(b'\0', b' ').decode(errors='replace')
        except OSError:
            continue  # gone meanwhile, or another user's


@pytest.fixture
def fresh_name() -> Callable[[str], str]:
    """Names that no other test uses, good for buckets and containers."""
    return lambda prefix: f'{prefix}-{uuid.uuid4().hex[:12]}'
