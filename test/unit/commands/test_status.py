from __future__ import annotations

import json
import os
from typing import Any

from container_crawler.rows import Row
from s3_sync.clock import SystemClock
from s3_sync.ledger import Ledger, NodeLock
from s3_sync.remote_health import HELD_FACT
from s3_sync.types import Removal
from s3_sync.wire.tombstones import tombstone_container

from .conftest import Node, waiting


def _status(node: Node, *words: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(node.run('status', '--json', *words, code=code))
    return found


def test_before_the_first_run_it_says_so_and_ends_well(new_node: Node) -> None:
    assert 'never run' in new_node.run('status')
    assert _status(new_node) == {'config': str(new_node.config), 'ledger': None, 'daemon_pid': None, 'mappings': [],
                                 'orphans': []}


def test_totals_waiting_work_and_reasons_are_told(node: Node, ledger: Ledger) -> None:
    one = node.generation('one')
    ledger.add_totals(one, copied=1200, bytes=3 * 2 ** 30, updated=2, deleted=1)
    for name in 'ab':
        ledger.record(one, waiting('one', name))
    ledger.record(one, waiting('one', 'c', kind='permanent', reason='large-object'))
    ledger.record(one, waiting('one', 'd', kind='deferred', reason='copy-after', due_in=7200.5))
    text = node.run('status', 'one', code=3)
    for line in ('swift-s3-sync is not running.', 'one [stopped]', '    to          s3 http://127.0.0.1:9 bucket',
                 '    done        1,200 objects copied (3.0 GiB), 2 updated, 1 deleted',
                 '    failed      2 (throttled 2), next in 10 min', '    permanent   1 (large-object 1)',
                 '    deferred    1 (copy-after 1), next in 2 h'):
        assert line in text.splitlines(), text
    assert 'two' not in text
    assert max(map(len, text.splitlines())) <= 80 or str(node.config.parent) in text


def test_pauses_and_held_remotes_show(node: Node, ledger: Ledger) -> None:
    one, two = node.generation('one'), node.generation('two')
    ledger.pause(one)
    ledger.save_fact(HELD_FACT, {two: 'the remote does not work: connection: refused'})
    states = {m['name']: m['state'] for m in _status(node)['mappings']}
    assert states == {'one': 'paused', 'two': 'stopped'}, 'what a daemon noted that is gone means nothing'
    with NodeLock(node.settings.status_dir):
        found = _status(node, code=3)
        assert found['daemon_pid'] == os.getpid()
        assert {m['name']: (m['state'], m['held']) for m in found['mappings']} == {
            'one': ('paused', None), 'two': ('held', 'the remote does not work: connection: refused')}
        assert 'the remote does not work: connection: refused' in node.run('status', code=3)


def test_a_mapping_that_the_daemon_has_not_read_yet_is_told(node: Node) -> None:
    node.config.write_text(node.config.read_text().replace('"name": "two"', '"name": "two", "custom_prefix": "p"'))
    with NodeLock(node.settings.status_dir):
        found = {m['name']: m['state'] for m in _status(node)['mappings']}
    assert found == {'one': 'running', 'two': 'not loaded'}


def test_mappings_that_left_the_configuration_are_shown_as_orphans(node: Node, ledger: Ledger) -> None:
    gone = node.generation('two')
    ledger.record(gone, waiting('two'))
    node.config.write_text(node.config.read_text().replace('"name": "two"', '"name": "two", "custom_prefix": "p"'))
    found = _status(node)
    orphan, = found['orphans']
    assert orphan['generation'] == gone and orphan['waiting']['failed'] == 1
    assert orphan['description']['bucket'] == 'bucket'
    assert gone in node.run('status')
    assert [m['waiting']['failed'] for m in found['mappings']] == [0, 0], 'an orphan troubles nobody'


def test_without_the_nodes_swift_the_ledger_is_still_told(node: Node, ledger: Ledger) -> None:
    one = node.generation('one')
    ledger.save_progress(one, 'db-1', account='AUTH_a', container='one', own_row=7, verified_row=5, share='0/2',
                         evaluation=node.settings.containers[0].evaluation)
    found = _status(node, 'one')
    assert 'swift.conf' in found['databases_problem']
    assert found['mappings'][0]['databases'] == [
        {'id': 'db-1', 'account': 'AUTH_a', 'container': 'one', 'own_row': 7, 'verified_row': 5, 'max_row': None,
         'rows_left': None, 'rows_unverified': 2}]


def test_hidden_containers_of_deletions_are_no_databases_of_users(node: Node, ledger: Ledger) -> None:
    one, evaluation = node.generation('one'), node.settings.containers[0].evaluation
    for number, container in enumerate(('one', tombstone_container('one'))):
        ledger.save_progress(one, f'db-{number}', account='AUTH_a', container=container, own_row=7, verified_row=5,
                             share='0/2', evaluation=evaluation if container == 'one' else 'another')
    found = _status(node, 'one')['mappings'][0]
    assert (found['containers'], [db['id'] for db in found['databases']], found['rescan']) == (1, ['db-0'], False)


def test_progress_reached_with_another_selection_counts_as_nothing(node: Node, ledger: Ledger) -> None:
    ledger.save_progress(node.generation('one'), 'db-1', account='AUTH_a', container='one', own_row=7, verified_row=7,
                         share='0/1', evaluation='another')
    mapping = _status(node, 'one')['mappings'][0]
    assert mapping['rescan'] and mapping['databases'][0]['own_row'] == 0


def a_segment(name: str, *, due_in: float = -5.0, size: int = 2 ** 20) -> Removal:
    row = Row(0, name, '', size, '', 'e', False, 0)
    return Removal('one_segments', row, SystemClock().now() + due_in, True, 'one/o', 'v1')


def test_what_waits_to_be_removed_here_is_told_with_the_reasons(node: Node, ledger: Ledger) -> None:
    one = node.generation('one')
    ledger.add_totals(one, archived=7, segments_removed=1)
    now = Removal('one', Row(1, 'o', '1700000000.00000', 2 ** 20, '', 'e', False, 0), 0.0, False)
    ledger.add_removals(one, 'AUTH_a', [now, a_segment('x', due_in=7200.5), a_segment('y'), a_segment('z')])
    ledger.postpone_removals(one, 'AUTH_a', [('one_segments', 'y'), ('one_segments', 'z')], 600.5, 'referenced')
    text = node.run('status', 'one')
    for line in ('    removed     7 objects and 1 segment, here, after they were archived',
                 '    to remove   1 object and 3 segments (4.0 MiB), archived, for up to 0 s',
                 '                2 segments referenced, next in 10 min', '                1 object due',
                 '                1 segment not-due, next in 2 h'):
        assert line in text.splitlines(), text
    removals = _status(node)['mappings'][0]['removals']
    assert {key: removals[key] for key in ('objects', 'segments', 'bytes')} == {
        'objects': 1, 'segments': 3, 'bytes': 4 * 2 ** 20}
    assert {(r['kind'], r['reason']): r['count'] for r in removals['reasons']} == {
        ('segment', 'referenced'): 2, ('object', 'due'): 1, ('segment', 'not-due'): 1}
    assert removals['since'].endswith('Z') and removals['reasons'][0]['due'].endswith('Z')
    assert _status(node)['mappings'][1]['removals'] == {'objects': 0, 'segments': 0, 'bytes': 0, 'since': None,
                                                        'reasons': []}


def test_an_account_that_no_sweep_can_read_is_trouble_and_says_what_it_was(node: Node, ledger: Ledger) -> None:
    ledger.add_removals(node.generation('one'), 'AUTH_a', [a_segment('x')])
    node.run('status')
    ledger.postpone_removals(node.generation('one'), 'AUTH_a', [('one_segments', 'x')], 300, 'account-unreadable',
                             'AUTH_a/two answers 503')
    assert 'AUTH_a/two answers 503' in ' '.join(node.run('status', code=3).split())


def test_orphaned_removals_are_shown_and_trouble_nobody(node: Node, ledger: Ledger) -> None:
    gone = node.generation('two')
    ledger.add_removals(gone, 'AUTH_a', [a_segment('x')])
    ledger.postpone_removals(gone, 'AUTH_a', [('one_segments', 'x')], 300, 'account-unreadable')
    node.config.write_text(node.config.read_text().replace('"name": "two"', '"name": "two", "custom_prefix": "p"'))
    orphan, = _status(node)['orphans']
    assert orphan['removals'] == {'objects': 0, 'segments': 1, 'bytes': 2 ** 20}
    assert '1 segments to remove' in ' '.join(node.run('status').split())


def test_looking_changes_nothing(node: Node, ledger: Ledger) -> None:
    ledger.record(node.generation('one'), waiting('one'))
    before = [list(ledger.failures()), ledger.totals(), ledger.paused(), ledger.generations()]
    node.run('status', code=3)
    node.run('failures', 'list')
    assert before == [list(ledger.failures()), ledger.totals(), ledger.paused(), ledger.generations()]
