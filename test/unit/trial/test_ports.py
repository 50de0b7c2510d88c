from __future__ import annotations

import socket

import pytest

from s3_sync.trial.ports import Ports


@pytest.fixture
def ports():
    ports = Ports()
    yield ports
    ports.close()


def test_a_server_can_listen_on_a_reserved_port_again_and_again(ports):
    port = ports.reserve()
    for _ in range(2):
        with socket.create_server(('127.0.0.1', port)) as server, socket.create_connection(('127.0.0.1', port)):
            server.accept()[0].close()


def test_nobody_else_is_given_a_reserved_port(ports):
    reserved = {ports.reserve() for _ in range(50)}
    others = [socket.create_server(('127.0.0.1', 0)) for _ in range(200)]
    try:
        assert len(reserved) == 50
        assert not reserved & {server.getsockname()[1] for server in others}
    finally:
        for server in others:
            server.close()
