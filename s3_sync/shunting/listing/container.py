"""The listing of a merged container."""
from __future__ import annotations

from collections.abc import Sequence

from s3_sync.shunting.listing.answer import ListingAnswer, answer
from s3_sync.shunting.listing.cursor import Cursor
from s3_sync.shunting.listing.judge import Judge
from s3_sync.shunting.listing.merge import LocalPages, LocalSide, Merge
from s3_sync.shunting.listing.params import ListingParams
from s3_sync.shunting.listing.sides import RemoteSide, object_names
from s3_sync.shunting.listing.tombstones import Tombstones


def merged_container(params: ListingParams, local: LocalPages, remotes: Sequence[RemoteSide],
                     tombstones: Tombstones | None = None) -> ListingAnswer:
    """What the client gets instead of the cluster's own listing.

    ``local`` is called at once for ``params`` itself, and for further pages when
    they are needed; the remotes are asked meanwhile, in green threads that end
    with this call. The client must be authorised for this listing before.
    Raises what ``local`` raises, OutOfOrder when the cluster's own listing is
    out of order, and RemoteUnavailable for a remote whose mapping says ``fail``.
    """
    cursors = [Cursor(side, object_names(side, params), params.scope) for side in remotes]
    return merged(params, local, cursors, tombstones)


def merged(params: ListingParams, local: LocalPages, cursors: Sequence[Cursor],
           tombstones: Tombstones | None) -> ListingAnswer:
    """The same for sides that are made already; they are closed."""
    if not params.limit or params.scope.empty:
        return answer(local(params))
    try:
        for cursor in cursors:
            if not cursor.side.archives:
                cursor.start()
        page = local(params)
        for cursor in cursors:
            if cursor.side.archives:
                cursor.start()
        for cursor in cursors:
            cursor.open()
        entries = Merge(LocalSide(local, params, page), cursors, Judge(tombstones, params.scope), params).entries()
    finally:
        for cursor in cursors:
            cursor.close()
    return answer(entries, partial=[c.side.name for c in cursors if c.failed],
                  missing=[c.side.name for c in cursors if c.names.missing])
