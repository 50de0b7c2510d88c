"""``1space try`` shows what it promises on the machine at hand, and leaves nothing behind."""
from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
from pathlib import Path

import boto3
from swiftclient import Connection

from s3_sync.clock import SystemClock
from s3_sync.trial import demo

KEEP = 'import sys; from s3_sync.trial.demo import run; sys.exit(run(True, sys.stdout))'


def test_the_demonstration_finds_all_as_it_should_be() -> None:
    out = io.StringIO()
    assert demo.run(False, out) == 0, out.getvalue()
    shown = out.getvalue()
    assert 'AUTH_test/holiday/diary/Śródziemie.txt' in shown
    assert 'WRONG' not in shown
    assert 'All as it should be.' in shown


def test_with_keep_a_new_object_follows_by_itself_until_ctrl_c() -> None:
    with subprocess.Popen([sys.executable, '-c', KEEP], stdout=subprocess.PIPE, text=True) as trial:
        assert trial.stdout is not None
        try:
            shown = ''
            while 'Try     put an object' not in shown:
                line = trial.stdout.readline()
                assert line, shown
                shown += line
            found = re.search(r'swift -A (\S+) -U (\S+) -K (\S+) list (\S+)', shown)
            store = re.search(r'endpoint (\S+)  access key (\S+)  secret key (\S+)  bucket (\S+)', shown)
            config = re.search(r'Config  (\S+)', shown)
            assert found and store and config, shown
            _put(*found.groups())
            _wait_for_copy(*store.groups())
        finally:
            trial.send_signal(signal.SIGINT)
        assert trial.wait(30) == 0
    assert not Path(config[1]).exists()


def _put(auth_url: str, user: str, key: str, container: str) -> None:
    client = Connection(authurl=auth_url, user=user, key=key, retries=0)
    try:
        client.put_object(container, 'later', b'x')
    finally:
        client.close()


def _wait_for_copy(url: str, access_key: str, secret_key: str, bucket: str) -> None:
    clock = SystemClock()
    deadline = clock.monotonic() + 60
    client = boto3.client('s3', endpoint_url=url, region_name='us-east-1', aws_access_key_id=access_key,
                          aws_secret_access_key=secret_key)
    try:
        while not any(entry['Key'].endswith('/later') for entry in client.list_objects_v2(Bucket=bucket)['Contents']):
            assert clock.monotonic() < deadline, 'the copy never came'
            clock.sleep(0.2)
    finally:
        client.close()
