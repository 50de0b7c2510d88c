from __future__ import annotations

import os

import pytest

from container_crawler.exceptions import DatabaseBroken
from container_crawler.reader import inspect_folder, read_rows
from test.unit.crawler.cluster import Cluster, folder_of, replace_database

A = 'AUTH_ä'


def test_rows_come_in_chunks_between_two_rowids(cluster: Cluster) -> None:
    cluster.put(A, 'c', list('abcde'))
    facts = inspect_folder(folder_of(cluster, A, 'c'))
    assert facts is not None
    file, = facts.files
    chunks = [read_rows(file, after, upto, 2) for after, upto in ((0, 5), (2, 5), (4, 5), (1, 2), (5, 5))]
    assert [(''.join(row.name for row in chunk.rows), chunk.complete) for chunk in chunks if chunk] == [
        ('ab', False), ('cd', False), ('e', True), ('b', True), ('', True)]


def test_rows_of_a_database_that_was_replaced_since_are_not_taken_for_the_old_ones(cluster: Cluster) -> None:
    cluster.put(A, 'c', ['x'])
    facts = inspect_folder(folder_of(cluster, A, 'c'))
    assert facts is not None
    database = facts.files[0].path
    replace_database(database, database)
    assert read_rows(facts.files[0], 0, 1, 10) is None
    os.unlink(database)
    assert read_rows(facts.files[0], 0, 1, 10) is None
    assert not os.path.exists(database), 'looking made none'


def test_a_folder_without_databases_holds_nothing(cluster: Cluster) -> None:
    assert inspect_folder(folder_of(cluster, A, 'never')) is None


def test_a_spoilt_entry_of_the_pending_file_is_told(cluster: Cluster) -> None:
    cluster.put(A, 'c', ['x'], commit=False)
    broker, = cluster.brokers(A, 'c')
    with open(broker.pending_file, 'ab') as file:
        file.write(b':bm90IGEgcGlja2xl')
    facts = inspect_folder(folder_of(cluster, A, 'c'))
    assert facts is not None
    assert facts.files[0].max_row == 1, 'the good one is merged'
    assert 'Invalid pending entry' in facts.complaints[0]


def test_a_database_of_something_else_is_broken(cluster: Cluster) -> None:
    cluster.put(A, 'c', ['x'])
    broker, = cluster.brokers(A, 'c')
    with open(broker.db_file, 'wb') as file:
        file.write(b'nonsense' * 1000)
    with pytest.raises(DatabaseBroken, match=broker.db_file):
        inspect_folder(folder_of(cluster, A, 'c'))
    assert os.path.exists(broker.db_file)
