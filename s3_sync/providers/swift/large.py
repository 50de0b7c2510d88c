"""Large objects at a Swift target, whole: sending, updating, proving, and what becomes of their segments."""
from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from s3_sync.config import Mapping as MappingConfig
from s3_sync.errors import (
    LimitExceeded,
    NotFound,
    PreconditionFailed,
    ProviderError,
    TemporaryError,
    Unproven,
    Unsupported,
)
from s3_sync.large_objects.etags import Relation, relation_to
from s3_sync.large_objects.manifest import put_manifest, without_empty
from s3_sync.large_objects.model import LargeSource, Layout, Segment
from s3_sync.large_objects.parts import GIBIBYTE, Part, PartLimits, Uncuttable, plan_parts
from s3_sync.providers.swift import expiry, listings
from s3_sync.providers.swift.client import Call
from s3_sync.providers.swift.errors import no_container
from s3_sync.providers.swift.large_claims import Claims
from s3_sync.providers.swift.large_cleanup import Cleanup
from s3_sync.providers.swift.large_dlo import DloCopy, manifest_header
from s3_sync.providers.swift.large_proof import prove_dlo, prove_listed, prove_slo
from s3_sync.providers.swift.large_transfer import NO_CONDITION, Transfer
from s3_sync.providers.swift.layouts import LISTED_AT_ONCE, Layouts
from s3_sync.providers.swift.limits import Limits
from s3_sync.providers.swift.metadata import overtakes, stored_meta
from s3_sync.providers.swift.places import Place, Places
from s3_sync.providers.swift.segments import MANY_OWNERS, LateLook, SegmentStore, Stored
from s3_sync.providers.swift.sources import Sources
from s3_sync.streams import Body, BytesBody
from s3_sync.types import ABSENT, Condition, ObjectMeta
from s3_sync.wire.swift_headers import DLO_ETAG_KEY, OWNER_KEY, SLO_ETAG_KEY

REMEMBERED = 10_000
LOOK_SECONDS = 60.0
"""How long it counts that no segment container of the mapping was found: another node may make the first."""
ATTEMPTS = 3
"""So often segments that vanish while the manifest is written are sent again at once."""
NAMES_GROW = 64
"""Bytes by which names at the remote may be longer than at the source."""

Headers = Callable[[ObjectMeta, Mapping[str, str]], dict[str, str]]
"""Request headers that store a copy's metadata together with own keys."""


class LargeObjects:
    """Of one mapping with a concrete container. Green-thread safe."""

    def __init__(self, mapping: MappingConfig, places: Places, store: SegmentStore, headers: Headers,
                 sources: Sources) -> None:
        self._mapping = mapping
        self._sources = sources
        self._store = store
        self._headers = headers
        self._places = places
        self._cleanup = Cleanup(store, self._places)
        self._kinds: OrderedDict[str, bool] = OrderedDict()
        self._bucket_seen = False
        self._segments_seen = False
        self._look_due = -1.0

    # -- what is known of names ---------------------------------------------------------------

    def remember(self, meta: ObjectMeta) -> None:
        """A HEAD has told what ``meta.name`` is now."""
        self._note(meta.name, meta.large_object is not None)

    def forget(self, key: str) -> None:
        self._kinds.pop(key, None)

    def before_put(self, key: str) -> None:
        """An ordinary object is about to replace whatever ``key`` is now."""
        if self._kinds.pop(key, None):
            self._owe(key)

    def before_delete(self, key: str) -> None:
        """``key`` is about to be deleted.

        Costs a request only where the mapping has segments at the remote and
        nobody has looked at this name: a DELETE's answer does not tell what went.
        """
        known = self._kinds.pop(key, None)
        if known or (known is None and self._may_be_large()):
            self._owe(key)

    def after(self, key: str) -> None:
        """What was announced has happened, now or at an earlier try: nothing of the former version is left behind."""
        self._cleanup.pay(key)

    def _note(self, key: str, large: bool) -> None:
        if self._places.kept_names:
            return  # nothing is ever cleaned up there
        self._kinds[key] = large
        self._kinds.move_to_end(key)
        if len(self._kinds) > REMEMBERED:
            self._kinds.popitem(last=False)

    def _owe(self, key: str) -> None:
        stored = self._store.head(self._main(key))
        if stored is not None:
            self._cleanup.owe(key, stored)

    def _main(self, key: str) -> Place:
        return Place(self._places.bucket, key)

    def _may_be_large(self) -> bool:
        if self._places.kept_names:
            return False  # segments are rows there, and go with them
        now = self._store.clock.monotonic()
        if not self._segments_seen and now >= self._look_due:
            found = self._has_segment_containers()
            # Only now: others who ask meanwhile must not take the question for its answer.
            self._look_due = now + LOOK_SECONDS
            self._segments_seen = self._segments_seen or found
        return self._segments_seen

    def _has_segment_containers(self) -> bool:
        for end in ('_segments', '+segments'):
            call = Call('GET', query=listings.query('', 100, self._places.bucket + end))
            try:
                page = listings.container_page(self._store.client.read(call)[1], call.what)
            except TemporaryError:
                raise
            except ProviderError:
                return True  # whoever may not list the account asks for each name
            if any(self._places.is_segment_container(entry.name) for entry in page.entries):
                return True
        return False

    # -- sending ------------------------------------------------------------------------------

    def upload(self, large: LargeSource, meta: ObjectMeta, condition: Condition) -> str:
        """The copy's ETag. ``meta`` is as it is to be at the remote, its expiry too."""
        key, layout = meta.name, large.layout
        meta = replace(meta, source_etag=meta.source_etag or layout.etag)
        limits = self._store.limits()
        limits.check(key, 0)
        if not limits.knows_slo and not self._stays_dlo(layout):
            raise Unsupported('the remote knows no static large objects')
        parts = self._cut(layout, limits)
        headers = self._headers(meta, self._own_keys(layout, parts))
        self._check_bucket()
        current = None if condition == ABSENT else self._store.head(self._main(key))
        if current is not None:
            self._cleanup.owe(key, current)
        self._segments_seen = True
        for _ in range(ATTEMPTS):
            transfer = Transfer(large, self._claims(key, meta.delete_at),
                                self._copy_headers if self._places.kept_names else None)
            with self._owing(key, transfer.claims):
                if self._stays_dlo(layout):
                    etag = self._send_dlo(transfer, meta, headers, current, condition)
                else:
                    etag = self._send_slo(transfer, meta, headers, parts, condition)
            condition = NO_CONDITION  # from here on it is our own
            self._note(key, True)
            if transfer.claims.settled():
                self._cleanup.pay(key, transfer.claims.used, layout.etag if self._stays_dlo(layout) else '')
                return etag
        raise TemporaryError(f'{key!r}: its segments keep vanishing at the remote', reason='segments')

    def checked(self, body: Body, meta: ObjectMeta, condition: Condition) -> Body:
        """The bytes of an ordinary object, whose last ones go only while nothing newer than ``meta`` has come."""
        return LateLook(body, lambda: self._check_newest(meta, condition, bounded=False))

    def _check_newest(self, meta: ObjectMeta, condition: Condition, *, bounded: bool = True) -> None:
        """PreconditionFailed when something newer is there: sending takes its time, and Swift has no If-Match on PUT.

        Without it, whoever has been sending an older version for hours would replace
        a newer one that another node has brought meanwhile, and perhaps archived.
        """
        if condition == ABSENT:
            return  # the remote sees to that
        stored = self._store.head(self._main(meta.name), bounded=bounded)
        if stored is not None and overtakes(stored_meta(meta.name, stored.headers), meta):
            raise PreconditionFailed(f'PUT {self._main(meta.name)}: a newer version has come', status=412)

    @contextmanager
    def _owing(self, key: str, claims: Claims) -> Iterator[None]:
        """What was sent for a manifest that then could not be written goes with the next version at the latest."""
        try:
            yield
        except PreconditionFailed:
            self._cleanup.owe_these(key, claims.used)
            self._cleanup.pay(key)
            raise
        except BaseException:
            self._cleanup.owe_these(key, claims.used)
            raise

    def _claims(self, key: str, end: int | None) -> Claims:
        owner = '' if self._places.kept_names else self._places.owner(key)
        return Claims(self._store, self._places, owner, self._segments_end(end))

    def _copy_headers(self, meta: ObjectMeta, end: int | None) -> dict[str, str]:
        """As the object's own row would send it; an owner keeps that row from bringing its earlier end."""
        own = expiry.copy_delete_at(self._mapping, meta, self._store.clock.now())
        if end is None:
            return self._headers(replace(meta, delete_at=own), {})
        return self._headers(replace(meta, delete_at=expiry.later(own, end)), {OWNER_KEY: MANY_OWNERS})

    def _segments_end(self, end: int | None) -> int | None:
        """Segments outlive their manifest."""
        return None if end is None else end + self._mapping.remote_delete_after_addition

    def _send_slo(self, transfer: Transfer, meta: ObjectMeta, headers: Mapping[str, str],
                  parts: tuple[Part, ...] | None, condition: Condition) -> str:
        if parts is None:
            segments = transfer.segments(_as_slo(transfer.large.layout))
        else:
            born = meta.data_time.normal if meta.data_time is not None else '0000000000.00000'
            segments = transfer.parts(parts, meta.name, born)
        self._check_newest(meta, condition)
        return self._store.put_slo(self._main(meta.name), segments, headers, condition)

    def _send_dlo(self, transfer: Transfer, meta: ObjectMeta, headers: Mapping[str, str], current: Stored | None,
                  condition: Condition) -> str:
        copy = DloCopy(transfer)
        survey = copy.bring(current.dlo if current is not None else None)
        self._check_newest(meta, condition)
        self._store.put_dlo(self._main(meta.name), BytesBody(b''), {
            **headers, 'x-object-manifest': manifest_header(survey.base)}, condition)
        self._cleanup.owe_these(meta.name, survey.surplus)
        return transfer.large.layout.etag

    def _stays_dlo(self, layout: Layout) -> bool:
        """Swift's DLOs do not resolve SLOs among their segments; an SLO does."""
        return (layout.kind == 'dlo' and not self._mapping.convert_dlo
                and all(segment.children is None for segment in layout.segments))

    def _own_keys(self, layout: Layout, parts: tuple[Part, ...] | None) -> dict[str, str]:
        if layout.kind == 'dlo':
            return {DLO_ETAG_KEY: layout.etag}
        if layout.kind == 'slo' and parts is not None:
            return {SLO_ETAG_KEY: _md5(layout.manifest)}
        return {}

    def _cut(self, layout: Layout, limits: Limits) -> tuple[Part, ...] | None:
        """How the object is cut and joined; None when its segments stay as they are."""
        if self._stays_dlo(layout):
            return None
        least = self._mapping.min_segment_size if self._mapping.convert_dlo else 0
        small = any(piece.length < least for piece in layout.pieces[:-1])
        if layout.kind != 'plain' and not small and _takes(_as_slo(layout), limits):
            return None
        largest = limits.max_file_size
        least = max(1, min(least, largest // 2))
        wished = least if small else max(least, min(GIBIBYTE, largest))
        try:
            return plan_parts(layout.pieces, PartLimits(least, largest, limits.max_manifest_segments, wished))
        except Uncuttable as error:
            raise LimitExceeded(f'the target takes no such SLO: {error}', reason='too-many-segments') from error

    def _check_bucket(self) -> None:
        """Segments are not sent for a container that does not exist."""
        if self._bucket_seen or self._places.kept_names:
            return
        call = Call('HEAD', self._places.bucket)
        try:
            self._store.client.do(call)
        except NotFound as error:
            raise no_container(call.container, error) from error
        self._bucket_seen = True

    # -- comparing and proving ----------------------------------------------------------------

    def layout_of(self, meta: ObjectMeta, *, as_remote: bool) -> Layout | None:
        return Layouts(self._store, self._places, self._sources, as_remote=as_remote).of(meta)

    def relation(self, layout: Layout, remote: ObjectMeta) -> Relation:
        if remote.large_object == 'dlo' and layout.kind == 'dlo' and 0 < len(layout.segments) < LISTED_AT_ONCE:
            # Its ETag comes from the remote's own listing, now.
            return 'same' if (remote.etag, remote.size) == (layout.etag, layout.size) else 'different'
        unknown_size = remote.large_object == 'dlo' and not remote.size
        return relation_to(layout, remote.etag, source_etag=remote.source_etag,
                           swift_slo_etag=remote.sysmeta.get(SLO_ETAG_KEY, ''),
                           source_dlo_etag=remote.sysmeta.get(DLO_ETAG_KEY, ''),
                           remote_size=None if unknown_size else remote.size,
                           etag_is_md5=remote.etag_is_md5 and not remote.large_object)

    def prove(self, layout: Layout, remote: ObjectMeta) -> None:
        """Unproven unless the large object ``remote`` (a fresh HEAD) holds ``layout``, whole."""
        if self.relation(layout, remote) != 'same':
            raise Unproven(f'{remote.name!r}: the ETag {remote.etag!r} proves nothing')
        stored = Stored(remote.sysmeta)
        if stored.is_slo:
            prove_slo(self._store, self._main(remote.name), remote.etag, layout.size)
        elif stored.dlo is not None and layout.kind == 'dlo':
            prove_dlo(self._store, stored.dlo, layout)
        else:
            raise Unproven(f'{remote.name!r} is no large object at the remote')

    def check_whole(self, remote: ObjectMeta) -> None:
        """Unproven unless the large object ``remote`` (a fresh HEAD) has all its segments, as when it was copied."""
        stored = Stored(remote.sysmeta)
        if stored.is_slo:
            prove_slo(self._store, self._main(remote.name), remote.etag, remote.size)
        elif stored.dlo is not None:
            prove_listed(self._store, stored.dlo, remote.source_etag)

    # -- metadata -----------------------------------------------------------------------------

    def own_keys(self, remote: ObjectMeta) -> dict[str, str]:
        """What a POST has to keep of a large copy, or of a segment; own keys without prefix."""
        return {key: remote.sysmeta[key] for key in (SLO_ETAG_KEY, DLO_ETAG_KEY, OWNER_KEY) if key in remote.sysmeta}

    def change_end(self, large: ObjectMeta, end: int | None, post: Callable[[], object]) -> None:
        """``post`` gives the manifest another end; segments live longer before it does, or shorter afterwards."""
        if end == large.delete_at:
            post()
            return
        claims = self._claims(large.name, end)
        for place in self._cleanup.used(self._main(large.name), Stored(large.sysmeta)):
            stored = self._store.head(place)
            if stored is not None:
                claims.take(place, stored)
        post()
        claims.settled()


def _as_slo(layout: Layout) -> tuple[Segment, ...]:
    """The segments as a manifest takes them: a DLO may have empty ones anywhere."""
    return layout.segments if layout.kind == 'slo' else without_empty(layout.segments)


def _takes(segments: tuple[Segment, ...], limits: Limits) -> bool:
    """Whether the target takes this manifest, those inside it, and the objects that they name, as they are."""
    return (sum(s.data is None for s in segments) <= limits.max_manifest_segments
            and len(put_manifest(segments)) + NAMES_GROW * len(segments) <= limits.max_manifest_size
            and all(_takes(s.children, limits) if s.children is not None else s.size <= limits.max_file_size
                    for s in segments))


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
