"""TCP ports that stay ours while no server listens on them.

A port is kept by a socket that is bound but never listens. Linux gives such a
port to nobody who asks for a free one, while a server that binds it by number
with SO_REUSEADDR (all servers here do) gets it. So there is no moment between
choosing a port and using it, and a restarted server finds its port free.
"""
from __future__ import annotations

import socket


class Ports:
    """Ports reserved for the life of this object."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def reserve(self, address: str = '127.0.0.1') -> int:
        """A TCP port on ``address`` that nobody else will be given."""
        holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((address, 0))
        self._sockets.append(holder)
        return int(holder.getsockname()[1])

    def close(self) -> None:
        """Give all of them back."""
        while self._sockets:
            self._sockets.pop().close()
