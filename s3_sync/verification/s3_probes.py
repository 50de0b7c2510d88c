"""What an S3 store can do: experiments whose outcome is a fact about the store, seldom a failure."""
from __future__ import annotations

import base64
import re
import zlib
from ipaddress import ip_address
from secrets import token_hex

from s3_sync.errors import (
    BucketNotFound,
    Forbidden,
    NotFound,
    NotModified,
    PreconditionFailed,
    ProviderError,
    Unsupported,
)
from s3_sync.providers.s3 import xml
from s3_sync.providers.s3.client import Call
from s3_sync.providers.s3.probe import probe_conditional_put
from s3_sync.streams import BytesBody
from s3_sync.verification.leftovers import Leftover
from s3_sync.verification.outcomes import Doubtful, NotTried, Step, Wrong
from s3_sync.verification.runner import Run
from s3_sync.verification.s3_store import Store, md5_hex

CONDITIONAL_PUT = Step('conditional-put', 'find out about conditional PUT', 's3:PutObject, s3:DeleteObject')
CONDITIONAL_GET = Step('conditional-get', 'find out about conditional GET', 's3:GetObject')
CONTENT_MD5 = Step('content-md5', 'find out whether Content-MD5 is checked', 's3:PutObject')
TRAILERS = Step('checksum-trailers', 'find out about checksum trailers', 's3:PutObject, s3:GetObject')
LISTING = Step('list-v2', 'find out about ListObjectsV2 and the order of listings', 's3:ListBucket')
BATCH = Step('delete-objects', 'delete several objects at once', 's3:DeleteObject')
NAMES = Step('names', 'find out about names with slashes', 's3:PutObject')
ADDRESSING = Step('addressing', 'find out about path style and virtual hosts')
LIFECYCLE = Step('lifecycle', 'read the lifecycle rules', 's3:GetLifecycleConfiguration (and '
                 's3:PutLifecycleConfiguration for remote_delete_after)')

ORDERED = ('a-b', 'a.b', 'a/b', 'a0')
"""In the order of their bytes; stores that keep keys in folders list ``a/b`` first."""
CHUNKED = b'1space: these bytes were sent in a frame'
_BUCKET_HOST = re.compile(r'[a-z0-9](?:[a-z0-9-]{1,61}[a-z0-9])')


class Probes:
    """``base`` is the beginning of the keys that the experiments may use."""

    def __init__(self, run: Run, store: Store, base: str, *, thinks_ordered: bool) -> None:
        """``thinks_ordered``: what the provider believes of the store's listings."""
        self._run = run
        self._store = store
        self._base = base
        self._thinks_ordered = thinks_ordered
        self._ordered: list[Leftover] = []

    def verify(self, *after: Step) -> None:
        for step, action in ((CONDITIONAL_PUT, self._conditional_put), (CONDITIONAL_GET, self._conditional_get),
                             (CONTENT_MD5, self._content_md5), (TRAILERS, self._trailers), (LISTING, self._listing)):
            self._run.step(step, action, after=after, failure='warning')
        self._run.step(BATCH, self._batch, after=(*after, LISTING))
        self._run.step(NAMES, self._names, after=after, failure='warning')
        self._run.step(ADDRESSING, self._addressing, after=after, failure='warning')

    # -- conditions -------------------------------------------------------------------

    def _conditional_put(self) -> str:
        store, token = self._store, token_hex(16)
        key = store.scheme.probe_key(token)
        with self._run.leftovers.made(store.place(key), store.remover(key)) as item:
            create, overwrite = probe_conditional_put(store.objects, store.bucket, store.scheme, token)
        if not store.exists(key):
            self._run.leftovers.gone(item)
        self._run.find('conditional_create', create)
        self._run.find('conditional_overwrite', overwrite)
        if create and overwrite:
            self._run.advise('conditions on PUT are honoured, so new objects need no HEAD', 'conditional_put', 'always')
            return 'If-None-Match and If-Match are honoured'
        if not create and not overwrite:
            self._run.advise('conditions on PUT are not honoured, so a HEAD goes before each PUT, and two writers at '
                             'the same moment are not told apart', 'conditional_put', 'never')
            return 'not honoured'
        return f'only {"If-None-Match" if create else "If-Match"} is honoured'

    def _conditional_get(self) -> str:
        store, key = self._store, f'{self._base}-get'
        with self._run.leftovers.made(store.place(key), store.remover(key)):
            store.put(key, b'conditions')
        etag = store.client.do(Call('HEAD', store.bucket, key)).get('etag', '')
        wrong = f'"{"0" * 32}"'
        found = (self._refused(key, 'if-none-match', etag, NotModified)
                 and self._refused(key, 'if-match', wrong, PreconditionFailed))
        self._run.find('conditional_get', found)
        if not found:
            raise Doubtful('If-Match or If-None-Match on GET is ignored, so clients of the merged namespace get whole '
                           'objects where they asked for changed ones')
        return 'honoured'

    def _refused(self, key: str, header: str, etag: str, expected: type[ProviderError]) -> bool:
        try:
            self._store.client.open(Call('GET', self._store.bucket, key, headers={header: etag})).close()
        except expected:
            return True
        return False

    # -- checksums --------------------------------------------------------------------

    def _content_md5(self) -> str:
        key = f'{self._base}-md5'
        wrong = base64.b64encode(bytes.fromhex(md5_hex(b'something else'))).decode()
        checked = not self._accepted(key, b'these bytes', {'content-md5': wrong})
        self._run.find('content_md5_checked', checked)
        if not checked:
            raise Doubtful('a wrong Content-MD5 is accepted; damage on the way is noticed only by the ETag of the '
                           'answer, which 1space compares')
        return 'a wrong one is refused'

    def _trailers(self) -> str:
        store, key = self._store, f'{self._base}-chunked'
        if store.mapping.remote.signature == 'v2':
            raise NotTried('not with signature version 2')
        if not self._accepted(key, *_framed(CHUNKED, zlib.crc32(CHUNKED)), framed=True):
            self._run.find('checksum_trailers', 'refused')
            self._say_trailers('uploads with checksum trailers are refused')
            return 'refused'
        found = store.get(key)
        encoding = store.client.do(Call('HEAD', store.bucket, key)).get('content-encoding', '')
        if found != CHUNKED:
            self._run.find('checksum_trailers', 'stored')
            self._say_trailers('the chunk framing of uploads with checksum trailers is stored inside objects')
            raise Doubtful('the store keeps the chunk framing of such uploads inside the object, which damages it; '
                           '1space never sends any, other clients of this store have to be told not to')
        verified = not self._accepted(key, *_framed(CHUNKED, zlib.crc32(b'other')), framed=True)
        self._run.find('checksum_trailers', 'verified' if verified else 'ignored')
        if 'aws-chunked' in encoding:
            self._say_trailers('objects that are uploaded with checksum trailers keep "aws-chunked" as their '
                               'Content-Encoding')
        return 'accepted and verified' if verified else 'accepted, but wrong ones too'

    def _say_trailers(self, what: str) -> None:
        self._run.advise(f'{what}: 1space sends plain bodies with Content-MD5 there. Set '
                         'request_checksum_calculation=when_required for the AWS SDKs and tools of other clients')

    def _accepted(self, key: str, data: bytes, headers: dict[str, str], *, framed: bool = False) -> bool:
        """Whether a PUT is taken. It is no failure when it is not."""
        store = self._store
        try:
            with self._run.leftovers.made(store.place(key), store.remover(key)):
                store.put(key, data, headers, payload='STREAMING-UNSIGNED-PAYLOAD-TRAILER' if framed else '')
        except ProviderError as error:
            # A store that does not know the framed kind of signature takes it for a wrong one: Forbidden.
            known = not isinstance(error, Forbidden) or framed
            if known and error.status is not None and (400 <= error.status < 500 or error.status == 501):
                return False
            raise
        return True

    # -- listings and deletes -----------------------------------------------------------

    def _listing(self) -> str:
        store, prefix = self._store, f'{self._base}-order/'
        for name in ORDERED:
            with self._run.leftovers.made(store.place(prefix + name), store.remover(prefix + name)) as item:
                store.put(prefix + name, b'x')
            self._ordered.append(item)
        v2 = self._knows_v2(prefix)
        found = [key.removeprefix(prefix) for key in store.list(prefix, v2=v2)]
        if sorted(found) != sorted(ORDERED):
            raise Doubtful(f'the listing shows {", ".join(found) or "nothing"} where {", ".join(ORDERED)} were written')
        ordered = found == list(ORDERED)
        self._run.find('list_v2', v2)
        self._run.find('ordered_listing', ordered)
        said = f'ListObjectsV{2 if v2 else 1}, {"in" if ordered else "not in"} the order of bytes'
        if ordered:
            return said
        self._run.advise('listings come in an order of the store\'s own: rows of other nodes are verified by a HEAD '
                         'each instead of by listings, and merged listings are sorted in memory')
        if self._thinks_ordered:
            raise Doubtful(f'{said}; 1space does not know that of this store and will refuse such listings')
        return said

    def _knows_v2(self, prefix: str) -> bool:
        try:
            _response, data = self._store.client.read(Call('GET', self._store.bucket, query={
                'list-type': '2', 'prefix': prefix, 'max-keys': '1'}))
        except ProviderError as error:
            if isinstance(error, Unsupported) or error.status == 400:
                return False
            raise
        root = xml.parse(data)
        return root.find('KeyCount') is not None or root.find('NextContinuationToken') is not None

    def _batch(self) -> str:
        store, prefix = self._store, f'{self._base}-order/'
        keys = [prefix + name for name in ORDERED]
        if store.endpoint.flavour == 'google':
            raise NotTried('Google takes one delete at a time')
        body = xml.delete_document(keys)
        digest = base64.b64encode(bytes.fromhex(md5_hex(body))).decode()
        try:
            _response, data = store.client.read(Call(
                'POST', store.bucket, query={'delete': ''}, body=BytesBody(body),
                headers={'content-md5': digest, 'content-type': 'application/xml'}))
        except Unsupported:
            self._run.find('delete_objects', False)
            return 'the store knows no DeleteObjects, deletes go one by one'
        refused = [error.findtext('Code') or '' for error in xml.parse(data).iter('Error')] if data else []
        if refused:
            raise Wrong(f'DeleteObjects answers {", ".join(sorted(set(refused)))}')
        left = [key for key in keys if store.exists(key)]
        if left:
            raise Wrong(f'DeleteObjects reports success, and {", ".join(left)} is still there')
        self._run.find('delete_objects', True)
        self._run.leftovers.gone(*self._ordered)
        return ''

    # -- names and addresses --------------------------------------------------------------

    def _names(self) -> str:
        store, base = self._store, f'{self._base}-names'
        changed: list[str] = []
        for asked, other in ((f'{base}//d', f'{base}/d'), (f'{base}/f/', f'{base}/f'), (f'{base}/b\\s', f'{base}/b/s')):
            with self._run.leftovers.made(store.place(other), store.remover(other)):
                taken = self._accepted(asked, b'name', {})
            if not taken or store.exists(other) or not store.exists(asked):
                changed.append(asked.removeprefix(base))
        self._run.find('names_kept', not changed)
        keeps = store.objects.keeps_name(f'{base}//d')
        if not changed:
            return 'kept as they are'
        if keeps:
            raise Doubtful(f'the store changes or refuses names such as {", ".join(changed)}, which 1space does not '
                           'know of it: such objects may end up under another\'s name')
        self._run.advise(f'the store changes names such as {", ".join(changed)}: objects with "//", "\\" or a slash at '
                         'either end of the key are listed as failures instead of copied')
        return 'some are changed by the store'

    def _addressing(self) -> str:
        store = self._store
        style = 'path style' if store.endpoint.path_style else 'virtual hosts'
        self._run.find('path_style', store.endpoint.path_style)
        other = other_addressing(store)
        works = answers(other)
        self._run.find('virtual_hosts' if store.endpoint.path_style else 'path_style', works)
        return f'{style}; {"virtual hosts" if store.endpoint.path_style else "path style"} ' + (
            'would work too' if works else 'would not work')

    # -- lifecycle ----------------------------------------------------------------------

    def lifecycle(self, *after: Step, asked_for: bool) -> None:
        self._run.step(LIFECYCLE, self._lifecycle, after=after, failure='failed' if asked_for else 'warning')

    def _lifecycle(self) -> str:
        store = self._store
        if store.endpoint.flavour == 'google':
            raise NotTried('1space sets no lifecycle rules at Google')
        try:
            _response, data = store.client.read(Call('GET', store.bucket, query={'lifecycle': ''}))
        except BucketNotFound:
            raise
        except NotFound:
            self._run.find('lifecycle', True)
            return 'readable, there are none'
        except ProviderError:
            self._run.find('lifecycle', False)
            raise
        self._run.find('lifecycle', True)
        return f'readable, there are {len(xml.parse(data).findall("Rule"))}'


def other_addressing(store: Store) -> Store:
    """The same bucket the other way: path style instead of virtual hosts or back. NotTried when that cannot be."""
    try:
        ip_address(store.endpoint.host)
    except ValueError:
        if _BUCKET_HOST.fullmatch(store.bucket):
            return Store(store.mapping, store.client.clock, path_style=not store.endpoint.path_style)
        raise NotTried('path style; the bucket\'s name cannot be part of a host name') from None
    raise NotTried('path style; an address without a name has no virtual hosts')


def answers(store: Store) -> bool:
    """Whether the bucket can be listed by this addressing. Closes the store."""
    try:
        store.client.read(Call('GET', store.bucket, query={'list-type': '2', 'max-keys': '1'}, timeout=10.0))
    except ProviderError:
        return False
    finally:
        store.close()
    return True


def _framed(data: bytes, checksum: int) -> tuple[bytes, dict[str, str]]:
    """Body and headers as the AWS SDKs of today send them by default (aws-chunked, CRC32 in a trailer)."""
    crc = base64.b64encode(checksum.to_bytes(4, 'big')).decode()
    body = b'%x\r\n%s\r\n0\r\nx-amz-checksum-crc32:%s\r\n\r\n' % (len(data), data, crc.encode())
    return body, {'content-encoding': 'aws-chunked', 'x-amz-decoded-content-length': str(len(data)),
                  'x-amz-trailer': 'x-amz-checksum-crc32', 'x-amz-sdk-checksum-algorithm': 'CRC32'}
