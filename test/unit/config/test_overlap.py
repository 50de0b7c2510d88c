from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_sync.config.load import parse
from s3_sync.errors import ConfigError
from s3_sync.wire.keys import KeyScheme

Make = Callable[..., Any]


@pytest.mark.parametrize('second', [
    {}, {'custom_prefix': None}, {'container': '/*'}, {'aws_endpoint': 'https://s3.eu-west-1.amazonaws.com'},
    {'aws_identity': 'other', 'storage_class': 'GLACIER', 'selection_criteria': {'A': 'b'}}, {'custom_prefix': ''},
    {'custom_prefix': 'e5d922'}, {'custom_prefix': 'e5d922/AUTH_test'},
])
def test_two_s3_mappings_with_one_key_space_are_refused(refused: Make, s3: Make, second: dict[str, Any]) -> None:
    first = {'account': 'AUTH_test', 'container': 'sync-s3'}
    for pair in ((first, {**first, **second}), ({**first, **second}, first)):
        found = refused(*(s3(**entry) for entry in pair))
        assert [p for p in found if p.startswith('containers[1]: writes to the same names as containers[0]: ')], found


@pytest.mark.parametrize('second', [
    {'container': 'd'}, {'account': 'AUTH_b'}, {'aws_bucket': 'b2'}, {'custom_prefix': 'p'},
    {'aws_endpoint': 'https://s3.example.com'}, {'account': 'AUTH_b', 'container': '/*'}, {'custom_prefix': 'e5d92'},
    {'aws_endpoint': 'https://s3.cn-north-1.amazonaws.com.cn'},
])
def test_s3_mappings_that_do_not_meet_are_accepted(loaded: Make, s3: Make, second: dict[str, Any]) -> None:
    first = {'account': 'AUTH_test', 'container': 'sync-s3'}
    assert len(loaded(s3(**first), s3(**{**first, **second})).containers) == 2


@pytest.mark.parametrize(('one', 'other', 'clash'), [
    ('p', 'p', True), ('p', '/p/', True), ('p', 'p/q', True), ('p/q', 'p', True), ('', 'p', True),
    ('p', 'pq', False), ('p/q', 'p/r', False), ('p', 'P', False),
])
def test_custom_prefixes_clash_when_one_contains_the_other(refused: Make, loaded: Make, s3: Make, one: str, other: str,
                                                           clash: bool) -> None:
    entries = s3(custom_prefix=one), s3(container='/*', account='z', custom_prefix=other)
    if clash:
        assert 'key prefix of one contains that of the other' in refused(*entries)[0]
    else:
        assert loaded(*entries)


def test_an_empty_prefix_takes_the_bucket_from_an_account_wide_mapping_too(refused: Make, s3: Make) -> None:
    found = refused(s3(container='/*'), s3(account='x', custom_prefix=''))
    assert len(found) == 1
    assert found[0] == ('containers[1]: writes to the same names as containers[0]: same bucket, and an empty '
                        'custom_prefix takes all of it')


@given(st.lists(st.tuples(st.sampled_from('ab'), st.sampled_from(['c', 'd', '/*']),
                          st.sampled_from([None, '', 'p', 'p/q', 'pq', 'q'])), min_size=2, max_size=5))
def test_grouping_finds_exactly_the_pairs_whose_keys_can_meet(entries: list[tuple[str, str, str | None]]) -> None:
    def prefixes(account: str, container: str, prefix: str | None) -> list[str]:
        names = ['c', 'd', 'e'] if container == '/*' else [container]
        return [KeyScheme(account, name, prefix).prefix for name in names]

    meets = any(a.startswith(b) or b.startswith(a)
                for n, one in enumerate(entries) for other in entries[:n]
                for a in prefixes(*one) for b in prefixes(*other))
    raw = {'status_dir': '/x', 'containers': [
        {'account': a, 'container': c, 'aws_bucket': 'b'} | ({} if p is None else {'custom_prefix': p})
        for a, c, p in entries]}
    if meets:
        with pytest.raises(ConfigError, match='writes to the same names'):
            parse(json.dumps(raw).encode(), '/nowhere/x.json', environ={})
    else:
        parse(json.dumps(raw).encode(), '/nowhere/x.json', environ={})


@pytest.mark.parametrize(('first', 'second', 'reason'), [
    ({}, {'container': 'd'}, 'same account and container'),
    ({}, {'container': 'd', 'aws_endpoint': 'HTTPS://Far.example.com:443/auth/v1.0/'}, 'same account and container'),
    ({}, {'container': 'd', 'aws_identity': 'acc:other'}, 'same account and container'),
    ({'container': '/*', 'aws_bucket': 'x-'}, {'aws_bucket': 'x-c'}, '/* already copies this container there'),
    ({'aws_bucket': 'c'}, {'container': '/*', 'aws_bucket': ''}, '/* already copies this container there'),
    ({'container': '/*', 'aws_bucket': 'x-'}, {'account': 'z', 'container': '/*', 'aws_bucket': 'x-'},
     'both put containers'),
])
def test_two_swift_mappings_into_one_container_are_refused(refused: Make, swift: Make, first: dict[str, Any],
                                                           second: dict[str, Any], reason: str) -> None:
    found = refused(swift(**first), swift(**second))
    assert len(found) == 1
    assert found[0].startswith('containers[1]: writes to the same names as containers[0]: ')
    assert reason in found[0]


@pytest.mark.parametrize(('first', 'second'), [
    ({}, {'aws_bucket': 'b2'}), ({}, {'aws_identity': 'other:user'}), ({}, {'remote_account': 'AUTH_z'}),
    ({}, {'aws_endpoint': 'https://near.example.com/auth/v1.0'}),
    ({'container': '/*', 'aws_bucket': 'x-'}, {'aws_bucket': 'x-d'}),
    ({'container': '/*', 'aws_bucket': 'x-'}, {'container': '/*', 'aws_bucket': 'y-'}),
])
def test_swift_mappings_that_do_not_meet_are_accepted(loaded: Make, swift: Make, first: dict[str, Any],
                                                      second: dict[str, Any]) -> None:
    assert len(loaded(swift(**first), swift(**second)).containers) == 2


def test_a_target_in_the_others_segments_is_a_warning(loaded: Make, swift: Make) -> None:
    settings = loaded(swift(aws_bucket='x'), swift(container='d', aws_bucket='x_segments'))
    assert settings.warnings == ('containers[1].aws_bucket: is where containers[0] keeps segments of large objects',)


def test_two_migrations_into_one_container_are_refused(refused: Make) -> None:
    found = refused(migrations=[{'account': 'a', 'aws_bucket': 'x', 'container': 'c'},
                                {'account': 'a', 'aws_bucket': 'y', 'container': 'c'}])
    assert len(found) == 1
    assert found[0].startswith('migrations[1]: fills the same local container as migrations[0]')


@pytest.mark.parametrize(('migration', 'loop'), [
    ({'container': 'c'}, True), ({'aws_bucket': '/*'}, True), ({'container': 'c', 'prefix': 'p/deeper'}, True),
    ({'container': 'c', 'prefix': 'q'}, False), ({'container': 'd'}, False),
    ({'account': 'z', 'container': 'c'}, False),
    ({'aws_bucket': 'other', 'container': 'c'}, False), ({'container': 'c', 'aws_endpoint': 'https://h'}, False),
])
def test_a_migration_that_brings_back_what_is_sent_out_is_refused(refused: Make, loaded: Make, s3: Make,
                                                                  migration: dict[str, Any], loop: bool) -> None:
    profile = {'account': 'AUTH_a', 'aws_bucket': 'b', 'aws_identity': 'key', 'aws_secret': 's', **migration}
    if loop:
        assert refused(s3(custom_prefix='p'), migrations=[profile]) == [
            'migrations[0]: brings back what containers[0] sends out: same remote, bucket and local container']
    else:
        assert loaded(s3(custom_prefix='p'), migrations=[profile])
