"""Swift's in-process proxy for this node, and account listings through it.

Built from the operator's internal-client.conf, or from a pipeline of our own
that needs no file. Either way the rings come from the ``swift_dir`` in use,
which Swift's defaults would not do. Ours follows symlinks. Requests do not
carry X-Newest: it multiplies backend requests, and rows tell us which version
to expect.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from swift.common.internal_client import InternalClient
from swift.common.wsgi import ConfigString

from container_crawler.exceptions import CrawlerError

BUILT_IN = '''
[DEFAULT]
swift_dir = {swift_dir}

[pipeline:main]
pipeline = catch_errors proxy-logging cache symlink proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true

[filter:cache]
use = egg:swift#memcache

[filter:symlink]
use = egg:swift#symlink

[filter:proxy-logging]
use = egg:swift#proxy_logging

[filter:catch_errors]
use = egg:swift#catch_errors
'''


UNHURRIED_SECONDS = 10 * 86400.0
"""For the one timeout of a proxy that is about its client: us.

Between two chunks of a body Swift gives its client ``client_timeout`` (60 s), then throws an exception into the green
thread that read last, whatever that does by now. Our readers may wait for a slow remote as long as they like; but not
for 25 days: a timer so far off is more than the hub's epoll can wait for, and ends the process.
"""


class ListingError(CrawlerError):
    """An account listing makes no sense."""


def make_internal_client(swift_dir: str, conf_path: str | None = None, *, user_agent: str = 'ContainerCrawler',
                         log_name: str = 'ContainerCrawler', tries: int = 3) -> InternalClient:
    """A client whose proxy application runs in this process.

    ``conf_path``: paste file; None: the built-in pipeline. ``tries``: how often
    a request is sent before it fails. :func:`load_swift_dir` has been called.
    Raises what loading the application raises (OSError, ValueError, LookupError).
    """
    conf = conf_path or ConfigString(BUILT_IN.format(swift_dir=swift_dir.replace('%', '%%')))
    client = InternalClient(conf, user_agent, tries, global_conf={'log_name': log_name, 'swift_dir': swift_dir})
    client.app._pipeline_final_app.client_timeout = UNHURRIED_SECONDS
    return client


def account_listing(client: InternalClient) -> Callable[[str], Iterable[str]]:
    """``list_containers`` of a crawler: streams the names of an account, a page in memory at a time.

    An account that does not exist has none. Raises UnexpectedResponse of Swift
    and ListingError while it is read.
    """
    def names(account: str) -> Iterator[str]:
        last = b''
        for entry in client.iter_containers(account):
            name: str = entry['name']
            if name.encode() <= last:
                raise ListingError(f'listing of {account} goes back to {name!r}')
            last = name.encode()
            yield name
    return names
