"""Make a folder other than /etc/swift the source of all Swift settings of this process.

Swift reads ``swift.conf`` of /etc/swift while its modules are imported. Later,
its own means move only the hash settings; storage policies and constraints
would silently stay those of /etc/swift, and objects would be looked for below
the wrong paths. Every process that handles such a cluster calls
:func:`load_swift_dir` once, before it opens a ring or a database.
"""
from __future__ import annotations

import os
import sys
from configparser import Error as ParserError
from pathlib import Path

from swift.common import constraints, storage_policy, utils

from container_crawler.exceptions import CrawlerError

CONF_NAME = 'swift.conf'


class SwiftDirError(CrawlerError):
    """The folder holds no usable ``swift.conf``; the message names the file and the reason."""


def load_swift_dir(path: str | os.PathLike[str]) -> None:
    """Take hash settings, storage policies and constraints from ``path``/swift.conf.

    Always reads the file anew, also for the folder in use. Raises SwiftDirError
    when it is missing, unreadable, has no hash settings or wrong policies.
    """
    conf = Path(path).absolute() / CONF_NAME
    try:
        conf.read_bytes()
        utils.SWIFT_CONF_FILE = str(conf)
        utils.HASH_PATH_PREFIX = utils.HASH_PATH_SUFFIX = b''
        utils.validate_hash_conf()
        storage_policy.reload_storage_policies()
        _reload_constraints()
    except OSError as error:
        raise SwiftDirError(f'{conf}: {error.strerror or error}') from error
    except (SystemExit, ValueError, ParserError) as error:  # SystemExit: how Swift refuses wrong policies
        raise SwiftDirError(f'{conf}: {error}') from error


def _reload_constraints() -> None:
    """Also where modules that are imported already copied them by name."""
    constraints.reload_constraints()
    values = {name.upper(): value for name, value in constraints.EFFECTIVE_CONSTRAINTS.items()}
    values['MAX_HEADER_COUNT'] = constraints.MAX_META_COUNT + 36 + max(constraints.EXTRA_HEADER_COUNT, 0)
    for name, module in list(sys.modules.items()):
        if name.startswith('swift.') and module is not None:
            for constant in values.keys() & vars(module).keys():
                setattr(module, constant, values[constant])
