"""Decisions, against the rules of semantics 1 and 2 written down a second time as a small model."""
from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from swift.common.utils import Timestamp, encode_timestamps

from container_crawler.rows import Row
from s3_sync.engine.decide import (
    UNKNOWN,
    Copy,
    Delete,
    Look,
    Nothing,
    Rules,
    Update,
    content_relation,
    decide,
    decide_delete,
)
from s3_sync.timestamps import MARKER, row_times
from s3_sync.types import ABSENT, Condition, ObjectMeta, ObjectRow

RULES = Rules(create_only=True, conditional_overwrite=True, optimistic_bytes=100,
              comparable=lambda meta: (meta.content_type, dict(meta.user_metadata)))


def local(data: float = 10, meta: float | None = None, **changes: object) -> ObjectMeta:
    return replace(ObjectMeta(name='o', size=3, etag='aaa', content_type='text/plain', data_time=Timestamp(data),
                              meta_time=None if meta is None else Timestamp(meta)), **changes)  # type: ignore[arg-type]


def tombstone(created_at: str) -> ObjectRow:
    return ObjectRow('a', 'c', Row(1, 'o', created_at, 0, '', '', True, 0))


def test_a_new_small_name_is_sent_without_asking() -> None:
    assert decide(local(), UNKNOWN, RULES) == Copy(ABSENT)


@pytest.mark.parametrize('why, version, rules', [
    ('large', local(size=101), RULES),
    ('metadata was set later, so the name is probably there', local(meta=11), RULES),
    ('the endpoint does not honour the condition', local(), replace(RULES, create_only=False)),
])
def test_otherwise_the_remote_is_asked_first(why: str, version: ObjectMeta, rules: Rules) -> None:
    assert decide(version, UNKNOWN, rules) == Look()


def test_an_absent_name_is_created_only_if_still_absent() -> None:
    assert decide(local(), None, RULES) == Copy(ABSENT)
    assert decide(local(), None, replace(RULES, create_only=False)) == Copy(Condition())


def test_newer_data_replaces_exactly_the_version_looked_at() -> None:
    assert decide(local(20, etag='bbb'), local(10), RULES) == Copy(Condition(if_match='aaa'))


def test_older_data_never_overwrites_newer() -> None:
    assert decide(local(10, etag='bbb'), local(20), RULES) == Nothing('remote-newer')


def test_newer_times_on_the_same_bytes_move_no_data() -> None:
    newer = local(20)
    assert decide(newer, local(10), RULES) == Update(newer, local(10))


def test_newer_metadata_is_posted_even_when_its_values_are_equal() -> None:
    """Otherwise a node that holds something in between would be taken as newer."""
    newer = local(10, 12)
    assert decide(newer, local(10), RULES) == Update(newer, local(10))


def test_older_metadata_never_overwrites_newer() -> None:
    assert decide(local(10, user_metadata={'k': 'old'}), local(10, 12, user_metadata={'k': 'new'}),
                  RULES) == Nothing('remote-newer')


def test_a_newer_post_on_older_data_keeps_the_remotes_data_and_type() -> None:
    remote = local(20, etag='bbb', content_type='text/new')
    action = decide(local(10, 30, user_metadata={'k': 'v'}), remote, RULES)
    assert isinstance(action, Update)
    assert action.meta.user_metadata == {'k': 'v'}
    assert (action.meta.content_type, action.meta.etag, action.meta.data_time) == ('text/new', 'bbb', Timestamp(20))


def test_a_copy_without_times_is_judged_by_etag_not_by_upload_time() -> None:
    foreign = local(etag='bbb', data_time=None, last_modified=1e12)
    assert decide(local(), foreign, RULES) == Copy(Condition(if_match='bbb'))
    assert decide(local(), replace(foreign, etag='aaa'), RULES) == Nothing('same')
    different = replace(foreign, etag='aaa', user_metadata={'other': 'value'})
    assert decide(local(), different, RULES) == Update(local(), different)


def test_an_unknown_etag_is_never_called_different() -> None:
    assert content_relation(local(etag=''), local()) == 'unknown'
    assert content_relation(local(etag_is_md5=False), local()) == 'unknown'
    assert content_relation(local(size=4), local()) == 'different'
    assert decide(local(etag=''), local(), RULES) == Nothing('same')


def test_our_marker_is_ignored_when_comparing() -> None:
    marked = Timestamp(10, offset=MARKER << 32 | 7)
    assert decide(local(data_time=marked), local(10), RULES) == Nothing('same')


def test_a_users_delete_is_propagated_and_ours_never() -> None:
    ours = encode_timestamps(Timestamp(10, offset=MARKER << 32 | 99))
    assert decide_delete(tombstone('0000000010.00000'), UNKNOWN, propagate=True) == Delete()
    assert decide_delete(tombstone(ours), UNKNOWN, propagate=True) == Nothing('own-delete')
    with_a_late_post = encode_timestamps(Timestamp(10, offset=MARKER << 32 | 99), Timestamp(10), Timestamp(12))
    assert decide_delete(tombstone(with_a_late_post), UNKNOWN, propagate=True) == Nothing('own-delete')
    assert decide_delete(tombstone('0000000010.00000'), UNKNOWN, propagate=False) == Nothing('not-propagated')


def test_the_reconcilers_small_offset_is_a_users_delete() -> None:
    assert decide_delete(tombstone(encode_timestamps(Timestamp(10, offset=3))), UNKNOWN, propagate=True) == Delete()


def test_a_tombstone_older_than_the_remote_deletes_nothing() -> None:
    assert decide_delete(tombstone('0000000010.00000'), local(20), propagate=True) == Nothing('remote-newer')
    assert decide_delete(tombstone('0000000010.00000'), local(5), propagate=True) == Delete()
    assert decide_delete(tombstone('0000000010.00000'), None, propagate=True) == Nothing('already-gone')


def test_abbreviated_offsets_of_databases_compare_as_times() -> None:
    assert row_times('0000000010.00000_1').data == Timestamp(10, offset=1)
    assert row_times('0000000010.00000_1').data < row_times('0000000010.00000_2').data


times = st.integers(1, 6)


@given(ld=times, lm=times, rd=times, rm=times, same=st.booleans(), lv=st.sampled_from('xy'), rv=st.sampled_from('xy'))
def test_the_newer_of_each_time_wins(ld: int, lm: int, rd: int, rm: int, same: bool, lv: str, rv: str) -> None:
    """Whatever the times, applying the action leaves the newest data and the newest metadata at the remote."""
    lm, rm = max(ld, lm), max(rd, rm)
    here = local(ld, lm, user_metadata={'k': lv})
    there = local(rd, rm, etag='aaa' if same else 'bbb', user_metadata={'k': rv})
    action = decide(here, there, RULES)
    data = ld if isinstance(action, Copy) else rd
    content = here.etag if isinstance(action, Copy) else there.etag
    if isinstance(action, Update):
        data = int(float(action.meta.data_time or 0))
        value = action.meta.user_metadata['k']
    else:
        value = lv if isinstance(action, Copy) else rv
    assert data == max(ld, rd)
    if ld != rd:
        assert content == (here.etag if ld > rd else there.etag) or same
    if lm > rm:
        assert value == lv
    if rm > lm and ld <= rd:
        assert value == rv
