"""Where log lines go: one set of handlers, on the root logger, owned by the main process.

Format and rotation are the predecessor's (``[time] name [LEVEL]: message``,
100 MiB by five files), so that operators' log parsers keep working.
"""
from __future__ import annotations

import logging
import sys
from logging.handlers import RotatingFileHandler, SysLogHandler
from socket import SOCK_DGRAM, SOCK_STREAM

from s3_sync.config import Settings

FORMAT = '[%(asctime)s] %(name)s [%(levelname)s]: %(message)s'
ROTATE_BYTES = 100 * 1024 * 1024
ROTATE_FILES = 5

CHATTY = ('botocore', 'boto3', 'urllib3', 'swiftclient', 'keystoneauth', 'keystoneclient', 's3transfer')
"""Libraries whose debug lines carry headers, some of them secret: never below this level, whatever is configured."""
CHATTY_LEVEL = logging.INFO


def set_up_logs(settings: Settings, *, console: bool, level: str | None = None) -> None:
    """Replace all handlers of the root logger. Called at start and after a reload."""
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
        old.close()
    handlers: list[logging.Handler] = []
    if console or settings.console or not (settings.log_file or settings.syslog):
        handlers.append(logging.StreamHandler(sys.stderr))
    if settings.log_file:
        handlers.append(RotatingFileHandler(settings.log_file, maxBytes=ROTATE_BYTES, backupCount=ROTATE_FILES))
    if settings.syslog:
        udp = settings.syslog.proto == 'udp'
        handlers.append(SysLogHandler((settings.syslog.host, settings.syslog.port),
                                      socktype=SOCK_DGRAM if udp else SOCK_STREAM))
    for handler in handlers:
        handler.setFormatter(logging.Formatter(FORMAT))
        root.addHandler(handler)
    root.setLevel((level or settings.log_level).upper())
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(CHATTY_LEVEL, root.level))
    logging.captureWarnings(True)
