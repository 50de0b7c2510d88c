"""The longest timer that we set is one that the hub can wait for."""
from __future__ import annotations

import os
import select

from container_crawler.internal_client import UNHURRIED_SECONDS


def test_epoll_takes_the_timeout_of_slow_readers() -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, b'x')
        with select.epoll() as poll:
            poll.register(reading, select.EPOLLIN)
            assert poll.poll(UNHURRIED_SECONDS) == [(reading, select.EPOLLIN)]
    finally:
        os.close(reading)
        os.close(writing)
