"""The shunt: what it costs where nothing is missing, and how fast it is where the remote is asked.

A cluster of its own, with a plain proxy beside one that has the shunt, so that
both are measured in turns.
"""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote, urlsplit

import boto3
import shunt_filter
from botocore.config import Config
from filling import TYPE, Filler
from ours import mapping
from processes import usage
from rig import Rig, Table, name
from swiftclient import Connection

from container_crawler.swift_dir import load_swift_dir
from s3_sync.trial.s3_endpoint import REGION
from s3_sync.trial.swift_cluster import SwiftCluster

PAIRS = 20
REQUESTS = 100
LISTED = 10_000
LOCAL_NAMES = sorted(name(2 * number) for number in range(LISTED))
REMOTE_NAMES = sorted(name(2 * number + 1) for number in range(LISTED))
LISTINGS = 5
S3_PAGE = 1000
MISSES = 100
LARGE = 256 << 20
SMALL, SMALL_COUNT, READERS = 64 << 10, 500, 8
SETTLED_SECONDS = 5.0
PLAIN, SHUNT = 0, 1
"""Numbers of the proxies."""


def run(rig: Rig) -> Iterator[Table]:
    rig.filler.container('remote-names')
    rig.filler.list('remote-names', [_row(each) for each in REMOTE_NAMES])
    with SwiftCluster(proxies=2, shunt=Path('cloud-shunt.json'), shunt_proxies=[SHUNT]) as cluster:
        buckets = {container: rig.bucket() for container in ('hits', 'listed-s3', 'miss', 'restored')}
        merged = [mapping(rig.endpoint, container, bucket, merge_namespaces=True,
                          restore_object=container == 'restored') for container, bucket in buckets.items()]
        merged.append({'account': cluster.account, 'container': 'listed-swift', 'aws_bucket': 'remote-names',
                       'protocol': 'swift', 'merge_namespaces': True, 'aws_endpoint': rig.cluster.auth_url,
                       'aws_identity': rig.cluster.user, 'aws_secret': rig.cluster.key})
        cluster.write_shunt_config({'containers': merged})
        cluster.restart_proxy(SHUNT)
        try:
            bench = _Bench(rig, cluster, Filler(cluster), buckets)
            for measure in (bench.filters, bench.local_hits, bench.listings, bench.first_bytes, bench.restores):
                yield measure()
        finally:
            load_swift_dir(rig.cluster.swift_dir)  # the filler took this cluster's


@dataclass(frozen=True)
class _Answer:
    status: int
    first: float
    """Seconds to the first byte."""
    whole: float
    size: int
    begin: bytes
    """For messages."""


class _Client:
    """One kept connection; what it measures is the server's and the kernel's, hardly its own."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._connection = HTTPConnection(parts.hostname, parts.port)
        self._connection.connect()
        self._headers = dict(headers)

    def request(self, path: str, method: str = 'GET') -> _Answer:
        began = time.perf_counter()
        self._connection.request(method, path, headers=self._headers)
        response = self._connection.getresponse()
        begin = response.read(1)
        first = time.perf_counter() - began
        size = len(begin)
        while chunk := response.read(1 << 20):
            size += len(chunk)
            begin = begin if len(begin) > 1 else begin + chunk[:300]
        return _Answer(response.status, first, time.perf_counter() - began, size, begin)

    def close(self) -> None:
        self._connection.close()


class _Bench:
    def __init__(self, rig: Rig, cluster: SwiftCluster, filler: Filler, buckets: Mapping[str, str]) -> None:
        self._rig = rig
        self._cluster = cluster
        self._filler = filler
        self._buckets = buckets
        for container in (*buckets, 'listed-swift', 'other'):
            filler.container(container)

    # -- tables -----------------------------------------------------------------------------

    def filters(self) -> Table:
        table = Table(
            'Shunt: the filters alone', 'CPU of both filters around a right-hand side that answers at once, for an '
            f'object that is local; median of {shunt_filter.ROUNDS} rounds of {shunt_filter.CALLS} requests, the same '
            'without filters taken off. Bar: 60 µs.', ('', 'µs a request'))
        for title, account, container, method in (
                ('GET, container merged with S3', self._cluster.account, 'hits', 'GET'),
                ('HEAD, container merged with S3', self._cluster.account, 'hits', 'HEAD'),
                ('GET, container that is not mapped', self._cluster.account, 'other', 'GET'),
                ('GET, account without mappings', 'AUTH_test2', 'other', 'GET')):
            spent = shunt_filter.microseconds(self._cluster.shunt_config, account, container, method)
            table.rows.append((title, f'{spent:.1f}'))
        return table

    def local_hits(self) -> Table:
        table = Table(
            'Shunt: a whole proxy on local hits', f'Objects of 4096 bytes that are local, {PAIRS} pairs of {REQUESTS} '
            'requests through a plain proxy and through one with the shunt in turns, one connection each. Times are '
            'medians; CPU is the proxy process alone; the ratio is the median of those of the pairs.',
            ('', 'plain ms', 'shunt ms', 'ratio', 'plain CPU ms', 'shunt CPU ms'))
        for container in ('hits', 'other'):
            self._filler.list(container, self._filler.write(container, map(name, range(REQUESTS)), 4096))
        for title, container, method in (('GET, merged container', 'hits', 'GET'),
                                         ('HEAD, merged container', 'hits', 'HEAD'),
                                         ('GET, container that is not mapped', 'other', 'GET')):
            table.rows.append((title, *self._pairs(container, method)))
        return table

    def _pairs(self, container: str, method: str) -> tuple[str, ...]:
        times: dict[int, list[float]] = {PLAIN: [], SHUNT: []}
        cpu = {PLAIN: 0.0, SHUNT: 0.0}
        with closing(self._client(PLAIN)) as plain, closing(self._client(SHUNT)) as shunt:
            clients = {PLAIN: plain, SHUNT: shunt}
            for proxy in (PLAIN, SHUNT):
                self._requests(clients[proxy], container, method)  # connections, caches
            for pair in range(PAIRS):
                for proxy in (PLAIN, SHUNT) if pair % 2 else (SHUNT, PLAIN):
                    before = usage(self._cluster.pid(f'proxy-server-{proxy}')).cpu
                    times[proxy].append(median(self._requests(clients[proxy], container, method)))
                    cpu[proxy] += usage(self._cluster.pid(f'proxy-server-{proxy}')).cpu - before
        ratios = [with_it / without for without, with_it in zip(times[PLAIN], times[SHUNT], strict=True)]
        each = 1000 / (PAIRS * REQUESTS)
        return (f'{median(times[PLAIN]) * 1000:.2f}', f'{median(times[SHUNT]) * 1000:.2f}', f'{median(ratios):.2f}',
                f'{cpu[PLAIN] * each:.2f}', f'{cpu[SHUNT] * each:.2f}')

    def _requests(self, client: _Client, container: str, method: str) -> list[float]:
        return [_good(client.request(self._path(container, name(number)), method)).whole
                for number in range(REQUESTS)]

    def listings(self) -> Table:
        table = Table(
            f'Shunt: {LISTED:,} local and {LISTED:,} remote names', f'Names of both sides in turns, medians of '
            f'{LISTINGS} rounds, as clients list: swiftclient, JSON, pages of {LISTED:,} (the local names through the '
            f'plain proxy in one page, the merged ones in two), boto3 in pages of {S3_PAGE}. Bar: no slower than the '
            'two one after the other. Unparsed: the remote\'s pages alone, requested one after the other.',
            ('remote', 'local s', 'remote s', 'sum s', 'merged s', 'merged / sum', 'remote unparsed s',
             'proxy CPU s of the merged'))
        for container in ('listed-s3', 'listed-swift'):
            self._filler.list(container, [_row(each) for each in LOCAL_NAMES])
        self._fill_bucket('listed-s3', REMOTE_NAMES, b'')
        unparsed = {'s3': self._unparsed_s3(), 'swift': self._unparsed_swift}
        for kind, alone in (('s3', self._listed_s3), ('swift', self._listed_swift)):
            found, cpu, bare = [], [], []
            assert self._names(SHUNT, f'listed-{kind}', pages=3) == sorted(LOCAL_NAMES + REMOTE_NAMES)
            for _ in range(LISTINGS):
                times = [_timed(partial(self._names, PLAIN, f'listed-{kind}', pages=1)), _timed(alone)]
                before = usage(self._cluster.pid(f'proxy-server-{SHUNT}')).cpu
                found.append((*times, _timed(partial(self._names, SHUNT, f'listed-{kind}', pages=2))))
                cpu.append(usage(self._cluster.pid(f'proxy-server-{SHUNT}')).cpu - before)
                bare.append(unparsed[kind]())
            here, there, merged = (median(column) for column in zip(*found, strict=True))
            ratio = median(m / (h + t) for h, t, m in found)
            table.rows.append((kind, f'{here:.2f}', f'{there:.2f}', f'{here + there:.2f}', f'{merged:.2f}',
                               f'{ratio:.2f}', f'{median(bare):.2f}', f'{median(cpu):.2f}'))
        return table

    def _names(self, proxy: int, container: str, *, pages: int) -> list[str]:
        with closing(self._cluster.client(proxy=proxy)) as client:
            return _listed(client, container, pages)

    def _listed_s3(self) -> None:
        self._rig.listed(self._buckets['listed-s3'])

    def _listed_swift(self) -> None:
        with closing(self._rig.cluster.client()) as client:
            _listed(client, 'remote-names', 1)

    def _unparsed_s3(self) -> Callable[[], float]:
        def look() -> float:
            with closing(self._signer()) as client:
                urls = [client.generate_presigned_url('list_objects_v2', Params={
                    'Bucket': self._buckets['listed-s3'], 'MaxKeys': S3_PAGE, 'StartAfter': marker})
                    for marker in ('', *REMOTE_NAMES[S3_PAGE - 1:-1:S3_PAGE])]
            with closing(_Client(self._rig.endpoint.url, {})) as raw:
                return sum(_good(raw.request(url.removeprefix(self._rig.endpoint.url))).whole for url in urls)
        return look

    def _unparsed_swift(self) -> float:
        with closing(_logged_in(self._rig.cluster, 0)) as client:
            return _good(client.request(f'{self._path("remote-names")}?format=json&limit={LISTED}')).whole

    def first_bytes(self) -> Table:
        table = Table(
            'Shunt: first byte of an object that is only at the remote', f'4096 bytes at S3, {MISSES} requests of each '
            'kind in turns on kept connections; milliseconds to the first byte, medians.',
            ('404 of the plain proxy', 'GET at S3', 'both', 'GET through the shunt', 'shunt / both'))
        names = [name(number) for number in range(MISSES)]
        self._fill_bucket('miss', names, b'x' * 4096)
        urls = self._signed('miss', names)
        found = []
        with closing(self._client(PLAIN)) as plain, closing(self._client(SHUNT)) as shunt, \
                closing(_Client(self._rig.endpoint.url, {})) as s3:
            for each, url in zip(names, urls, strict=True):
                missing = plain.request(self._path('miss', each))
                assert missing.status == 404
                found.append((missing.first, _good(s3.request(url)).first,
                              _good(shunt.request(self._path('miss', each))).first))
        missed, remote, ours = (median(column) * 1000 for column in zip(*found, strict=True))
        ratio = median(o / (m + r) for m, r, o in found)
        table.rows.append((f'{missed:.1f}', f'{remote:.1f}', f'{missed + remote:.1f}', f'{ours:.1f}', f'{ratio:.2f}'))
        return table

    def restores(self) -> Table:
        table = Table(
            'Shunt: restore', f'One object of {LARGE >> 20} MiB, and {SMALL_COUNT} of {SMALL >> 10} KiB read by '
            f'{READERS} clients, each once. Straight from S3; through the shunt without and with `restore_object`; and '
            'what came back, from the first request to the last object that became local. What a full queue leaves '
            'out comes back at another read.',
            ('', 'S3 alone', 'through the shunt', 'with restore', 'with / without', 'objects restored', 'restored'))
        names = [name(number) for number in range(SMALL_COUNT)]
        for title, wanted, size, readers, amount in (('large, MB/s', ['large'], LARGE, 1, LARGE / 1e6),
                                                     ('small, objects/s', names, SMALL, READERS, SMALL_COUNT)):
            for container in ('miss', 'restored'):
                self._fill_bucket(container, wanted, b'x' * size)
            s3 = self._read(self._signed('miss', wanted), size, readers,
                            lambda: _Client(self._rig.endpoint.url, {}))
            without = self._read([self._path('miss', each) for each in wanted], size, readers,
                                 lambda: self._client(SHUNT))
            began = time.perf_counter()
            with_it = self._read([self._path('restored', each) for each in wanted], size, readers,
                                 lambda: self._client(SHUNT))
            count, ended = self._came_back(set(wanted))
            table.rows.append((
                title, *(f'{amount / seconds:.0f}' for seconds in (s3, without, with_it)), f'{without / with_it:.2f}',
                f'{count} of {len(wanted)}', f'{amount * count / len(wanted) / (ended - began):.0f}'))
        return table

    def _came_back(self, wanted: set[str]) -> tuple[int, float]:
        """How many are local once no more come, and when the last one was seen."""
        with closing(self._cluster.client(proxy=PLAIN)) as client:
            count, changed = 0, time.perf_counter()
            while count < len(wanted) and time.perf_counter() < changed + SETTLED_SECONDS:
                now = len(wanted.intersection(_listed(client, 'restored', 1)))
                if now != count:
                    count, changed = now, time.perf_counter()
                time.sleep(0.02)
        return count, changed

    def _read(self, paths: Sequence[str], size: int, readers: int, make: Callable[[], _Client]) -> float:
        def read(share: Sequence[str]) -> None:
            with closing(make()) as client:
                for path in share:
                    answer = _good(client.request(path))
                    assert answer.size == size, f'{path}: {answer.size} bytes'
        began = time.perf_counter()
        with ThreadPoolExecutor(readers) as pool:
            list(pool.map(read, [paths[number::readers] for number in range(readers)]))
        return time.perf_counter() - began

    # -- help -------------------------------------------------------------------------------

    def _client(self, proxy: int) -> _Client:
        return _logged_in(self._cluster, proxy)

    def _path(self, container: str, object_name: str = '') -> str:
        return f'/v1/{self._cluster.account}/{container}' + (f'/{quote(object_name)}' if object_name else '')

    def _signer(self) -> Any:
        endpoint = self._rig.endpoint
        return boto3.client('s3', endpoint_url=endpoint.url, region_name=REGION, aws_access_key_id=endpoint.access_key,
                            aws_secret_access_key=endpoint.secret_key,
                            config=Config(signature_version='s3v4', s3={'addressing_style': 'path'}))

    def _signed(self, container: str, names: Sequence[str]) -> list[str]:
        with closing(self._signer()) as client:
            return [client.generate_presigned_url(
                'get_object', Params={'Bucket': self._buckets[container], 'Key': each}).removeprefix(
                    self._rig.endpoint.url) for each in names]

    def _fill_bucket(self, container: str, names: Sequence[str], body: bytes) -> None:
        def put(share: Sequence[str]) -> None:
            client: Any = self._rig.endpoint.client()
            with closing(client):
                for each in share:
                    client.put_object(Bucket=self._buckets[container], Key=each, Body=body)
        with ThreadPoolExecutor(READERS) as pool:
            list(pool.map(put, [names[number::READERS] for number in range(READERS)]))
        self._rig.say(f'{len(names)} objects of {len(body)} bytes in the bucket of {container}')


def _logged_in(cluster: SwiftCluster, proxy: int) -> _Client:
    with closing(cluster.client(proxy=proxy)) as client:
        token = client.get_auth()[1]
    return _Client(cluster.proxy_url(proxy), {'X-Auth-Token': token})


def _listed(client: Connection, container: str, pages: int) -> list[str]:
    """As a client lists."""
    found: list[str] = []
    for _ in range(pages):
        page = client.get_container(container, marker=found[-1] if found else '', limit=LISTED)[1]
        found += [entry['name'] for entry in page]
    return found


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _good(answer: _Answer) -> _Answer:
    assert answer.status == 200, f'status {answer.status}: {answer.begin!r}'
    return answer


def _row(object_name: str) -> dict[str, object]:
    """Of an object that only the container knows: enough for listings."""
    return {'name': object_name, 'created_at': f'{time.time():.5f}', 'size': 0, 'content_type': TYPE,
            'etag': 'd41d8cd98f00b204e9800998ecf8427e', 'deleted': 0, 'storage_policy_index': 0,
            'ctype_timestamp': None, 'meta_timestamp': None}
