"""Looking at databases without merging their pending files."""
from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from swift.container.backend import ContainerBroker

from container_crawler.crawler import Crawler
from container_crawler.reader import inspect_folder, read_rows
from test.unit.crawler.cluster import Cluster, Pair, RecorderFactory

A = 'AUTH_a'


def _put(broker: ContainerBroker, name: str, time: str, *, deleted: bool = False, meta: str | None = None) -> None:
    broker.put_object(name, time, 0 if deleted else 3, 'text/plain', 'e' * 32, int(deleted), meta_timestamp=meta)


def _committed(cluster: Cluster, container: str) -> ContainerBroker:
    """A database with rows in the file, and further changes in its pending file only."""
    broker = cluster.brokers(A, container)[0]
    for name in ('kept', 'overwritten', 'removed', 'posted'):
        _put(broker, name, cluster.timestamp())
    broker.get_info()
    _put(broker, 'overwritten', cluster.timestamp())
    _put(broker, 'new', cluster.timestamp())
    _put(broker, 'removed', cluster.timestamp(), deleted=True)
    posted = next(row['created_at'] for row in broker.get_items_since(0, 10) if row['name'] == 'posted')
    _put(broker, 'posted', posted, meta=cluster.timestamp())
    _put(broker, 'kept', '1500000000.00000')  # late news of an older version
    return broker


def _rows(folder: str, commit: bool, limit: int = 100) -> list[tuple[object, ...]]:
    facts = inspect_folder(folder, commit)
    assert facts is not None
    file, rows, after = facts.files[-1], [], 0
    while True:
        chunk = read_rows(file, after, file.max_row, limit)
        assert chunk is not None
        rows += chunk.rows
        if chunk.complete:
            return sorted((row.name, row.created_at, row.size, row.deleted) for row in rows)
        after = chunk.rows[-1].row_id


def _digest(folder: str) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in Path(folder).iterdir()}


def test_rows_of_the_pending_file_are_seen_as_the_merge_would_make_them_and_nothing_is_written(
        cluster: Cluster) -> None:
    _committed(cluster, 'c')
    folder = cluster.places(A, 'c')[0].folder
    before = _digest(folder)
    looked = [_rows(folder, False, limit) for limit in (100, 2, 1)]
    assert _digest(folder) == before
    merged = _rows(folder, True)
    assert looked == [merged] * 3
    assert _digest(folder) != before


def test_a_torn_entry_at_the_end_of_the_pending_file_is_left_out(cluster: Cluster) -> None:
    broker = _committed(cluster, 'c')
    folder = cluster.places(A, 'c')[0].folder
    whole = _rows(folder, False)
    with open(broker.pending_file, 'ab') as file:
        file.write(b':gAJ')
    assert _rows(folder, False) == whole


def test_a_crawler_told_to_only_look_hands_out_the_same_rows_and_writes_nothing(
        cluster: Cluster, crawler_of: Callable[..., Crawler]) -> None:
    _committed(cluster, 'c')
    folder = cluster.places(A, 'c')[0].folder
    before = _digest(folder)
    seen: dict[bool, list[tuple[object, ...]]] = {}
    for commit in (False, True):
        factory = RecorderFactory()
        crawler = crawler_of(cluster, factory, [Pair(A, 'c')], commit_pending=commit)
        assert crawler.run_once().caught_up
        seen[commit] = sorted(row[1:] for row in factory['c'].seen.rows)
        assert (_digest(folder) == before) is not commit
    assert seen[False] == seen[True]


def test_a_run_without_verification_leaves_rows_of_other_nodes_out(
        tmp_path: Path, crawler_of: Callable[..., Crawler]) -> None:
    cluster = Cluster(tmp_path / 'two', nodes=2, replicas=2)
    cluster.put(A, 'c', [f'o{number}' for number in range(20)])
    factory = RecorderFactory()
    assert crawler_of(cluster, factory, [Pair(A, 'c')]).run_once(verify=False).caught_up
    assert factory['c'].seen.own and not factory['c'].seen.others
