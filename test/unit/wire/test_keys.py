"""Keys as the predecessor wrote them: vectors of its own functions."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_sync.wire.keys import KeyScheme, container_hash

DIGEST = '26f730515876464b737d6cba6b17c0eb2bc7446c14de3176b53c75f11bbc9d60'


@pytest.mark.parametrize('account, container, digits', [
    ('AUTH_test', 'sync-s3', 'e5d922'), ('AUTH_test', 'archive-s3', '5dcc3'), ('AUTH_test', 'c156', '322f'),
    ('verify-auth', 'testing-\u00ef', '4dbbd')])
def test_the_hash_is_the_predecessors(account: str, container: str, digits: str) -> None:
    assert container_hash(account, container) == digits


def test_an_object_lies_below_hash_account_and_container() -> None:
    assert KeyScheme('AUTH_test', 'sync-s3').key('dir/object') == 'e5d922/AUTH_test/sync-s3/dir/object'


@pytest.mark.parametrize('prefix, key', [('', 'o'), ('/', 'o'), ('p', 'p/o'), ('/p/q/', 'p/q/o'), ('ü', 'ü/o')])
def test_a_custom_prefix_replaces_hash_account_and_container(prefix: str, key: str) -> None:
    assert KeyScheme('AUTH_test', 'c', prefix).key('o') == key


def test_a_manifest_lies_beside_the_container() -> None:
    assert KeyScheme('AUTH_test', 'sync-s3').manifest_key('slo-object') == (
        f'e5d922/.manifests/AUTH_test/sync-s3/{DIGEST}.swift_slo_manifest')
    assert KeyScheme('a', 'c', 'p').manifest_key('slo-object') == f'p/.manifests/{DIGEST}.swift_slo_manifest'
    assert KeyScheme('a', 'c', '').manifest_key('slo-object') == f'.manifests/{DIGEST}.swift_slo_manifest'


def test_a_side_object_is_named_like_a_manifest() -> None:
    assert KeyScheme('AUTH_test', 'sync-s3').side_key('slo-object') == (
        f'e5d922/.metadata/AUTH_test/sync-s3/{DIGEST}.json')
    assert KeyScheme('a', 'c', 'p').side_key('slo-object') == f'p/.metadata/{DIGEST}.json'


def test_notes_of_unfinished_uploads_lie_beside_the_container_and_are_found_by_name() -> None:
    scheme = KeyScheme('AUTH_test', 'sync-s3')
    key = scheme.upload_key('slo-object', '0af')
    assert key == f'e5d922/.pending/AUTH_test/sync-s3/{DIGEST}.0af.json'
    assert key.startswith(scheme.upload_prefix('slo-object')) and key.startswith(scheme.upload_prefix())
    assert not key.startswith(scheme.upload_prefix('slo-object2'))
    assert KeyScheme('a', 'c', '').upload_key('slo-object', '0af') == f'.pending/{DIGEST}.0af.json'


@given(st.text(st.characters(exclude_categories=['Cs'])), st.sampled_from([None, '', 'p', 'p/q']))
def test_names_and_keys_go_both_ways(name: str, prefix: str | None) -> None:
    scheme = KeyScheme('a', 'c', prefix)
    assert scheme.name(scheme.key(name)) == name


def test_a_key_of_another_container_has_no_name() -> None:
    with pytest.raises(ValueError):
        KeyScheme('a', 'c').name(KeyScheme('a', 'd').key('o'))


@pytest.mark.parametrize('prefix', ['', 'p'])
def test_only_our_own_objects_are_internal(prefix: str) -> None:
    scheme = KeyScheme('a', 'c', prefix)
    for key in (scheme.manifest_key('o'), scheme.side_key('o'), scheme.probe_key('0af'), scheme.key('.metadata/'),
                scheme.upload_key('o', '0af'), scheme.upload_prefix()):
        assert scheme.is_internal(key)
    for name in ('o', '.metadata', '.metadata/o', '.manifests/x.swift_slo_manifest', 'x/.metadata/'):
        assert not scheme.is_internal(scheme.key(name))


def test_the_default_scheme_hides_nothing() -> None:
    scheme = KeyScheme('a', 'c')
    assert not scheme.is_internal(scheme.key('.metadata/'))
    assert len(scheme.internal_prefixes()) == 2
    assert not any(p.startswith(scheme.prefix) for p in scheme.internal_prefixes())
