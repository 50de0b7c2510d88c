"""A filter at a wrong place keeps the proxy from starting, and says where it belongs (DESIGN 9)."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from swift.proxy.server import Application

from s3_sync.shunting.placement import SEGMENTS, SHUNT, Misplaced, check_placement

GOOD = ['catch_errors', 'gatekeeper', 'healthcheck', 'proxy-logging', 'cache', 'listing_formats', 'bulk', 'tempurl',
        's3api', 'tempauth', 'copy', SHUNT, 'container-quotas', 'account-quotas', 'slo', 'dlo', SEGMENTS,
        'versioned_writes', 'symlink', 'proxy-logging']
MODULES = {'cache': 'memcache', 's3api': 's3api.s3api'}
Check = Callable[[str, list[str]], None]


def pipeline(names: list[str]) -> object:
    """What Swift's loader hands a filter: everything to its right, chained by ``app``."""
    app: object = Application.__new__(Application)
    for name in reversed(names):
        if name in (SHUNT, SEGMENTS):
            module = 's3_sync.shunt'
        else:
            module = 'swift.common.middleware.' + MODULES.get(name, name.replace('-', '_'))
        made: Any = type('Filter', (), {'__module__': module})()
        made.app = app
        app = made
    return app


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Check one filter of a pipeline that stands in a file, as the proxy reads it."""
    def run(which: str, names: list[str]) -> None:
        conf = tmp_path / 'proxy-server.conf'
        sections = [f'[filter:{name}]\nuse = egg:{"swift-s3-sync" if name in (SHUNT, SEGMENTS) else "swift"}'
                    f'#{"memcache" if name == "cache" else name.replace("-", "_") if "cloud" not in name else name}\n'
                    for name in dict.fromkeys(names)]
        conf.write_text(f'[pipeline:main]\npipeline = {" ".join(names)} proxy-server\n'
                        '[app:proxy-server]\nuse = egg:swift#proxy\n' + ''.join(sections))
        right = names[names.index(which) + 1:]
        check_placement(which, pipeline(right), {'__file__': str(conf)})
    return run


def moved(name: str, before: str) -> list[str]:
    names = [each for each in GOOD if each != name]
    names.insert(names.index(before), name)
    return names


@pytest.mark.parametrize('which', [SHUNT, SEGMENTS])
def test_the_documented_pipeline_is_right(check: Check, which: str) -> None:
    check(which, GOOD)


@pytest.mark.parametrize('left', ['gatekeeper', 'listing_formats', 'bulk', 'tempurl', 's3api', 'tempauth', 'copy'])
def test_the_shunt_stands_right_of_who_decides_and_of_copy(check: Check, left: str) -> None:
    with pytest.raises(Misplaced, match=left.replace('-', '_')) as error:
        check(SHUNT, moved(left, 'container-quotas'))
    assert 'It belongs right of authentication' in str(error.value)


@pytest.mark.parametrize('right', ['container-quotas', 'account-quotas', 'slo', 'dlo', 'versioned_writes', 'symlink'])
def test_the_shunt_stands_left_of_quotas_and_large_objects(check: Check, right: str) -> None:
    with pytest.raises(Misplaced, match=right.replace('-', '_')):
        check(SHUNT, moved(right, SHUNT))


@pytest.mark.parametrize('left', ['copy', 'account-quotas', 'slo', 'dlo'])
def test_segments_are_read_right_of_large_objects(check: Check, left: str) -> None:
    with pytest.raises(Misplaced, match=f'{SEGMENTS} .*{left.replace("-", "_")}'):
        check(SEGMENTS, moved(left, 'versioned_writes'))


@pytest.mark.parametrize('right', ['versioned_writes', 'symlink'])
def test_segments_are_read_left_of_links_and_versions(check: Check, right: str) -> None:
    with pytest.raises(Misplaced, match=right):
        check(SEGMENTS, moved(right, SEGMENTS))


def test_quotas_and_slo_may_be_absent(check: Check) -> None:
    check(SHUNT, [name for name in GOOD if name not in ('container-quotas', 'account-quotas', 'slo', SEGMENTS)])


def test_what_swift_adds_itself_is_looked_at_too(check: Check) -> None:
    """A pipeline without dlo gets one from Swift, left of a filter that stands too far right."""
    with pytest.raises(Misplaced, match='dlo'):
        check(SHUNT, [name for name in GOOD if name != 'dlo'])


def test_an_inner_application_without_a_file_is_judged_by_what_is_right_of_it() -> None:
    right = GOOD[GOOD.index(SHUNT) + 1:]
    check_placement(SHUNT, pipeline(right), {})
    with pytest.raises(Misplaced):
        check_placement(SHUNT, pipeline(['tempauth', *right]), {})
