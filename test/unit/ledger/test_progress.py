from __future__ import annotations

import pytest

from s3_sync.errors import LedgerError
from s3_sync.ledger import Ledger, ProgressRow

from .helpers import GENERATION, OTHER, work

NOW = 1_700_000_000.0


def save(ledger, db_id='db-1', *, generation=GENERATION, container='c', own_row=10, verified_row=5, share='0/3',
         evaluation='e'):
    ledger.save_progress(generation, db_id, account='AUTH_a', container=container, own_row=own_row,
                         verified_row=verified_row, share=share, evaluation=evaluation)


def test_progress_is_kept_per_generation_and_database(ledger):
    save(ledger)
    save(ledger, generation=OTHER, own_row=99)
    assert ledger.progress(GENERATION, 'db-1') == ProgressRow('db-1', 'AUTH_a', 'c', 10, 5, '0/3', 'e', NOW)
    assert ledger.progress(OTHER, 'db-1').own_row == 99
    assert ledger.progress(GENERATION, 'db-2') is None


def test_progress_survives_a_restart(ledger, tmp_path):
    save(ledger)
    ledger.close()
    with Ledger.open(str(tmp_path)) as again:
        assert again.progress(GENERATION, 'db-1').own_row == 10
        assert not again.rescan


def test_progress_can_go_back_for_a_new_evaluation(ledger):
    save(ledger)
    save(ledger, own_row=0, verified_row=0, evaluation='f')
    kept = ledger.progress(GENERATION, 'db-1')
    assert (kept.own_row, kept.verified_row, kept.evaluation) == (0, 0, 'f')


def test_a_container_is_seen_once_one_of_its_databases_got_anywhere(ledger):
    assert not ledger.container_seen(GENERATION, 'AUTH_a', 'c')
    save(ledger, own_row=0, verified_row=0)
    assert not ledger.container_seen(GENERATION, 'AUTH_a', 'c')
    save(ledger, 'db-2', own_row=0, verified_row=1)
    assert ledger.container_seen(GENERATION, 'AUTH_a', 'c')
    assert not ledger.container_seen(OTHER, 'AUTH_a', 'c')
    assert not ledger.container_seen(GENERATION, 'AUTH_a', 'd')


def test_a_container_read_under_other_settings_is_known(ledger):
    where = (GENERATION, 'AUTH_a', 'c')
    assert not ledger.evaluated_otherwise(*where, 'e')
    save(ledger, 'db-1', evaluation='e')
    assert not ledger.evaluated_otherwise(*where, 'e')
    save(ledger, 'db-2', evaluation='f')
    assert ledger.evaluated_otherwise(*where, 'e')
    assert not ledger.evaluated_otherwise(GENERATION, 'AUTH_a', 'd', 'e')
    assert not ledger.evaluated_otherwise(OTHER, 'AUTH_a', 'c', 'e')


def test_containers_and_databases_are_listed_completely_and_in_order(ledger):
    with ledger.transaction():
        for number in range(2100):
            save(ledger, f'db-{number:04}', container=f'c{number:04}')
    assert list(ledger.containers(GENERATION)) == [('AUTH_a', f'c{number:04}') for number in range(2100)]
    assert [row.db_id for row in ledger.all_progress(GENERATION)] == [f'db-{number:04}' for number in range(2100)]
    assert list(ledger.containers(OTHER)) == list(ledger.all_progress(OTHER)) == []


def test_outcomes_and_progress_are_written_together_or_not_at_all(ledger, command):
    class Stop(Exception):
        pass

    with pytest.raises(Stop), ledger.transaction():
        ledger.record(GENERATION, work())
        save(ledger)
        raise Stop
    for seen in (ledger, command):
        assert seen.counts() == {}
        assert seen.progress(GENERATION, 'db-1') is None
        assert list(seen.containers(GENERATION)) == []
    ledger.record(GENERATION, work())
    assert command.counts() == {(GENERATION, 'failed'): 1}


def test_nobody_sees_half_a_transaction(ledger, command):
    with ledger.transaction():
        save(ledger)
        ledger.record(GENERATION, work())
        assert command.progress(GENERATION, 'db-1') is None
        assert list(command.failures()) == []
    assert command.progress(GENERATION, 'db-1') is not None


def test_a_part_that_failed_is_never_half_committed(ledger):
    with pytest.raises(LedgerError, match='nothing was written'), ledger.transaction():
        save(ledger)
        with pytest.raises(KeyError), ledger.transaction():
            ledger.record(GENERATION, work())
            raise KeyError
    assert ledger.progress(GENERATION, 'db-1') is None
    assert ledger.counts() == {}


def test_facts_of_a_container_stand_beside_its_progress(ledger):
    assert ledger.metadata_hash(GENERATION, 'AUTH_a', 'c') is None
    assert ledger.complete_count(GENERATION, 'AUTH_a', 'c') is None
    ledger.save_metadata_hash(GENERATION, 'AUTH_a', 'c', 'abc')
    ledger.save_complete_count(GENERATION, 'AUTH_a', 'c', 0)
    save(ledger)
    ledger.record(GENERATION, work())
    assert ledger.metadata_hash(GENERATION, 'AUTH_a', 'c') == 'abc'
    assert ledger.complete_count(GENERATION, 'AUTH_a', 'c') == 0
    assert ledger.metadata_hash(OTHER, 'AUTH_a', 'c') is None
