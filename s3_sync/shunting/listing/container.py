"""The listing of a merged container."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from s3_sync.shunting.listing.answer import ListingAnswer, answer
from s3_sync.shunting.listing.cursor import Cursor
from s3_sync.shunting.listing.judge import Judge
from s3_sync.shunting.listing.merge import LocalPages, LocalSide, Merge
from s3_sync.shunting.listing.params import ListingParams
from s3_sync.shunting.listing.sides import RemoteSide, object_names
from s3_sync.shunting.listing.tombstones import Tombstones

WHOLE_PAGE = 1000
"""Pages of more names are asked of each side in parts, or most of what the sides list would be for nothing."""


def merged_container(params: ListingParams, local: LocalPages, remotes: Sequence[RemoteSide],
                     tombstones: Tombstones | None = None, *, whole_page: int = WHOLE_PAGE) -> ListingAnswer:
    """What the client gets instead of the cluster's own listing.

    ``local`` is called at once for ``params`` with that limit or a lower one, and
    for further pages when they are needed; the remotes are asked meanwhile, in
    green threads that end with this call. The client must be authorised for this
    listing before. Raises what ``local`` raises, OutOfOrder when the cluster's own listing is
    out of order, and RemoteUnavailable for a remote whose mapping says ``fail``.
    """
    share = _share(params.limit, 1 + len(remotes), whole_page)
    cursors = [Cursor(side, object_names(side, params, share), params.scope) for side in remotes]
    # Objects that leave for an archive would have it asked again with each local page.
    first_page = params.limit if any(side.archives for side in remotes) else share
    return merged(params, local, cursors, tombstones, first_page=first_page)


def _share(limit: int, sides: int, whole_page: int) -> int:
    """What one side of several is asked for at once: a little more than its part if all have as many names.

    Names that fall to either side by chance are as many to within a few times the root of their number.
    """
    return min(limit, max(whole_page, 103 * limit // (100 * sides)))


def merged(params: ListingParams, local: LocalPages, cursors: Sequence[Cursor], tombstones: Tombstones | None, *,
           first_page: int) -> ListingAnswer:
    """The same for sides that are made already; they are closed. ``first_page``: limit of the cluster's first."""
    if not params.limit or params.scope.empty:
        return answer(local(params))
    try:
        for cursor in cursors:
            if not cursor.side.archives:
                cursor.start()
        here = LocalSide(local, replace(params, limit=first_page))
        for cursor in cursors:
            if cursor.side.archives:
                cursor.start()
        for cursor in cursors:
            cursor.open()
        entries = Merge(here, cursors, Judge(tombstones, params.scope), params).entries()
    finally:
        for cursor in cursors:
            cursor.close()
    return answer(entries, partial=[c.side.name for c in cursors if c.failed],
                  missing=[c.side.name for c in cursors if c.names.missing])
