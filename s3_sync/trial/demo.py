"""``1space try``: the sync job at work between a real Swift and a real S3 endpoint, shown step by step.

What is shown is also checked, so the exit code tells whether the installation
works on this machine.
"""
from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import TextIO

from s3_sync.errors import Error
from s3_sync.trial import demo_archive, demo_shunt
from s3_sync.trial.demo_stage import Demo
from s3_sync.trial.ports import Ports
from s3_sync.trial.processes import Processes, Server, answers
from s3_sync.trial.s3_endpoint import S3Endpoint
from s3_sync.trial.scratch import ScratchFolder
from s3_sync.trial.swift_cluster import SwiftCluster
from s3_sync.wire.s3_mime import decode_text

CONTAINER = 'holiday'
BUCKET = 'holiday-copy'
EXIT_OK, EXIT_WRONG, EXIT_INTERRUPTED = 0, 1, 130

SAMPLES: dict[str, tuple[bytes, dict[str, str]]] = {
    'beach.jpg': (b'\xff\xd8 sun and sea', {'content-type': 'image/jpeg', 'x-object-meta-camera': 'Zenit'}),
    'diary/Śródziemie.txt': ('Pierwszy dzień.\n'.encode(), {
        'content-type': 'text/plain; charset=utf-8', 'x-object-meta-author': 'Zażółć', 'content-language': 'pl'}),
    'diary/plan.pdf': (b'%PDF-1.4 up early, swim, sleep', {
        'content-type': 'application/pdf', 'content-disposition': 'attachment; filename="plan.pdf"',
        'cache-control': 'max-age=60'}),
    'empty': (b'', {'content-type': 'application/octet-stream'}),
}


class _Terminated(Exception):
    """SIGTERM: leave through every ``finally``, as Ctrl-C does."""


def run(keep: bool, out: TextIO) -> int:
    """The whole demonstration; 0 when everything was as it should be, 1 when not, 130 when interrupted before its end.

    ``keep``: at the end leave everything running, say how to reach it, and wait for Ctrl-C. Call it from the main
    thread: SIGTERM is caught so that nothing is left behind.
    """
    try:
        with _terminable(), _no_proxies(), ExitStack() as stack:
            demo = _started(stack, out)
            sync_mapping: dict[str, object] = {'container': CONTAINER, 'aws_bucket': BUCKET, 'propagate_delete': True}
            demo.configure(sync_mapping)
            _put_samples(demo)
            _first_sync(demo)
            _second_sync(demo)
            demo_archive.show(demo, sync_mapping)
            demo_shunt.show(demo, sync_mapping)
            _status(demo)
            if keep:
                _keep_running(demo)
            demo.say(f'\n{len(demo.wrong)} of the checks failed.' if demo.wrong else '\nAll as it should be.')
            return EXIT_WRONG if demo.wrong else EXIT_OK
    except Error as error:
        print(f'\nIt did not work: {error}', file=out, flush=True)
        return EXIT_WRONG
    except (KeyboardInterrupt, _Terminated):
        print('\nStopped.', file=out, flush=True)
        return EXIT_INTERRUPTED


# -- the steps ----------------------------------------------------------------------------


def _started(stack: ExitStack, out: TextIO) -> Demo:
    print('1space: a real Swift, a real S3 endpoint, and swift-s3-sync between them; all on this machine.', file=out)
    folder = stack.enter_context(ScratchFolder()).path
    ports = Ports()
    stack.callback(ports.close)
    s3 = stack.enter_context(S3Endpoint())
    swift = stack.enter_context(SwiftCluster(shunt=folder / 'sync.json'))
    processes = stack.enter_context(Processes(folder / 'logs'))
    demo = Demo(swift, s3, processes, folder, ports.reserve(swift.bind_ip()), out)
    demo.step('Servers')
    demo.say(f'   Swift (proxy, account, container and object server)  {swift.url}\n'
             f'   SeaweedFS (S3)                                       {s3.url}')
    return demo


def _put_samples(demo: Demo) -> None:
    demo.step(f'A container {CONTAINER} with {len(SAMPLES)} objects, and an empty bucket {BUCKET}')
    demo.s3.make_bucket(BUCKET)
    with demo.swift_client() as client:
        client.put_container(CONTAINER)
        for name, (body, headers) in SAMPLES.items():
            client.put_object(CONTAINER, name, body, headers=headers)
            demo.say(f'   PUT {name}')


def _first_sync(demo: Demo) -> None:
    demo.step(f'swift-s3-sync --config {demo.config} --once')
    demo.sync_once()
    copies = demo.copies(BUCKET)
    for copy in copies.values():
        demo.say(f'   {copy["Key"]}  ({copy["Size"]} bytes)')
    demo.expect(copies.keys() == SAMPLES.keys(), 'the bucket has every object, unicode names included')
    demo.expect(all(demo.body(BUCKET, copy) == SAMPLES[name][0] for name, copy in copies.items() if name in SAMPLES),
                'the bodies are the same')
    metadata = demo.head(BUCKET, copies, 'diary/Śródziemie.txt')
    demo.expect(decode_text(metadata.get('Metadata', {}).get('author', '')) == 'Zażółć',
                'metadata travels: author = Zażółć')
    headers = demo.head(BUCKET, copies, 'diary/plan.pdf')
    demo.expect((headers.get('ContentDisposition'), headers.get('CacheControl'), headers.get('ContentType')) == (
        'attachment; filename="plan.pdf"', 'max-age=60', 'application/pdf'),
        'so do Content-Type, Content-Disposition and Cache-Control')


def _second_sync(demo: Demo) -> None:
    demo.step('Changes in Swift: new metadata for beach.jpg, a new version of diary/plan.pdf, empty is deleted')
    with demo.swift_client() as client:
        client.post_object(CONTAINER, 'beach.jpg', headers=SAMPLES['beach.jpg'][1] | {'x-object-meta-camera': 'Lomo'})
        client.put_object(CONTAINER, 'diary/plan.pdf', b'%PDF-1.4 sleep late', headers=SAMPLES['diary/plan.pdf'][1])
        client.delete_object(CONTAINER, 'empty')
    demo.step('swift-s3-sync once more')
    demo.sync_once()
    copies = demo.copies(BUCKET)
    demo.expect(demo.head(BUCKET, copies, 'beach.jpg').get('Metadata', {}).get('camera') == 'Lomo',
                'POST: the copy of beach.jpg says camera = Lomo')
    demo.expect('diary/plan.pdf' in copies and demo.body(BUCKET, copies['diary/plan.pdf']) == b'%PDF-1.4 sleep late',
                'PUT: the copy of diary/plan.pdf is the new version')
    demo.expect(copies.keys() == SAMPLES.keys() - {'empty'}, 'DELETE: the copy of empty is gone')


def _status(demo: Demo) -> None:
    demo.step(f'1space status --config {demo.config}')
    demo.show('status', 's3_sync.command', 'status', '--config', str(demo.config))


def _keep_running(demo: Demo) -> None:
    """The daemon for good, and everything somebody needs to play with it."""
    demo.processes.add(Server('swift-s3-sync', [*demo.daemon_command, '--console'],
                              ready=lambda: answers(demo.swift.bind_ip(), demo.metrics_port, '/metrics')))
    demo.processes.start('swift-s3-sync')
    demo.step('Everything stays up until Ctrl-C, with swift-s3-sync running as a daemon')
    demo.say(f"""   Swift   swift -A {demo.swift.auth_url} -U {demo.swift.user} -K {demo.swift.key} list {CONTAINER}
   S3      endpoint {demo.s3.url}  access key {demo.s3.access_key}  secret key {demo.s3.secret_key}  bucket {BUCKET}
   Config  {demo.config}
   Metrics http://{demo.swift.bind_ip()}:{demo.metrics_port}/metrics
   Logs    {demo.processes.log_path('swift-s3-sync')}
           {demo.swift.logs}
   Try     put an object into {CONTAINER}: it is in the bucket some seconds later.""")
    with suppress(KeyboardInterrupt, _Terminated):  # how this is meant to end
        threading.Event().wait()


# -- around it ----------------------------------------------------------------------------


@contextmanager
def _terminable() -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _no_proxies() -> Iterator[None]:
    """Everything is on loopback, which a proxy of the user's environment cannot reach."""
    names = [name for name in os.environ if name.lower().endswith('_proxy')]
    before = {name: os.environ.pop(name) for name in names}
    try:
        yield
    finally:
        os.environ.update(before)
