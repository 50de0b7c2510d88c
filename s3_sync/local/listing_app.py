"""Listings of all replicas, put in where the proxy application would ask one of them.

They then pass through the filters of the pipeline like any listing: what is
encrypted is decrypted by Swift's own code, links and manifests are marked by it.
"""
from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from swift.common.swob import Request, Response, wsgi_to_str

from s3_sync.errors import SourceUnavailable
from s3_sync.local.replica_listing import ReplicaListing, Rule, Span, Target

RULE_HEADER = 'X-1space-Replicas'
"""On a GET of an account or container: the rule by which all replicas are asked. On the answer: they were."""
PROBLEM_HEADER = 'X-1space-Problem'
"""On a 503: why, percent-encoded."""


def replica_rule(rule: Rule) -> dict[str, str]:
    """Headers of a request for a listing that all replicas are to be asked for."""
    return {RULE_HEADER: rule}


def serve_replica_listings(proxy_app: Any, listing: ReplicaListing) -> None:
    """Have Swift's proxy application (the last of a pipeline) answer requests with RULE_HEADER from ``listing``.

    Of their parameters marker, prefix and limit count; the format is JSON.
    """
    inner = proxy_app.handle_request

    def handle_request(request: Request) -> Any:
        rule = request.headers.get(RULE_HEADER)
        if rule not in ('union', 'agreed') or request.method != 'GET':
            return inner(request)
        return _response(request, rule, listing)

    proxy_app.handle_request = handle_request


def _response(request: Request, rule: Rule, listing: ReplicaListing) -> Response:
    _, account, container = request.split_path(2, 3, True)
    params = {key: wsgi_to_str(value) for key, value in request.params.items()}
    span = Span(params.get('marker', ''), '', params.get('prefix', ''), int(params.get('limit', 0)) or None)
    headers = {RULE_HEADER: rule}
    try:
        entries = listing.page(rule, Target(wsgi_to_str(account), wsgi_to_str(container or '')), span)
    except SourceUnavailable as error:
        return Response(status=503, request=request, headers={**headers, PROBLEM_HEADER: quote(str(error))})
    if entries is None:
        return Response(status=404, request=request, headers=headers)
    return Response(request=request, headers=headers, body=json.dumps(entries).encode('ascii'),
                    content_type='application/json; charset=utf-8')
