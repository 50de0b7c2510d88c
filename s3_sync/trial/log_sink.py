"""Where the servers' syslog goes on a machine without syslog: one file per server.

UDP on loopback, because Swift's access log knows nothing else than UDP or
/dev/log, and because a sender never waits for us. Usage:
``python -m s3_sync.trial.log_sink PORT_FILE FOLDER``; the port that was chosen
appears in PORT_FILE.
"""
from __future__ import annotations

import os
import re
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

ADDRESS = '127.0.0.1'
MAX_DATAGRAM = 1 << 16
RECEIVE_BUFFER = 1 << 22
LINE = re.compile(rb'<\d+>(?P<server>[a-z0-9-]+): ')


def main(port_file: str, folder: str) -> None:
    with ExitStack() as stack:
        receiver = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        receiver.bind((ADDRESS, 0))
        fresh = Path(f'{port_file}.new')
        fresh.write_text(str(receiver.getsockname()[1]))
        os.replace(fresh, port_file)
        files: dict[str, BinaryIO] = {}
        while True:
            data = receiver.recv(MAX_DATAGRAM)
            found = LINE.match(data)
            server = found['server'].decode() if found else 'other'
            if server not in files:
                files[server] = stack.enter_context(Path(folder, f'{server}.log').open('ab', buffering=0))
            files[server].write((data[found.end():] if found else data).rstrip(b'\n\0') + b'\n')


if __name__ == '__main__':
    main(*sys.argv[1:])
