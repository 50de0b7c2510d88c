"""``1space try``: clients of the proxy do not notice that the video has left Swift, and bring it back by reading it."""
from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from swiftclient import ClientException

from s3_sync.clock import SystemClock
from s3_sync.trial import demo_archive
from s3_sync.trial.demo_archive import CONTAINER, NAME
from s3_sync.trial.demo_stage import Demo

PATIENCE_SECONDS = 30.0
SOURCE = 'x-1space-source'
KEPT = ('etag', 'content-type', 'last-modified', 'content-length')
"""Headers that must not tell where an object is."""


def show(demo: Demo, *others: dict[str, object]) -> None:
    """The steps, after those of ``demo_archive``. ``others``: mappings that stay in the configuration."""
    demo.step('The proxy has the filter cloud-shunt; from now on the mapping says "merge_namespaces": true')
    demo.configure(*others, {**demo_archive.MAPPING, 'merge_namespaces': True, 'restore_object': True,
                             'delete_policy': 'tombstone', 'restore_days': 7})
    there = _until(demo, lambda client: NAME in _names(client))
    demo.expect(there, f'{NAME} is in the container\'s listing again, though only the bucket has it')
    with demo.swift_client() as client:
        first, body = client.get_object(CONTAINER, NAME)
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
        demo.say(f'   GET {CONTAINER}/{NAME}  {len(body)} bytes, MD5 {digest}, X-1space-Source: {first.get(SOURCE)}')
        demo.expect(first.get(SOURCE) == 'remote', 'the first reader gets it from the bucket')
    back = _until(demo, lambda client: client.head_object(CONTAINER, NAME).get(SOURCE) == 'restored')
    demo.expect(back, 'and brings it back: the next one gets it from Swift')
    with demo.swift_client() as client:
        second, again = client.get_object(CONTAINER, NAME)
    demo.expect(again == body and all(first.get(key) == second.get(key) for key in KEPT),
                'same bytes, ETag, type and date from both')
    demo.step(f'A user deletes {NAME}; the policy is "tombstone": the bucket keeps it')
    with demo.swift_client() as client:
        client.delete_object(CONTAINER, NAME)
        demo.expect(_names(client) == [] and not _exists(client), 'it is gone for every client of the proxy')
    demo.expect(list(demo.copies(demo_archive.BUCKET)) == [NAME], 'and still in the bucket')
    demo.show('tombstones', 's3_sync.command', 'tombstones', 'list', '--config', str(demo.config))


def _until(demo: Demo, true: Callable[[Any], bool]) -> bool:
    """Whether it came true; the proxy looks at its configuration every few seconds, a restore takes its time."""
    clock = SystemClock()
    deadline = clock.monotonic() + PATIENCE_SECONDS
    while clock.monotonic() < deadline:
        with demo.swift_client() as client:
            if true(client):
                return True
        clock.sleep(0.2)
    return False


def _names(client: Any) -> list[str]:
    return [entry['name'] for entry in client.get_container(CONTAINER)[1]]


def _exists(client: Any) -> bool:
    try:
        client.head_object(CONTAINER, NAME)
    except ClientException as error:
        if error.http_status != 404:
            raise
        return False
    return True
