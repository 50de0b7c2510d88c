"""Merged listings of more than one remote page while the remote goes wrong: a name is never lost in silence."""
from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from s3_sync.trial.s3_endpoint import S3Endpoint
from test.servers.fault_proxy import Answer, Fault, ResetResponse, Stall, Truncate
from test.servers.merged import MergedContainer, MergedWorld, merged_world
from test.servers.sync_daemon import eventually

# Swift replaces the log handler of a pipeline that is loaded again, and forgets to close its UDP socket.
pytestmark = [pytest.mark.filterwarnings('ignore:unclosed <socket.socket .*type=2:ResourceWarning'),
              # So does its proxy application with a connection that was refused.
              pytest.mark.filterwarnings(r'ignore:unclosed <socket.socket \[closed\]:ResourceWarning')]

REMOTE = [f'{number:05}' for number in range(1100)]
"""More than the 1,000 of a page of S3."""
HERE = [f'{number:05}-here' for number in range(0, 1100, 110)]
FAULTS: list[Fault] = [Answer(500), Answer(403), Answer(429, {'Retry-After': '17'}), ResetResponse(), Truncate(500),
                       Answer(200, {}, b'<html>not a listing</html>'), Answer(200, {}, b''), Stall(4)]


@pytest.fixture(scope='module')
def world(s3: S3Endpoint) -> Iterator[MergedWorld]:
    with merged_world(s3) as made:
        whole = made.add('failing', 's3', bucket='listed-remote', remote_timeout=2)
        made.add('partial', 's3', aws_bucket='listed-remote', remote_timeout=2, on_remote_error='partial')
        made.configure()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: whole.remote.put(name, b'x'), REMOTE))
        for container in ('failing', 'partial'):
            for name in HERE:
                made.plain.put_object(container, name, b'y')
        yield made


def listed(container: MergedContainer, query: str = '') -> list[str]:
    answer = container.ask('GET', '', query=query)
    assert answer.status_code in (200, 204)
    return answer.text.split('\n')[:-1]


def well(container: MergedContainer) -> None:
    """Whatever was wrong is over, and so is its breaker's pause."""
    container.faults.clear()
    eventually(lambda: container.ask('GET', '', query='?limit=1').headers.get('x-1space-partial') is None
               and container.status('GET', '', query='?limit=1') == 200, 'the remote is asked again')


@pytest.mark.parametrize('fault', FAULTS, ids=repr)
@pytest.mark.parametrize('at', ['failing'], indirect=True)
def test_a_page_that_fails_in_the_middle_fails_the_listing(at: MergedContainer, fault: Fault) -> None:
    rule = at.faults.fail(fault, method='GET', path='/listed-remote', nth=2, times=5)
    answer = at.ask('GET', '')
    assert rule.hits
    assert answer.status_code == 503
    assert int(answer.headers['retry-after']) >= (17 if isinstance(fault, Answer) and fault.status == 429 else 1)
    well(at)
    assert listed(at) == sorted(REMOTE + HERE)


@pytest.mark.parametrize('fault', FAULTS, ids=repr)
@pytest.mark.parametrize('at', ['partial'], indirect=True)
def test_or_it_is_told_that_names_are_missing_behind_it(at: MergedContainer, fault: Fault) -> None:
    rule = at.faults.fail(fault, method='GET', path='/listed-remote', nth=2, times=5)
    answer = at.ask('GET', '')
    assert rule.hits
    assert (answer.status_code, answer.headers['x-1space-partial']) == (200, 'AUTH_test/partial')
    found = answer.text.split('\n')[:-1]
    assert found == sorted(found)
    assert set(HERE) <= set(found) <= {*HERE, *REMOTE[:1000]}
    well(at)
    assert listed(at) == sorted(REMOTE + HERE)


@pytest.mark.parametrize('at', ['failing'], indirect=True)
@pytest.mark.parametrize('size', [7, 999, 1000, 1001])
def test_paging_over_the_remotes_own_pages_loses_and_doubles_nothing(at: MergedContainer, size: int) -> None:
    wanted = sorted(REMOTE + HERE)
    found: list[str] = []
    if size == 7:  # around the end of the remote's first page
        wanted = wanted[wanted.index('00980'):wanted.index('01020')]
    while True:
        page = listed(at, f'?limit={size}&end_marker={"01020" if size == 7 else ""}'
                          f'&marker={found[-1] if found else "00979-z" if size == 7 else ""}')
        found += page
        if not page:
            break
    assert found == wanted


@pytest.mark.parametrize('at', ['failing'], indirect=True)
@pytest.mark.parametrize('query', ['?marker=99999', '?marker=%EF%BF%BD', '?marker=01099', '?prefix=none',
                                   '?end_marker=!', '?reverse=1&marker=!', '?marker=5&end_marker=3'])
def test_markers_past_the_end_are_empty_pages(at: MergedContainer, query: str) -> None:
    answer = at.ask('GET', '', query=query)
    assert (answer.status_code, answer.text) == (204, '')
    assert at.ask('GET', '', query=f'{query}&format=json').json() == []
