"""``1space failures``: what is listed can be given back, and means what was listed."""
from __future__ import annotations

import pytest

from s3_sync.clock import SystemClock
from s3_sync.ledger import Ledger

from .conftest import Node, entry, waiting

AWKWARD = ('x y\n%41', '-rf', 'a"b\'$(c)`d', 'größe/東京', 'trailing ', '/leading', 'dir//x', '\x1b[31m', '%')


def _paths(node: Node, *words: str) -> list[str]:
    return [line['path'] for line in node.json_lines('failures', 'list', *words)]


def test_every_failure_is_listed_with_its_reason_and_next_try(node: Node, ledger: Ledger) -> None:
    one, two = node.generation('one'), node.generation('two')
    ledger.record(one, waiting('one', 'a'))
    ledger.record(two, waiting('two', 'b', kind='permanent', reason='large-object', detail='SLO \x1b[31m'))
    ledger.record(two, waiting('two', 'c', kind='deferred', reason='copy-after', detail=''))
    assert node.run('failures', 'list').splitlines() == [
        'AUTH_a/one/a', '    one, failed, attempt 1, again in 10 min: throttled: 503 SlowDown',
        'AUTH_a/two/b', '    two, permanent: large-object: SLO \\x1b[31m', '1 failed, 1 permanent']


def test_each_line_of_json_holds_all_that_is_known(node: Node, ledger: Ledger) -> None:
    generation = node.generation('one')
    ledger.record(generation, waiting('one', 'x y'))
    line, = node.json_lines('failures', 'list')
    assert line | {'due': '', 'first_seen': '', 'updated': ''} == {
        'mapping': 'one', 'generation': generation, 'path': 'AUTH_a/one/x%20y', 'account': 'AUTH_a',
        'container': 'one', 'object': 'x y', 'delete': False, 'size': 12, 'kind': 'failed', 'reason': 'throttled',
        'detail': '503 SlowDown', 'attempts': 1, 'due': '', 'first_seen': '', 'updated': ''}
    assert line['due'].endswith('Z') and line['due'] > line['first_seen']


@pytest.mark.parametrize('name', AWKWARD)
def test_a_path_given_back_as_it_was_listed_means_that_object_only(node: Node, ledger: Ledger, name: str) -> None:
    generation = node.generation('one')
    for each in AWKWARD:
        ledger.record(generation, waiting('one', each))
    listed = node.run('failures', 'list', 'one').splitlines()[:-1:2]
    assert len(listed) == len(AWKWARD)
    shown = {line['object']: line['path'] for line in node.json_lines('failures', 'list')}[name]
    assert shown in listed
    assert node.run('failures', 'drop', shown) == '1 dropped\n'
    assert {work.row.name for work in ledger.failures()} == set(AWKWARD) - {name}


def test_retry_makes_entries_due_now_and_permanent_ones_failed_again(node: Node, ledger: Ledger) -> None:
    generation = node.generation('one')
    ledger.record(generation, waiting('one', 'a'))
    ledger.record(generation, waiting('one', 'b', kind='permanent'))
    out = node.run('failures', 'retry')
    assert out.splitlines() == ['2 due now', 'swift-s3-sync is not running; they are tried when it starts.']
    assert [work.row.name for work in ledger.due(generation, SystemClock().now(), 10)] == ['a', 'b']
    assert ledger.counts()[generation, 'failed'] == 2


def test_kinds_mappings_and_containers_narrow_it_down(node: Node, ledger: Ledger) -> None:
    one, two = node.generation('one'), node.generation('two')
    ledger.record(one, waiting('one', 'a'))
    ledger.record(one, waiting('one', 'b', kind='permanent'))
    ledger.record(one, waiting('one', 'c', kind='deferred'))
    ledger.record(two, waiting('two', 'd'))
    assert _paths(node, '--kind', 'deferred') == ['AUTH_a/one/c']
    assert _paths(node, 'one') == ['AUTH_a/one/a', 'AUTH_a/one/b']
    assert _paths(node, two) == ['AUTH_a/two/d']
    assert _paths(node, 'AUTH_a/one', '--kind', 'failed') == ['AUTH_a/one/a']
    assert node.run('failures', 'drop', '--kind', 'permanent') == '1 dropped\n'
    assert _paths(node) == ['AUTH_a/one/a', 'AUTH_a/two/d']


def test_a_path_that_nothing_is_listed_for_is_told_and_the_others_are_done(node: Node, ledger: Ledger) -> None:
    ledger.record(node.generation('one'), waiting('one', 'a'))
    assert node.run('failures', 'drop', 'AUTH_a/one/a', 'AUTH_a/one/nix', code=3) == '1 dropped\n'
    assert node.errors == '1space: nothing is listed for AUTH_a/one/nix\n'


def test_what_is_neither_mapping_nor_path_is_a_usage_error(node: Node) -> None:
    node.run('failures', 'retry', 'three', code=2)
    assert 'three' in node.errors
    node.run('failures', 'retry', 'AUTH_a/one/%FF', code=2)


def test_nothing_is_said_plainly(node: Node) -> None:
    assert node.run('failures', 'list') == 'nothing\n'
    assert node.json_lines('failures', 'list') == []
    assert node.run('failures', 'retry') == '0 due now\n'


def test_entries_of_a_mapping_that_left_the_configuration_are_meant_only_by_its_generation(
        node: Node, ledger: Ledger) -> None:
    gone = node.generation('two')
    ledger.record(gone, waiting('two', 'd'))
    config = node.config.read_text()
    node.config.write_text(config.replace('"aws_bucket": "bucket"', '"aws_bucket": "elsewhere"'))
    assert _paths(node) == []
    assert node.run('failures', 'drop') == '0 dropped\n'
    assert node.json_lines('failures', 'list', gone)[0]['mapping'] == f'orphaned {gone}'
    assert node.run('failures', 'drop', gone) == '1 dropped\n'


def test_before_the_first_run_there_is_nothing_to_list(new_node: Node) -> None:
    assert new_node.run('failures', 'list') == ''
    assert 'never run' in new_node.errors
    new_node.run('failures', 'drop', 'one', code=3)


def test_two_mappings_of_one_container_are_told_apart(node: Node, ledger: Ledger, write_config) -> None:
    write_config(entry('one'), entry('uno', container='one', aws_bucket='other'))
    ledger.record(node.generation('one'), waiting('one', 'a'))
    ledger.record(node.generation('uno'), waiting('one', 'a'))
    assert {line['mapping'] for line in node.json_lines('failures', 'list', 'AUTH_a/one/a')} == {'one', 'uno'}
    assert node.run('failures', 'drop', 'uno') == '1 dropped\n'
    assert [line['mapping'] for line in node.json_lines('failures', 'list')] == ['one']
