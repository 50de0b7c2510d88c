"""``1space``: the operator's command line.

Only arguments are read here; a command's module, and all it needs, is imported
when its command is given, so that those that need green threads can ask for
them first.
"""
from __future__ import annotations

import argparse
import importlib
import sys

KINDS = ('failed', 'permanent', 'deferred')
EPILOG = ('Exit codes: 0 done, 2 usage, 3 something failed, differs or was not found, 78 configuration, '
          '1 anything else; 141 when the reader of the output went away.')


def main(argv: list[str] | None = None) -> int:
    """Run one command; its exit code."""
    arguments = _parser().parse_args(argv)
    if arguments.green:
        from s3_sync.concurrency import monkey_patch
        monkey_patch()
    edge = importlib.import_module('s3_sync.commands.edge')
    command = importlib.import_module(f's3_sync.commands.{arguments.module}')
    code: int = edge.guarded(command.run, arguments)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog='1space', description='Look after 1space on this node.', epilog=EPILOG)
    commands = parser.add_subparsers(required=True, metavar='COMMAND')

    check = _add(commands, 'check-config', 'check_config', 'check a configuration file and say what it means')
    check.add_argument('--file-only', action='store_true', help='look at the file only, not at this node\'s swift_dir')

    status = _add(commands, 'status', 'status', 'what each mapping has done and has left to do')
    status.add_argument('--databases', action='store_true', help='every container database, not only those behind')
    _add_mappings(status)

    _add_failures(commands)

    for name, text in (('pause', 'stop giving out new work; what is under way is finished'),
                       ('resume', 'go on after a pause')):
        command = _add(commands, name, 'pause', text)
        command.set_defaults(action=name)
        _add_mappings(command)

    plan = _add(commands, 'plan', 'plan', 'dry run: what would be copied, updated, deleted, and why', green=True)
    plan.add_argument('--limit', type=_positive, metavar='N', help='look at no more than N objects of each mapping')
    plan.add_argument('--objects', action='store_true', help='name every object that something would be done to')
    plan.add_argument('--all-rows', action='store_true', help='also what other nodes are to do first')
    _add_mappings(plan)

    _add_audit(commands)
    _add_tombstones(commands)

    demo = _add(commands, 'try', 'demo', 'start a real Swift and a real S3 store on this machine and show it working',
                config=False)
    demo.add_argument('--keep', action='store_true', help='leave everything running until Ctrl-C')
    return parser


def _add(commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, module: str, text: str, *,
         green: bool = False, config: bool = True) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + '.', epilog=EPILOG)
    command.set_defaults(module=module, green=green)
    if config:
        command.add_argument('--config', required=True, metavar='FILE', help='configuration file (JSON or YAML)')
        command.add_argument('--json', action='store_true', help='for programs; docs/operating.md describes the form')
    return command


def _add_mappings(command: argparse.ArgumentParser) -> None:
    command.add_argument('mappings', nargs='*', metavar='MAPPING',
                         help='name or generation id of a mapping; none: all of them')


def _add_failures(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    failures = commands.add_parser('failures', help='list, retry or drop what failed', epilog=EPILOG)
    actions = failures.add_subparsers(required=True, metavar='ACTION')
    for action, text in (('list', 'objects that failed, and why'),
                         ('retry', 'try objects again now, those given up too'),
                         ('drop', 'forget objects: they count as done until they change again')):
        command = _add(actions, action, 'failures', text)
        command.set_defaults(action=action)
        command.add_argument('--kind', choices=KINDS, help='only these; without it failed and permanent ones')
        command.add_argument('what', nargs='*', metavar='MAPPING|PATH',
                             help='name or generation id of a mapping, or account/container[/object] as listed; '
                                  'none: all')


def _add_tombstones(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    tombstones = commands.add_parser('tombstones', help='list or purge what merged namespaces remember of deletions',
                                     epilog=EPILOG)
    actions = tombstones.add_subparsers(required=True, metavar='ACTION')
    for action, text in (('list', 'deleted objects that the remote may still have, and what is to become of that'),
                         ('purge', 'forget deletions: what the remote still has shows again')):
        command = _add(actions, action, 'tombstones', text, green=True)
        command.set_defaults(action=action)
        command.add_argument('--older-than', type=_seconds, default=0.0, metavar='SECONDS',
                             help='only what was deleted so long ago')
        if action == 'purge':
            command.add_argument('--dry-run', action='store_true', help='only count')
        command.add_argument('what', nargs='*', metavar='MAPPING|PATH',
                             help='name or generation id of a mapping, name of a migration, or '
                                  'account/container[/object] as listed; none: all accounts of the configuration')


def _add_audit(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    audit = _add(commands, 'audit', 'audit', 'compare containers with their remote, and report what differs',
                 green=True)
    audit.add_argument('--report', metavar='FILE', help='write every difference there, a JSON object in each line')
    audit.add_argument('--prefix', default='', metavar='P',
                       help='only objects whose names begin so (percent-encoded, as listed)')
    audit.add_argument('--metadata', action='store_true',
                       help='look at every object, for headers and user metadata, which no listing shows')
    audit.add_argument('--deep', metavar='FRACTION|N',
                       help='also read copies back and compare the bytes: 0.01 or 1%% of the objects, or N of them')
    audit.add_argument('--seed', metavar='TEXT', help='chooses the same objects for --deep as another run with it')
    audit.add_argument('--grace', type=_seconds, default=60.0, metavar='SECONDS',
                       help='what changed so shortly before is in flight and no difference (default: 60)')
    audit.add_argument('--repair', action='store_true',
                       help='queue what differs, for swift-s3-sync to look at and mend')
    _add_mappings(audit)


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number < float('inf'):
        raise ValueError(text)
    return number


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


if __name__ == '__main__':
    sys.exit(main())
