"""What starts a mapping anew, what only looks at its rows again, what neither (semantics 5.5)."""
from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import Any

import pytest

from s3_sync.config import Mapping, Remote, Secret


def s3(**changes: Any) -> Mapping:
    remote = {key: changes.pop(key) for key in list(changes) if key in Remote.model_fields}
    return Mapping.model_validate({'account': 'AUTH_test', 'container': 'c', 'remote': Remote.model_validate(
        {'bucket': 'b', **remote}), **changes})


def swift(**changes: Any) -> Mapping:
    return s3(**{'protocol': 'swift', 'endpoint': 'http://h:8080/auth/v1.0', 'identity': 'a:u',
                 'secret': Secret('s'), **changes})


@pytest.mark.parametrize(('mapping', 'generation'), [
    (s3(), '95a9df2ee1660535'),
    (s3(endpoint='https://S3.example.com:443/'), '7965ee6adc49134b'),
    (s3(custom_prefix='p/ä'), 'dfe25d2404160400'),
    (s3(container='/*'), '825ff358d4dc5ab4'),
    (swift(), '409fec2e1bedb3da'),
    (swift(remote_account='AUTH_far'), 'cb5e3ce67f72cfba'),
    (swift(auth_type='keystone_v3', project_name='p', project_domain_name='d', user_domain_name='d'),
     '5298e32b8376eb00'),
])
def test_generations_never_change_between_versions(mapping: Mapping, generation: str) -> None:
    assert mapping.generation == generation


@pytest.mark.parametrize(('mapping', 'evaluation'), [
    (s3(), 'f180d86742daae6d'),
    (s3(copy_after=60, exclude_pattern='^x',
        selection_criteria={'AND': [{'Content-Type': 'A/B'}, {'AGE': {'min': '1d'}}]}), '3ae56bc09b0b74ee'),
])
def test_evaluations_never_change_between_versions(mapping: Mapping, evaluation: str) -> None:
    assert mapping.evaluation == evaluation


def test_the_canonical_form_is_the_documented_one() -> None:
    form = '["generation",1,"s3","https://s3.example.com",[],"b","p/ä","AUTH_test","c"]'
    mapping = s3(endpoint='https://s3.example.com', custom_prefix='/p/ä')
    assert mapping.generation == hashlib.sha256(form.encode()).hexdigest()[:16]


def test_ids_are_the_same_in_another_process() -> None:
    code = ('from s3_sync.config import Mapping, Remote\n'
            'm = Mapping(account="AUTH_test", container="c", remote=Remote(bucket="b"))\n'
            'print(m.generation, m.evaluation)')
    out = subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True, timeout=60)
    assert out.stdout.split() == [s3().generation, s3().evaluation]


@pytest.mark.parametrize('change', [
    {'bucket': 'b2'}, {'endpoint': 'https://s3.example.com'}, {'custom_prefix': ''}, {'custom_prefix': 'p'},
    {'account': 'AUTH_x'}, {'container': 'd'}, {'container': '/*'},
])
def test_another_place_is_another_generation(change: dict[str, Any]) -> None:
    assert s3(**change).generation != s3().generation
    assert s3(**change).evaluation == s3().evaluation


@pytest.mark.parametrize('change', [
    {'remote_account': 'x'}, {'endpoint': 'http://h:8081/auth/v1.0'}, {'endpoint': 'https://h:8080/auth/v1.0'},
    {'tenant_name': 't'}, {'project_name': 'p'},
])
def test_another_swift_account_is_another_generation(change: dict[str, Any]) -> None:
    assert swift(**change).generation != swift().generation


@pytest.mark.parametrize('change', [
    {'copy_after': 1}, {'exclude_pattern': 'x'}, {'selection_criteria': {'A': 'b'}}, {'retain_local': False},
    {'retain_local_segments': True}, {'propagate_delete': False}, {'delete_policy': 'tombstone'},
    {'propagate_expiration': True}, {'propagate_expiration_offset': 1}, {'remote_delete_after': 86400},
    {'remote_delete_after_addition': 1}, {'convert_dlo': True}, {'min_segment_size': 1},
    {'symlinks': 'skip'}, {'symlinks': 'link'},
])
def test_selection_and_headers_change_the_evaluation_only(change: dict[str, Any]) -> None:
    assert s3(**change).evaluation != s3().evaluation
    assert s3(**change).generation == s3().generation


@pytest.mark.parametrize('change', [
    {'identity': 'x'}, {'secret': Secret('x')}, {'session_token': Secret('x')}, {'region': 'r'}, {'signature': 'v2'},
    {'path_style': True}, {'conditional_put': 'never'}, {'verify_tls': False}, {'ca_file': '/x'},
    {'max_bytes_per_second': 1}, {'max_requests_per_second': 1}, {'max_connections': 1},
    {'storage_class': 'GLACIER'}, {'encryption': 'aws:kms', 'kms_key_id': 'k'}, {'encryption': False},
    {'tags': {'a': 'b'}}, {'name': 'x'}, {'local_reads': 'off'}, {'restore_days': 1}, {'max_delete_fraction': 1},
    {'merge_namespaces': True}, {'restore_object': True}, {'on_remote_error': 'partial'}, {'remote_timeout': 1},
    {'endpoint': 'https://s3.us-west-2.amazonaws.com/'}, {'segments_grace': 0}, {'storage_policy': 'gold'},
])
def test_credentials_limits_and_storage_change_neither(change: dict[str, Any]) -> None:
    assert (s3(**change).generation, s3(**change).evaluation) == (s3().generation, s3().evaluation)


@pytest.mark.parametrize('change', [{'identity': 'b:v'}, {'secret': Secret('t')}, {'user_domain_name': 'd'},
                                    {'application_credential_id': 'i'}, {'auth_type': 'keystone_v3'}])
def test_swift_credentials_change_neither(change: dict[str, Any]) -> None:
    assert (swift(**change).generation, swift(**change).evaluation) == (swift().generation, swift().evaluation)


@pytest.mark.parametrize('spelling', [
    {'endpoint': 'https://h.example.com'}, {'endpoint': 'HTTPS://H.example.com:443/'},
])
def test_one_place_spelt_differently_is_one_generation(spelling: dict[str, Any]) -> None:
    assert s3(**spelling).generation == s3(endpoint='https://h.example.com/').generation


def test_slashes_around_a_prefix_do_not_count() -> None:
    assert s3(custom_prefix='/p/').generation == s3(custom_prefix='p').generation


@pytest.mark.parametrize(('one', 'other'), [
    ({'Content-Type': 'Image/PNG'}, {'content-type': 'image/png'}),
    ({'SIZE': {'min': '1KiB'}}, {'SIZE': {'min': 1024}}), ({'AGE': {'max': '1d'}}, {'AGE': {'max': 86400}}),
    ({'NAME': ['b', 'a']}, {'NAME': {'glob': ['a', 'b', 'a']}}),
])
def test_criteria_spelt_differently_are_one_evaluation(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert s3(selection_criteria=one).evaluation == s3(selection_criteria=other).evaluation


def test_one_container_of_an_s3_account_is_the_mapping_of_that_container() -> None:
    one = s3(container='/*', copy_after=5).for_container('c')
    assert one.container == 'c'
    assert not one.all_containers
    assert one.remote.bucket == 'b'
    assert (one.generation, one.evaluation) == (s3().generation, s3(copy_after=5).evaluation)
    assert one.name == 'AUTH_test/*'
    assert one.copy_after == 5


def test_one_container_of_a_swift_account_has_the_prefix_before_its_name() -> None:
    whole = swift(container='/*', bucket='x-')
    assert whole.for_container('ä').remote.bucket == 'x-ä'
    assert whole.for_container('c').generation == swift(bucket='x-c').generation
    assert swift(container='/*', bucket='').for_container('c').remote.bucket == 'c'
    assert whole.generation != whole.for_container('c').generation
    assert whole.for_container('c').of_all_containers


def test_a_mapping_of_one_container_is_its_own() -> None:
    mapping = s3()
    assert mapping.for_container('c') is mapping
