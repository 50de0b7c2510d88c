"""Whose segments a remote container is for, where its name is a digest: it says so itself, and is asked once."""
from __future__ import annotations

from s3_sync.errors import NotFound
from s3_sync.providers.swift.client import Call, SwiftClient
from s3_sync.providers.swift.places import SOURCE_HEADER, Places


class Sources:
    """Of one mapping. What is learnt, ``Places`` knows afterwards."""

    def __init__(self, client: SwiftClient, places: Places) -> None:
        self._client = client
        self._places = places
        self._asked: set[str] = set()

    def learn(self, container: str) -> None:
        """Have ``places.source`` know the remote ``container`` if it can be known; one HEAD, the first time."""
        if container in self._asked or not self._places.is_riddle(container):
            return
        try:
            # Whoever asks may hold a connection of the pool.
            with self._client.open(Call('HEAD', container), bounded=False) as answer:
                told = answer.headers.get(SOURCE_HEADER, '')
        except NotFound:
            told = ''
        self._places.tell(told)
        self._asked.add(container)
