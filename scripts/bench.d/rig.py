"""What all benches share: the servers, the filler, rclone, and where results go."""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count

from filling import Filler
from rclone import OTHER_KEY, OTHER_USER, Rclone

from s3_sync.trial.s3_endpoint import S3Endpoint
from s3_sync.trial.swift_cluster import SwiftCluster


@dataclass
class Table:
    """One section of the report."""

    title: str
    about: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class Rig:
    cluster: SwiftCluster
    endpoint: S3Endpoint
    filler: Filler
    rclone: Rclone
    say: Callable[[str], None]
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def bucket(self) -> str:
        """A new empty bucket; SeaweedFS has made its volumes when it is handed out."""
        name = self.endpoint.make_bucket(f'bench-{next(self._numbers)}')
        client = self.endpoint.client()
        try:
            for number in range(8):
                client.put_object(Bucket=name, Key=f'warm-{number}', Body=b'')
                client.delete_object(Bucket=name, Key=f'warm-{number}')
        finally:
            client.close()
        return name

    def other_container(self) -> str:
        """A new empty container of the second account."""
        name = f'bench-{next(self._numbers)}'
        with closing(self.cluster.client(user=OTHER_USER, key=OTHER_KEY)) as client:
            client.put_container(name)
        return name

    def fill(self, container: str, objects: int, size: int) -> None:
        """Objects named by ``name``."""
        started = time.monotonic()
        self.filler.container(container)
        self.filler.list(container, self.filler.write(container, map(name, range(objects)), size))
        self.say(f'filled {container} with {objects} objects of {size} bytes in {time.monotonic() - started:.1f} s')

    def listed(self, bucket: str) -> dict[str, str]:
        """Names and ETags of a whole bucket."""
        client = self.endpoint.client()
        try:
            pages = client.get_paginator('list_objects_v2').paginate(Bucket=bucket)
            return {entry['Key']: entry['ETag'].strip('"') for page in pages for entry in page.get('Contents', [])}
        finally:
            client.close()


def name(number: int) -> str:
    """Of the objects that ``fill`` makes."""
    return f'folder-{number % 10}/object-{number:07}'


def per(value: float, objects: int) -> str:
    """Milliseconds for one object."""
    return f'{value / objects * 1000:.2f}'


def mib(size: float) -> str:
    return f'{size / 1024 ** 2:.0f}'


def ratio(ours: float, theirs: float | None) -> str:
    return f'{ours / theirs:.1f}' if theirs else '-'
