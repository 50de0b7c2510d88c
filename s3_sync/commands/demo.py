"""``1space try``: the whole of it on this machine, without a cluster."""
from __future__ import annotations

import argparse
import sys

from s3_sync.errors import Error


def run(arguments: argparse.Namespace) -> int:
    try:
        from s3_sync.trial import demo
    except ModuleNotFoundError as error:
        raise Error(f'the package {error.name} is missing; install swift-s3-sync[try]') from error
    return demo.run(arguments.keep, sys.stdout)
