"""The lean HTTP client against a server that says what the test wants."""
from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from s3_sync.clock import FakeClock
from s3_sync.errors import ConnectionFailed, Throttled
from s3_sync.providers.http import BUFFERED_BODY_BYTES, EXPECT_BYTES, Connection, NoAnswer, Response, parse_head
from s3_sync.providers.transport import MAX_IDLE_SECONDS, Origin, Transport
from s3_sync.streams import Body, BytesBody, StreamBody
from test.fakes.scripted_server import Exchange, ScriptedServer, Step, hang_up, raw, reply

LARGE = EXPECT_BYTES + 17
OK = b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'


class Caller:
    """A transport bound to a server."""

    def __init__(self, server: ScriptedServer, *, connections: int = 2, timeout: float = 5.0) -> None:
        self.clock = FakeClock()
        self.transport = Transport(max_connections=connections, clock=self.clock)
        self.origin = Origin('http', '127.0.0.1', server.port)
        self.timeout = timeout

    def __call__(self, method: str = 'GET', body: Body | None = None, **headers: str) -> tuple[int, bytes]:
        response = self.transport.send(self.origin, method, '/x', {'host': 'h', **headers}, body,
                                       timeout=self.timeout)
        return response.status, response.read(1 << 24)


@pytest.fixture
def call() -> Iterator[Callable[..., tuple[ScriptedServer, Caller]]]:
    opened: list[tuple[ScriptedServer, Caller]] = []

    def start(*steps: Step, connections: int = 2, timeout: float = 5.0) -> tuple[ScriptedServer, Caller]:
        server = ScriptedServer(steps).__enter__()
        opened.append((server, Caller(server, connections=connections, timeout=timeout)))
        return opened[-1]
    yield start
    for server, caller in opened:
        caller.transport.close()
        server.__exit__(None, None, None)


Start = Callable[..., tuple[ScriptedServer, Caller]]


def stream(size: int) -> StreamBody:
    return StreamBody(lambda: (b'x' * min(65_536, size - at) for at in range(0, size, 65_536)), size)


def test_a_connection_is_used_again(call: Start) -> None:
    server, caller = call(reply(body=b'one'), reply('404 Not Found', b'two'), reply('204 No Content'), reply())
    assert [caller(), caller(), caller(), caller()] == [(200, b'one'), (404, b'two'), (204, b''), (200, b'')]
    assert server.connections == 1


def test_a_head_has_no_body_whatever_its_length_says(call: Start) -> None:
    server, caller = call(raw(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n'), reply(body=b'next'))
    assert caller('HEAD') == (200, b'')
    assert caller() == (200, b'next')
    assert server.connections == 1


@pytest.mark.parametrize('answer, body', [
    (b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n',
     b'abcde'),
    (b'HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nContent-Length: 9\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n',
     b'0123456789'),
    (b'HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', b'ok')])
def test_bodies_come_in_every_form(call: Start, answer: bytes, body: bytes) -> None:
    server, caller = call(raw(answer), raw(OK))
    assert caller() == (200, body)
    assert caller() == (200, b'ok')
    assert server.connections == 1


def test_an_answer_in_single_bytes_is_read(call: Start) -> None:
    def dribble(exchange: Exchange) -> None:
        exchange.conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n':
            exchange.send(bytes([byte]))
    assert call(dribble)[1]() == (200, b'abc')


@pytest.mark.parametrize('answer', [
    b'HTTP/1.1 200 OK\r\n\r\nuntil the end', b'HTTP/1.0 200 OK\r\n\r\nuntil the end'])
def test_a_body_without_a_length_ends_with_the_connection(call: Start, answer: bytes) -> None:
    server, caller = call(raw(answer, close=True), raw(OK))
    assert caller() == (200, b'until the end')
    assert caller() == (200, b'ok')
    assert server.connections == 2


@pytest.mark.parametrize('answer', [
    b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok',
    b'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok'])
def test_a_connection_that_will_be_closed_is_not_kept(call: Start, answer: bytes) -> None:
    server, caller = call(raw(answer), raw(OK))
    assert [caller(), caller()] == [(200, b'ok')] * 2
    assert server.connections == 2


@pytest.mark.parametrize('answer', [
    b'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf', b'HTTP/1.1 200 OK\r\nContent-Le',
    b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab', b'garbage\r\n\r\n',
    b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
    b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n',
    b'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n', b'HTTP/1.1 abc OK\r\n\r\n', b'SSH-2.0 200 x\r\n\r\n'])
def test_what_is_cut_short_or_no_http_fails(call: Start, answer: bytes) -> None:
    _server, caller = call(raw(answer, close=True), raw(OK))
    with pytest.raises(ConnectionFailed):
        caller()
    assert caller() == (200, b'ok')


def test_a_length_that_is_no_number_fails_a_head_too(call: Start) -> None:
    _server, caller = call(raw(b'HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\n'), raw(OK))
    with pytest.raises(ConnectionFailed):
        caller('HEAD')
    assert caller() == (200, b'ok')


def test_endless_headers_fail(call: Start) -> None:
    def babble(exchange: Exchange) -> None:
        exchange.send(b'HTTP/1.1 200 OK\r\n' + b'X: ' + b'y' * 300_000)
    with pytest.raises(ConnectionFailed, match='no end'):
        call(babble)[1]()


def test_a_kept_connection_closed_before_any_answer_is_replaced_once(call: Start) -> None:
    server, caller = call(raw(OK), hang_up, raw(OK), hang_up, hang_up)
    assert [caller('PUT', BytesBody(b'1')), caller('PUT', BytesBody(b'2'))] == [(200, b'ok')] * 2
    assert [e.body for e in server.exchanges] == [b'1', b'2', b'2']
    with pytest.raises(ConnectionFailed, match='without an answer'):
        caller()
    assert len(server.exchanges) == 5


def test_a_new_connection_closed_without_an_answer_is_not_replaced(call: Start) -> None:
    server, caller = call(hang_up, raw(OK))
    with pytest.raises(ConnectionFailed):
        caller()
    assert len(server.exchanges) == 1


def test_a_streamed_body_is_rewound_when_its_connection_is_replaced(call: Start) -> None:
    def late(exchange: Exchange) -> None:
        exchange.read_body()
        exchange.close()
    server, caller = call(raw(OK), late, raw(OK))
    caller()
    assert caller('PUT', stream(BUFFERED_BODY_BYTES + 1)) == (200, b'ok')
    assert len(server.exchanges[2].body) == BUFFERED_BODY_BYTES + 1


@pytest.mark.parametrize('more', [b'!', b'HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n', b'x' * 200_000])
@pytest.mark.parametrize('method', ['GET', 'HEAD'])
def test_what_comes_after_an_answer_is_never_taken_for_the_next_one(call: Start, method: str, more: bytes) -> None:
    server, ask = call(raw(OK + more), raw(OK))
    assert ask(method)[0] == 200
    time.sleep(0.05)
    assert ask() == (200, b'ok')
    assert server.connections == 2


def test_old_connections_are_not_tried(call: Start) -> None:
    server, caller = call(raw(OK), raw(OK))
    caller()
    caller.clock.advance(MAX_IDLE_SECONDS + 1)
    caller()
    assert server.connections == 2


def continuing(exchange: Exchange) -> None:
    assert exchange.headers['expect'] == '100-continue'
    assert exchange.body == b''
    exchange.send(b'HTTP/1.1 100 Continue\r\n\r\n')
    exchange.read_body()
    exchange.send(OK)


def test_a_large_body_waits_for_the_server_s_leave(call: Start) -> None:
    server, caller = call(continuing, continuing)
    assert [caller('PUT', stream(LARGE)), caller('PUT', stream(LARGE))] == [(200, b'ok')] * 2
    assert [len(e.body) for e in server.exchanges] == [LARGE] * 2
    assert server.connections == 1


def test_a_refusal_comes_before_the_data(call: Start) -> None:
    def refuse(exchange: Exchange) -> None:
        exchange.send(b'HTTP/1.1 412 Precondition Failed\r\nContent-Length: 2\r\n\r\nno')
    server, caller = call(refuse, raw(OK))
    opened: list[int] = []

    def watch() -> Iterator[bytes]:
        opened.append(1)
        yield b'x' * LARGE
    assert caller('PUT', StreamBody(watch, LARGE)) == (412, b'no')
    assert not opened
    assert caller() == (200, b'ok')
    assert server.connections == 2  # the first one still waits for a body that never comes


def test_a_server_that_does_not_know_the_question_gets_the_data_and_is_not_asked_again(call: Start) -> None:
    def silent(exchange: Exchange) -> None:
        exchange.read_body()
        exchange.send(OK)
    server, caller = call(silent, silent)
    assert [caller('PUT', stream(LARGE)), caller('PUT', stream(LARGE))] == [(200, b'ok')] * 2
    assert ['expect' in e.headers for e in server.exchanges] == [True, False]


def test_an_answer_during_the_body_is_heard(call: Start) -> None:
    def early(exchange: Exchange) -> None:
        exchange.send(b'HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno')
        exchange.conn.shutdown(socket.SHUT_RD)
        exchange.close()
    _server, caller = call(early, raw(OK))
    with contextlib.suppress(ConnectionFailed):  # the kernel may drop what was received when the other side resets
        assert caller('PUT', stream(BUFFERED_BODY_BYTES * 10)) == (403, b'no')
    assert caller() == (200, b'ok')


def test_a_silent_server_times_out(call: Start) -> None:
    def sleep(exchange: Exchange) -> None:
        time.sleep(0.5)
        exchange.close()
    with pytest.raises(ConnectionFailed, match='in time'):
        call(sleep, timeout=0.05)[1]()


def test_closing_half_read_or_forgetting_frees_the_place(call: Start) -> None:
    body = b'HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n' + b'x' * 400_000
    _server, caller = call(raw(body), raw(body), raw(OK), connections=1)
    for _ in range(2):
        response = caller.transport.send(caller.origin, 'GET', '/', {'host': 'h'}, None, timeout=5)
        next(response)
        del response
    assert caller() == (200, b'ok')


def test_a_header_can_not_break_out_of_its_line(call: Start) -> None:
    _server, caller = call()
    for value in ('a\r\nX-Injected: b', 'a\nb', 'a\rb'):
        with pytest.raises(ValueError):
            caller(x=value)


def test_proxies_of_the_environment_are_used(call: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server, _caller = call(raw(OK))
    monkeypatch.setenv('http_proxy', f'http://user:p%40ss@127.0.0.1:{server.port}')
    monkeypatch.setenv('no_proxy', 'inside.example')
    transport = Transport(max_connections=1, clock=FakeClock())
    response = transport.send(Origin('http', 'outside.example', 80), 'GET', '/p?q', {'host': 'outside.example'}, None,
                              timeout=5)
    assert response.read(10) == b'ok'
    transport.close()
    assert server.exchanges[0].line == 'GET http://outside.example/p?q HTTP/1.1'
    assert server.exchanges[0].headers['proxy-authorization'] == 'Basic dXNlcjpwQHNz'


def test_a_proxy_that_refuses_a_tunnel_is_told(call: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    server, _caller = call(reply('403 Forbidden'))
    monkeypatch.setenv('https_proxy', f'http://127.0.0.1:{server.port}')
    transport = Transport(max_connections=1, clock=FakeClock())
    with pytest.raises(ConnectionFailed, match='proxy refuses'):
        transport.send(Origin('https', 'outside.example', 443), 'GET', '/', {'host': 'o'}, None, timeout=5)
    assert server.exchanges[0].line == 'CONNECT outside.example:443 HTTP/1.1'


@pytest.fixture(scope='module')
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PEM file with a key and a certificate of its own for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, 'test')])
    now = datetime.now(UTC)
    cert = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address('127.0.0.1'))]), critical=False)
            .sign(key, hashes.SHA256()))
    path = tmp_path_factory.mktemp('tls') / 'both.pem'
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
                     + cert.public_bytes(Encoding.PEM))
    return path


@pytest.mark.parametrize('how', ['ca_file', 'environment', 'unverified', 'nothing'])
def test_certificates_are_checked(certificate: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    monkeypatch.delenv('AWS_CA_BUNDLE', raising=False)
    if how == 'environment':
        monkeypatch.setenv('AWS_CA_BUNDLE', str(certificate))
    with ScriptedServer([raw(OK)], tls=context) as server:
        transport = Transport(max_connections=1, clock=FakeClock(), verify=how != 'unverified',
                              ca_file=str(certificate) if how == 'ca_file' else None)
        try:
            response = transport.send(Origin('https', '127.0.0.1', server.port), 'GET', '/', {'host': 'h'}, None,
                                      timeout=5)
            assert response.read(10) == b'ok'
            assert how != 'nothing'
        except ConnectionFailed as error:
            assert how == 'nothing'
            assert 'CERTIFICATE_VERIFY_FAILED' in str(error)
        transport.close()


def test_headers_have_lower_case_names_and_unicode_values() -> None:
    status, headers = parse_head('HTTP/1.1 200 OK\r\nX-A:  b \r\nX-\u00dc: w\u00e9rt\r\nVia: 1\r\nvia: 2'.encode())
    assert status == 200
    assert headers == {'x-a': 'b', 'x-\u00fc': 'w\u00e9rt', 'via': '1, 2'}


def test_sending_to_nobody_is_no_answer() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    conn = Connection(ours, timeout=1)
    with pytest.raises(NoAnswer):
        for _ in range(100):
            conn.send(b'x' * 65_536)
    conn.close()


def test_who_does_not_find_a_free_connection_in_time_is_told_that_all_are_busy() -> None:
    with ScriptedServer([raw(OK), raw(OK)]) as server:
        transport = Transport(max_connections=1, clock=FakeClock(), connection_wait=0.05)
        origin = Origin('http', '127.0.0.1', server.port)

        def get(*, bounded: bool = True) -> Response:
            return transport.send(origin, 'GET', '/x', {'host': 'h'}, None, timeout=5.0, bounded=bounded)
        held = get()
        with pytest.raises(Throttled) as caught:
            get()
        assert caught.value.reason == 'busy'
        assert not caught.value.sent, 'nothing has left this machine'
        assert len(server.exchanges) == 1
        held.close()
        assert get().read(10) == b'ok'
        transport.close()
