"""Rules of others are kept byte for byte, whatever they contain."""
from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from s3_sync.clock import FakeClock
from s3_sync.errors import Forbidden, PermanentError
from s3_sync.sync_s3 import SyncS3
from test.fakes.s3_mapping import s3_mapping
from test.fakes.scripted_server import ScriptedServer, Step, reply, s3_error

FOREIGN = (b'<Rule>\n  <ID>of tomorrow &amp; others</ID><Filter><Prefix>logs/</Prefix></Filter>'
           b'<Status>Enabled</Status>\n<FutureAction xmlns:x="urn:x"><x:Days>1</x:Days></FutureAction></Rule>')
HEAD = b'<?xml version="1.0" encoding="UTF-8"?>\n<LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
TAIL = b'</LifecycleConfiguration>'
Start = Callable[..., tuple[ScriptedServer, SyncS3]]


@pytest.fixture
def start() -> Iterator[Start]:
    opened: list[tuple[ScriptedServer, SyncS3]] = []

    def begin(*steps: Step, **options: Any) -> tuple[ScriptedServer, SyncS3]:
        server = ScriptedServer(steps).__enter__()
        provider = SyncS3(s3_mapping(server.url, custom_prefix='p', **options), clock=FakeClock())
        opened.append((server, provider))
        return server, provider
    yield begin
    for server, provider in opened:
        provider.close()
        server.__exit__(None, None, None)


def configuration(*rules: bytes) -> Step:
    return reply(body=HEAD + b''.join(rules) + TAIL)


def ours(days: int, *, status: str = 'Enabled', more: str = '') -> bytes:
    return (f'<Rule><ID>p/</ID><Filter><Prefix>p/</Prefix></Filter><Status>{status}</Status>'
            f'<Expiration><Days>{days}</Days></Expiration>{more}</Rule>').encode()


def test_what_others_wrote_stays_as_it_was(start: Start) -> None:
    server, provider = start(configuration(FOREIGN, ours(9)), reply(), remote_delete_after=86400)
    provider.apply_container({})
    assert server.exchanges[1].body == HEAD + FOREIGN + ours(1) + TAIL
    assert 'content-md5' in server.exchanges[1].headers


def test_removing_ours_leaves_theirs(start: Start) -> None:
    server, provider = start(configuration(ours(9), FOREIGN), reply())
    provider.apply_container({})
    assert server.exchanges[1].body == HEAD + FOREIGN + TAIL


def test_rules_read_a_moment_ago_tell_that_none_is_ours(start: Start) -> None:
    server, provider = start(configuration(FOREIGN))
    provider.apply_container({})
    provider.apply_container({})
    assert len(server.exchanges) == 1


def test_rules_that_were_just_read_hide_none_of_ours(start: Start) -> None:
    server, provider = start(configuration(ours(9)), reply(), configuration(ours(3)), reply())
    provider.apply_container({})
    provider.apply_container({})
    assert [e.request.split()[0] for e in server.exchanges] == [b'GET', b'DELETE', b'GET', b'DELETE']


def test_nothing_is_written_when_nothing_changes(start: Start) -> None:
    server, provider = start(configuration(FOREIGN, ours(1)), remote_delete_after=86400)
    provider.apply_container({})
    assert len(server.exchanges) == 1


@pytest.mark.parametrize('rule', [
    ours(1, status='Disabled'), ours(1, more='<AbortIncompleteMultipartUpload/>'), ours(2)])
def test_ours_is_put_right_when_somebody_changed_it(start: Start, rule: bytes) -> None:
    server, provider = start(configuration(rule), reply(), remote_delete_after=86400)
    provider.apply_container({})
    assert re.sub(rb'\s', b'', server.exchanges[1].body).endswith(ours(1) + TAIL)


def test_a_configuration_that_is_not_understood_is_left_alone(start: Start) -> None:
    nested = b'<Rule><ID>a</ID><Odd><Rule>x</Rule></Odd><Status>Enabled</Status></Rule>'
    server, provider = start(configuration(FOREIGN, b'<!-- <Rule></Rule> -->', nested), remote_delete_after=86400)
    with pytest.raises(PermanentError, match='not understood'):
        provider.apply_container({})
    assert len(server.exchanges) == 1


def test_without_the_option_missing_rights_are_no_failure(start: Start) -> None:
    denied = reply('403 Forbidden', s3_error('AccessDenied'))
    _server, provider = start(denied)
    provider.apply_container({})
    _server, provider = start(denied, remote_delete_after=86400)
    with pytest.raises(Forbidden):
        provider.apply_container({})
