"""Where the password comes from: the flag, a file, the environment, or a question on the terminal."""
from __future__ import annotations

import getpass
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from s3_sync.config.secrets import Secret, SecretProblem, resolve
from s3_sync.verification.arguments import PASSWORD_VARIABLE


def read_password(arguments: Namespace, environ: Mapping[str, str]) -> Secret:
    """The first there is. SecretProblem, in the words of the command line, when there is none."""
    here = Path()
    if arguments.password is not None:
        if arguments.password_file is not None:
            raise SecretProblem('argument --password-file: not allowed with argument --password')
        return _resolved(arguments.password, '--password', here)
    if arguments.password_file == '-':
        return _resolved(sys.stdin.readline().rstrip('\r\n'), '--password-file', here)
    if arguments.password_file is not None:
        return _resolved({'file': str(Path(arguments.password_file).absolute())}, '--password-file', here)
    if environ.get(PASSWORD_VARIABLE):
        return resolve({'env': PASSWORD_VARIABLE}, environ=environ, folder=here)
    if sys.stdin.isatty():
        who = arguments.username or arguments.application_credential_id or 'the credential'
        return _resolved(getpass.getpass(f'Password of {who}: '), 'password', here)
    raise SecretProblem(f'one of the arguments --password-file --password is required (or the variable '
                        f'{PASSWORD_VARIABLE}, or a terminal to ask on)')


def _resolved(raw: object, name: str, folder: Path) -> Secret:
    try:
        return resolve(raw, environ={}, folder=folder)
    except SecretProblem as error:
        raise SecretProblem(f'argument {name}: {error}') from None
