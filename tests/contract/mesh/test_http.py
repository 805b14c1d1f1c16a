"""The listener of plain HTTP, asked by a real client and by some that mean no good."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress

import httpx
import pytest

from harness.waiting import until
from mesh.rpc import http
from mesh.rpc.http import HttpListener, Request, Response
from mesh.runtime.errors import DependencyUnavailable
from tests.support.ports import LOOPBACK, free_ports
from tests.support.serving import settings_for

PART = b"x" * 65_536


class Told:
    """Responds as a test says."""

    def __init__(self) -> None:
        self.response: Response | Exception = Response(200, {"content-type": "text/plain"}, b"hello")
        self.requests: list[Request] = []

    async def handle(self, request: Request) -> Response:
        """Keeps the request."""
        self.requests.append(request)
        if isinstance(self.response, Exception):
            raise self.response
        return self.response


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
async def listener(told: Told) -> AsyncIterator[HttpListener]:
    listener = HttpListener(f"{LOOPBACK}:{free_ports(1)[0]}", told.handle, settings_for(redis_url=""))
    listener.start()
    await until(lambda: listener.ready, "it listens")
    yield listener
    await listener.close()


@pytest.fixture
async def client(listener: HttpListener) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://{LOOPBACK}:{listener._port}") as client:
        yield client


async def endless() -> AsyncGenerator[bytes, None]:
    while True:
        yield PART


async def test_a_request_is_handed_on_and_its_response_sent(client: httpx.AsyncClient, told: Told) -> None:
    response = await client.get("/a/b?c=d", headers={"X-Own": "yes"})
    assert (response.status_code, response.text, response.headers["content-length"]) == (200, "hello", "5")
    [request] = told.requests
    assert (request.method, request.path, request.headers["x-own"]) == ("GET", "/a/b", "yes")
    assert "server" not in response.headers


async def test_a_large_body_goes_in_parts(client: httpx.AsyncClient, told: Told) -> None:
    async def parts() -> AsyncGenerator[bytes, None]:
        for _ in range(20):
            yield PART

    told.response = Response(200, {}, parts())
    assert (await client.get("/")).content == PART * 20


async def test_the_response_to_a_head_has_no_body_and_makes_none(client: httpx.AsyncClient, told: Told) -> None:
    told.response = Response(200, {"etag": '"1"'}, endless())
    response = await client.head("/")
    assert (response.status_code, response.headers["etag"], response.content) == (200, '"1"', b"")


async def test_what_has_not_changed_is_said_in_one_line(client: httpx.AsyncClient, told: Told) -> None:
    told.response = Response(304, {"etag": '"1"'})
    for _ in range(2):
        response = await client.get("/")
        assert (response.status_code, response.content, "content-length" in response.headers) == (304, b"", False)


@pytest.mark.parametrize(("error", "status"), [(DependencyUnavailable("database"), 503), (ValueError("secret"), 500)])
async def test_an_error_says_nothing_of_itself(
    client: httpx.AsyncClient, told: Told, error: Exception, status: int
) -> None:
    told.response = error
    response = await client.get("/")
    assert (response.status_code, response.content) == (status, b"")
    assert ("retry-after" in response.headers) == (status == 503)


async def test_a_response_that_breaks_off_is_seen_to_be_broken(client: httpx.AsyncClient, told: Told) -> None:
    async def broken() -> AsyncGenerator[bytes, None]:
        yield PART
        raise ValueError

    told.response = Response(200, {}, broken())
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get("/")


async def test_the_health_check_says_whether_the_service_serves(
    client: httpx.AsyncClient, listener: HttpListener, told: Told
) -> None:
    seen = []
    for serving in (False, True, False):
        listener.on_serving(serving)
        seen.append((await client.get(http.HEALTH_PATH)).status_code)
    assert (seen, told.requests) == ([503, 200, 503], [])


async def test_a_reader_that_takes_nothing_is_cut_off(
    listener: HttpListener, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "SEND_SECONDS", 0.3)
    ended = asyncio.Event()

    async def watched() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield PART
        finally:
            ended.set()

    told.response = Response(200, {}, watched())
    _, writer = await asyncio.open_connection(LOOPBACK, int(listener._port), limit=1)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    async with asyncio.timeout(5):
        await ended.wait()
    writer.close()


async def test_who_asks_for_nothing_is_cut_off(listener: HttpListener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "REQUEST_SECONDS", 0.3)
    began = time.monotonic()
    reader, writer = await asyncio.open_connection(LOOPBACK, int(listener._port))
    writer.write(b"GET / HTTP/1.1\r\nX: ")
    trickling = asyncio.create_task(_trickle(writer))
    with suppress(ConnectionError):
        assert await reader.read() == b""
    assert 0.2 < time.monotonic() - began < 3
    trickling.cancel()
    writer.close()


async def _trickle(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x")
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("text", [b"no HTTP at all\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000 + b"\r\n\r\n"])
async def test_what_is_no_request_gets_400(listener: HttpListener, told: Told, text: bytes) -> None:
    reader, writer = await asyncio.open_connection(LOOPBACK, int(listener._port))
    writer.write(text)
    assert (await reader.readline()).split()[1] == b"400"
    assert told.requests == []
    writer.close()


async def test_of_more_connections_than_there_may_be_each_is_told(
    client: httpx.AsyncClient, listener: HttpListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle = [await asyncio.open_connection(LOOPBACK, int(listener._port)) for _ in range(http._MOST_CONNECTIONS)]
    assert (await client.get("/")).status_code == 503
    for _, writer in idle:
        writer.close()

    async def is_served() -> bool:
        return (await client.get("/")).status_code == 200

    await until(is_served, "there is room again")


async def test_a_stopping_listener_ends_what_it_sends(listener: HttpListener, told: Told) -> None:
    release = asyncio.Event()

    async def parts() -> AsyncGenerator[bytes, None]:
        yield b"begun"
        await release.wait()
        yield b", ended"

    told.response = Response(200, {}, parts())
    reader, writer = await asyncio.open_connection(LOOPBACK, int(listener._port))
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    await reader.readuntil(b"begun")
    closing = asyncio.create_task(listener.close())
    await asyncio.sleep(0)
    release.set()
    assert b", ended" in await reader.read()
    await closing
    with pytest.raises(OSError):  # noqa: PT011 (any: nobody listens)
        await asyncio.open_connection(LOOPBACK, int(listener._port))
    writer.close()


async def test_a_port_that_is_taken_is_waited_for(listener: HttpListener, told: Told) -> None:
    second = HttpListener(f"{LOOPBACK}:{listener._port}", told.handle, settings_for(redis_url=""))
    second.start()
    await asyncio.sleep(0.1)
    assert not second.ready
    await listener.close()
    await until(lambda: second.ready, "the port is free")
    await second.close()
