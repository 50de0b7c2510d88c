from __future__ import annotations

import json

from s3_sync.ledger import EVERYTHING, Ledger, NodeLock

from .conftest import Node


def test_a_pause_without_names_holds_everything_and_what_comes_later(node: Node, ledger: Ledger) -> None:
    assert node.run('pause').splitlines() == [
        'one: paused', 'two: paused', 'swift-s3-sync is not running; this holds when it starts.']
    assert EVERYTHING in ledger.paused()
    node.run('resume')
    assert ledger.paused() == set()


def test_named_mappings_are_paused_and_resumed_alone(node: Node, ledger: Ledger) -> None:
    node.run('pause', 'one')
    assert ledger.paused() == {node.generation('one')}
    node.run('pause')
    assert node.run('resume', node.generation('two'), 'two').splitlines()[0] == 'two: not paused'
    assert not ledger.is_paused(node.generation('two'))
    assert ledger.is_paused(node.generation('one'))


def test_the_state_of_all_mappings_is_told_as_json(node: Node) -> None:
    with NodeLock(node.settings.status_dir):
        found = json.loads(node.run('pause', 'two', '--json'))
    assert found.pop('daemon_pid') is not None
    assert found == {'paused': {'one': False, 'two': True}}


def test_a_name_that_is_no_mapping_changes_nothing(node: Node, ledger: Ledger) -> None:
    node.run('pause', 'one', 'three', code=2)
    assert 'one, two' in node.errors
    assert ledger.paused() == set()


def test_before_the_first_run_there_is_nothing_to_pause(new_node: Node) -> None:
    assert new_node.run('pause', code=3) == ''
    assert 'never run' in new_node.errors
