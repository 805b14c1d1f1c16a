"""Calls to addresses that others give: guarded, never redirected, bounded in time and size."""

import asyncio
import ssl
from collections.abc import Container, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import anyio._backends._asyncio  # noqa: F401 (else the first call imports it, 100 ms on the event loop)
import httpcore

from services.notification.clients.guard import Guard, Url
from services.notification.errors import PermanentFailure, TargetGone, TemporaryFailure

SECONDS = 10.0
"""One call as a whole, from the name to the last byte that is read."""
CONNECT_SECONDS = 5.0
LARGEST_RESPONSE = 64 * 1024
"""Bytes of a body that are read; what follows is not waited for."""
MOST_RETRY_SECONDS = 24 * 3600.0
CONNECTIONS = 200
"""At once; a call waits for one within its time."""
_IDLE_CONNECTIONS, _IDLE_SECONDS = 20, 30.0
_SHOWN = 400
"""Characters of a body that the user is shown."""
REFUSALS = frozenset(range(300, 500)) - {408, 409, 425, 429}
"""Statuses by which an API says that the same request will never succeed."""


class Response(NamedTuple):
    """What came back."""

    status: int
    retry_after_seconds: float | None
    body: bytes

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
        try:
            url = self._guard.parse(address)
        except ValueError as error:
            raise PermanentFailure(f"not called: the address {error}") from None
        try:
            async with asyncio.timeout(self._seconds):
                return await self._exchange(url, body, headers)
        except (TimeoutError, httpcore.TimeoutException):
            raise TemporaryFailure(f"no whole response within {self._seconds:g} s") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError, ssl.SSLError) as error:
            raise TemporaryFailure(f"no response: {error or type(error).__name__}") from error

    async def close(self) -> None:
        """Closes its connections."""
        self._guard.close()
        for pool in self._pools.values():
            await pool.aclose()

    async def _exchange(self, url: Url, body: bytes, headers: Mapping[str, str]) -> Response:
        every = {**headers, "Host": url.origin.partition("://")[2], "Content-Length": str(len(body)), **_IDENTITY}
        async with self._pools[url.scheme].stream(
            "POST",
            httpcore.URL(scheme=url.scheme, host=url.host, port=url.port, target=url.target),
            headers=list(every.items()),
            content=body,
            extensions={"timeout": {"connect": CONNECT_SECONDS}},
        ) as response:
            content = b""
            async for chunk in response.aiter_stream():
                content += chunk
                if len(content) >= LARGEST_RESPONSE:
                    break
            return Response(response.status, _retry_after(response.headers), content[:LARGEST_RESPONSE])


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


def _retry_after(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    """Seconds after which a retry is welcome, from a number or a date; None when the response does not say."""
    text = next((value.decode("latin-1").strip() for name, value in headers if name.lower() == b"retry-after"), "")
    if text.isdecimal() and len(text) < 10:
        return min(float(text), MOST_RETRY_SECONDS)
    try:
        seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return None
    return min(max(seconds, 0.0), MOST_RETRY_SECONDS)
