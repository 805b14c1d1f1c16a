"""Calls to addresses that others give: guarded at every redirect, bounded in time and size."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Container, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import urldefrag, urljoin

import anyio._backends._asyncio  # noqa: F401 (else the first call imports it, 100 ms on the event loop)
import httpcore

from mesh.outgoing.errors import PermanentFailure, TargetGone, TemporaryFailure
from mesh.outgoing.guard import Guard, Url

SECONDS = 10.0
"""One call as a whole, from the name to the last byte that is read."""
CONNECT_SECONDS = 5.0
LARGEST_RESPONSE = 64 * 1024
"""Bytes of the response to a POST that are read; what follows is not waited for."""
MOST_REDIRECTS = 5
"""Of one GET. A POST follows none: whoever it was meant for shall not pass its body on."""
MOST_RETRY_SECONDS = 24 * 3600.0
CONNECTIONS = 200
"""At once; a call waits for one within its time."""
_IDLE_CONNECTIONS, _IDLE_SECONDS = 20, 30.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SHOWN = 400
"""Characters of a body that the user is shown."""
REFUSALS = frozenset(range(300, 500)) - {408, 409, 425, 429}
"""Statuses by which an API says that the same request will never succeed."""


class Response(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """By their names in lower case; of several with one name the first."""
    body: bytes

    @property
    def retry_after_seconds(self) -> float | None:
        """Seconds after which a retry is welcome; None when the response does not say."""
        return _seconds_until(self.headers.get("retry-after", ""))

    @property
    def answer(self) -> str:
        """Status and beginning of the body, in one line."""
        text = " ".join(self.body[: 4 * _SHOWN].decode(errors="replace").split())[:_SHOWN]
        return f"HTTP {self.status}" + (f": {''.join(filter(str.isprintable, text))}" if text else "")

    def require_success(self, *, gone: Container[int] = (), refused: Container[int] = ()) -> str:
        """The answer of a call that succeeded; raises what its status means otherwise. gone, refused: statuses."""
        if 200 <= self.status < 300:
            return self.answer
        if self.status in gone:
            raise TargetGone(self.answer)
        if self.status in refused:
            raise PermanentFailure(self.answer)
        raise TemporaryFailure(self.answer, self.retry_after_seconds)


class OutgoingClient:
    """Calls over connections to checked addresses. Each channel has one of its own, so that none waits for another."""

    def __init__(self, guard: Guard, *, seconds: float = SECONDS, tls: ssl.SSLContext | None = None) -> None:
        """seconds: of one call. tls: trusts other authorities than those of the system."""
        self._guard, self._seconds = guard, seconds
        context = tls or ssl.create_default_context()
        self._pools = {
            scheme: httpcore.AsyncConnectionPool(
                ssl_context=context,
                max_connections=CONNECTIONS,
                max_keepalive_connections=_IDLE_CONNECTIONS,
                keepalive_expiry=_IDLE_SECONDS,
                network_backend=_CheckedNetwork(guard, encrypted=scheme == "https"),
            )
            for scheme in ("https", "http")
        }

    async def post(self, address: str, body: bytes, headers: Mapping[str, str]) -> Response:
        """Sends a body. Raises PermanentFailure for an address that may not be called, TemporaryFailure for silence."""
        async with self._bounded():
            return await self._exchange("POST", address, headers, body)

    async def get(self, address: str, headers: Mapping[str, str], *, largest: int) -> Response:
        """Reads what is at an address, or where it redirects to; all of it within the time of one call.

        largest: bytes of the body. Raises PermanentFailure for more, for an address that may not be called and for too
        many redirects, TemporaryFailure for silence.
        """
        async with self._bounded():
            for _ in range(1 + MOST_REDIRECTS):
                response = await self._exchange("GET", address, headers, most=largest + 1)
                if response.status not in _REDIRECTS or "location" not in response.headers:
                    break
                address = _redirected(address, response.headers["location"])
            else:
                raise PermanentFailure(f"more than {MOST_REDIRECTS} redirects")
        if len(response.body) > largest:
            raise PermanentFailure(f"the response has more than {largest:,} bytes")
        return response

    async def close(self) -> None:
        """Closes its connections."""
        self._guard.close()
        for pool in self._pools.values():
            await pool.aclose()

    @asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        """One call: its time, and what its errors mean."""
        try:
            async with asyncio.timeout(self._seconds):
                yield
        except (TimeoutError, httpcore.TimeoutException):
            raise TemporaryFailure(f"no whole response within {self._seconds:g} s") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError, ssl.SSLError) as error:
            raise TemporaryFailure(f"no response: {error or type(error).__name__}") from error

    async def _exchange(
        self,
        verb: str,
        address: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        most: int = LARGEST_RESPONSE,
    ) -> Response:
        """One request. most: bytes of the body that are read."""
        url = self._url(address)
        every = {**headers, "Host": url.origin.partition("://")[2], **_IDENTITY}
        async with self._pools[url.scheme].stream(
            verb,
            httpcore.URL(scheme=url.scheme, host=url.host, port=url.port, target=url.target),
            headers=list(every.items()),
            content=body,
            extensions={"timeout": {"connect": CONNECT_SECONDS}},
        ) as response:
            content = bytearray()
            async for chunk in response.aiter_stream():
                content += chunk
                if len(content) >= most:
                    break
            return Response(response.status, _by_name(response.headers), bytes(content[:most]))

    def _url(self, address: str) -> Url:
        try:
            return self._guard.parse(address)
        except ValueError as error:
            raise PermanentFailure(f"not called: the address {error}") from None


_IDENTITY = {"User-Agent": "Focusmesh", "Accept-Encoding": "identity"}
"""Bodies are not unpacked, so that a small one cannot become a large one."""


class _CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to addresses that the guard has checked; the name is not resolved again."""

    def __init__(self, guard: Guard, *, encrypted: bool) -> None:
        self._guard, self._encrypted = guard, encrypted
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (httpcore's)
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self._guard.addresses(host, port, encrypted=self._encrypted)
        seconds = (timeout or CONNECT_SECONDS) / len(addresses)
        failure: Exception | None = None
        for address in addresses:
            try:
                return await self._network.connect_tcp(str(address), port, seconds, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise httpcore.ConnectError(f"{host} takes no connection on port {port}") from failure


def _redirected(address: str, location: str) -> str:
    try:
        return urljoin(address, urldefrag(location).url)
    except ValueError:
        raise PermanentFailure("not called: the address must be an absolute URL") from None


def _by_name(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
        found.setdefault(name.decode("latin-1").lower(), value.decode("latin-1").strip())
    return found


def _seconds_until(text: str) -> float | None:
    """What `Retry-After` says, a number or a date, in seconds; None for anything else."""
    if text.isdecimal() and len(text) < 10:
        return min(float(text), MOST_RETRY_SECONDS)
    try:
        seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return None
    return min(max(seconds, 0.0), MOST_RETRY_SECONDS)
