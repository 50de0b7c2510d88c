"""``1space try``: a video in segments leaves Swift for S3, and both sides are compared."""
from __future__ import annotations

import hashlib
import json

from s3_sync.trial.demo_stage import Demo

CONTAINER, SEGMENTS = 'videos', 'videos_segments'
BUCKET = 'videos-archive'
NAME = 'summer.mp4'
SEGMENT_BYTES = 5 * 1024 ** 2
MAPPING = {'container': CONTAINER, 'aws_bucket': BUCKET, 'retain_local': False, 'segments_grace': 0}


def show(demo: Demo, *others: dict[str, object]) -> None:
    """The steps. ``others``: mappings that stay in the configuration."""
    parts = [bytes([number]) * SEGMENT_BYTES for number in (1, 2)] + [b'the end']
    demo.step(f'A container {CONTAINER} with {NAME}, a large object (SLO) of {len(parts)} segments, to be archived')
    demo.s3.make_bucket(BUCKET)
    _put_video(demo, parts)
    demo.say('   the mapping says  "retain_local": false, "segments_grace": 0')
    demo.configure(*others, MAPPING)
    demo.step('swift-s3-verify: can the remote do what an archive needs?')
    demo.show('verify', 's3_sync.verify', '--config', str(demo.config), '--mapping',
              f'{demo.swift.account}/{CONTAINER}')
    demo.step('swift-s3-sync --once')
    demo.sync_once()
    copies = demo.copies(BUCKET)
    demo.expect(list(copies) == [NAME] and demo.body(BUCKET, copies[NAME]) == b''.join(parts),
                f'the bucket has {NAME}, whole: one multipart object')
    with demo.swift_client() as client:
        left = {name: [entry['name'] for entry in client.get_container(name)[1]] for name in (CONTAINER, SEGMENTS)}
    demo.expect(left == {CONTAINER: [], SEGMENTS: []},
                'Swift has neither the manifest nor the segments any more: each was proven to be there first')
    demo.step('swift-s3-sync --once again: the archive\'s own deletes must not travel')
    demo.sync_once()
    demo.expect(list(demo.copies(BUCKET)) == [NAME], f'{NAME} is still in the bucket')
    demo.step('1space audit: both sides, object by object')
    demo.show('audit', 's3_sync.command', 'audit', '--config', str(demo.config))


def _put_video(demo: Demo, parts: list[bytes]) -> None:
    with demo.swift_client() as client:
        client.put_container(CONTAINER)
        client.put_container(SEGMENTS)
        manifest = []
        for number, part in enumerate(parts):
            client.put_object(SEGMENTS, f'{NAME}/{number:03}', part)
            manifest.append({'path': f'/{SEGMENTS}/{NAME}/{number:03}', 'size_bytes': len(part),
                             'etag': hashlib.md5(part, usedforsecurity=False).hexdigest()})
            demo.say(f'   PUT {SEGMENTS}/{NAME}/{number:03}  ({len(part)} bytes)')
        client.put_object(CONTAINER, NAME, json.dumps(manifest), query_string='multipart-manifest=put',
                          content_type='video/mp4')
        demo.say(f'   PUT {CONTAINER}/{NAME}?multipart-manifest=put')
