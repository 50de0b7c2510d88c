"""Whether a filter stands where it can do its work; a proxy with one at a wrong place does not start (DESIGN 9).

What stands to the right is looked at itself, so that filters that Swift adds on
its own count too. What stands to the left can only be read in the pipeline's file.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from paste.deploy import loadwsgi
from swift.common.wsgi import loadcontext
from swift.proxy.server import Application

from s3_sync.errors import Error

SHUNT = 'cloud-shunt'
SEGMENTS = 'cloud-shunt-segments'
_MIDDLEWARE = 'swift.common.middleware.'
_LEFT = ('catch_errors', 'gatekeeper', 'memcache', 'listing_formats', 'bulk', 'tempurl', 'formpost', 'staticweb',
         's3api', 'tempauth', 'keystoneauth', 'copy')
"""Swift's filters, as their modules are called, that serve clients or decide who they are."""
_QUOTAS = ('container_quotas', 'account_quotas')
_LARGE = ('slo', 'dlo')
_BELOW = ('versioned_writes', 'symlink')
_PLACES = {
    SHUNT: 'right of authentication, tempurl, s3api, bulk, staticweb and copy, and left of container-quotas, '
           'account-quotas, slo, dlo, versioned_writes and symlink',
    SEGMENTS: 'right of slo and dlo, and left of versioned_writes and symlink'}
_MUST_BE_LEFT = {SHUNT: _LEFT, SEGMENTS: (*_LEFT, *_QUOTAS, *_LARGE)}
_MUST_BE_RIGHT = {SHUNT: (*_QUOTAS, *_LARGE, *_BELOW), SEGMENTS: _BELOW}
_ALWAYS_THERE = {SHUNT: ('dlo', 'versioned_writes'), SEGMENTS: ('versioned_writes',)}
"""Swift adds these to every pipeline that lacks them."""


class Misplaced(Error):
    """The pipeline of the proxy has the filter at a place where it would be useless or unsafe."""


def check_placement(name: str, app: object, global_conf: Mapping[str, Any]) -> None:
    """``app``: what stands right of the filter ``name``. Raises Misplaced, which says where it belongs."""
    right = list(_modules(app))
    wrong = [module for module in _MUST_BE_LEFT[name] if module in right]
    if wrong:
        raise _misplaced(name, f'{", ".join(wrong)} must stand left of it')
    if right and right[-1] == '':
        wrong = [module for module in _ALWAYS_THERE[name] if module not in right]
    if global_conf.get('__file__'):
        wrong += [module for module in _left_of(name, str(global_conf['__file__'])) if module in _MUST_BE_RIGHT[name]]
    if wrong:
        raise _misplaced(name, f'{", ".join(dict.fromkeys(wrong))} must stand right of it')


def _misplaced(name: str, why: str) -> Misplaced:
    return Misplaced(f'filter {name} is at a wrong place in the pipeline: {why}. It belongs {_PLACES[name]}.')


def _modules(app: object) -> Iterator[str]:
    """Short module names of Swift's filters from here to the right; '' at the end for the proxy application."""
    seen: set[int] = set()
    while app is not None and id(app) not in seen:
        seen.add(id(app))
        module = type(app).__module__
        if isinstance(app, Application):
            yield ''
            return
        if module.startswith(_MIDDLEWARE):
            yield module.removeprefix(_MIDDLEWARE).split('.')[0]
        app = getattr(app, 'app', None)


def _left_of(name: str, conf_file: str) -> list[str]:
    """Swift's filters that the file names left of ours; empty when it does not name ours."""
    context = loadcontext(loadwsgi.APP, conf_file)
    filters = [(item.entry_point_name or '').replace('-', '_') for item in getattr(context, 'filter_contexts', ())]
    own = name.replace('-', '_')
    return filters[:filters.index(own)] if own in filters else []
