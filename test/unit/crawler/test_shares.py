from __future__ import annotations

import subprocess
import sys
from collections import Counter
from hashlib import sha1

import pytest
from hypothesis import given
from hypothesis import strategies as st

from container_crawler.shares import node_share, process_share

NAMES = ['a', 'photos/2019/über.jpg', '日本語', '\U0001f600', 'x' * 1024, ' ', 'new\nline', '%41']


@pytest.mark.parametrize(('name', 'of_3', 'of_4', 'of_6', 'process_of_5'), [
    ('a', 0, 0, 0, 3), ('photos/2019/über.jpg', 1, 2, 4, 2), ('日本語', 0, 2, 0, 4), ('\U0001f600', 0, 0, 0, 0),
    ('x' * 1024, 0, 1, 3, 3), (' ', 0, 2, 0, 1), ('new\nline', 2, 0, 2, 2), ('%41', 2, 2, 2, 3)])
def test_shares_stay_what_they_are(name: str, of_3: int, of_4: int, of_6: int, process_of_5: int) -> None:
    """Nodes: last six hex digits of sha1(name), the predecessor's function. Other versions run beside this one."""
    assert (node_share(name, 3), node_share(name, 4), node_share(name, 6)) == (of_3, of_4, of_6)
    assert node_share(name, 7) == int(sha1(name.encode()).hexdigest()[-6:], 16) % 7
    assert process_share(name, 5) == process_of_5


@given(st.text(min_size=1), st.integers(1, 9))
def test_shares_are_in_range(name: str, number: int) -> None:
    assert 0 <= node_share(name, number) < number
    assert 0 <= process_share(name, number) < number


@pytest.mark.parametrize('replicas', [1, 2, 3, 4, 6])
@pytest.mark.parametrize('processes', [2, 3, 4, 8])
def test_processes_share_one_nodes_rows_evenly(replicas: int, processes: int) -> None:
    mine = [name for n in range(12_000) if node_share(name := f'photos/{n:06}.jpg', replicas) == 0]
    counts = Counter(process_share(name, processes) for name in mine)
    assert len(counts) == processes
    expected = len(mine) / processes
    assert all(abs(count - expected) < 6 * expected ** 0.5 for count in counts.values())


def test_shares_do_not_depend_on_the_process() -> None:
    code = f'from container_crawler.shares import *; print([process_share(n, 5) for n in {NAMES!r}])'
    told = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout
    assert told.strip() == str([process_share(name, 5) for name in NAMES])
