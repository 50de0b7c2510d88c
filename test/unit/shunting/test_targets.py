"""Which remotes a container is merged with: every key of the file that decides it."""
from __future__ import annotations

import json
from typing import Any

import pytest

from s3_sync.config.load import parse
from s3_sync.shunting.targets import Merged, Table, Target

S3 = {'aws_endpoint': 'http://s3.example:9000', 'aws_identity': 'id', 'aws_secret': 'secret'}
SWIFT = {'protocol': 'swift', 'aws_endpoint': 'http://swift.example:8080/auth/v1.0', 'aws_identity': 'a:u',
         'aws_secret': 'key'}


def table(containers: list[dict[str, Any]] | None = None, migrations: list[dict[str, Any]] | None = None) -> Table:
    settings = parse(json.dumps({'status_dir': '/tmp/s', 'containers': containers or [],
                                 'migrations': migrations or []}).encode(), 'sync.json')
    return Table(settings.containers, settings.migrations)


def sync(container: str = 'c', **keys: Any) -> dict[str, Any]:
    return {**S3, 'account': 'AUTH_a', 'container': container, 'aws_bucket': 'bucket', 'merge_namespaces': True, **keys}


def migration(bucket: str = 'm', **keys: Any) -> dict[str, Any]:
    return {**S3, 'account': 'AUTH_a', 'aws_bucket': bucket, **keys}


def buckets(merged: Merged | None) -> list[str]:
    return [target.mapping.remote.bucket for target in merged.targets] if merged else []


def only(merged: Merged | None) -> Target:
    assert merged is not None
    assert len(merged.targets) == 1
    return merged.targets[0]


def test_only_mappings_that_merge_count() -> None:
    assert table([sync(merge_namespaces=False)]).lookup('AUTH_a', 'c') is None
    assert buckets(table([sync()]).lookup('AUTH_a', 'c')) == ['bucket']


def test_accounts_and_containers_nobody_named_are_not_merged() -> None:
    merged = table([sync()])
    assert merged.lookup('AUTH_a', 'other') is None
    assert merged.lookup('AUTH_b', 'c') is None
    assert merged.accounts == {'AUTH_a'}


def test_an_exact_container_beats_a_whole_account() -> None:
    merged = table([sync('/*', aws_bucket='all'), sync('c', aws_bucket='one')])
    assert buckets(merged.lookup('AUTH_a', 'c')) == ['one']
    assert buckets(merged.lookup('AUTH_a', 'd')) == ['all']


def test_several_remotes_come_in_the_order_of_the_file_and_migrations_last() -> None:
    merged = table([sync(aws_bucket='first'), sync(aws_bucket='second')], [migration('third', container='c')])
    found = merged.lookup('AUTH_a', 'c')
    assert buckets(found) == ['first', 'second', 'third']
    assert found is not None
    assert [target.migration for target in found.targets] == [False, False, True]
    assert buckets(Merged('AUTH_a', 'c', found.migrations)) == ['third']


def test_hidden_containers_belong_to_nobody() -> None:
    assert table([sync('/*')]).lookup('AUTH_a', '\0versions\0c') is None
    assert table([sync('/*')]).lookup('AUTH_a', '') is None


def test_a_whole_account_on_swift_names_its_containers_with_the_prefix() -> None:
    merged = table([{**sync('/*', aws_bucket='copy_of_'), **SWIFT}])
    assert buckets(merged.lookup('AUTH_a', 'pics')) == ['copy_of_pics']


def test_a_migration_takes_names_as_they_are() -> None:
    target = only(table(migrations=[migration('source', prefix='2024/')]).lookup('AUTH_a', 'source'))
    assert (target.migration, target.mapping.custom_prefix, target.prefix) == (True, '', '2024/')
    assert target.covers('2024/x')
    assert not target.covers('2023/x')


def test_a_migration_restores_unless_told_not_to_and_keeps_what_is_deleted_here() -> None:
    target = only(table(migrations=[migration()]).lookup('AUTH_a', 'm'))
    assert (target.restore, target.mapping.delete_policy) == (True, 'tombstone')
    assert not only(table(migrations=[migration(restore_object=False)]).lookup('AUTH_a', 'm')).restore


def test_every_bucket_of_an_s3_account_counts_only_if_it_is_the_credentials_own() -> None:
    target = only(table(migrations=[migration('/*')]).lookup('AUTH_a', 'some'))
    assert (target.mapping.remote.bucket, target.any_bucket) == ('some', True)
    swift = only(table(migrations=[{**migration('/*'), **SWIFT}]).lookup('AUTH_a', 'some'))
    assert not swift.any_bucket, 'an account of Swift is somebody\'s own'


def test_an_archive_is_told_from_a_copy() -> None:
    assert only(table([sync(retain_local=False)]).lookup('AUTH_a', 'c')).archives
    assert not only(table([sync()]).lookup('AUTH_a', 'c')).archives
    assert not only(table(migrations=[migration()]).lookup('AUTH_a', 'm')).archives


@pytest.mark.parametrize(('keys', 'marks'), [
    ({'propagate_delete': False}, True), ({'delete_policy': 'tombstone'}, True), ({}, False),
    ({'delete_policy': 'local'}, False)])
def test_a_copy_on_its_way_is_reckoned_with_where_deletes_stay_here(keys: dict[str, Any], marks: bool) -> None:
    assert only(table([sync(**keys)]).lookup('AUTH_a', 'c')).always_marks is marks


def test_a_migration_of_one_container_and_a_mapping_of_it_have_generations_of_their_own() -> None:
    merged = table([sync(aws_bucket='one')], [migration('two', container='c')]).lookup('AUTH_a', 'c')
    assert merged is not None
    assert len({target.mapping.generation for target in merged.targets}) == 2


def test_containers_that_migrations_name_are_known_and_whole_accounts_too() -> None:
    merged = table([sync(account='AUTH_b')], [migration('one'), migration('/*')])
    assert [found.container for found in merged.migrated_containers()] == ['one']
    assert [profile.account for profile in merged.whole_migrations()] == ['AUTH_a']
    assert len(merged.whole_accounts('AUTH_a')) == 1
    assert merged.whole_accounts('AUTH_b') == ()


def test_lookups_of_any_number_of_names_are_remembered_within_bounds() -> None:
    merged = table([sync('/*')])
    for number in range(10_050):
        assert merged.lookup('AUTH_a', f'c{number}') is not None
    assert len(merged._found) <= 10_000
