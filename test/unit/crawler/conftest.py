from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from swift.common import utils

from container_crawler.crawler import Crawler
from container_crawler.swift_dir import load_swift_dir
from test.unit.crawler import cluster as helpers
from test.unit.crawler.cluster import Cluster


@pytest.fixture(autouse=True)
def swift_settings(tmp_path: Path) -> Iterator[None]:
    """Other tests find Swift's settings as they were."""
    saved = utils.SWIFT_CONF_FILE, utils.HASH_PATH_PREFIX, utils.HASH_PATH_SUFFIX
    yield
    (tmp_path / 'swift.conf').write_text('[swift-hash]\nswift_hash_path_suffix = back\n')
    load_swift_dir(str(tmp_path))
    utils.SWIFT_CONF_FILE, utils.HASH_PATH_PREFIX, utils.HASH_PATH_SUFFIX = saved


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path / 'cluster')


@pytest.fixture
def crawler_of() -> Iterator[Callable[..., Crawler]]:
    crawlers = []

    def make(*args: Any, **kwargs: Any) -> Crawler:
        crawlers.append(helpers.crawler_of(*args, **kwargs))
        return crawlers[-1]

    yield make
    for crawler in crawlers:
        crawler.close()
