"""The settings that suit what was found: an entry of the configuration file, ready to be pasted."""
from __future__ import annotations

from typing import Any

from s3_sync.config import Secret
from s3_sync.config.fields import file_name
from s3_sync.config.remote import Remote
from s3_sync.verification.outcomes import Target, Verdict

SECRET_FILE = '/etc/swift-s3-sync/remote.key'


def section(target: Target) -> str:
    """Which list of the configuration file the entry belongs in."""
    return 'migrations' if target.mode == 'read' else 'containers'


def entry(verdict: Verdict) -> dict[str, Any] | None:
    """None when there is nothing to suggest: no bucket was named, or a step failed."""
    target = verdict.target
    if target.mode == 'list' or not verdict.ok:
        return None
    values: dict[str, Any] = {'account': target.account, 'container': target.container,
                              **_of_remote(target.mapping.remote)}
    values['aws_bucket'] = target.mapping.remote.bucket
    if target.mode == 'read':
        values.update({'prefix': target.prefix} if target.prefix else {})
    else:
        for name in ('custom_prefix', 'storage_policy', 'storage_class'):
            value = getattr(target.mapping, name)
            if value is not None:
                values[name] = value
    values.update({advice.setting: advice.value for advice in verdict.advice if advice.setting})
    return values


def _of_remote(remote: Remote) -> dict[str, Any]:
    """Its keys that differ from their defaults; secrets as references, never as text."""
    found: dict[str, Any] = {'protocol': remote.protocol}
    for name, info in Remote.model_fields.items():
        value = getattr(remote, name)
        if name in ('bucket', 'protocol') or value == info.get_default():
            continue
        found[file_name(name, info)] = _reference(value) if isinstance(value, Secret) else value
    return found


def _reference(secret: Secret) -> dict[str, str]:
    kind, _, where = secret.origin.partition(' ')
    return {kind: where} if kind in ('env', 'file') and where else {'file': SECRET_FILE}
