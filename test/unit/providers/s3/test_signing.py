"""Signatures against the worked examples of the AWS documentation."""
from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import urlsplit

import pytest
from botocore.auth import HmacV1Auth
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials as BotoCredentials

from s3_sync.providers.s3.signing import (
    EMPTY_SHA256,
    UNSIGNED,
    Credentials,
    SignerV2,
    SignerV4,
    quote_path,
    quote_query,
)

EXAMPLE = Credentials('AKIAIOSFODNN7EXAMPLE', 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY')
FRIDAY = datetime(2013, 5, 24, tzinfo=UTC).timestamp()
HOST = 'examplebucket.s3.amazonaws.com'


@pytest.mark.parametrize('method, path, query, headers, payload, signature', [
    ('GET', '/test.txt', '', {'range': 'bytes=0-9'}, EMPTY_SHA256,
     'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41'),
    ('PUT', '/test%24file.text', '', {'date': 'Fri, 24 May 2013 00:00:00 GMT',
                                      'x-amz-storage-class': 'REDUCED_REDUNDANCY'},
     sha256(b'Welcome to Amazon S3.').hexdigest(),
     '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd'),
    ('GET', '/', quote_query({'lifecycle': ''}), {}, EMPTY_SHA256,
     'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543'),
    ('GET', '/', quote_query({'prefix': 'J', 'max-keys': '2'}), {}, EMPTY_SHA256,
     '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7')])
def test_version_4_signs_the_documented_examples(method: str, path: str, query: str, headers: dict[str, str],
                                                 payload: str, signature: str) -> None:
    headers = {'host': HOST, **headers}
    SignerV4('us-east-1').sign(EXAMPLE, method, path, query, headers, now=FRIDAY, payload=payload)
    assert headers['authorization'].endswith(f'Signature={signature}')


@pytest.mark.parametrize('method, query, headers', [
    ('GET', '', {}), ('PUT', '', {'content-type': 'image/jpeg', 'content-md5': 'rL0Y20zC+Fzt72VPzMSk2A=='}),
    ('PUT', 'lifecycle=', {'x-amz-meta-b': 'two', 'x-amz-meta-a': 'one'}), ('GET', 'max-keys=50&prefix=photos', {})])
def test_version_2_signs_as_botocore_does(method: str, query: str, headers: dict[str, str]) -> None:
    path = '/johnsmith/photos/puppy.jpg'
    SignerV2().sign(EXAMPLE, method, path, query, headers, now=FRIDAY, payload=UNSIGNED, bucket_path=path)
    signed = HTTPHeaders.from_dict({k: v for k, v in headers.items() if k != 'authorization'})

    class AtThatTime(HmacV1Auth):  # type: ignore[misc]
        def _get_date(self) -> str:
            return headers['date']
    theirs = AtThatTime(BotoCredentials(EXAMPLE.access_key, EXAMPLE.secret_key)).get_signature(
        method, urlsplit(f'http://host{path}?{query.rstrip("=")}'), signed)
    assert headers['authorization'] == f'AWS AKIAIOSFODNN7EXAMPLE:{theirs}'


def test_version_2_signs_subresources_but_no_other_parameters() -> None:
    signed = []
    for query in ('lifecycle=', 'lifecycle=&prefix=x', 'prefix=x', ''):
        headers: dict[str, str] = {}
        SignerV2().sign(EXAMPLE, 'GET', '/b', query, headers, now=FRIDAY, payload=UNSIGNED, bucket_path='/b')
        signed.append(headers['authorization'])
    assert signed[0] == signed[1] != signed[2] == signed[3]


def test_the_day_s_key_changes_with_the_day_and_the_secret() -> None:
    signer = SignerV4('us-east-1')

    def signature(credentials: Credentials, now: float) -> str:
        headers = {'host': HOST}
        signer.sign(credentials, 'GET', '/', '', headers, now=now, payload=EMPTY_SHA256)
        fresh = {'host': HOST}
        SignerV4('us-east-1').sign(credentials, 'GET', '/', '', fresh, now=now, payload=EMPTY_SHA256)
        assert headers == fresh
        return headers['authorization']
    other = Credentials(EXAMPLE.access_key, 'another')
    assert len({signature(c, now) for c in (EXAMPLE, other, EXAMPLE) for now in (FRIDAY, FRIDAY + 86400)}) == 4


def test_a_session_token_is_sent_and_signed() -> None:
    headers = {'host': HOST}
    SignerV4('us-east-1').sign(Credentials('a', 'b', 'tok'), 'GET', '/', '', headers, now=FRIDAY, payload=EMPTY_SHA256)
    assert headers['x-amz-security-token'] == 'tok'
    assert 'x-amz-security-token' in headers['authorization']


@pytest.mark.parametrize('path, quoted', [
    ('%41', '%2541'), ('a//b', 'a//b'), ('/lead', '/lead'), ('new\nline', 'new%0Aline'), ('a b+c', 'a%20b%2Bc'),
    ('\U0001f600', '%F0%9F%98%80'), ('a/../b/.', 'a/../b/.'), ("~-._!*'()", '~-._%21%2A%27%28%29'),
    ('q?a=b&c#d', 'q%3Fa%3Db%26c%23d')])
def test_names_are_quoted_once_and_never_normalised(path: str, quoted: str) -> None:
    assert quote_path(path) == quoted


def test_queries_are_quoted_and_sorted() -> None:
    assert quote_query({'prefix': 'a/b c+', 'delete': '', 'max-keys': '2'}) == 'delete=&max-keys=2&prefix=a%2Fb%20c%2B'


def test_secrets_do_not_print() -> None:
    shown = repr(Credentials('key', 'the-secret', 'the-token'))
    assert 'the-secret' not in shown and 'the-token' not in shown
