"""``swift-s3-sync``: the sync daemon's command line."""
from __future__ import annotations

from s3_sync.concurrency import monkey_patch

monkey_patch()

# ruff: noqa: E402
import argparse
import logging
import sys

from container_crawler.swift_dir import SwiftDirError
from s3_sync.config.release import sync_problems
from s3_sync.config.watch import Watcher
from s3_sync.daemon import EXIT_CRASH, Daemon, Options
from s3_sync.errors import ConfigError, LedgerError

EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h; unit files use RestartPreventExitStatus=78."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog='swift-s3-sync', description='Keep Swift containers in step with S3 buckets and other Swift clusters.',
        epilog='Exit codes: 0 done or told to stop, 3 something failed (--once), 78 configuration, 1 anything else.')
    parser.add_argument('--config', required=True, metavar='FILE', help='configuration file (JSON or YAML)')
    parser.add_argument('--once', action='store_true', help='catch up with everything visible now, then exit')
    parser.add_argument('--log-level', choices=('debug', 'info', 'warning', 'error'),
                        help='overrides log_level of the configuration')
    parser.add_argument('--console', action='store_true', help='log to standard error')
    arguments = parser.parse_args(argv)
    options = Options(arguments.config, arguments.once, arguments.log_level, arguments.console)
    try:
        watcher = Watcher(options.config)
        problems = sync_problems(watcher.settings)
        if problems:
            raise ConfigError(options.config, problems)
        return Daemon(options, watcher).run()
    except (ConfigError, SwiftDirError) as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    except (LedgerError, OSError) as error:
        print(error, file=sys.stderr)
        return EXIT_CRASH
    except Exception:
        logging.getLogger('s3-sync').exception('unexpected error')
        return EXIT_CRASH


if __name__ == '__main__':
    sys.exit(main())
