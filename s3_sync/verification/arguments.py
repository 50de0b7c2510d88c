"""The command line of ``swift-s3-verify``: old flags, and ways to a password that ``ps`` does not show."""
from __future__ import annotations

import argparse
from typing import NoReturn

PROG = 'swift-s3-verify'
PASSWORD_VARIABLE = 'SWIFT_S3_VERIFY_PASSWORD'
DESCRIPTION = ('Try out whether credentials can do at a remote what a mapping needs, and say which settings suit it. '
               'Writes a few small objects under names of its own and removes them again.')
EPILOG = ('Without --bucket only the buckets are listed. Exit codes: 0 all went well, 1 a step failed or something was '
          'left behind (named on standard error), 2 usage or configuration; 128 and its number after a signal.')


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """As argparse, but what it does not know may be a password."""
        head, _, words = message.partition('unrecognized arguments: ')
        if words:
            known = [word.partition('=')[0] for word in words.split() if word.startswith('--')]
            message = f'{head}unrecognized arguments: {" ".join(known) or "(not shown)"}'
        super().error(message)


def make_parser() -> Parser:
    parser = Parser(prog=PROG, description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False)
    _add_remote(parser.add_argument_group('remote'))
    _add_login(parser.add_argument_group('login'))
    what = parser.add_argument_group('what is verified')
    what.add_argument('--bucket', metavar='NAME', help='bucket or container. "/*": with Swift a container is created '
                      'and deleted again, as for a mapping of a whole account; with --read-only the first one is read')
    what.add_argument('--prefix', metavar='PREFIX', help='S3: custom_prefix of the mapping. With --read-only: only '
                      'names that begin with it')
    what.add_argument('--read-only', action='store_true', help='list, HEAD and open one object that is there; '
                      'nothing is written')
    what.add_argument('--storage-policy', metavar='POLICY', help='Swift: policy of containers that are created')
    what.add_argument('--lifecycle', action='store_true', help='S3: the mapping is to have remote_delete_after, so '
                      'unreadable lifecycle rules are a failure')
    what.add_argument('--skip', metavar='STEP[,STEP]', default='', help='leave out these steps, by their names in '
                      '--json, for example multipart or large-object where there are none')
    config = parser.add_argument_group('verifying a configuration file')
    config.add_argument('--config', metavar='FILE', help='verify the mappings of this file instead, with their '
                        'credentials and settings; migrations are only read from')
    config.add_argument('--mapping', metavar='NAME', action='append', help='only the mapping of this name (may be '
                        'repeated)')
    output = parser.add_argument_group('output')
    output.add_argument('--json', action='store_true', help='for programs; docs/verify.md describes the form')
    output.add_argument('-q', '--quiet', action='store_true', help='nothing on standard output')
    output.add_argument('--timeout', metavar='SECONDS', type=_seconds, default=30.0, help='for each step (30)')
    return parser


def _add_remote(group: argparse._ArgumentGroup) -> None:
    group.add_argument('--protocol', choices=('s3', 'swift'), help='required without --config')
    group.add_argument('--endpoint', metavar='URL', help='S3 endpoint (without it: Amazon), or authentication URL of a '
                       'Swift')
    group.add_argument('--region', metavar='NAME', help='region of the bucket, or of the object store in Keystone\'s '
                       'catalogue')
    group.add_argument('--path-style', choices=('yes', 'no'), help='S3: bucket in the path or in the host name; '
                       'without it in the path everywhere but at Amazon')
    group.add_argument('--signature', choices=('v4', 'v2'), default='v4', help='S3: version of signatures')
    group.add_argument('--ca-file', metavar='FILE', help='certificate authorities to trust')
    group.add_argument('--insecure', action='store_true', help='do not check certificates; for tests')


def _add_login(group: argparse._ArgumentGroup) -> None:
    group.add_argument('--username', metavar='NAME', help='S3 access key, or Swift user')
    group.add_argument('--password', metavar='TEXT', help='S3 secret key, Swift key or password. Every user of this '
                       'machine can read it in the list of processes; better use one of the others')
    group.add_argument('--password-file', metavar='FILE', help='file that holds it; "-" reads standard input. Without '
                       f'both: the environment variable {PASSWORD_VARIABLE}, else it is asked for on the terminal')
    group.add_argument('--account', metavar='NAME', help='Swift: account to work in, when it is not the user\'s own')
    group.add_argument('--auth-type', choices=('swift', 'keystone_v2', 'keystone_v3'), default='swift',
                       help='Swift: how to log in (swift: version 1)')
    group.add_argument('--tenant-name', metavar='NAME', help='keystone_v2')
    group.add_argument('--project-name', metavar='NAME', help='keystone_v3')
    group.add_argument('--project-domain-name', metavar='NAME', help='keystone_v3')
    group.add_argument('--user-domain-name', metavar='NAME', help='keystone_v3')
    group.add_argument('--application-credential-id', metavar='ID', help='keystone_v3: the password is its secret')
    group.add_argument('--application-credential-name', metavar='NAME', help='the same by name, with --username and '
                       '--user-domain-name')


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 3600:
        raise ValueError(text)
    return seconds
