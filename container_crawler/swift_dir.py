"""Make a folder other than /etc/swift the source of all Swift settings of this process.

Swift reads ``swift.conf`` of /etc/swift when its modules are imported. Later,
``swift_dir`` moves only the hash settings; storage policies and constraints
would silently stay those of /etc/swift, and objects would be looked for below
the wrong paths. Call :func:`load_swift_dir` before importing Swift's servers:
some of their modules copy constraints when they are imported.
"""
from __future__ import annotations

import configparser
import os
from pathlib import Path

from swift.common import constraints, storage_policy, utils

CONF_NAME = 'swift.conf'


class SwiftDirError(Exception):
    """The folder holds no usable ``swift.conf``; the message names the file and the reason."""


def load_swift_dir(path: str | os.PathLike[str]) -> None:
    """Load hash settings, storage policies and constraints of ``path``. Calling it again is harmless.

    Raises SwiftDirError when ``swift.conf`` is missing, unreadable or wrong.
    """
    folder = os.path.abspath(path)
    conf = Path(folder, CONF_NAME)
    try:
        conf.read_bytes()
    except OSError as error:
        raise SwiftDirError(f'{conf}: {error.strerror or error}') from error
    try:
        utils.set_swift_dir(folder)
        # It does nothing for the folder that is already set: what was written there since would be missed.
        utils.HASH_PATH_PREFIX = b''
        utils.HASH_PATH_SUFFIX = b''
        utils.validate_hash_conf()
        storage_policy.reload_storage_policies()
        constraints.reload_constraints()
    except (SystemExit, ValueError, configparser.Error) as error:
        raise SwiftDirError(f'{conf}: {error}') from error
