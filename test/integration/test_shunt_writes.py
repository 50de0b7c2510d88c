"""Writes of objects in merged containers: a real cluster with two proxies, S3 and Swift behind fault proxies."""
from __future__ import annotations

import hashlib
import hmac
import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import quote

import pytest
from swift.common.utils import Timestamp
from swiftclient import Connection

from s3_sync.trial.s3_endpoint import S3Endpoint, s3_client
from test.servers.fault_proxy import Answer, FaultProxy
from test.servers.merged import MergedContainer, MergedWorld, S3Side, SwiftSide, an_hour_ago, each, merged_world
from test.servers.sync_daemon import eventually

# Swift replaces the log handler of a pipeline that is loaded again, and forgets to close its UDP socket.
pytestmark = [pytest.mark.filterwarnings('ignore:unclosed <socket.socket .*type=2:ResourceWarning'),
              # So does its proxy application with a connection that was refused.
              pytest.mark.filterwarnings(r'ignore:unclosed <socket.socket \[closed\]:ResourceWarning')]

KEPT = ('s3-kept', 'swift-kept', 's3-migration', 'swift-migration')
"""Containers whose policy is ``tombstone``."""
PROPAGATED = ('s3-propagated', 'swift-propagated')
DEAD = Answer(500, {}, b'')


@pytest.fixture(scope='module')
def world(s3: S3Endpoint) -> Iterator[MergedWorld]:
    with merged_world(s3) as made:
        _add_containers(made)
        made.configure()
        yield made


def _add_containers(world: MergedWorld) -> None:
    faults = {'s3': world.fault_proxy('s3'), 'swift': world.fault_proxy('swift')}
    for kind in ('s3', 'swift'):
        shared = {'kind': kind, 'faults': faults[kind]}
        world.add(f'{kind}-kept', **shared, delete_policy='tombstone')
        world.add(f'{kind}-propagated', **shared)
        world.add(f'{kind}-migration', **shared, migration=True, restore_object=False)
        world.add(f'{kind}-down', kind=kind)
        world.add(f'{kind}-down-kept', kind=kind, delete_policy='tombstone')
        world.add(f'{kind}-gone', kind=kind)
    world.add('local', kind='s3', faults=faults['s3'], delete_policy='local')
    world.add('denied', kind='s3', faults=faults['s3'], post_archived='deny')
    world.add('restoring', kind='s3', faults=faults['s3'], restore_object=True, delete_policy='tombstone')
    world.add('versioned', kind='s3', faults=faults['s3'], delete_policy='tombstone')
    world.plain.post_container('versioned', {'X-Versions-Enabled': 'true'})
    for name in ('slo', 'slo-segments', 'slo-other'):  # names are in manifests
        world.add(name, kind='swift', faults=faults['swift'], migration=True, bucket=name, restore_object=False)
    for name in ('parts', 'parts+segments'):
        world.add(name, kind='s3', faults=faults['s3'])
    world.plain.put_container('unmerged')
    world.add('only-remote', kind='s3', faults=faults['s3'], migration=True, create=False, restore_object=False)


# -- DELETE -----------------------------------------------------------------------------------

@each(*KEPT)
def test_what_only_the_remote_has_is_deleted_here_and_stays_there(at: MergedContainer) -> None:
    at.remote.put('only/ü ☃', b'data')
    assert at.body('only/ü ☃') == b'data'
    answer = at.ask('DELETE', 'only/ü ☃')
    assert (answer.status_code, answer.content) == (204, b'')
    assert at.status('GET', 'only/ü ☃') == at.status('HEAD', 'only/ü ☃') == 404
    assert at.remote.read('only/ü ☃') == b'data'
    assert at.markers['only/ü ☃'] == at.deleted_here('only/ü ☃')
    assert at.policy('only/ü ☃') == {'tombstone'}
    assert at.status('DELETE', 'only/ü ☃') == 404


@each(*PROPAGATED)
def test_what_only_the_remote_has_is_deleted_there_too_and_needs_no_marker_then(at: MergedContainer) -> None:
    at.remote.put('only', b'data')
    assert at.status('DELETE', 'only') == 204
    assert at.remote.head('only') is None
    assert 'only' not in at.markers
    assert at.status('GET', 'only') == at.status('DELETE', 'only') == 404


@each(*KEPT, *PROPAGATED)
def test_what_both_sides_have_is_gone_in_both_after_one_delete(at: MergedContainer) -> None:
    at.put_here('both', b'here')
    at.remote.put('both', b'there')
    assert at.status('DELETE', 'both') == 204
    assert not at.is_here('both')
    assert at.status('GET', 'both') == 404
    if at.name in KEPT:
        assert at.markers['both'] == at.deleted_here('both')
        assert at.remote.read('both') == b'there'
    else:
        assert 'both' not in at.markers
        assert at.remote.head('both') is None


@each('s3-migration', 'swift-migration', *PROPAGATED)
def test_a_name_that_neither_side_has_is_404_and_leaves_no_marker(at: MergedContainer) -> None:
    assert at.status('DELETE', 'never') == 404
    at.put_here('here', b'only here')
    assert at.status('DELETE', 'here') == 204
    assert not {'never', 'here'} & at.markers.keys()


@each('s3-kept', 'swift-kept')
def test_where_copies_are_kept_every_delete_is_marked_for_one_may_be_on_its_way(at: MergedContainer) -> None:
    at.put_here('on its way', b'data')
    assert at.status('DELETE', 'on its way') == 204
    at.remote.put('on its way', b'data', **{'1space-timestamp': an_hour_ago()})
    assert at.status('GET', 'on its way') == 404
    assert at.status('DELETE', 'never') == 404
    assert {'on its way', 'never'} <= at.markers.keys()


@each(*KEPT)
def test_a_name_that_a_user_takes_again_shows_and_can_be_deleted_again(at: MergedContainer) -> None:
    at.remote.put('again', b'first')
    assert at.status('DELETE', 'again') == 204
    assert at.status('PUT', 'again', data=b'second') == 201
    assert at.body('again') == b'second'
    assert at.status('DELETE', 'again') == 204
    assert at.status('GET', 'again') == 404
    assert at.remote.read('again') == b'first'


@each(*KEPT)
def test_a_remote_version_newer_than_the_delete_shows(at: MergedContainer) -> None:
    at.remote.put('newer', b'first')
    assert at.status('DELETE', 'newer') == 204
    at.remote.put('newer', b'second', **{'1space-timestamp': Timestamp(time.time() + 1).internal})
    assert at.body('newer') == b'second'


@each('local')
def test_policy_local_deletes_what_is_here_and_nothing_else(at: MergedContainer) -> None:
    at.put_here('both', b'here')
    at.remote.put('both', b'there')
    at.remote.put('archived', b'there', **{'1space-timestamp': an_hour_ago()})
    assert at.status('DELETE', 'archived') == 404
    assert at.status('DELETE', 'both') == 204
    assert at.asked() == []
    assert at.body('archived') == b'there'
    assert at.status('GET', 'both') == 404  # as long as the cluster itself remembers
    assert at.markers == {}


@each('s3-down', 'swift-down')
def test_a_delete_while_the_remote_is_down_is_finished_later_and_stays_deleted_meanwhile(at: MergedContainer) -> None:
    at.remote.put('down', b'data')
    at.faults.fail(DEAD, times=None)
    assert at.status('DELETE', 'down') == 204
    at.faults.clear()
    assert at.policy('down') == {'propagate'}
    assert at.markers['down'] == at.deleted_here('down')
    assert at.remote.read('down') == b'data'
    assert at.status('GET', 'down') == 404


@each('s3-down', 'swift-down')
def test_a_remote_that_takes_no_delete_now_leaves_it_to_the_daemon(at: MergedContainer) -> None:
    at.remote.put('refused', b'data')
    at.faults.fail(DEAD, method='DELETE', times=None)
    assert at.status('DELETE', 'refused') == 204
    assert at.policy('refused') == {'propagate'}
    assert at.remote.read('refused') == b'data'
    assert at.status('GET', 'refused') == 404


@each('s3-gone', 'swift-gone')
def test_a_remote_that_is_switched_off_keeps_nobody_from_deleting(at: MergedContainer) -> None:
    at.remote.put('off', b'data')
    port = at.faults.port
    at.faults.close()
    assert at.status('DELETE', 'off') == 204
    assert at.status('PUT', 'new', data=b'data', headers=ABSENT) == 503
    assert at.markers['off'] == at.deleted_here('off')
    with FaultProxy(at.remote_url, port=port):
        assert eventually(lambda: at.status('GET', 'off') != 503, 'the remote to be asked again')
        assert at.status('GET', 'off') == 404
        assert at.remote.read('off') == b'data'


@each('s3-down-kept', 'swift-down-kept')
def test_a_marker_outlives_the_proxy_and_a_remote_that_was_down(at: MergedContainer) -> None:
    at.remote.put('survives', b'data')
    at.faults.fail(DEAD, times=None)
    assert at.status('DELETE', 'survives') == 204
    at.world.cluster.restart_proxy(1)
    at.faults.clear()
    assert at.status('GET', 'survives') == 404
    assert at.remote.read('survives') == b'data'


@each('s3-propagated', 'swift-kept', 's3-migration')
def test_a_local_delete_that_fails_deletes_nothing_and_takes_its_marker_back(at: MergedContainer) -> None:
    at.remote.put('from the future', b'there')
    at.world.insider.put(at.name, 'from the future', b'here', Timestamp(time.time() + 1000))
    assert at.status('DELETE', 'from the future') == 409
    assert at.body('from the future') == b'here'
    assert at.remote.read('from the future') == b'there'
    assert 'from the future' not in at.markers
    assert not [request for request in at.asked() if request.method == 'DELETE']


@each('s3-migration')
def test_an_earlier_deletion_is_remembered_when_a_later_one_fails(at: MergedContainer) -> None:
    at.remote.put('twice', b'there')
    assert at.status('DELETE', 'twice') == 204
    at.world.insider.put(at.name, 'twice', b'here', Timestamp(time.time() + 1000))
    assert at.status('DELETE', 'twice') == 409
    assert 'twice' in at.markers


@each('s3-propagated', 'swift-kept')
def test_a_marker_that_cannot_be_written_keeps_everything_as_it_is(at: MergedContainer) -> None:
    at.put_here('stays', b'here')
    at.remote.put('stays', b'there')
    at.remote.put('first', b'so that there are markers at all')
    at.status('DELETE', 'first')
    at.drop_marker('stays', time.time() + 1000)
    answer = at.ask('DELETE', 'stays')
    assert (answer.status_code, 'Retry-After' in answer.headers) == (503, True)
    assert at.body('stays') == b'here'
    assert at.remote.read('stays') == b'there'


@each('s3-kept', 'swift-propagated')
@pytest.mark.parametrize('name', ['%41', 'a//b', 'x?y#z', 'new\nline', '\U0001f600 \ufffd', 'ü' * 512])
def test_awkward_names_are_deleted_under_just_that_name(at: MergedContainer, name: str) -> None:
    at.put_here(name, b'here')
    assert at.status('DELETE', name) == 204
    assert at.status('GET', name) == 404
    assert at.status('DELETE', name) == 404
    assert (name in at.markers) == (at.name == 's3-kept')


# -- POST -------------------------------------------------------------------------------------

@each('s3-propagated', 'swift-propagated', 's3-migration', 'swift-migration')
def test_a_post_follows_the_object_to_its_remote(at: MergedContainer) -> None:
    at.remote.put('posted', b'data', **{'1space-timestamp': an_hour_ago(), 'old': 'gone'})
    answer = at.ask('POST', 'posted', headers={
        'X-Object-Meta-Colour': 'bläck'.encode().decode('latin-1'), 'Content-Type': 'text/x-new',
        'Content-Language': 'en', 'Cookie': 'secret', 'X-Container-Meta-Other': 'no'})
    assert answer.status_code == 202
    shown = at.ask('HEAD', 'posted').headers
    assert (shown['X-Object-Meta-Colour'].encode('latin-1').decode(), shown['Content-Type'],
            shown['Content-Language']) == ('bläck', 'text/x-new', 'en')
    assert 'X-Object-Meta-Old' not in shown
    assert at.remote.read('posted') == b'data'
    there = at.remote.head('posted')
    assert there is not None and there['1space-timestamp']
    assert not at.is_here('posted')
    token = at.world.token('owner')
    for request in at.asked('posted'):
        assert 'cookie' not in request.headers and 'x-container-meta-other' not in request.headers
        assert request.headers.get('x-auth-token') != token


@each('denied')
def test_a_post_to_an_archived_object_can_be_forbidden(at: MergedContainer) -> None:
    at.remote.put('posted', b'data', colour='red')
    answer = at.ask('POST', 'posted', headers={'X-Object-Meta-Colour': 'blue'})
    assert answer.status_code == 409
    assert 'kept at the remote' in answer.text
    there = at.remote.head('posted')
    assert there is not None and there['colour'] == 'red'
    assert at.status('POST', 'never') == 404


@each('s3-migration', 'swift-kept')
def test_a_post_to_what_was_deleted_or_never_was_is_404_and_changes_nothing(at: MergedContainer) -> None:
    at.remote.put('deleted', b'data', colour='red')
    assert at.status('DELETE', 'deleted') == 204
    assert at.status('POST', 'deleted', headers={'X-Object-Meta-Colour': 'blue'}) == 404
    assert at.status('POST', 'never', headers={'X-Object-Meta-Colour': 'blue'}) == 404
    there = at.remote.head('deleted')
    assert there is not None and there['colour'] == 'red'


@each('s3-down', 'swift-down')
def test_a_post_that_the_remote_cannot_take_now_is_503(at: MergedContainer) -> None:
    at.remote.put('posted', b'data', colour='red')
    at.faults.fail(DEAD, method='HEAD', times=None)
    answer = at.ask('POST', 'posted', headers={'X-Object-Meta-Colour': 'blue'})
    assert (answer.status_code, 'Retry-After' in answer.headers) == (503, True)


@each('s3-propagated')
def test_a_post_to_an_object_that_is_here_stays_here(at: MergedContainer) -> None:
    at.put_here('both', b'here')
    at.remote.put('both', b'there', colour='red')
    assert at.status('POST', 'both', headers={'X-Object-Meta-Colour': 'blue'}) == 202
    assert at.asked('both') == []
    assert at.ask('HEAD', 'both').headers['X-Object-Meta-Colour'] == 'blue'
    assert at.status('POST', 'both', headers={'X-Object-Meta-' + 'x' * 200: 'too long'}) == 400


# -- PUT --------------------------------------------------------------------------------------

ABSENT = {'If-None-Match': '*'}


@each('s3-propagated', 'swift-kept', 's3-migration')
def test_a_put_that_wants_nothing_there_sees_the_remote(at: MergedContainer) -> None:
    at.remote.put('there', b'there')
    assert at.status('PUT', 'there', data=b'new', headers=ABSENT) == 412
    assert at.body('there') == b'there'
    assert at.status('DELETE', 'there') == 204
    assert at.status('PUT', 'there', data=b'new', headers=ABSENT) == 201
    assert at.status('PUT', 'there', data=b'newer', headers=ABSENT) == 412
    assert at.status('PUT', 'nowhere', data=b'new', headers=ABSENT) == 201
    assert at.status('PUT', 'elsewhere', data=b'new', headers={'If-None-Match': 'abc'}) == 400


@each('s3-down', 'swift-down')
def test_a_put_that_wants_nothing_there_is_503_while_that_cannot_be_told(at: MergedContainer) -> None:
    at.faults.fail(DEAD, method='HEAD', times=None)
    assert at.status('PUT', 'unknown', data=b'new', headers=ABSENT) == 503
    assert at.status('PUT', 'unknown', data=b'new') == 201


@each('s3-propagated')
def test_a_body_that_is_not_wanted_is_not_asked_for(at: MergedContainer) -> None:
    at.remote.put('there', b'there')
    host, port = at.world.cluster.proxy_url(1).removeprefix('http://').split(':')
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall((f'PUT {at.url("there").partition(port)[2]} HTTP/1.1\r\nHost: {host}\r\n'
                            f'X-Auth-Token: {at.world.token("owner")}\r\nIf-None-Match: *\r\n'
                            'Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n').encode())
        assert connection.recv(100).startswith(b'HTTP/1.1 412 ')


@each('s3-propagated')
def test_an_ordinary_put_asks_no_remote(at: MergedContainer) -> None:
    at.remote.put('new', b'old')
    assert at.status('PUT', 'new', data=b'new') == 201
    assert at.asked() == []
    assert at.body('new') == b'new'


@each('only-remote')
def test_a_put_and_a_post_into_a_container_that_only_the_remote_has(at: MergedContainer) -> None:
    at.remote.put('there', b'there', colour='red')
    assert at.status('PUT', 'new', data=b'new', user='stranger') == 403
    assert at.asked() == []
    assert at.status('PUT', 'new', data=b'new') == 201
    assert at.status('POST', 'there', headers={'X-Object-Meta-Colour': 'blue'}) == 202
    there = at.remote.head('there')
    assert there is not None and there['colour'] == 'blue'


# -- COPY -------------------------------------------------------------------------------------

@each('s3-propagated', 'swift-migration')
def test_copies_of_archived_objects(at: MergedContainer) -> None:
    at.remote.put('source ü', b'data', colour='red')
    source = quote(f'/{at.name}/source ü')
    assert at.status('COPY', 'source ü', headers={'Destination': f'{at.name}/copied',
                                                 'X-Object-Meta-Size': 'big'}) == 201
    assert at.status('PUT', 'fresh', headers={'X-Copy-From': source, 'X-Fresh-Metadata': 'true'}) == 201
    assert at.status('PUT', 'part', headers={'X-Copy-From': source, 'Range': 'bytes=1-2'}) == 201
    assert at.is_here('copied') and at.is_here('fresh')
    assert (at.body('copied'), at.body('fresh'), at.body('part')) == (b'data', b'data', b'at')
    copied, fresh = at.ask('HEAD', 'copied').headers, at.ask('HEAD', 'fresh').headers
    assert (copied['X-Object-Meta-Colour'], copied['X-Object-Meta-Size']) == ('red', 'big')
    assert 'X-Object-Meta-Colour' not in fresh
    assert at.status('COPY', 'source ü', headers={'Destination': source}) == 201
    assert at.is_here('source ü')
    assert at.status('COPY', 'source ü', user='stranger', headers={'Destination': f'{at.name}/stolen'}) == 403


# -- who may ----------------------------------------------------------------------------------

@each('s3-propagated', 'swift-propagated')
@pytest.mark.parametrize('user', ['stranger', 'tester3', None])
def test_nothing_goes_out_for_those_who_may_not_write(at: MergedContainer, user: str | None) -> None:
    at.remote.put('precious', b'data', colour='red')
    refused = {401, 403}
    assert at.status('DELETE', 'precious', user=user) in refused
    assert at.status('POST', 'precious', user=user, headers={'X-Object-Meta-Colour': 'blue'}) in refused
    assert at.status('PUT', 'precious', user=user, data=b'mine', headers=ABSENT) in refused
    assert at.status('PUT', 'precious', user=user, data=b'mine') in refused
    assert at.status('DELETE', 'never', user=user) in refused
    assert at.asked() == []
    assert at.status('DELETE', 'precious', user=user, query='?multipart-manifest=delete') in {200, *refused}
    assert at.asked() == []
    assert at.remote.read('precious') == b'data'
    assert 'precious' not in at.markers


@each('s3-kept', 'swift-propagated')
def test_a_user_of_the_write_acl_may_write_and_delete_and_not_read(at: MergedContainer) -> None:
    at.world.plain.post_container(at.name, {'X-Container-Write': 'test:tester3'})
    try:
        at.remote.put('shared', b'data', colour='red')
        assert at.status('GET', 'shared', user='tester3') == 403
        assert at.asked() == []
        assert at.status('POST', 'shared', user='tester3', headers={'X-Object-Meta-Colour': 'blue'}) == 202
        assert at.status('DELETE', 'shared', user='tester3') == 204
        assert at.status('GET', 'shared') == 404
    finally:
        at.world.plain.post_container(at.name, {'X-Container-Write': ''})


@each('s3-kept', 'swift-propagated')
def test_signed_urls_open_what_they_name_and_only_that(at: MergedContainer) -> None:
    at.world.plain.post_account({'X-Account-Meta-Temp-URL-Key': 'key'})
    at.remote.put('signed', b'data', colour='red')
    at.remote.put('other', b'data')
    post, put, delete = (signed(at, method, 'signed') for method in ('POST', 'PUT', 'DELETE'))
    assert at.status('DELETE', 'other', user=None, query=delete) == 401
    assert at.status('DELETE', 'signed', user=None, query=post) == 401
    assert at.asked() == []
    assert at.status('POST', 'signed', user=None, query=post, headers={'X-Object-Meta-Colour': 'blue'}) == 202
    assert at.status('PUT', 'signed', user=None, query=put, data=b'x', headers=ABSENT) == 412
    assert at.status('DELETE', 'signed', user=None, query=delete) == 204
    assert at.status('GET', 'signed') == 404
    assert at.body('other') == b'data'


def signed(at: MergedContainer, method: str, name: str) -> str:
    expires = int(time.time()) + 600
    path = f'/v1/AUTH_test/{at.name}/{name}'
    signature = hmac.new(b'key', f'{method}\n{expires}\n{path}'.encode(), hashlib.sha256).hexdigest()
    return f'?temp_url_sig={signature}&temp_url_expires={expires}'


# -- other ways to delete -----------------------------------------------------------------------

@each('s3-kept', 's3-propagated', 'swift-migration')
def test_bulk_deletes_go_name_by_name(at: MergedContainer) -> None:
    for name in ('bulk/1', 'bulk/ü 2'):
        at.remote.put(name, b'data')
    listed = '\n'.join(quote(f'{at.name}/{name}') for name in ('bulk/1', 'bulk/ü 2', 'bulk/never'))
    answer = at.world.session.post(f'{at.world.cluster.proxy_url(1)}/v1/AUTH_test?bulk-delete', timeout=60,
                                   data=listed.encode(), headers={
        'X-Auth-Token': at.world.token('owner'), 'Content-Type': 'text/plain', 'Accept': 'application/json'}).json()
    assert (answer['Number Deleted'], answer['Number Not Found'], answer['Errors']) == (2, 1, [])
    assert at.status('GET', 'bulk/1') == at.status('GET', 'bulk/ü 2') == 404


@each('s3-kept', 'swift-propagated')
def test_s3_clients_delete_in_the_merged_namespace(at: MergedContainer) -> None:
    for name in ('one', 'two', 'three'):
        at.remote.put(name, b'data')
    with closing(s3_client(at.world.cluster.proxy_url(1), 'test:tester', 'testing')) as client:
        client.delete_object(Bucket=at.name, Key='one')
        done = client.delete_objects(Bucket=at.name, Delete={'Objects': [
            {'Key': name} for name in ('two', 'three', 'never')]})
        assert {entry['Key'] for entry in done['Deleted']} == {'two', 'three', 'never'}
    assert [at.status('GET', name) for name in ('one', 'two', 'three')] == [404, 404, 404]


@each('versioned')
def test_deletes_in_versioned_containers(at: MergedContainer) -> None:
    at.remote.put('v', b'there')
    kept = at.ask('PUT', 'v', data=b'here').headers['X-Object-Version-Id']
    deleted = at.ask('DELETE', 'v')
    assert (deleted.status_code, 'X-Object-Version-Id' in deleted.headers) == (204, True)
    assert at.status('GET', 'v') == 404
    assert at.ask('GET', 'v', query=f'?version-id={kept}').content == b'here'
    assert at.markers['v'] == at.deleted_here('v')
    at.faults.clear()
    assert at.status('DELETE', 'v', query=f'?version-id={kept}') == 204
    assert at.asked() == []
    at.remote.put('only there', b'there')
    alone = at.ask('DELETE', 'only there')
    assert (alone.status_code, 'X-Object-Version-Id' in alone.headers) == (204, True)
    assert at.status('GET', 'only there') == 404


def test_quotas_that_are_full_do_not_keep_anybody_from_deleting(world: MergedWorld) -> None:
    at = world['s3-kept']
    at.remote.put('too much', b'data')
    admin = at.world.cluster.client(user='admin:admin', key='admin', os_options={
        'object_storage_url': at.world.cluster.storage_url})
    with closing(admin):
        admin.post_account({'X-Account-Quota-Bytes': '0'})
        try:
            assert at.status('PUT', 'more', data=b'data') == 413
            assert at.status('DELETE', 'too much') == 204
        finally:
            admin.post_account({'X-Account-Quota-Bytes': ''})
    assert at.status('GET', 'too much') == 404


@each('s3-kept')
def test_an_expired_version_is_not_there(at: MergedContainer) -> None:
    at.remote.put('expired', b'data', **{'1space-delete-at': str(int(time.time()) - 10)})
    at.put_here('marked anyway', b'data')
    assert at.status('POST', 'expired') == 404
    assert at.status('PUT', 'expired', data=b'new', headers=ABSENT) == 201


@each('restoring')
def test_what_was_deleted_is_not_restored(at: MergedContainer) -> None:
    at.remote.put('gone', b'data')
    assert at.status('DELETE', 'gone') == 204
    assert at.status('GET', 'gone') == 404
    assert not at.is_here('gone')


@each('s3-kept')
def test_every_decision_is_logged_and_no_secret_with_it(at: MergedContainer) -> None:
    at.remote.put('logged', b'data')
    at.status('DELETE', 'logged')
    eventually(lambda: [line for line in at.world.log() if 'DELETE AUTH_test/s3-kept/logged outcome=marked' in line],
               'the decision in the log')
    secrets = (at.world.s3.secret_key, at.world.token('owner'), 'testing2')
    assert not [line for line in at.world.log() if any(secret in line for secret in secrets)]


# -- large objects with their segments ----------------------------------------------------------

def large_object(client: Connection, container: str = 'slo', name: str = 'large', *,
                 segments: str = 'slo-segments', nested: bool = False) -> list[str]:
    """Two segments and a manifest, or a manifest of such and one segment; paths of everything, the manifest first."""
    parts = [f'{name}/{number}' for number in (1, 2)]
    entries = []
    for part in parts:
        client.put_object(segments, part, b'x' * 10)
        entries.append({'path': f'/{segments}/{part}'})
    if nested:
        inner = large_object(client, segments, f'{name}/inner', segments=segments)
        entries.append({'path': f'/{inner[0]}'})
    client.put_object(container, name, json.dumps(entries), query_string='multipart-manifest=put')
    return [f'{container}/{name}', *(f'{segments}/{part}' for part in parts), *(inner if nested else [])]


def status_of(at: MergedContainer, path: str) -> int:
    return at.world.session.get(f'{at.world.cluster.proxy_url(1)}/v1/AUTH_test/{path}', timeout=60,
                                headers={'X-Auth-Token': at.world.token('owner')}).status_code


def bulk_answer(at: MergedContainer, name: str, *, query: str = '', **options: Any) -> dict[str, Any]:
    answer = at.ask('DELETE', name, query=f'?multipart-manifest=delete{query}',
                    headers={'Accept': 'application/json'}, **options)
    assert (answer.status_code, answer.headers['Content-Type']) == (200, 'application/json'), answer.text
    return dict(answer.json())


@each('slo')
@pytest.mark.parametrize('nested', [False, True])
def test_a_large_object_that_only_the_remote_has_is_deleted_with_its_segments(
        at: MergedContainer, nested: bool) -> None:
    assert isinstance(at.remote, SwiftSide)
    name = f'archived-{nested}'
    paths = large_object(at.remote.client, name=name, nested=nested)
    assert [status_of(at, path) for path in paths] == [200] * len(paths)
    answer = bulk_answer(at, name)
    assert (answer['Number Deleted'], answer['Number Not Found'], answer['Errors'],
            answer['Response Status']) == (len(paths), 0, [], '200 OK')
    assert [status_of(at, path) for path in paths] == [404] * len(paths)
    assert at.remote.head(name) is not None
    again = bulk_answer(at, name)
    assert (again['Number Deleted'], again['Number Not Found']) == (0, 1)


@each('slo')
def test_segments_that_are_on_both_sides_stay_deleted(at: MergedContainer) -> None:
    assert isinstance(at.remote, SwiftSide)
    paths = large_object(at.remote.client, name='both')
    assert large_object(at.world.plain, name='both') == paths
    assert bulk_answer(at, 'both')['Number Deleted'] == 3
    assert [status_of(at, path) for path in paths] == [404] * 3


@each('slo')
@pytest.mark.parametrize('container', ['slo', 'unmerged'])
@pytest.mark.parametrize('where', ['here', 'there'])
def test_segments_left_to_later_by_swift_go_at_once_where_they_are_merged(
        at: MergedContainer, container: str, where: str) -> None:
    assert isinstance(at.remote, SwiftSide)
    name = f'{container} {where}'
    paths = large_object(at.world.plain, container, name)
    if where == 'there':
        for part in (1, 2):
            at.remote.client.put_object('slo-segments', f'{name}/{part}', b'there')
    answer = at.world.session.delete(
        f'{at.world.cluster.proxy_url(1)}/v1/AUTH_test/{quote(paths[0])}?multipart-manifest=delete&async=yes',
        headers={'X-Auth-Token': at.world.token('owner')}, timeout=60)
    assert (answer.status_code, answer.content) == (204, b'')
    assert [status_of(at, path) for path in paths] == [404] * 3


@each('slo')
def test_segments_in_a_container_of_their_own_are_left_to_swift(at: MergedContainer) -> None:
    at.put_here('mine', b'')
    paths = large_object(at.world.plain, 'slo', 'elsewhere', segments='unmerged')
    assert at.status('DELETE', 'elsewhere', query='?multipart-manifest=delete&async=yes') == 204
    assert [status_of(at, path) for path in paths] == [404, 200, 200]
    at.world.cluster.expire_objects()
    assert [status_of(at, path) for path in paths] == [404] * 3


@each('slo')
@pytest.mark.parametrize('query', ['', '&async=yes'])
@pytest.mark.parametrize('user', ['stranger', None])
def test_who_may_not_hears_what_plain_swift_says_and_nothing_goes_out(
        at: MergedContainer, user: str | None, query: str) -> None:
    assert isinstance(at.remote, SwiftSide)
    paths = large_object(at.world.plain, name='protected')
    large_object(at.remote.client, name='protected there')
    at.faults.clear()
    headers = {'X-Auth-Token': at.world.token(user)} if user else {}
    answers = [at.world.session.delete(f'{at.url("protected", proxy)}?multipart-manifest=delete{query}', timeout=60,
                                       headers={**headers, 'Accept': 'application/json'}) for proxy in (0, 1)]
    assert answers[0].status_code == answers[1].status_code
    assert answers[0].text.strip() == answers[1].text.strip()
    at.status('DELETE', 'protected there', user=user, query=f'?multipart-manifest=delete{query}')
    assert at.asked() == []
    assert at.world.marks.names('slo-segments').isdisjoint(path.partition('/')[2] for path in paths)
    assert [status_of(at, path) for path in paths] == [200] * 3


@each('slo', 's3-propagated')
def test_what_is_no_large_object_is_refused_in_swifts_words(at: MergedContainer) -> None:
    at.put_here('plain', b'here')
    at.remote.put('plain there', b'there')
    for name in ('plain', 'plain there'):
        answer = bulk_answer(at, name)
        assert answer['Errors'] == [[quote(f'/{at.name}/{name}'), 'Not an SLO manifest']]
        assert at.status('HEAD', name) == 200


@each('parts')
def test_a_large_object_in_one_piece_at_its_remote_has_no_segments(at: MergedContainer) -> None:
    assert isinstance(at.remote, S3Side)
    at.remote.put_in_parts('multipart', b'x' * (5 << 20), b'y')
    assert at.ask('HEAD', 'multipart').headers['X-Static-Large-Object'] == 'True'
    answer = bulk_answer(at, 'multipart')
    assert (answer['Number Deleted'], answer['Errors']) == (1, [])
    assert at.status('GET', 'multipart') == 404
    assert at.remote.head('multipart') is None
    at.remote.put_in_parts('another', b'x' * (5 << 20), b'y')
    assert at.status('DELETE', 'another', query='?multipart-manifest=delete&async=on') == 204
    assert at.remote.head('another') is None


@each('parts')
def test_s3_clients_write_and_delete_in_parts(at: MergedContainer) -> None:
    with closing(s3_client(at.world.cluster.proxy_url(1), 'test:tester', 'testing')) as client:
        upload = client.create_multipart_upload(Bucket='parts', Key='uploaded')['UploadId']
        parts = [{'PartNumber': number, 'ETag': client.upload_part(
            Bucket='parts', Key='uploaded', UploadId=upload, PartNumber=number, Body=body)['ETag']}
            for number, body in ((1, b'x' * (5 << 20)), (2, b'y'))]
        client.complete_multipart_upload(Bucket='parts', Key='uploaded', UploadId=upload,
                                         MultipartUpload={'Parts': parts})
        assert client.head_object(Bucket='parts', Key='uploaded')['ContentLength'] == (5 << 20) + 1
        at.remote.put('uploaded', b'an older copy', **{'1space-timestamp': an_hour_ago()})
        client.delete_object(Bucket='parts', Key='uploaded')
    assert at.status('GET', 'uploaded') == 404
    assert at.remote.head('uploaded') is None
