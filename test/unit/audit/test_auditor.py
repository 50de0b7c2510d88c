"""The verdict on every kind of name, what it costs, and what happens when not everything can be read."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from swift.common.utils import Timestamp

from s3_sync.audit.sampling import Depth
from s3_sync.errors import ConnectionFailed, Forbidden
from s3_sync.ledger import Work
from s3_sync.providers.memory import MemorySync
from s3_sync.timestamps import MARKER
from s3_sync.types import ListingEntry, ListingPage, ObjectMeta
from test.fakes.faulty import Fault, FaultySync, on
from test.unit.audit.world import AUDITED, SYNCED, WRITTEN, World

MakeWorld = Callable[..., World]
ALL = Depth(fraction=1.0)


def own_delete(at: float) -> float:
    return Timestamp(at, offset=MARKER << 32 | int(at))  # type: ignore[no-any-return]


def test_what_the_listing_proves_is_not_asked_about(world: World) -> None:
    for name in ('a', 'b', 'ü'):
        world.put(name)
    world.sync()
    result = world.audit()
    assert world.told == dict.fromkeys(('a', 'b', 'ü'), ('same', 'listing'))
    assert world.provider.calls == ['list_objects']
    assert (result.local_objects, result.remote_objects, result.remote_bytes, result.complete) == (3, 3, 12, True)


def test_what_was_broken_at_the_remote_is_found(world: World) -> None:
    for name in ('fine', 'gone', 'other', 'kept-metadata', 'longer', 'posted'):
        world.put(name)
    world.sync()
    world.memory.delete_object('gone')
    world.overwrite('other', b'evil')
    world.overwrite('kept-metadata', b'evil', keep_metadata=True)
    world.overwrite('longer', b'much longer')
    world.overwrite('stranger', b'hello')
    world.post('posted', SYNCED + 5, colour='blue')
    world.audit()
    assert world.told == {
        'fine': ('same', 'listing'), 'gone': ('missing', 'not-there'), 'other': ('differs', 'content'),
        'kept-metadata': ('differs', 'content'), 'longer': ('differs', 'size'), 'stranger': ('extra', 'foreign'),
        'posted': ('differs', 'metadata')}


def test_metadata_is_compared_when_it_is_looked_at(world: World) -> None:
    world.put('o', user_metadata={'colour': 'blue'})
    world.sync()
    stored = world.memory.head_object('o')
    world.memory.post_object('o', replace(stored, user_metadata={'colour': 'red'}))
    world.audit()
    assert world.told['o'] == ('same', 'listing')
    world.audit(metadata=True)
    assert world.told['o'] == ('differs', 'metadata')


def test_a_database_that_is_behind_makes_nothing_extra_or_missing(world: World) -> None:
    world.put('new')
    world.put('deleted')
    world.sync()
    del world.rows['new']
    old = world.rows['deleted']
    world.delete('deleted')
    world.sync('deleted')
    world.rows['deleted'] = old
    world.audit()
    assert world.told == {'new': ('same', 'etag')}


def test_an_extra_copy_is_told_by_what_is_known_of_it(world_of: MakeWorld) -> None:
    world = world_of()
    for name in ('lost', 'deleted', 'rewritten'):
        world.put(name)
    world.sync()
    for name in ('lost', 'deleted', 'rewritten'):
        world.delete(name)
    del world.rows['lost']
    newer = replace(world.memory.head_object('rewritten'), data_time=Timestamp(SYNCED), source_etag='')
    world.memory.post_object('rewritten', newer)
    world.audit()
    assert world.told == {'lost': ('extra', 'no-local-object'), 'deleted': ('extra', 'deleted-here'),
                          'rewritten': ('extra', 'remote-newer')}


def test_a_copy_that_deletes_do_not_reach_is_as_it_should_be(world_of: MakeWorld) -> None:
    world = world_of(propagate_delete=False)
    world.put('o')
    world.sync()
    world.delete('o')
    world.audit()
    assert world.told == {'o': ('kept', 'not-propagated')}


def test_what_the_mapping_does_not_select_is_no_difference(world_of: MakeWorld) -> None:
    world = world_of(copy_after=3600, selection_criteria={'NOT': {'x-object-meta-keep': 'here'}})
    world.put('excluded', user_metadata={})
    world.put('young', at=AUDITED - 10)
    world.put('by-header', user_metadata={'keep': 'here'})
    world.overwrite('excluded-too', b'x')
    world.audit(grace_seconds=0)
    assert world.told == {
        'excluded': ('excluded', 'exclude-pattern'), 'excluded-too': ('excluded', 'exclude-pattern'),
        'young': ('waiting', 'copy-after'), 'by-header': ('excluded', 'selection-criteria')}


def test_what_the_ledger_knows_is_told_as_that(world: World) -> None:
    for name, kind in (('failing', 'failed'), ('given-up', 'permanent'), ('later', 'deferred'), ('done', 'failed')):
        row = world.put(name)
        world.ledger.record(world.mapping.generation, Work('AUTH_a', 'c', row.row, kind, f'why-{kind}'))  # type: ignore[arg-type]
    world.sync('done')
    result = world.audit()
    assert world.told == {'failing': ('failed', 'why-failed'), 'given-up': ('failed', 'why-permanent'),
                          'later': ('waiting', 'why-deferred'), 'done': ('same', 'listing')}
    assert result.counts['failed', 'why-failed'] == 1


def test_what_has_just_changed_is_in_flight_on_either_side(world: World) -> None:
    world.put('put', at=AUDITED - 30)
    world.put('deleted')
    world.sync('deleted')
    world.delete('deleted', AUDITED - 30)
    world.clock.advance(AUDITED - 30 - world.clock.now())
    world.overwrite('copied', b'x')
    world.audit(grace_seconds=60)
    assert set(world.told.values()) == {('waiting', 'in-flight')} and len(world.told) == 3
    world.audit(grace_seconds=10)
    assert {verdict for verdict, _ in world.told.values()} == {'missing', 'extra'}


def test_what_the_daemon_does_while_the_audit_looks_is_not_reported(world: World) -> None:
    """Listings were taken; then the object is copied, overwritten or deleted, before its turn comes."""
    for name in ('copied', 'overwritten', 'deleted'):
        world.put(name)
    world.sync('overwritten', 'deleted')
    world.overwrite('overwritten', b'evil')
    world.memory.delete_object('deleted')

    class Meanwhile(FaultySync):
        def list_objects(self, **words: object) -> ListingPage:
            page = super().list_objects(**words)  # type: ignore[arg-type]
            world.sync('copied', 'overwritten')
            world.source.delete('deleted', AUDITED)
            return page
    world.audit(provider=Meanwhile(world.memory))
    assert world.told == {'copied': ('same', 'etag'), 'overwritten': ('same', 'etag')}


def test_work_that_the_daemon_lists_while_the_audit_looks_is_told_as_known(world: World) -> None:
    row = world.put('o')

    class Meanwhile(FaultySync):
        def head_object(self, key: str, *, bucket: str | None = None) -> ObjectMeta:
            world.ledger.fail(world.mapping.generation, 'AUTH_a', 'c', row.row, 'throttled')
            return super().head_object(key, bucket=bucket)
    world.audit(provider=Meanwhile(world.memory))
    assert world.told == {'o': ('failed', 'throttled')}


def test_a_deleted_object_that_was_written_again_elsewhere_is_no_extra_copy(world: World) -> None:
    world.put('o')
    world.sync()
    world.delete('o')
    world.source.put('o', b'again', WRITTEN + 2)
    world.audit(repair=True)
    assert world.told == {'o': ('waiting', 'in-flight')} and not world.queued


def test_the_stores_own_md5_counts_before_what_the_metadata_says(world: World) -> None:
    world.put('o')
    world.sync()
    world.overwrite('o', b'evil', keep_metadata=True)
    world.memory.post_object('o', replace(world.memory.head_object('o'), source_etag=world.rows['o'].etag))
    world.audit(metadata=True)
    assert world.told == {'o': ('differs', 'content')}


def test_a_local_object_that_expired_is_no_difference(world: World) -> None:
    world.put('never-copied')
    world.put('copied')
    world.sync('copied')
    del world.source.live['never-copied'], world.source.live['copied']
    world.audit(metadata=True)
    assert world.told == {'copied': ('waiting', 'gone-here')}


# -- archives -------------------------------------------------------------------------------


@pytest.fixture
def archive(world_of: MakeWorld) -> World:
    """Four objects at the remote: still here, deleted by us, its tombstone reclaimed too, deleted and lost."""
    world = world_of(retain_local=False)
    for name in ('here', 'gone', 'long-gone', 'lost'):
        world.put(name)
        row = world.source.row(name)
        world.memory.upload_object(world.source.open(row).body, world.source.open(row).meta)
    for name in ('gone', 'lost'):
        world.delete(name, own_delete(SYNCED))
    world.source.live.pop('long-gone')
    del world.rows['long-gone']
    world.memory.delete_object('lost')
    return world


def test_an_archives_copies_are_right_without_a_local_object(archive: World) -> None:
    archive.audit()
    assert archive.told == {
        'here': ('waiting', 'not-removed-yet'), 'gone': ('archived', 'own-delete'),
        'long-gone': ('archived', 'no-row-left'), 'lost': ('missing', 'archived-copy-gone')}


def test_a_lost_archived_copy_is_only_called_so_when_nothing_else_explains_it(archive: World,
                                                                             world_of: MakeWorld) -> None:
    archive.audit(only_archive=False)
    assert archive.told['lost'] == ('unknown', 'archived-copy-gone')
    archive.mapping = archive.mapping.model_copy(update={'remote_delete_after': 10})
    archive.audit()
    assert archive.told['lost'] == ('unknown', 'archived-copy-gone')
    archive.mapping = archive.mapping.model_copy(update={'retain_local': True})
    archive.audit()
    assert 'lost' not in archive.told, 'another mapping archived it, this one need not have had it'


def test_archived_copies_are_read_and_compared_with_what_they_say_they_are(archive: World) -> None:
    archive.overwrite('long-gone', b'evil', keep_metadata=True)
    stored = archive.memory.head_object('long-gone')
    archive.memory.post_object('long-gone', replace(stored, source_etag='0' * 32))
    result = archive.audit(depth=ALL)
    assert archive.told['long-gone'] == ('differs', 'archived-content')
    assert archive.told['here'] == ('waiting', 'not-removed-yet')
    assert archive.told['gone'] == ('archived', 'read')
    assert result.read_objects == 3


def test_what_waits_is_not_read(world_of: MakeWorld) -> None:
    world = world_of(copy_after=500)
    world.put('o')
    world.sync()
    world.put('o', b'newer', at=AUDITED - 10)
    world.audit(depth=ALL)
    assert world.told == {'o': ('waiting', 'copy-after')}


def test_copies_of_what_another_mapping_archived_are_not_extra(world: World) -> None:
    world.put('o')
    world.sync()
    world.delete('o')
    del world.rows['o']
    world.audit(only_archive=False)
    assert world.told == {'o': ('archived', 'no-row-left')}


# -- reading --------------------------------------------------------------------------------


class Liar(MemorySync):
    """Tells of one object what it was, not what it is: only reading finds out."""

    def head_object(self, key: str, *, bucket: str | None = None) -> ObjectMeta:
        meta = super().head_object(key, bucket=bucket)
        if key != 'lied':
            return meta
        return replace(meta, etag='kms', etag_is_md5=False, source_etag='8d777f385d3dfec8815d20f7496026dc')


def test_only_reading_finds_other_bytes_behind_the_right_metadata(world: World) -> None:
    world.put('lied')
    world.put('fine')
    world.sync()
    world.overwrite('lied', b'evil', keep_metadata=True)

    class LyingAgain(Liar):
        def get_object(self, key: str, **words: object):  # type: ignore[no-untyped-def]
            found = super().get_object(key, **words)  # type: ignore[arg-type]
            found.meta = self.head_object(key)
            return found
    liar = LyingAgain(world.memory.store, clock=world.clock)
    world.audit(provider=liar)
    assert world.told['lied'] == ('same', 'etag'), 'its ETag proves nothing, its metadata is right'
    result = world.audit(provider=liar, depth=ALL)
    assert world.told == {'lied': ('differs', 'content'), 'fine': ('same', 'read')}
    assert (result.read_objects, result.read_bytes) == (2, 8)


def test_an_object_that_is_overwritten_while_it_is_read_is_looked_at_again(world: World) -> None:
    world.put('o')
    world.sync()

    class Meanwhile(FaultySync):
        def get_object(self, key: str, **words: object):  # type: ignore[no-untyped-def]
            if self.calls.count('get_object') == 0:
                world.put('o', b'newer', SYNCED)
                world.sync()
            return super().get_object(key, **words)  # type: ignore[arg-type]
    result = world.audit(provider=Meanwhile(world.memory), depth=ALL)
    assert world.told == {'o': ('same', 'read')} and result.read_bytes == 5


def test_a_number_of_objects_is_read_and_another_run_with_the_seed_reads_the_same(world: World) -> None:
    for number in range(50):
        world.put(f'o{number}')
    world.sync()
    read = []
    for seed in ('one', 'one', 'two'):
        result = world.audit(depth=Depth(count=5), seed=seed)
        assert (result.read_objects, result.counts['same', 'read'], result.counts['same', 'listing']) == (5, 5, 45)
        read.append({name for name, (_, reason) in world.told.items() if reason == 'read'})
    assert read[0] == read[1] != read[2]


def test_what_nothing_proves_is_unknown_until_it_is_read(world: World) -> None:
    world.put('o')
    stored = ObjectMeta('o', 4)
    world.overwrite('o', b'data')

    class NoMd5(MemorySync):
        def list_objects(self, **words: object) -> ListingPage:
            return ListingPage((ListingEntry('o', 4, 'abc-2', SYNCED),))

        def head_object(self, key: str, *, bucket: str | None = None) -> ObjectMeta:
            return replace(stored, etag='abc-2', etag_is_md5=False, large_object='multipart')

        def get_object(self, key: str, **words: object):  # type: ignore[no-untyped-def]
            found = super().get_object(key, **words)  # type: ignore[arg-type]
            found.meta = self.head_object(key)
            return found
    provider = NoMd5(world.memory.store)
    world.audit(provider=provider)
    assert world.told == {'o': ('unknown', 'etag')}
    result = world.audit(provider=provider, depth=Depth(count=1))
    assert world.told == {'o': ('same', 'read')}
    assert result.counts == {('same', 'read'): 1}


# -- what cannot be read --------------------------------------------------------------------


def test_a_listing_that_breaks_off_is_never_taken_for_its_end(world: World) -> None:
    world.put('a')
    world.put('b')
    world.sync()
    world.memory._page_names = 1
    world.provider.plan = on('list_objects', None, Fault(ConnectionFailed('reset')))
    result = world.audit(repair=True)
    assert not result.complete and 'reset' in result.not_read[0]
    assert 'b' not in world.told and not list(world.ledger.failures())


def test_rows_that_cannot_be_read_are_told(world: World) -> None:
    world.put('a')
    world.put('b')
    world.sync()
    world.unreadable = 1
    result = world.audit()
    assert not result.complete and 'AUTH_a/c: the disk is gone' in result.not_read


def test_a_name_that_cannot_be_looked_at_makes_the_audit_incomplete(world: World) -> None:
    world.put('a', at=SYNCED)
    world.sync()
    world.provider.plan = on('head_object', Fault(Forbidden('no', status=403)))
    result = world.audit()
    assert world.told == {'a': ('unread', 'forbidden')} and not result.complete


def test_an_object_server_that_is_silent_leaves_extra_names_unread(world: World) -> None:
    world.overwrite('stranger', b'x')
    world.source.unreachable = True
    assert not world.audit().complete
    assert world.told == {'stranger': ('unread', 'source-unavailable')}


def test_a_remote_that_answers_nothing_is_given_up_on(world: World) -> None:
    for number in range(500):
        world.put(f'o{number}', at=SYNCED)
    world.sync()
    world.provider.plan = lambda operation, number: (
        Fault(ConnectionFailed('down')) if operation == 'head_object' else None)
    result = world.audit()
    assert not result.complete and result.not_read
    assert world.provider.calls.count('head_object') < 100


def test_a_listing_that_goes_back_is_an_error(world: World) -> None:
    class Disordered(MemorySync):
        def list_objects(self, **words: object) -> ListingPage:
            return ListingPage((ListingEntry('b'), ListingEntry('a')))
    result = world.audit(provider=Disordered(world.memory.store))
    assert not result.complete and 'out of order' in result.not_read[0]


def test_an_unordered_listing_is_sorted_first(world: World) -> None:
    for name in ('p/e', 'p/e-1', 'p/e/1'):
        world.put(name)
    world.sync()

    class Unordered(MemorySync):
        def list_objects(self, **words: object) -> ListingPage:
            page = super().list_objects(prefix=str(words['prefix']))
            return replace(page, entries=tuple(reversed(page.entries)))
    provider = Unordered(world.memory.store)
    provider.capabilities = replace(provider.capabilities, ordered_listing=False)
    world.audit(provider=provider)
    assert set(world.told.values()) == {('same', 'listing')} and len(world.told) == 3


def test_a_prefix_leaves_the_rest_alone(world: World) -> None:
    for name in ('a/1', 'b/1', 'b/2'):
        world.put(name)
    world.overwrite('c', b'x')
    world.audit(prefix='b/')
    assert world.told == {'b/1': ('missing', 'not-there'), 'b/2': ('missing', 'not-there')}
