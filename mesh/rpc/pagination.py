"""Keyset pages: where one ends, and opaque page tokens, signed, and bound to the caller, the list and its filters."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import accumulate
from typing import NamedTuple, TypeVar

import orjson
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from mesh.runtime.errors import PageTokenInvalid

DEFAULT_SIZE = 50
LARGEST_SIZE = 200
LARGEST_RESPONSE = 1 << 20
"""Bytes after which a page ends early: a gRPC client accepts 4 MiB, and the gateway 8 MiB of JSON, in which a character
may have 6 bytes."""
_SIGNATURE_BYTES = 12

Row = TypeVar("Row")
R = TypeVar("R", bound=Message)
Key = list[str | int | None]
"""Sort key of the last row of a page: the next page begins after it."""


class Page(NamedTuple):
    """The page that a list request asks for."""

    size: int
    after: Key | None
    filters: bytes

    def limit(self) -> int:
        """How many rows to read: one more than the page holds, which shows whether there is a next page."""
        return self.size + 1


class Pages:
    """Reads and signs page tokens."""

    def __init__(self, key: str) -> None:
        """key: a secret of the service; the same in all replicas."""
        self._key = hashlib.blake2b(key.encode()).digest()

    def read(self, request: Message, user_id: str) -> Page:
        """The page that a list request asks for; raises PageTokenInvalid."""
        size = min(request.page_size or DEFAULT_SIZE, LARGEST_SIZE)  # type: ignore[attr-defined]
        token = request.page_token  # type: ignore[attr-defined]
        filters = _fingerprint(request, user_id)
        return Page(size, self._open(token, filters) if token else None, filters)

    def cut(
        self, response: R, rows: Sequence[Row], page: Page, key: Callable[[Row], Key], *, more_after: Key | None = None
    ) -> R:
        """The response without the items that do not fit, but at least with one, and with the token of the next page.

        rows: from the first of the page on, up to `page.limit()`; the response has an item for each of the first of
        them, up to `page.size`. key: the sort key of a row. more_after: where the next page begins when all are shown.
        """
        items = getattr(response, _list_field(response.DESCRIPTOR))
        if response.ByteSize() > LARGEST_RESPONSE:
            del items[_fitting(item.ByteSize() for item in items) :]
        if len(items) < len(rows):
            more_after = key(rows[len(items) - 1])
        return self.lead_on(response, page, more_after)

    def lead_on(self, response: R, page: Page, more_after: Key | None) -> R:
        """The response with the token of the page after `more_after`, the last row's sort key; None: it is the last.

        For pages that are texts, which end at LARGEST_RESPONSE by themselves.
        """
        if more_after is not None:
            response.next_page_token = self._token(page, more_after)  # type: ignore[attr-defined]
        return response

    def _token(self, page: Page, last: Key) -> str:
        body = orjson.dumps(last)
        return base64.urlsafe_b64encode(self._sign(body, page.filters) + body).decode().rstrip("=")

    def _open(self, token: str, filters: bytes) -> Key:
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise PageTokenInvalid from None
        signature, body = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._sign(body, filters)):
            raise PageTokenInvalid
        key: Key = orjson.loads(body)
        return key

    def _sign(self, body: bytes, filters: bytes) -> bytes:
        return hashlib.blake2b(filters + body, key=self._key, digest_size=_SIGNATURE_BYTES).digest()


def _fitting(sizes: Iterable[int]) -> int:
    """How many items of these sizes in bytes, from the first, fit into one response; at least one."""
    return max(1, sum(1 for total in accumulate(sizes) if total <= LARGEST_RESPONSE))


@cache
def _list_field(descriptor: Descriptor) -> str:
    (name,) = (field.name for field in descriptor.fields if field.is_repeated)
    return name


def _fingerprint(request: Message, user_id: str) -> bytes:
    """A hash over the caller and every field of a list request but its page: the same for all pages of one list."""
    bound = type(request)()
    bound.CopyFrom(request)
    bound.ClearField("page_token")
    bound.ClearField("page_size")
    name = request.DESCRIPTOR.full_name.encode()
    return hashlib.blake2b(b"\0".join((name, user_id.encode(), bound.SerializeToString(deterministic=True)))).digest()
