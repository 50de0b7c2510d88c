from __future__ import annotations

import socket
import threading

import pytest

from s3_sync.channel import Channel


@pytest.fixture
def ends() -> tuple[Channel, Channel]:
    one, other = socket.socketpair()
    return Channel(one), Channel(other)


def test_the_peer_hears_the_end_and_its_last_words_are_still_heard(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    ours.send('work')
    ours.end()
    assert theirs.receive() == 'work'
    with pytest.raises(EOFError):
        theirs.receive()
    theirs.send('done')
    theirs.close()
    assert ours.receive() == 'done'
    with pytest.raises(EOFError):
        ours.receive()
    ours.end()  # nobody there any more
    ours.close()


def test_the_end_does_not_wait_behind_what_a_hung_peer_does_not_take(ends: tuple[Channel, Channel]) -> None:
    ours, theirs = ends
    failures = []
    begun = threading.Event()

    def send_until_it_breaks() -> None:
        try:
            while True:
                ours.send(b'x' * 100_000)
                begun.set()
        except OSError as error:
            failures.append(error)
    sender = threading.Thread(target=send_until_it_breaks)
    sender.start()
    assert begun.wait(10)
    ours.end()
    sender.join(10)
    assert not sender.is_alive() and len(failures) == 1
    ours.close()
    theirs.close()
