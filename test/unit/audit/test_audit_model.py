"""Random containers and copies: the audit says of each name what a table says, and repair mends just that."""
from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from swift.common.utils import Timestamp

from s3_sync.timestamps import MARKER
from test.unit.audit.world import SYNCED, WRITTEN, World

Locally = st.sampled_from(['live', 'none', 'deleted', 'archived'])
Remotely = st.sampled_from(['none', 'same', 'foreign', 'metadata', 'older'])
Names = st.text(st.characters(exclude_characters='\0', exclude_categories=['Cs']), min_size=1, max_size=8)

GONE = ''
"""Expected of a name that is on neither side."""


def expected(local: str, remote: str, *, retain_local: bool, propagate: bool) -> str:
    if local == 'live':
        if remote == 'same':
            return 'same' if retain_local else 'waiting'
        return 'missing' if remote == 'none' else 'differs'
    if remote == 'none':
        return 'missing' if local == 'archived' and not retain_local else GONE
    if local == 'archived' or (local == 'none' and not retain_local):
        return 'archived'
    return 'extra' if local == 'none' or propagate else 'kept'


def mended(local: str, verdict: str, *, retain_local: bool) -> str:
    """What an audit says after a repair, and after the daemon has done what it asks for."""
    if local == 'live':
        return 'same' if retain_local else 'waiting'
    return GONE if (local, verdict) == ('deleted', 'extra') else verdict


def build(world: World, name: str, local: str, remote: str) -> None:
    world.put(name, b'old!', WRITTEN - 100)
    if remote == 'older':
        world.sync(name)
    world.put(name, b'data', user_metadata={'colour': 'blue'})
    if remote in ('same', 'metadata'):
        world.sync(name)
    if remote == 'metadata':
        stored = world.memory.head_object(name)
        world.memory.post_object(name, replace(stored, user_metadata={'colour': 'red'}))
    elif remote == 'foreign':
        world.overwrite(name, b'evil')
    if local == 'deleted':
        world.delete(name)
    elif local == 'archived':
        world.delete(name, Timestamp(SYNCED, offset=MARKER << 32 | 1))
    elif local == 'none':
        world.delete(name)
        del world.rows[name]


@contextmanager
def world_of(**mapping: object) -> Iterator[World]:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), **mapping)
        try:
            yield world
        finally:
            world.close()


@given(st.dictionaries(Names, st.tuples(Locally, Remotely), max_size=12), st.booleans(), st.booleans(),
       st.integers(1, 5))
def test_every_name_has_the_verdict_of_the_table_and_repair_mends_what_can_be(
        states: dict[str, tuple[str, str]], retain_local: bool, propagate: bool, page: int) -> None:
    with world_of(retain_local=retain_local, propagate_delete=propagate, exclude_pattern='') as world:
        world.memory._page_names = page
        for name, (local, remote) in states.items():
            build(world, name, local, remote)
        wanted = {name: expected(*state, retain_local=retain_local, propagate=propagate)
                  for name, state in states.items()}
        result = world.audit(metadata=True, repair=True)
        assert result.complete
        told = {name: verdict for name, (verdict, _) in world.told.items()}
        assert told == {name: verdict for name, verdict in wanted.items() if verdict}

        assert world.work_off() == []
        world.audit(metadata=True)
        told = {name: verdict for name, (verdict, _) in world.told.items()}
        after = {name: mended(states[name][0], verdict, retain_local=retain_local) for name, verdict in wanted.items()}
        assert told == {name: verdict for name, verdict in after.items() if verdict}
        for name, (local, _) in states.items():
            if local == 'live':
                assert world.memory.get_object(name).read() == b'data'
