"""Containers that exist only at a migration's remote are made here before anything is asked of them (semantics 10).

Much of Swift never meets the filter when it looks for a container (s3api,
tempurl, staticweb), and remembers that it saw none. So the container comes
first: with the remote's metadata and ACLs, when the account's owner asks for it
and the remote confirms it, and never because somebody guessed a name.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from s3_sync.shunting.authorization import Env
from s3_sync.shunting.call import Call, Place
from s3_sync.shunting.decisions import Decisions
from s3_sync.shunting.local import LocalSwift
from s3_sync.shunting.markers import Marker, Markers, MarkerUnreadable
from s3_sync.shunting.remotes import Remote, Remotes, RemoteUnavailable
from s3_sync.shunting.targets import Merged, Target
from s3_sync.timestamps import http_date_seconds, without_marker

MIGRATOR_SYSMETA = 'x-container-sysmeta-multi-cloud-internal-migrator'
"""``migrating`` on containers that were made for a migration, ``modified`` once a user changed their metadata."""
ACCOUNT_LEVEL = ''
"""What deleted containers are markers of: the hidden container of no container."""
_CARRIED = ('x-container-read', 'x-container-write')
_META = 'x-container-meta-'
_VERSIONS = {'x-versions-location': 'stack', 'x-history-location': 'history'}


def ensure_container(call: Call, merged: Merged, remotes: Remotes, *, missing: bool = False) -> bool:
    """Whether the container is here now, made if need be; False: the cluster's own answer stands.

    ``missing``: the cluster has just said so, whatever it remembers.
    RemoteUnavailable when nobody can tell whether it ought to be here.
    """
    if not merged.migrations or call.method == 'OPTIONS':
        return False
    if not missing:
        status = call.local.container_info(call.env, merged.account, merged.container)['status']
        if status != 404:
            return bool(status // 100 == 2)
    if call.authorization.denial(dict(call.original), None) is not None:
        return False
    try:
        return create_container(call.local, call.env, merged, remotes, via=call.via)
    except MarkerUnreadable as error:
        raise RemoteUnavailable(merged.migrations[0].name, 'tombstones cannot be read') from error


def create_container(local: LocalSwift, env: Env, merged: Merged, remotes: Remotes, *, via: str = '') -> bool:
    """``ensure_container`` without a client: nobody is asked for permission. MarkerUnreadable, RemoteUnavailable."""
    with remotes.turns.of((merged.account, merged.container)):
        if _exists(local, env, merged):
            return True
        found = confirmed(local, env, merged, remotes, via)
        if found is None:
            return False
        target, headers = found
        return _create(local, env, merged, target, headers, remotes)


def confirmed(local: LocalSwift, env: Env, merged: Merged, remotes: Remotes,
              via: str) -> tuple[Target, Mapping[str, str]] | None:
    """The migration whose remote has the container, and the remote's headers; None when none has (any more).

    A container that was deleted here stays so unless the remote's was made later. MarkerUnreadable, RemoteUnavailable.
    """
    deleted: Marker | None = None
    asked = False
    unsure: RemoteUnavailable | None = None
    for target in merged.migrations:
        remote = remotes.of(target)
        if remote.known_missing(''):
            continue
        try:
            headers = remote.exists(via=via)
        except RemoteUnavailable as error:
            unsure = unsure or error
            continue
        if headers is None:
            remote.note_missing('')
            continue
        if not asked:
            deleted = Markers(local).find(env, merged.account, ACCOUNT_LEVEL, merged.container)
            asked = True
        if deleted is None or _made_at(remotes, remote, headers) > float(without_marker(deleted.time)):
            return target, headers
    if unsure is not None:
        raise unsure
    return None


def container_headers(target: Target, remote: Mapping[str, str]) -> dict[str, str]:
    """Request headers that make a container here like the remote's, whose headers (lower-case) are given."""
    headers = {name: value for name, value in remote.items() if name.startswith(_META) or name in _CARRIED}
    for name, mode in _VERSIONS.items():
        if remote.get(name):
            headers['x-container-sysmeta-versions-location'] = remote[name]
            headers['x-container-sysmeta-versions-mode'] = mode
    if target.storage_policy:
        headers['x-storage-policy'] = target.storage_policy
    headers[MIGRATOR_SYSMETA] = 'migrating'
    return headers


def _made_at(remotes: Remotes, remote: Remote, headers: Mapping[str, str]) -> float:
    """When the remote's container was certainly there as it is, Unix seconds; 0 when that is not told.

    Another Swift's X-Timestamp is that of a container's first life; its Last-Modified is rounded up.
    """
    if remote.target.any_bucket:
        return remotes.buckets(remote).get(remote.target.mapping.remote.bucket, 0.0)
    changed = http_date_seconds(headers.get('last-modified', '')) if 'x-timestamp' in headers else None
    return changed - 1 if changed is not None else 0.0


def _exists(local: LocalSwift, env: Env, merged: Merged) -> bool:
    """Asked anew: somebody else may have made it since this proxy looked, and a second PUT would undo a user's POST."""
    answer = local.request(env, 'HEAD', merged.account, merged.container)
    answer.drain()
    if answer.status // 100 == 2:
        local.forget_container(env, merged.account, merged.container)
        return True
    if answer.status != 404:
        raise RemoteUnavailable(merged.migrations[0].name, f'the cluster answers {answer.status}')
    return False


def _create(local: LocalSwift, env: dict[str, Any], merged: Merged, target: Target, headers: Mapping[str, str],
            remotes: Remotes) -> bool:
    answer = local.request(env, 'PUT', merged.account, merged.container, headers=container_headers(target, headers))
    body = answer.read()
    if answer.status == 404:
        return False  # no such account, and accounts are not made on demand
    if answer.status // 100 != 2:
        remotes.logger.error('container %s/%s of mapping %s cannot be made: %s %s', merged.account, merged.container,
                             target.name, answer.status_line, body.decode('utf-8', 'replace'))
        raise RemoteUnavailable(target.name, f'the local container cannot be made: {answer.status}')
    local.forget_container(env, merged.account, merged.container)
    Decisions(remotes.metrics, remotes.logger).created(Place(merged.account, merged.container), target.name)
    return True
