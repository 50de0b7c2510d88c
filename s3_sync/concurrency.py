"""The one door to eventlet.

Entry points call :func:`monkey_patch` first thing, before anything that opens
a socket is imported; library modules only take what they need from here.
"""
from __future__ import annotations

import warnings

with warnings.catch_warnings():
    # Swift is built on eventlet, so are its daemons' neighbours; eventlet's advice to new projects is not for them.
    warnings.filterwarnings('ignore', message='\nEventlet is deprecated')
    from eventlet import GreenPool, Timeout, sleep, spawn, spawn_n, tpool
from eventlet.event import Event
from eventlet.greenthread import GreenThread
from eventlet.queue import Empty, LightQueue, Queue
from eventlet.semaphore import Semaphore

__all__ = ['Empty', 'Event', 'GreenPool', 'GreenThread', 'LightQueue', 'Queue', 'Semaphore', 'Timeout',
           'in_thread', 'monkey_patch', 'sleep', 'spawn', 'spawn_n']

in_thread = tpool.execute
"""``in_thread(call)``: what ``call`` returns, from a real thread, while other green threads go on. For processes whose
green threads all run in one thread."""


def monkey_patch() -> None:
    """Make the standard library green, the way Swift's own daemons do (logging locks included).

    Swift leaves ``time`` alone; botocore and swiftclient wait with it between
    their retries, which would stop every green thread of the process.
    """
    import eventlet
    from swift.common.utils import monkey_patch as swift_monkey_patch
    swift_monkey_patch()
    eventlet.monkey_patch(all=False, time=True)
