"""Rows of hidden containers between crawler, workers and ledger: kept like others, counted as nobody's."""
from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from container_crawler.databases import DatabaseInfo
from container_crawler.handlers import Progress
from container_crawler.rows import Row
from s3_sync import metric_defs
from s3_sync.channel import Rows
from s3_sync.clock import FakeClock
from s3_sync.config import Mapping, Remote, Secret
from s3_sync.engine.outcomes import Outcome
from s3_sync.ledger import Ledger
from s3_sync.ledger.import_status import StatusImporter
from s3_sync.marker_container import MarkerContainer
from s3_sync.metrics import Registry
from s3_sync.remote_health import RemoteHealth
from s3_sync.sync_container import MappingState, Results, Services
from s3_sync.wire.tombstones import Policies, content_type, tombstone_container, tombstone_name

LOGGER = logging.getLogger('test.marker_container')
HIDDEN = tombstone_container('c')
ROWS = [Row(i, tombstone_name(f'o{i}'), f'150000000{i}.00000', 0, content_type(Policies({'g': 'propagate'})), 'e',
            False, 0) for i in range(1, 4)]


class Workers:
    def __init__(self) -> None:
        self.handed: list[tuple[Rows, list[Row], Callable[[Results], None]]] = []

    def submit(self, message: Rows, rows: Sequence[Row], finished: Callable[[Results], None]) -> None:
        self.handed.append((message, list(rows), finished))


class Node:
    """A mapping's state on this node; containers come and go."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock, self.metrics, self.workers = folder, FakeClock(1_600_000_000.0), Registry(), Workers()
        self.ledger = Ledger.open(str(folder), clock=self.clock, logger=LOGGER)
        self.told: list[object] = []

    def container(self, **keys: object) -> MarkerContainer:
        remote = Remote.model_validate({'bucket': 'b', 'endpoint': 'http://127.0.0.1:1', 'identity': 'i',
                                        'secret': Secret('s')})
        mapping = Mapping.model_validate({'account': 'AUTH_a', 'container': 'c', 'remote': remote, **keys})

        def fail(error: Exception) -> None:
            raise AssertionError(error)
        services = Services(
            ledger=self.ledger, dispatch=self.workers, metrics=self.metrics, clock=self.clock, logger=LOGGER,
            on_ledger_error=fail, metadata_changed=lambda container, headers: self.told.append(headers),
            importer=StatusImporter(self.ledger, str(self.folder), [mapping], LOGGER))
        self.generation = mapping.generation
        return MarkerContainer(MappingState(mapping, RemoteHealth(self.clock)), HIDDEN, services)

    def end(self, *outcomes: Outcome) -> None:
        message, rows, finished = self.workers.handed.pop()
        finished(list(zip(rows, outcomes, strict=True)))

    def counted(self) -> dict[str, dict[tuple[str, ...], float]]:
        samples: dict[str, dict[tuple[str, ...], float]] = {}
        for sample in self.metrics.drain():
            samples.setdefault(sample.metric, {})[tuple(sample.labels)] = sum(sample.values)
        return samples


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.ledger.close()


def db(max_row: int) -> DatabaseInfo:
    return DatabaseInfo('db', 'AUTH_a', HIDDEN, 'AUTH_a', HIDDEN, '', 'd', (0,), 1, True, False, False, max_row,
                        max_row)


def test_what_ended_is_counted_as_tombstones_and_no_user_s_rows(node: Node) -> None:
    container = node.container()
    done: list[Row] = []
    container.handle_own(db(3), ROWS, done.append)
    assert node.workers.handed[0][0].container == HIDDEN
    node.end(Outcome('deleted', 'removed'), Outcome('same', 'remote-newer'), Outcome('failed', 'connection', 'reset'))
    assert done == ROWS
    assert node.counted() == {metric_defs.TOMBSTONES.name: {
        ('AUTH_a/c', 'removed'): 1, ('AUTH_a/c', 'remote-newer'): 1, ('AUTH_a/c', 'failed'): 1}}
    assert container.state.totals == {}


def test_failures_are_in_the_ledger_until_they_are_through(node: Node) -> None:
    container = node.container()
    container.handle_own(db(1), ROWS[:1], lambda row: None)
    node.end(Outcome('failed', 'connection', 'reset'))
    [work] = list(node.ledger.failures(node.generation))
    assert (work.container, work.row.name, work.reason) == (HIDDEN, '\0o1', 'connection')
    assert container.retry([work]) == 1
    node.end(Outcome('deleted', 'removed'))
    assert list(node.ledger.failures(node.generation, kind='failed')) == []
    # A user's object would be looked at once more: a write without an answer may come late. Its own row does that.
    assert list(node.ledger.failures(node.generation, kind='deferred')) == []


def test_no_change_of_what_is_selected_reads_them_again(node: Node) -> None:
    container = node.container()
    assert container.load_progress('db') is None
    container.save_progress('db', Progress(3, 2, '0/1'))
    changed = node.container(selection_criteria={'name': 'x'}, copy_after=7)
    assert changed.mapping.evaluation != container.mapping.evaluation
    assert changed.load_progress('db') == Progress(3, 2, '0/1')
    assert node.container(container='d').load_progress('db') is None  # another generation


def test_its_metadata_does_not_travel(node: Node) -> None:
    node.container().handle_container_info({'metadata_timestamps': {'X-Container-Meta-A': '1'}},
                                           {'X-Container-Meta-A': 'b'})
    assert node.told == []
