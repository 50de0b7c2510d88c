"""What is decided about large objects at a Swift target without asking it."""
from __future__ import annotations

import hashlib
import json

import pytest

from s3_sync.concurrency import sleep
from s3_sync.large_objects.model import Piece
from s3_sync.large_objects.parts import Part, Run
from s3_sync.providers.swift.at_once import at_once
from s3_sync.providers.swift.expiry import NotBefore, later
from s3_sync.providers.swift.large_dlo import manifest_header
from s3_sync.providers.swift.large_transfer import combined_etag
from s3_sync.providers.swift.limits import DEFAULTS, Limits
from s3_sync.providers.swift.metadata import comparable_metadata, put_headers, stored_meta
from s3_sync.providers.swift.places import Place
from s3_sync.providers.swift.shunting import client_headers
from s3_sync.types import ObjectMeta

# -- several at a time --------------------------------------------------------------------


def test_results_come_in_order_and_no_more_than_allowed_run_at_once() -> None:
    running, most = 0, 0

    def work(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        sleep(0.01 if number % 2 else 0)
        running -= 1
        return number * 2
    assert at_once(work, range(20), many=3) == [n * 2 for n in range(20)]
    assert most == 3
    assert at_once(work, []) == []
    assert at_once(work, [4]) == [8]


def test_the_first_error_is_raised_after_what_runs_has_ended_and_nothing_more_is_begun() -> None:
    begun: list[int] = []
    ended: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        sleep(0.02 if number == 0 else 0)
        if number == 1:
            raise ValueError('one')
        ended.append(number)
    with pytest.raises(ValueError, match='one'):
        at_once(work, range(100), many=2)
    assert 0 in ended
    assert len(begun) < 10


# -- names and headers --------------------------------------------------------------------

@pytest.mark.parametrize('base, expected', [
    (Place('c', 'video/'), 'c/video/'), (Place('c', '/lead'), 'c/%2Flead'), (Place('ü é', 'a b/ü%41?&'),
     '%C3%BC%20%C3%A9/a%20b/%C3%BC%2541%3F%26'),
])
def test_a_dlo_s_header_is_encoded_once_and_as_swift_takes_it(base: Place, expected: str) -> None:
    assert manifest_header(base) == expected


def test_what_tells_of_large_objects_is_nobody_s_metadata() -> None:
    headers = {'x-object-meta-swift-slo-etag': 'a', 'x-object-meta-swift-source-dlo-etag': 'b',
               'x-object-meta-combined-etag': 'c', 'x-object-meta-1space-owner': 'd', 'x-object-meta-color': 'blue',
               'etag': '"abc"', 'content-length': '3'}
    meta = stored_meta('o', headers)
    assert dict(meta.user_metadata) == {'color': 'blue'}
    assert {meta.sysmeta[key] for key in ('swift-slo-etag', 'swift-source-dlo-etag', 'combined-etag', '1space-owner')
            } == set('abcd')
    assert client_headers(headers).keys() == {'x-object-meta-color', 'etag', 'content-length'}
    assert comparable_metadata({'swift-slo-etag': 'x', 'color': 'blue'}) == {'color': 'blue'}
    sent = put_headers(ObjectMeta('o', 0, user_metadata={'swift-slo-etag': 'theirs', 'color': 'blue'}), DEFAULTS, 0.0,
                       {'swift-slo-etag': 'ours'})
    assert sent['x-object-meta-swift-slo-etag'] == 'ours'


def test_a_cluster_tells_what_its_slos_may_be() -> None:
    info = {'swift': {'max_file_size': 10}, 'slo': {'max_manifest_segments': 7, 'max_manifest_size': 99,
                                                    'min_segment_size': 1}}
    limits = Limits.from_info(json.dumps(info).encode())
    assert (limits.max_file_size, limits.max_manifest_segments, limits.max_manifest_size) == (10, 7, 99)
    assert limits.knows_slo
    assert not Limits.from_info(b'{"swift": {}}').knows_slo
    for unreadable in (b'', b'[]', b'{"swift": 1}', b'{"slo": {}}'):
        assert Limits.from_info(unreadable) == DEFAULTS


# -- ends ---------------------------------------------------------------------------------

def test_an_end_moved_away_by_a_manifest_equals_every_earlier_one() -> None:
    moved = (1, NotBefore(1000))
    assert moved == (1, 1000)
    assert moved == (1, 500)
    assert (NotBefore(1000),) == ('due',)
    assert (NotBefore(1000),) != (1001,)
    assert (NotBefore(1000),) != (None,)
    assert (NotBefore(None),) == (None,)
    assert (NotBefore(None),) == (5,)


def test_never_is_later_than_any_time() -> None:
    assert (later(1, 2), later(None, 2), later(2, None)) == (2, None, None)


# -- joined segments ----------------------------------------------------------------------

def test_a_joined_segment_tells_what_it_is_made_of() -> None:
    whole = Piece('c', 'a', 'a' * 32, 10, 0, 10)
    other = Piece('c', 'b', 'b' * 32, 10, 0, 10)
    cut = Piece('c', 'b', 'b' * 32, 10, 2, 5)
    joined = Part(1, (Run(whole, 0, 10), Run(other, 0, 10)), 20)
    assert combined_etag(joined) == hashlib.md5(b'a' * 32 + b'b' * 32).hexdigest()
    found = {combined_etag(Part(1, runs, 20)) for runs in (
        (Run(whole, 0, 10), Run(cut, 0, 5)), (Run(whole, 0, 10), Run(cut, 1, 4)), (Run(whole, 0, 9), Run(cut, 0, 5)))}
    assert len(found) == 3
