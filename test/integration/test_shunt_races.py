"""Writes of users while what they change is on its way back into the cluster: what they were promised holds."""
from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from s3_sync.trial.s3_endpoint import S3Endpoint
from test.servers.fault_proxy import HoldAnswer
from test.servers.merged import MergedContainer, archive, merged_world
from test.servers.sync_daemon import eventually

# Swift replaces the log handler of a pipeline that is loaded again, and forgets to close its UDP socket.
pytestmark = [pytest.mark.filterwarnings('ignore:unclosed <socket.socket .*type=2:ResourceWarning'),
              # So does its proxy application with a connection that was refused.
              pytest.mark.filterwarnings(r'ignore:unclosed <socket.socket \[closed\]:ResourceWarning')]

LARGE = os.urandom(3_000_000)


@pytest.fixture(scope='module')
def at(s3: S3Endpoint) -> Iterator[MergedContainer]:
    with merged_world(s3) as world:
        made = world.add('restoring', kind='s3', restore_object=True, retain_local=False, coalesce_size='1MiB')
        world.configure()
        yield made


def test_metadata_that_is_posted_while_the_object_comes_back_stays(at: MergedContainer) -> None:
    at.put_here('o', LARGE, **{'X-Object-Meta-Colour': 'old'})
    archive(at)
    assert not at.is_here('o')
    held = at.faults.fail(HoldAnswer(2), method='GET', path='/o')
    read: list[object] = []
    reader = threading.Thread(target=lambda: read.append(at.body('o')))
    reader.start()
    eventually(lambda: held.hits, 'the remote is asked')
    assert at.status('POST', 'o', headers={'X-Object-Meta-Colour': 'new'}) == 202
    reader.join()
    assert read == [LARGE]
    eventually(lambda: any(line.startswith('restore AUTH_test/restoring/o ') for line in at.world.log()), 'it ends')
    assert at.ask('HEAD', 'o').headers['x-object-meta-colour'] == 'new'
