"""Where the shards of a container are: told by shard ranges, never guessed from names.

A root database knows its shards, shrunk and deleted ones too until their ranges
are reclaimed; their last rows must still be worked on. Where the root has no
replica on this node, one of its nodes is asked.
"""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from eventlet import Timeout
from swift.common.direct_client import direct_get_container
from swift.common.exceptions import ClientException

from container_crawler.databases import ContainerRing
from container_crawler.exceptions import CrawlerError

HEADERS = {'X-Backend-Record-Type': 'shard', 'X-Backend-Record-Shard-Format': 'full',
           'X-Backend-Override-Deleted': 'true', 'X-Backend-Include-Deleted': 'true'}


class ContainerPath(NamedTuple):
    account: str
    container: str


class ShardsUnknown(CrawlerError):
    """None of the container's nodes could be asked for its shard ranges."""


def is_hidden(container: str) -> bool:
    """Whether it is no user's: Swift reserves names with a NUL."""
    return '\0' in container


def shard_paths(ranges: Iterable[Any]) -> tuple[ContainerPath, ...]:
    """Containers of ``swift.common.utils.ShardRange`` objects."""
    return tuple(ContainerPath(r.account, r.container) for r in ranges)


def ask_for_shards(ring: ContainerRing, account: str, container: str) -> tuple[ContainerPath, ...]:
    """Shards of a container whose root is on other nodes; () when it has none or does not exist.

    Raises ShardsUnknown.
    """
    part, nodes = ring.primaries(account, container)
    problems = []
    for node in nodes:
        try:
            headers, ranges = direct_get_container(node, part, account, container, headers=dict(HEADERS),
                                                   conn_timeout=1, response_timeout=10)
        except ClientException as error:
            if error.http_status != 404:
                problems.append(f'{node["ip"]}: {error.http_status or error}')
        except (OSError, Timeout, ValueError) as error:
            problems.append(f'{node["ip"]}: {error!r}')
        else:
            if headers.get('X-Backend-Record-Type') != 'shard':
                return ()
            return tuple(_path(r['name']) for r in ranges)
    if problems:
        raise ShardsUnknown('; '.join(problems))
    return ()


def _path(name: str) -> ContainerPath:
    account, _, container = name.partition('/')
    return ContainerPath(account, container)
