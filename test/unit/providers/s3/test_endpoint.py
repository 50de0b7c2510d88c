from __future__ import annotations

from typing import Any

import pytest

from s3_sync.providers.s3.endpoint import Endpoint


@pytest.mark.parametrize('url, options, host, path, region', [
    (None, {}, 'my-bucket.s3.us-east-1.amazonaws.com', '', 'us-east-1'),
    (None, {'region': 'eu-west-1'}, 'my-bucket.s3.eu-west-1.amazonaws.com', '', 'eu-west-1'),
    (None, {'region': 'cn-north-1'}, 'my-bucket.s3.cn-north-1.amazonaws.com.cn', '', 'cn-north-1'),
    (None, {'path_style': True}, 's3.us-east-1.amazonaws.com', '/my-bucket', 'us-east-1'),
    ('https://s3.eu-central-1.amazonaws.com', {}, 'my-bucket.s3.eu-central-1.amazonaws.com', '', 'eu-central-1'),
    ('https://s3-us-west-2.amazonaws.com', {}, 'my-bucket.s3-us-west-2.amazonaws.com', '', 'us-west-2'),
    ('https://s3.amazonaws.com', {}, 'my-bucket.s3.amazonaws.com', '', 'us-east-1'),
    ('http://store:8080', {}, 'store:8080', '/my-bucket', 'us-east-1'),
    ('http://store:80/', {}, 'store', '/my-bucket', 'us-east-1'),
    ('https://store:443', {'region': 'x'}, 'store', '/my-bucket', 'x'),
    ('http://store/s3/v1/', {}, 'store', '/s3/v1/my-bucket', 'us-east-1'),
    ('http://[::1]:8080', {}, '[::1]:8080', '/my-bucket', 'us-east-1'),
    ('http://store:8080', {'path_style': False}, 'my-bucket.store:8080', '', 'us-east-1'),
    ('https://storage.googleapis.com', {}, 'storage.googleapis.com', '/my-bucket', 'auto'),
    ('store.example.org', {}, 'store.example.org', '/my-bucket', 'us-east-1')])
def test_a_bucket_has_its_address(url: str | None, options: dict[str, Any], host: str, path: str, region: str) -> None:
    endpoint = Endpoint.parse(url, **options)
    address = endpoint.address('my-bucket')
    assert (address.host_header, address.path, endpoint.region) == (host, path, region)


@pytest.mark.parametrize('bucket', ['with.dots', 'Upper', 'under_score', 'x'])
def test_buckets_that_are_no_host_name_go_into_the_path(bucket: str) -> None:
    assert Endpoint.parse(None).address(bucket).path == f'/{bucket}'


def test_a_learnt_region_moves_amazons_host_and_nobody_elses() -> None:
    assert Endpoint.parse(None).address('bucket', 'eu-west-3').host_header == 'bucket.s3.eu-west-3.amazonaws.com'
    assert Endpoint.parse('http://store').address('bucket', 'eu-west-3').host_header == 'store'


@pytest.mark.parametrize('url', ['ftp://store', 'http://', 'http://store/?x', 'http://user:pw@store'])
def test_what_is_no_endpoint_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        Endpoint.parse(url)


@pytest.mark.parametrize('url, location', [
    (None, 'AWS S3'), ('https://storage.googleapis.com', 'Google Cloud Storage'),
    ('http://store:8080/p/', 'http://store:8080/p')])
def test_listings_name_the_store(url: str | None, location: str) -> None:
    assert Endpoint.parse(url).location == location
