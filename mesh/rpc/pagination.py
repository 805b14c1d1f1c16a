"""Keyset pages: opaque page tokens, signed, and bound to the caller, the list and its filters."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import orjson
from google.protobuf.message import Message

from mesh.runtime.errors import PageTokenInvalid

DEFAULT_SIZE = 50
LARGEST_SIZE = 200
_SIGNATURE_BYTES = 12

Row = TypeVar("Row")
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

    def next_token(self, page: Page, last: Key) -> str:
        """The token of the page after the one that ends with the row whose sort key is `last`."""
        body = orjson.dumps(last)
        return base64.urlsafe_b64encode(self._sign(body, page.filters) + body).decode().rstrip("=")

    def cut(
        self, rows: Sequence[Row], page: Page, key: Callable[[Row], Key], *, fit: int = LARGEST_SIZE
    ) -> tuple[Sequence[Row], str]:
        """The rows of a page, and the token of the next page, empty on the last.

        rows: from the first of the page on, up to `page.limit()`. key: the sort key of a row. fit: how many of the rows
        fit into one response; at least one.
        """
        shown = rows[: min(page.size, fit)]
        return shown, self.next_token(page, key(shown[-1])) if len(rows) > len(shown) else ""

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


def _fingerprint(request: Message, user_id: str) -> bytes:
    """A hash over the caller and every field of a list request but its page: the same for all pages of one list."""
    bound = type(request)()
    bound.CopyFrom(request)
    bound.ClearField("page_token")
    bound.ClearField("page_size")
    name = request.DESCRIPTOR.full_name.encode()
    return hashlib.blake2b(b"\0".join((name, user_id.encode(), bound.SerializeToString(deterministic=True)))).digest()
