"""Where a command ends: exit codes, errors as messages, output nobody reads any more."""
from __future__ import annotations

import argparse
import codecs
import os
import sys
from collections.abc import Callable

from container_crawler.swift_dir import SwiftDirError
from s3_sync.commands.names import percent
from s3_sync.errors import ConfigError, Error

EXIT_OK, EXIT_CRASH, EXIT_USAGE, EXIT_FAILED, EXIT_CONFIG = 0, 1, 2, 3, 78
EXIT_INTERRUPTED, EXIT_PIPE = 130, 141


class UsageError(Error):
    """The arguments make no sense with this configuration."""


def guarded(run: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    """``run(arguments)``; what it raises becomes a message on standard error and an exit code.

    What nobody expected is raised on: Python's traceback, exit code 1.
    """
    _show_anything()
    try:
        code = run(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Python flushes standard output once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except (ConfigError, SwiftDirError) as error:
        return _say(error, EXIT_CONFIG)
    except UsageError as error:
        return _say(f'1space: {error}', EXIT_USAGE)
    except (Error, OSError) as error:
        return _say(f'1space: {error}', EXIT_CRASH)


def _say(message: object, code: int) -> int:
    print(message, file=sys.stderr)
    return code


def _show_anything() -> None:
    """Characters that the terminal does not know are shown as they can be given back."""
    codecs.register_error('1space-percent', _percent_errors)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, 'reconfigure', None)
        if reconfigure is not None:
            reconfigure(errors='1space-percent')


def _percent_errors(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return percent(error.object[error.start:error.end]), error.end
