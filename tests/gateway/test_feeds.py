"""Feeds of calendars: the one thing beside RPCs and the WebSocket that is behind the gateway."""

import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from envoy.routes import FEED_CLUSTER, FEED_PATH
from envoy.settings import Bucket
from harness.waiting import until
from mesh.rpc.http import HttpListener, Request, Response
from tests.gateway.collector import Collector
from tests.gateway.gateways import UNLIMITED, endpoints
from tests.gateway.upstream import Upstream
from tests.support.certificates import Authority
from tests.support.gateway_process import Running, running
from tests.support.ports import LOOPBACK, free_ports
from tests.support.serving import settings_for

TOKEN = "Th1s-1s_the-secret-0f-a-feed-0123456789abcde"
FEED = f"{FEED_PATH}{TOKEN}.ics"
FEW = 40


class Feeds:
    """The listener behind the gateway, which keeps what it is asked."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    async def handle(self, request: Request) -> Response:
        """A calendar, or that it has not changed."""
        self.requests.append(request)
        if request.headers.get("if-none-match") == '"1"':
            return Response(304, {"etag": '"1"'})
        return Response(200, {"etag": '"1"', "content-type": "text/calendar"}, b"BEGIN:VCALENDAR")


@pytest.fixture
def feeds() -> Feeds:
    return Feeds()


@pytest.fixture
async def listener(feeds: Feeds) -> AsyncIterator[HttpListener]:
    [port] = free_ports(1)
    listener = HttpListener(f"{LOOPBACK}:{port}", feeds.handle, settings_for(redis_url=""))
    listener.start()
    await until(lambda: listener.ready, "it listens")
    listener.on_serving(True)
    yield listener
    await listener.close()


@pytest.fixture
async def gateway(
    folder: Path, upstream: Upstream, listener: HttpListener, collector: tuple[Collector, int]
) -> AsyncIterator[Running]:
    """A gateway that traces everything and allows few readings."""
    own = folder / f"feeds-{free_ports(1)[0]}"
    own.mkdir()
    running_gateway = Running(
        own,
        {**endpoints(upstream), FEED_CLUSTER: [(LOOPBACK, int(listener._port))]},
        allowances=UNLIMITED._replace(feed=Bucket(FEW, 1, 60)),
        otlp=(LOOPBACK, collector[1]),
        trace_percent=100.0,
    )
    with running(running_gateway):
        await until(lambda: running_gateway.healthy(FEED_CLUSTER) == 1, "the listener is called")
        yield running_gateway


@pytest.fixture
async def client(gateway: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        yield client


async def test_a_feed_is_read_without_an_access_token(client: httpx.AsyncClient, feeds: Feeds) -> None:
    read = await client.get(FEED)
    assert (read.status_code, read.content, read.headers["etag"]) == (200, b"BEGIN:VCALENDAR", '"1"')
    again = await client.get(FEED, headers={"if-none-match": '"1"'})
    assert (again.status_code, again.content) == (304, b"")
    head = await client.head(FEED)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "15")
    assert [request.method for request in feeds.requests] == ["GET", "GET", "HEAD"]
    assert {request.path for request in feeds.requests} == {FEED}


async def test_a_program_that_sends_some_password_reads_it_too(client: httpx.AsyncClient) -> None:
    assert (await client.get(FEED, auth=("user", "password"))).status_code == 200


@pytest.mark.parametrize("verb", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
async def test_a_feed_is_only_read(client: httpx.AsyncClient, feeds: Feeds, verb: str) -> None:
    response = await client.request(verb, FEED)
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")
    assert response.json()["details"][0]["reason"] == "METHOD_NOT_ALLOWED"
    assert feeds.requests == []


async def test_one_address_reads_no_more_than_allowed(client: httpx.AsyncClient, feeds: Feeds) -> None:
    statuses = [(await client.get(FEED)).status_code for _ in range(FEW + 2)]
    assert statuses == [200] * FEW + [429] * 2
    assert len(feeds.requests) == FEW


async def test_no_log_and_no_span_has_the_token(
    client: httpx.AsyncClient, gateway: Running, collector: tuple[Collector, int]
) -> None:
    asked = [
        await client.get(FEED),
        await client.get(f"{FEED}?a=b"),
        await client.get(f"/v1//calendar/./feeds/{TOKEN}.ics"),
        await client.get(f"/v1/Calendar/Feeds/{TOKEN}.ics"),
        await client.post(FEED),
        await client.options(FEED, headers={"origin": "https://app.example", "access-control-request-method": "GET"}),
        *[await client.get(FEED) for _ in range(FEW)],
    ]
    assert {response.status_code for response in asked} == {200, 405, 429}
    await until(lambda: len(gateway.access_log().splitlines()) >= len(asked), "everything is logged")
    lines = [json.loads(line) for line in gateway.access_log().splitlines()]
    assert {line["path"] for line in lines if "feed" in line["route"]} == {FEED_PATH}
    assert {line["status"] for line in lines} >= {200, 405, 429}
    spans = collector[0].spans
    await until(lambda: sum("feeds" in str(span).lower() for span in spans) >= len(asked), "everything is traced")
    for text in (gateway.access_log(), (gateway.folder / "envoy.log").read_text(), *map(str, spans)):
        assert TOKEN not in text


async def test_a_listener_that_is_about_to_stop_gets_no_more_requests(
    client: httpx.AsyncClient, gateway: Running, listener: HttpListener, feeds: Feeds
) -> None:
    assert (await client.get(FEED)).status_code == 200
    listener.on_serving(False)

    async def is_refused() -> bool:
        return (await client.get(FEED)).status_code == 503

    await until(is_refused, "the gateway has noticed", poll=0.2)
    read = len(feeds.requests)
    assert await is_refused()
    assert len(feeds.requests) == read


async def test_where_there_are_certificates_both_sides_show_one(folder: Path, feeds: Feeds, tmp_path: Path) -> None:
    authority, [port] = Authority(tmp_path), free_ports(1)
    files = authority.issue(LOOPBACK, LOOPBACK)
    settings = settings_for(
        redis_url="",
        tls_certificate_file=str(files.certificate),
        tls_key_file=str(files.key),
        tls_client_ca_file=str(files.authority),
    )
    listener = HttpListener(f"{LOOPBACK}:{port}", feeds.handle, settings)
    listener.start()
    listener.on_serving(True)
    own = folder / f"feeds-{port}"
    own.mkdir()
    reached = {"auth": [(LOOPBACK, 1)], FEED_CLUSTER: [(LOOPBACK, port)]}
    gateway = Running(own, reached, upstream_tls=authority.issue("gateway", "gateway.example"))
    with running(gateway):
        await until(lambda: gateway.healthy(FEED_CLUSTER) == 1, "the listener is called")
        async with httpx.AsyncClient(base_url=gateway.url) as client:
            assert (await client.get(FEED)).status_code == 200
    trusting = ssl.create_default_context(cafile=authority.file)
    async with httpx.AsyncClient(verify=trusting) as stranger:
        with pytest.raises(httpx.HTTPError):
            await stranger.get(f"https://{LOOPBACK}:{port}{FEED}")
    assert len(feeds.requests) == 1
    await listener.close()
