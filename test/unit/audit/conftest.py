from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from test.unit.audit.world import World


@pytest.fixture
def world_of(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Makes a world with these keys of its mapping; one for each test."""
    made: list[World] = []

    def make(**mapping: object) -> World:
        made.append(World(tmp_path, **mapping))
        return made[-1]
    yield make
    for world in made:
        world.close()


@pytest.fixture
def world(world_of: Callable[..., World]) -> World:
    return world_of()
