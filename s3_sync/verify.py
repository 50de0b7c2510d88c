"""``swift-s3-verify``: can these credentials do at a remote what a mapping needs, and which settings suit it?

Silent on standard error and exit code 0 when they can; otherwise a line for
each step that failed, and 1. Whatever was written for the test is removed
again, however it ends.
"""
from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from argparse import Namespace
from collections.abc import Sequence

from s3_sync.clock import Clock, SystemClock
from s3_sync.verification import common, reading, s3, s3_multipart, s3_probes, swift
from s3_sync.verification.arguments import PROG, make_parser
from s3_sync.verification.outcomes import Step, Target, Verdict
from s3_sync.verification.output import Output, complain, document
from s3_sync.verification.patience import Patience, Stopped
from s3_sync.verification.runner import Run
from s3_sync.verification.targets import UsageError, targets

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    arguments = make_parser().parse_args(argv)
    logging.getLogger('s3_sync').addHandler(logging.NullHandler())
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, 'reconfigure'):  # names of any script, on terminals of one
            stream.reconfigure(errors='backslashreplace')
    patience = Patience()
    try:
        _check_skip(arguments.skip)
        with patience.signals():
            return _verify_all(arguments, targets(arguments), patience)
    except UsageError as error:
        print(*(f'{PROG}: error: {line}' for line in str(error).splitlines()), sep='\n', file=sys.stderr)
        return EXIT_USAGE
    except Stopped as stopped:
        complain(f'stopped by {stopped.name}')
        return 128 + stopped.number
    except BrokenPipeError:
        # Python flushes standard output once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED


def verify(target: Target, output: Output, arguments: Namespace, *, patience: Patience,
           clock: Clock | None = None) -> Verdict:
    """Try one target out. Leaves nothing behind, or says what in the verdict."""
    verdict = Verdict(target)
    run = Run(verdict, clock=clock or SystemClock(), patience=patience, told=output.step,
              skip=frozenset(filter(None, arguments.skip.split(','))), seconds=arguments.timeout)
    try:
        output.begins(target)
        (swift if target.mapping.remote.protocol == 'swift' else s3).verify(run, target)
    except Stopped as stopped:
        verdict.interrupted = stopped.name
    except BaseException:
        for what in _tidy(run):
            complain(f'left behind: {what}')
        raise
    verdict.left_behind = _tidy(run)
    verdict.late = run.leftovers.late
    if patience.stopped is not None:
        verdict.interrupted = patience.stopped.name
    output.ends(verdict)
    return verdict


def _check_skip(words: str) -> None:
    modules = (common, reading, s3, s3_multipart, s3_probes, swift)
    known = {value.name for module in modules for value in vars(module).values() if isinstance(value, Step)}
    unknown = [word for word in words.split(',') if word and word not in known]
    if unknown:
        raise UsageError(f'argument --skip: no such step: {", ".join(unknown)}; there are: {", ".join(sorted(known))}')


def _tidy(run: Run) -> list[str]:
    """What could not be removed. A signal that comes just before is no reason not to begin."""
    with contextlib.suppress(Stopped):
        return run.leftovers.clear()
    return run.leftovers.clear()


def _verify_all(arguments: Namespace, chosen: list[Target], patience: Patience) -> int:
    output = Output(text=not (arguments.json or arguments.quiet))
    verdicts = []
    for target in chosen:
        verdicts.append(verify(target, output, arguments, patience=patience))
        if patience.stopped is not None:
            break
    if arguments.json and not arguments.quiet:
        print(json.dumps(document(verdicts), indent=2))
    sys.stdout.flush()
    if patience.stopped is not None:
        return 128 + patience.stopped.number
    return EXIT_OK if all(verdict.ok for verdict in verdicts) else EXIT_FAILED


if __name__ == '__main__':
    sys.exit(main())
