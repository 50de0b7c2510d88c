from __future__ import annotations

import fnmatch
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_sync.types import ObjectMeta
from s3_sync.wire.selection import CriteriaError, parse_criteria
from s3_sync.wire.swift_headers import meta_from_headers

NEWEST = 1_000_000.0


def meta(name: str = 'o', size: int = 10, **headers: str) -> ObjectMeta:
    return meta_from_headers(name, {'content-length': str(size), 'content-type': 'text/plain', **{
        key.replace('_', '-'): value for key, value in headers.items()}})


def matches(raw: object, found: ObjectMeta | None = None, age: float = 0) -> bool:
    return parse_criteria(raw).matches(found or meta(), newest_time=NEWEST, now=NEWEST + age)


# -- headers, and, or, not ----------------------------------------------------------------

def test_no_criteria_match_everything() -> None:
    assert matches({})
    assert not parse_criteria({}).needs_headers


@pytest.mark.parametrize(('raw', 'expected'), [
    ({'Content-Type': 'text/plain'}, True), ({'CONTENT-TYPE': 'TEXT/Plain'}, True), ({'content-type': 'text'}, False),
    ({'X-Object-Meta-Color': 'red'}, True), ({'x-object-meta-color': 'RED'}, True),
    ({'X-Object-Meta-None': 'red'}, False),
    ({'X-Other': 'Value'}, True), ({'Content-Encoding': 'gzip'}, True), ({'Content-Length': '10'}, True),
    ({'X-Delete-At': '99'}, True), ({'age': '10'}, False), ({'Etag': 'abc'}, True),
    ({'NOT': {'X-Object-Meta-None': 'red'}}, True), ({'NOT': {'X-Object-Meta-Color': 'red'}}, False),
    ({'AND': [{'Content-Type': 'text/plain'}, {'X-Object-Meta-Color': 'red'}]}, True),
    ({'AND': [{'Content-Type': 'text/plain'}, {'X-Object-Meta-Color': 'blue'}]}, False),
    ({'OR': [{'Content-Type': 'x'}, {'X-Object-Meta-Color': 'red'}]}, True),
    ({'OR': [{'Content-Type': 'x'}, {'X-Object-Meta-Color': 'blue'}]}, False),
    ({'NOT': {'OR': [{'A': 'b'}, {'AND': [{'Content-Type': 'text/plain'}, {'NOT': {'X-Other': 'value'}}]}]}}, True),
])
def test_headers_are_compared_without_case(raw: dict[str, Any], expected: bool) -> None:
    found = meta(x_object_meta_color='Red', x_other='value', content_encoding='gzip', x_delete_at='99', etag='"abc"')
    assert matches(raw, found) is expected


@pytest.mark.parametrize(('stored', 'asked'), [
    ('ÄRGER', 'ärger'), ('Straße', 'STRASSE'), ('ΣΊΣΥΦΟΣ', 'σίσυφος'), ('Ǆ', 'ǆ'), ('e\u0301', 'É'), ('ﬁ', 'FI'),
])
def test_values_and_names_of_any_script_are_compared_without_case(stored: str, asked: str) -> None:
    for one, other in ((stored, asked), (asked, stored)):
        assert matches({'X-Object-Meta-A': other}, ObjectMeta('o', 0, user_metadata={'a': one}))
        assert matches({f'X-Object-Meta-{other}': 'v'}, ObjectMeta('o', 0, user_metadata={one.lower(): 'v'}))


def test_an_empty_header_equals_an_empty_value_and_a_missing_one_does_not() -> None:
    assert matches({'X-Other': ''}, meta(x_other=''))
    assert not matches({'X-Other': ''}, meta())
    assert not matches({'Etag': ''}, meta())


# -- size, age, name ------------------------------------------------------------------------

@pytest.mark.parametrize(('bounds', 'sizes'), [
    ({'min': 10}, [10, 11]), ({'max': 10}, [0, 9, 10]), ({'min': 9, 'max': 10}, [9, 10]), ({'min': '10B'}, [10, 11]),
])
def test_both_ends_of_a_size_are_included(bounds: dict[str, Any], sizes: list[int]) -> None:
    assert [n for n in (0, 9, 10, 11) if matches({'SIZE': bounds}, meta(size=n))] == sizes


@pytest.mark.parametrize(('bounds', 'ages'), [
    ({'min': 10}, [10, 11]), ({'max': 10}, [0, 9.9]), ({'min': '9s', 'max': 10}, [9.9]),
])
def test_age_is_at_least_min_and_less_than_max(bounds: dict[str, Any], ages: list[float]) -> None:
    assert [n for n in (0, 9.9, 10, 11) if matches({'AGE': bounds}, age=n)] == ages


def test_an_object_of_the_future_has_no_age_yet() -> None:
    assert not matches({'AGE': {'min': 0}}, age=-5)
    assert matches({'AGE': {'max': 1}}, age=-5)


@pytest.mark.parametrize('raw', [{'NAME': {'glob': ['logs/*.gz', '?']}}, {'NAME': ['logs/*.gz', '?']}])
def test_a_glob_fits_the_whole_name_and_knows_no_folders(raw: dict[str, Any]) -> None:
    names = ['logs/a.gz', 'logs/x/y.gz', 'logs/\n.gz', 'x', '\n', 'logs/a.gz2', 'xlogs/a.gz', 'LOGS/a.gz', '']
    assert [n for n in names if matches(raw, meta(n))] == ['logs/a.gz', 'logs/x/y.gz', 'logs/\n.gz', 'x', '\n']


def test_one_glob_may_stand_alone_and_sets_work() -> None:
    assert matches({'NAME': {'glob': '[ab]*'}}, meta('bcd'))
    assert not matches({'NAME': {'glob': '[!ab]*'}}, meta('bcd'))
    assert matches({'NAME': {'glob': '[*]'}}, meta('*'))


@pytest.mark.parametrize(('raw', 'needs'), [
    ({'NAME': ['*']}, False), ({'AND': [{'SIZE': {'min': 1}}, {'NOT': {'AGE': {'min': 1}}}]}, False),
    ({'AND': [{'SIZE': {'min': 1}}, {'NOT': {'A': 'b'}}]}, True), ({'OR': [{'A': 'b'}, {'NAME': ['*']}]}, True),
])
def test_it_is_known_whether_headers_are_needed(raw: dict[str, Any], needs: bool) -> None:
    assert parse_criteria(raw).needs_headers is needs


@pytest.mark.parametrize(('raw', 'may'), [
    ({'A': 'b'}, True), ({'NOT': {'A': 'b'}}, True), ({'AND': [{'NAME': ['no']}, {'A': 'b'}]}, False),
    ({'OR': [{'NAME': ['no']}, {'A': 'b'}]}, True), ({'NOT': {'OR': [{'NAME': ['o']}, {'A': 'b'}]}}, False),
    ({'NAME': ['o']}, True), ({'NAME': ['no']}, False),
])
def test_a_row_is_rejected_without_opening_it_when_it_cannot_match(raw: dict[str, Any], may: bool) -> None:
    assert parse_criteria(raw).may_match(ObjectMeta('o', 10), newest_time=NEWEST, now=NEWEST) is may


# -- time -------------------------------------------------------------------------------------

@pytest.mark.parametrize(('raw', 'age'), [
    ({'AGE': {'min': 60}}, 60), ({'AGE': {'max': 60}}, 0), ({'AGE': {'max': 0}}, None),
    ({'NOT': {'AGE': {'max': 60}}}, 60), ({'AND': [{'AGE': {'min': 60}}, {'NAME': ['no']}]}, None),
    ({'AND': [{'AGE': {'min': 60}}, {'AGE': {'max': 50}}]}, None),
    ({'OR': [{'AND': [{'AGE': {'min': 60}}, {'NAME': ['no']}]}, {'AGE': {'min': 90}}]}, 90), ({'NAME': ['no']}, None),
    ({}, 0),
])
def test_the_time_of_the_next_match_is_known(raw: dict[str, Any], age: float | None) -> None:
    found = parse_criteria(raw).next_match_time(meta(), newest_time=NEWEST, now=NEWEST)
    assert found == (None if age is None else NEWEST + age)


def test_the_time_of_a_possible_match_is_known_without_headers() -> None:
    criteria = parse_criteria({'AND': [{'AGE': {'min': 60}}, {'A': 'b'}]})
    row = ObjectMeta('o', 10)
    assert criteria.next_match_time(row, newest_time=NEWEST, now=NEWEST, headers_known=False) == NEWEST + 60
    assert criteria.next_match_time(row, newest_time=NEWEST, now=NEWEST) is None


# -- against a simple evaluator ---------------------------------------------------------------

LEAVES = st.one_of(
    st.builds(lambda k, v: {k: v}, st.sampled_from(['X-Object-Meta-A', 'x-object-meta-b', 'Content-Type']),
              st.sampled_from(['x', 'X', 'y'])),
    st.builds(lambda n: {'SIZE': {'min': n}}, st.integers(0, 4)), st.builds(lambda n: {'SIZE': {'max': n}},
    st.integers(0, 4)),
    st.builds(lambda n: {'AGE': {'min': n}}, st.integers(0, 4)), st.builds(lambda n: {'AGE': {'max': n}},
    st.integers(0, 4)),
    st.builds(lambda g: {'NAME': [g]}, st.sampled_from(['a*', '*b', '?', '*'])))
TREES = st.recursive(LEAVES, lambda inner: st.one_of(
    st.builds(lambda c: {'NOT': c}, inner), st.builds(lambda c: {'AND': c}, st.lists(inner, min_size=1, max_size=3)),
    st.builds(lambda c: {'OR': c}, st.lists(inner, min_size=1, max_size=3))), max_leaves=8)
METAS = st.builds(lambda name, size, user, kind: ObjectMeta(name, size, user_metadata=user, content_type=kind),
                  st.sampled_from(['a', 'ab', 'cb', 'é']), st.integers(0, 5),
                  st.dictionaries(st.sampled_from(['a', 'b']), st.sampled_from(['x', 'X', 'y'])),
                  st.sampled_from(['x', 'z']))


def simply(raw: dict[str, Any], found: ObjectMeta, age: float) -> bool:
    (key, value), = raw.items()
    if key == 'NOT':
        return not simply(value, found, age)
    if key in ('AND', 'OR'):
        return (all if key == 'AND' else any)([simply(item, found, age) for item in value])
    if key == 'SIZE':
        return bool(value.get('min', 0) <= found.size <= value.get('max', 99))
    if key == 'AGE':
        return bool(value.get('min', -99) <= age < value.get('max', 99))
    if key == 'NAME':
        return fnmatch.fnmatchcase(found.name, value[0])
    headers = {f'x-object-meta-{k}': v for k, v in found.user_metadata.items()} | {'content-type': found.content_type}
    return headers.get(key.lower(), '-').lower() == value.lower()


@given(TREES, METAS, st.integers(-1, 6))
def test_any_criteria_mean_what_a_simple_evaluator_says(raw: dict[str, Any], found: ObjectMeta, age: int) -> None:
    assert matches(raw, found, age) == simply(raw, found, age)


@given(TREES, METAS, st.integers(-1, 6))
def test_the_next_match_is_the_first_of_all_later_moments(raw: dict[str, Any], found: ObjectMeta, age: int) -> None:
    later = [NEWEST + n for n in range(age, 20) if simply(raw, found, n)]
    assert parse_criteria(raw).next_match_time(found, newest_time=NEWEST, now=NEWEST + age) == (
        later[0] if later else None)


@given(TREES, METAS, st.integers(-1, 6))
def test_a_rejection_without_headers_is_never_wrong(raw: dict[str, Any], found: ObjectMeta, age: int) -> None:
    criteria = parse_criteria(raw)
    row = ObjectMeta(found.name, found.size)
    if not criteria.may_match(row, newest_time=NEWEST, now=NEWEST + age):
        assert not matches(raw, found, age)
    if not criteria.needs_headers:
        assert criteria.may_match(row, newest_time=NEWEST, now=NEWEST + age) == matches(raw, found, age)


@given(TREES)
def test_criteria_travel_to_other_processes(raw: dict[str, Any]) -> None:
    criteria = parse_criteria(raw)
    assert pickle.loads(pickle.dumps(criteria)) == criteria
    assert parse_criteria(raw).canonical() == criteria.canonical()


# -- what is refused --------------------------------------------------------------------------

@pytest.mark.parametrize(('raw', 'path', 'reason'), [
    ([], '', 'exactly one key'), ('x', '', 'exactly one key'), (None, '', 'exactly one key'),
    ({'A': 'b', 'C': 'd'}, '', 'exactly one key, not 2'), ({'': 'b'}, '', 'must be text'),
    ({3: 'b'}, '', 'must be text'),
    ({'AND': []}, 'AND', 'at least one'), ({'OR': {'A': 'b'}}, 'OR', 'must be a list'), ({'NOT': {}}, 'NOT', 'one key'),
    ({'AND': [{'A': 'b'}, {}]}, 'AND[1]', 'exactly one key'), ({'NOT': [{'A': 'b'}]}, 'NOT', 'exactly one key'),
    ({'and': [{'A': 'b'}]}, 'and', 'operators are upper case'), ({'Size': {'min': 1}}, 'Size', 'write SIZE'),
    ({'A': 3}, 'A', 'must be text'), ({'A': None}, 'A', 'must be text'), ({'A': True}, 'A', 'must be text'),
    ({'SIZE': '10MiB'}, 'SIZE', "write 'size'"), ({'SIZE': {}}, 'SIZE', 'min, max'),
    ({'AGE': {'mni': 1}}, 'AGE', 'min, max'),
    ({'SIZE': {'min': 'x'}}, 'SIZE.min', 'size'), ({'AGE': {'max': '1 month'}}, 'AGE.max', 'unknown unit'),
    ({'SIZE': {'min': -1}}, 'SIZE.min', 'size'), ({'AGE': {'min': True}}, 'AGE.min', 'duration'),
    ({'SIZE': {'min': 2, 'max': 1}}, 'SIZE', 'nothing would match'),
    ({'NAME': 'x*'}, 'NAME', 'glob'), ({'NAME': []}, 'NAME', 'glob'), ({'NAME': {'glob': []}}, 'NAME', 'glob'),
    ({'NAME': {'regex': 'x'}}, 'NAME', 'glob'), ({'NAME': ['']}, 'NAME', 'glob'), ({'NAME': [3]}, 'NAME', 'glob'),
    ({'OR': [{'A': 'b'}, {'NOT': {'SIZE': {'min': 'x'}}}]}, 'OR[1].NOT.SIZE.min', 'size'),
])
def test_criteria_that_mean_nothing_are_refused_with_their_place(raw: object, path: str, reason: str) -> None:
    with pytest.raises(CriteriaError, match=reason) as caught:
        parse_criteria(raw)
    assert caught.value.path == path
    assert isinstance(caught.value, ValueError)


def test_bottomless_criteria_are_refused() -> None:
    raw: dict[str, Any] = {'A': 'b'}
    for _ in range(2000):
        raw = {'NOT': raw}
    with pytest.raises(CriteriaError, match='deeper'):
        parse_criteria(raw)
