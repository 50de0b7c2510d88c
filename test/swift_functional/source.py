"""Swift's own functional tests, from the source distribution of the release that is installed.

The package on the index's wheel side has no tests. Nothing but the tests is
unpacked: a second copy of the ``swift`` package must not come before the
installed one.
"""
from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

CACHE = Path(__file__).parents[2] / '.venv' / 'swift-functional'


def installed_release() -> str:
    return version('swift')


def fetch(release: str, cache: Path = CACHE) -> Path:
    """The folder that has the release's ``test/functional``; downloaded once, kept below ``cache``."""
    folder = cache / release
    if not folder.exists():
        download = cache / f'{release}.download'
        shutil.rmtree(download, ignore_errors=True)
        unpacked = download / 'unpacked'
        unpacked.mkdir(parents=True)
        subprocess.run([sys.executable, '-m', 'pip', 'download', '--quiet', '--disable-pip-version-check', '--no-input',
                        '--no-deps', '--no-binary', ':all:', '--dest', str(download), f'swift=={release}'], check=True)
        _unpack(next(download.glob('swift-*.tar.gz')), unpacked)
        unpacked.rename(folder)
        shutil.rmtree(download)
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        for member in tar:
            member.name = member.name.partition('/')[2]
            if member.isfile() and member.name.startswith('test/'):
                tar.extract(member, folder, filter='data')
