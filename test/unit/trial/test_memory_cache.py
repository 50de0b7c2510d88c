from __future__ import annotations

from s3_sync.clock import FakeClock
from s3_sync.trial.memory_cache import MemoryCache, filter_factory


def test_a_value_is_there_until_its_time_is_over() -> None:
    clock = FakeClock()
    cache = MemoryCache(clock)
    cache.set('relative', 'a', time=10)
    cache.set('absolute', 'b', time=clock.now() + 10)
    cache.set('forever', 'c')
    clock.advance(9)
    assert [cache.get(key) for key in ('relative', 'absolute', 'forever')] == ['a', 'b', 'c']
    clock.advance(2)
    assert [cache.get(key) for key in ('relative', 'absolute', 'forever')] == [None, None, 'c']


def test_what_was_stored_is_a_copy() -> None:
    cache = MemoryCache()
    value = {'groups': ['a']}
    cache.set('key', value)
    value['groups'].append('b')
    cache.get('key')['groups'].append('c')
    assert cache.get('key') == {'groups': ['a']}


def test_bytes_come_back_as_bytes() -> None:
    cache = MemoryCache()
    cache.set('token', b'\x80packed')
    assert cache.get('token') == b'\x80packed'


def test_counting_never_goes_below_zero() -> None:
    cache = MemoryCache()
    assert [cache.incr('n', 5), cache.decr('n', 3), cache.decr('n', 7), cache.incr('n')] == [5, 2, 0, 1]


def test_many_values_at_once_and_deletion() -> None:
    cache = MemoryCache()
    cache.set_multi({'a': 1, 'b': 2}, 'server')
    cache.delete('a')
    assert cache.get_multi(['a', 'b'], 'server') == [None, 2]


def test_all_requests_of_one_proxy_share_one_cache() -> None:
    seen = []
    app = filter_factory({})(lambda environ, start: seen.append(environ['swift.cache']) or [])
    for _ in range(2):
        app({}, lambda *args: None)
    assert seen[0] is seen[1]
