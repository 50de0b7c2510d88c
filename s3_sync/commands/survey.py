"""Container databases of this node, looked at without taking part: nothing is written, no row is read."""
from __future__ import annotations

from collections.abc import Iterator

from container_crawler.databases import ContainerRing
from container_crawler.exceptions import CrawlerError
from container_crawler.reader import DatabaseFile, FolderFacts, inspect_folder
from container_crawler.shards import ContainerPath
from container_crawler.swift_dir import load_swift_dir
from s3_sync.config import Settings


class Survey:
    """Where the databases of a container stand. ``problem`` says why none can be told, '' when they can."""

    def __init__(self, ring: ContainerRing | None, problem: str = '') -> None:
        self._ring = ring
        self.problem = problem
        self.unreadable: list[str] = []
        """Why databases that are here could not be read, since ``forget``."""

    @classmethod
    def of(cls, settings: Settings) -> Survey:
        try:
            load_swift_dir(settings.swift_dir)
            return cls(ContainerRing(settings.swift_dir, settings.devices, settings.swift_bind_ip))
        except (CrawlerError, OSError, ValueError) as error:
            return cls(None, str(error))

    def forget(self) -> None:
        self.unreadable = []

    def databases(self, account: str, container: str) -> Iterator[DatabaseFile]:
        """Readable databases of the container and of its shards that lie here."""
        shards: set[ContainerPath] = set()
        for folder in self._folders(account, container):
            facts = self._inspected(folder)
            if facts is not None:
                yield from facts.files
                shards.update(facts.shards)
        for shard in sorted(shards):
            for folder in self._folders(*shard):
                facts = self._inspected(folder)
                if facts is not None:
                    yield from facts.files

    def _folders(self, account: str, container: str) -> list[str]:
        return [place.folder for place in self._ring.places(account, container)] if self._ring else []

    def _inspected(self, folder: str) -> FolderFacts | None:
        try:
            return inspect_folder(folder, commit=False)
        except (CrawlerError, OSError) as error:
            self.unreadable.append(str(error))
            return None
