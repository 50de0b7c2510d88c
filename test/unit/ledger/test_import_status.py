"""Every form of the predecessor's status files, and every reason not to believe one."""
from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field, replace

import pytest

from s3_sync.ledger import Ledger, StatusImporter, ledger_path


@dataclass(frozen=True)
class Remote:
    bucket: str = 'bucket'


@dataclass(frozen=True)
class Mapping:
    account: str = 'AUTH_a'
    container: str = 'c'
    generation: str = 'g1'
    evaluation: str = 'e1'
    copy_after: float = 0.0
    retain_local: bool = True
    propagate_delete: bool = True
    remote: Remote = field(default_factory=Remote)


MAPPING = Mapping()
POLICY = {'copy_after': 0, 'retain_local': True, 'propagate_delete': True}
ENTRY = {'aws_bucket': 'bucket', 'policy': POLICY, 'last_row': 20, 'last_verified_row': 15}


@pytest.fixture
def status(tmp_path):
    def write(content, account='AUTH_a', container='c'):
        (tmp_path / account).mkdir(exist_ok=True)
        path = tmp_path / account / container
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path
    return write


@pytest.fixture
def run(ledger, tmp_path, caplog):
    caplog.set_level(logging.INFO)

    def import_it(mapping=MAPPING, container='c', db_id='db-1', others=()):
        importer = StatusImporter(ledger, str(tmp_path), [mapping, *others], logging.getLogger('test'))
        return importer.import_container(mapping, container, db_id)
    return import_it


def rows(ledger, generation='g1'):
    return {row.db_id: (row.own_row, row.verified_row) for row in ledger.all_progress(generation)}


def test_every_database_of_a_file_goes_on_at_the_lower_of_its_rows(ledger, status, run):
    path = status({'db-1': ENTRY, 'db-2': {**ENTRY, 'last_row': 3, 'last_verified_row': 9}})
    before = path.read_bytes()
    assert run() == 2
    assert rows(ledger) == {'db-1': (15, 15), 'db-2': (3, 3)}
    kept = ledger.progress('g1', 'db-1')
    assert (kept.account, kept.container, kept.evaluation, kept.share) == ('AUTH_a', 'c', 'e1', '')
    assert path.read_bytes() == before


def test_without_a_verified_row_the_last_row_counts_for_both(ledger, status, run):
    status({'db-1': {'aws_bucket': 'bucket', 'policy': POLICY, 'last_row': 20, 'metadata_hash': 'abc'}})
    assert run() == 1
    assert rows(ledger) == {'db-1': (20, 20)}
    assert ledger.metadata_hash('g1', 'AUTH_a', 'c') is None


def test_an_entry_from_before_policies_were_kept_is_imported(ledger, status, run):
    status({'db-1': {'aws_bucket': 'bucket', 'last_row': 20}})
    assert run() == 1
    assert rows(ledger) == {'db-1': (20, 20)}


def test_the_oldest_form_counts_for_this_nodes_database(ledger, status, run):
    status({'last_row': 42})
    assert run() == 1
    assert rows(ledger) == {'db-1': (42, 42)}


def test_the_oldest_form_is_not_believed_for_a_sharded_container(ledger, status, run, caplog):
    status({'last_row': 42})
    assert run(db_id=None) == 0
    assert 'sharded' in caplog.text


def test_a_bare_row_beside_database_ids_is_a_left_over(ledger, status, run):
    status({'last_row': 99, 'db-2': ENTRY})
    assert run() == 1
    assert rows(ledger) == {'db-2': (15, 15)}


@pytest.mark.parametrize(('mapping', 'said'), [
    (replace(MAPPING, remote=Remote('other')), "bucket 'bucket', not 'other'"),
    (replace(MAPPING, copy_after=60.0), 'copy_after was 0 and is 60.0'),
    (replace(MAPPING, retain_local=False), 'retain_local was True and is False'),
    (replace(MAPPING, propagate_delete=False), 'propagate_delete was True and is False'),
])
def test_another_bucket_or_policy_starts_at_row_0_and_says_so(ledger, status, run, caplog, mapping, said):
    status({'db-1': ENTRY})
    assert run(mapping) == 0
    assert rows(ledger) == {}
    assert said in caplog.text


def test_a_mismatch_of_one_database_leaves_the_others(ledger, status, run):
    status({'db-1': {**ENTRY, 'aws_bucket': 'older'}, 'db-2': ENTRY})
    assert run() == 1
    assert rows(ledger) == {'db-2': (15, 15)}


@pytest.mark.parametrize('entry', [
    {'last_row': 20}, {**ENTRY, 'aws_bucket': None}, {**ENTRY, 'policy': 'none'}, {**ENTRY, 'policy': {}},
    {**ENTRY, 'last_row': -1}, {**ENTRY, 'last_row': '20'}, {**ENTRY, 'last_row': True}, {**ENTRY, 'last_row': 1.5},
    {**ENTRY, 'last_verified_row': None}, {**ENTRY, 'last_row': 2 ** 63}, {**ENTRY, 'last_row': [1]},
])
def test_a_damaged_entry_starts_at_row_0_and_says_so(ledger, status, run, caplog, entry):
    status({'db-1': entry, 'db-2': ENTRY})
    assert run() == 1
    assert rows(ledger) == {'db-2': (15, 15)}
    assert 'db-1' in caplog.text and 'row 0' in caplog.text


@pytest.mark.parametrize('content', [
    b'', b'{"db-1": {"aws_bu', b'\xff\xfe', b'null', b'[]', b'3', b'"x"', b'\0' * 500, b'[' * 200_000])
def test_a_damaged_file_is_told_loudly_once_and_starts_at_row_0(ledger, status, run, caplog, content):
    path = status(content)
    assert run() == 0
    assert rows(ledger) == {}
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert str(path) in record.getMessage()
    caplog.clear()
    assert run() == 0
    assert caplog.records == []


@pytest.mark.parametrize('key', ['\ud800', 'é'])
def test_a_database_id_that_is_none_is_left_out(ledger, status, run, key):
    status({key: ENTRY, 'db-1': ENTRY})
    assert run() == 1
    assert rows(ledger) == {'db-1': (15, 15)}


def test_a_row_of_0_is_no_progress(ledger, status, run):
    status({'db-1': {**ENTRY, 'last_row': 0}})
    assert run() == 0
    assert ledger.progress('g1', 'db-1') is None


def test_nothing_is_imported_twice(ledger, status, run):
    status({'db-1': ENTRY})
    assert run() == 1
    imported = ledger.progress('g1', 'db-1')
    status({'db-1': {**ENTRY, 'last_row': 50, 'last_verified_row': 50}})
    assert run() == 0
    assert ledger.progress('g1', 'db-1') == imported


def test_nothing_is_imported_over_progress_even_of_another_database(ledger, status, run):
    status({'db-1': ENTRY})
    ledger.save_progress('g1', 'db-9', account='AUTH_a', container='c', own_row=0, verified_row=0, share='0/1',
                         evaluation='e1')
    assert run() == 0
    assert set(rows(ledger)) == {'db-9'}


@pytest.mark.usefixtures('told_of_damage')
def test_nothing_is_imported_into_a_ledger_that_replaced_a_damaged_one(tmp_path, status, caplog):
    Ledger.open(str(tmp_path)).close()
    with open(ledger_path(str(tmp_path)), 'r+b') as file:
        file.truncate(100)
    status({'db-1': ENTRY})
    with Ledger.open(str(tmp_path)) as ledger:
        assert StatusImporter(ledger, str(tmp_path), [MAPPING], logging.getLogger('t')).import_container(
            MAPPING, 'c', 'db-1') == 0
        assert rows(ledger) == {}


def test_two_mappings_of_one_container_both_start_at_row_0(ledger, status, run, caplog):
    status({'db-1': ENTRY})
    second = replace(MAPPING, generation='g2', remote=Remote('second'))
    assert run(others=[second]) == 0
    assert run(second, others=[MAPPING]) == 0
    assert rows(ledger) == rows(ledger, 'g2') == {}
    assert 'overwrote each other' in caplog.text


def test_a_mapping_of_all_containers_counts_among_those_that_share(ledger, status, run):
    status({'db-1': ENTRY})
    assert run(others=[replace(MAPPING, container='/*', generation='g2')]) == 0
    assert rows(ledger) == {}


def test_mappings_of_other_containers_and_accounts_are_no_matter(ledger, status, run):
    status({'db-1': ENTRY})
    assert run(others=[replace(MAPPING, container='d', generation='g2'),
                       replace(MAPPING, account='AUTH_b', generation='g3')]) == 1


def test_a_mapping_of_all_containers_imports_each_container_of_its_own(ledger, status, run):
    everything = replace(MAPPING, container='/*')
    status({'db-1': ENTRY})
    status({'db-2': ENTRY}, container='d')
    assert run(everything, 'c') == 1
    assert rows(ledger) == {'db-1': (15, 15)}
    assert run(everything, 'd', 'db-2') == 1
    assert rows(ledger) == {'db-1': (15, 15), 'db-2': (15, 15)}


@pytest.mark.parametrize('container', ['c', '..', '.', 'x' * 256, '\0versions\0c', 'missing', 'ü'])
def test_no_file_is_no_event(ledger, run, caplog, container):
    assert run(container=container) == 0
    assert caplog.records == []
    assert not ledger.container_seen('g1', 'AUTH_a', container)


def test_a_container_with_a_name_outside_ascii_is_found(ledger, status, run):
    status({'db-1': ENTRY}, container='größe')
    assert run(replace(MAPPING, container='größe'), 'größe') == 1


def test_a_container_the_predecessor_knew_counts_as_seen_even_when_it_starts_over(ledger, status, run):
    status({'db-1': {**ENTRY, 'aws_bucket': 'older'}})
    run()
    assert ledger.container_seen('g1', 'AUTH_a', 'c')


def test_a_file_that_comes_before_any_progress_is_still_imported(ledger, status, run):
    assert run() == 0
    status({'db-1': ENTRY})
    assert run() == 1
