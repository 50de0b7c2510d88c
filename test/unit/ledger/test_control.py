from __future__ import annotations

import pytest

from s3_sync.ledger import EVERYTHING, Ledger

from .helpers import GENERATION, OTHER, work

NOW = 1_700_000_000.0


def test_a_paused_generation_has_nothing_due_until_it_is_resumed(ledger, command):
    ledger.record(GENERATION, work(due=1.0))
    ledger.record(OTHER, work(due=1.0))
    command.pause(GENERATION)
    assert ledger.paused() == {GENERATION}
    assert ledger.due(GENERATION, NOW, 5) == []
    assert len(ledger.due(OTHER, NOW, 5)) == 1
    command.resume(GENERATION)
    assert ledger.paused() == set()
    assert len(ledger.due(GENERATION, NOW, 5)) == 1


def test_a_pause_survives_a_restart(ledger, tmp_path):
    ledger.pause(GENERATION)
    ledger.close()
    with Ledger.open(str(tmp_path)) as again:
        assert again.is_paused(GENERATION)


def test_pausing_everything_includes_mappings_that_come_later(ledger):
    ledger.set_generation(GENERATION, 'one', '{}', 'e')
    ledger.pause()
    assert ledger.paused() == {GENERATION, EVERYTHING}
    assert ledger.is_paused(OTHER)
    ledger.resume()
    assert ledger.paused() == set()
    assert not ledger.is_paused(OTHER)


def test_one_generation_can_be_resumed_out_of_a_pause_of_everything(ledger):
    ledger.set_generation(GENERATION, 'one', '{}', 'e')
    ledger.set_generation(OTHER, 'two', '{}', 'e')
    ledger.pause()
    ledger.resume(GENERATION)
    assert ledger.paused() == {OTHER, EVERYTHING}
    assert not ledger.is_paused(GENERATION)
    ledger.pause()
    assert ledger.is_paused(GENERATION)


def test_resuming_everything_ends_single_pauses(ledger):
    ledger.pause(GENERATION)
    ledger.resume()
    assert ledger.paused() == set()


def test_a_generation_keeps_its_first_time_and_takes_the_latest_meaning(ledger, clock):
    ledger.set_generation(GENERATION, 'old name', '{"bucket": "b"}', 'e1')
    clock.advance(10)
    ledger.set_generation(GENERATION, 'name', '{"bucket": "b"}', 'e2')
    [known] = ledger.generations()
    assert (known.generation, known.name, known.description, known.evaluation, known.first_seen, known.last_seen) == (
        GENERATION, 'name', '{"bucket": "b"}', 'e2', NOW, NOW + 10)


def test_a_generation_taken_out_of_the_configuration_keeps_everything(ledger):
    ledger.set_generation(OTHER, 'gone', '{}', 'e')
    ledger.record(OTHER, work())
    ledger.set_generation(GENERATION, 'new', '{}', 'e')
    assert {known.generation for known in ledger.generations()} == {GENERATION, OTHER}
    assert ledger.find(OTHER, 'AUTH_a', 'c', 'o') is not None


@pytest.mark.parametrize('value', [True, 'yes', 3, None, {'a': [1, 'é\0']}])
def test_a_fact_comes_back_as_it_was_saved(ledger, value):
    ledger.save_fact('probe:https://s3', value)
    assert ledger.fact('probe:https://s3') == value


def test_a_fact_too_old_or_from_the_future_is_unknown(ledger, clock):
    ledger.save_fact('probe', True)
    clock.advance(100)
    assert ledger.fact('probe', max_age=100)
    assert ledger.fact('probe', max_age=99) is None
    clock.advance(-101)
    assert ledger.fact('probe', max_age=100) is None
    assert ledger.fact('probe')
    assert ledger.fact('never') is None


def test_totals_add_up_over_restarts(ledger, tmp_path):
    ledger.add_totals(GENERATION, copied=2, bytes=2 ** 40)
    ledger.close()
    with Ledger.open(str(tmp_path)) as again:
        again.add_totals(GENERATION, copied=3, deleted=0)
        again.add_totals(OTHER, copied=1)
        assert again.totals() == {GENERATION: {'copied': 5, 'bytes': 2 ** 40}, OTHER: {'copied': 1}}
        assert again.totals(OTHER) == {OTHER: {'copied': 1}}
