"""Calls to addresses that others give, against servers that mean no good."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from harness.http_receiver import Receiver, Respond, answers, hangs, hangs_up, receiving, repeats
from mesh.outgoing import client as outgoing
from mesh.outgoing.client import OutgoingClient
from mesh.outgoing.errors import PermanentFailure, TargetGone, TemporaryFailure
from mesh.outgoing.guard import Address, Guard, Network, networks
from tests.support.certificates import Authority
from tests.support.fault_proxy import FaultProxy

LOOPBACK_ALONE = networks("127.0.0.0/8")
HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """An HTTP server of the test's."""
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def client() -> AsyncIterator[OutgoingClient]:
    """May call loopback, and waits one second."""
    client = OutgoingClient(Guard(LOOPBACK_ALONE), seconds=1)
    yield client
    await client.close()


async def test_a_body_arrives_as_it_was_given(receiver: Receiver, client: OutgoingClient) -> None:
    receiver.respond = answers(201, b"kept\nas 17")
    response = await client.post(f"{receiver.url}/in?x=1", b"\x00body", {"X-Own": "yes"})
    assert response.answer == "HTTP 201: kept as 17"
    (received,) = receiver.received
    assert (received.target, received.body, received.headers["x-own"]) == ("/in?x=1", b"\x00body", "yes")
    assert received.headers["host"] == f"127.0.0.1:{receiver.port}"


async def test_no_loopback_address_is_called_unless_a_setting_allows_it(receiver: Receiver) -> None:
    client = OutgoingClient(Guard(networks("10.0.0.0/8")))
    port = receiver.port
    for host in ("127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "2130706433", "0x7f.1", "0"):
        for scheme in ("http", "https"):
            with pytest.raises(PermanentFailure, match="not called"):
                await client.post(f"{scheme}://{host}:{port}/", b"", {})
    await client.close()
    assert receiver.connections == 0


async def test_the_address_that_was_checked_is_the_one_connected_to(receiver: Receiver) -> None:
    answers_of_the_name_server = ["127.0.0.2", "127.0.0.1", "127.0.0.1"]

    async def rebinding(_host: str, _port: int) -> list[Address]:
        return [ip_address(answers_of_the_name_server.pop(0))]

    client = OutgoingClient(Guard(networks("127.0.0.2/32"), rebinding))
    async with receiving("127.0.0.2", receiver.port) as permitted:
        url = f"http://rebinding.example:{receiver.port}/"
        permitted.respond = answers(200, b"the permitted one", Connection="close")
        assert (await client.post(url, b"", {})).answer == "HTTP 200: the permitted one"
        assert permitted.received[0].headers["host"] == f"rebinding.example:{receiver.port}"
        with pytest.raises(PermanentFailure, match=r"is at 127\.0\.0\.1, which is not a public address"):
            await client.post(url, b"", {})
    await client.close()
    assert (receiver.connections, len(answers_of_the_name_server)) == (0, 1), "each call asked once"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_post_follows_no_redirect(receiver: Receiver, client: OutgoingClient, status: int) -> None:
    async with receiving() as inner:
        receiver.respond = answers(status, Location=f"{inner.url}/secret")
        response = await client.post(receiver.url, b"", {})
        assert response.status == status
        assert inner.connections == 0


@pytest.mark.parametrize(
    "respond",
    [
        hangs,
        repeats(HEAD, b"X-Slow: yes\r\n", 0.05),
        repeats(HEAD + b"Content-Length: 1000\r\n\r\n", b".", 0.05),
        repeats(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n.\r\n", 0.05),
        repeats(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", 0.05),
    ],
    ids=["hangs", "trickles its headers", "trickles its body", "trickles chunks", "trickles promises"],
)
async def test_no_server_keeps_a_call_for_longer_than_it_may_take(receiver: Receiver, respond: Respond) -> None:
    receiver.respond = respond
    client = OutgoingClient(Guard(LOOPBACK_ALONE), seconds=0.4)
    began = time.monotonic()
    with pytest.raises(TemporaryFailure, match=r"no whole response within 0\.4 s"):
        await client.post(receiver.url, b"", {})
    assert 0.4 <= time.monotonic() - began < 2
    await client.close()


async def test_calls_that_took_too_long_leave_no_connection_behind(receiver: Receiver) -> None:
    receiver.respond = hangs
    client = OutgoingClient(Guard(LOOPBACK_ALONE), seconds=0.5)
    calls = [client.post(receiver.url, b"", {}) for _ in range(outgoing.CONNECTIONS + 1)]
    failures = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(failure) for failure in failures} == {TemporaryFailure}
    receiver.respond = answers(204)
    assert (await client.post(receiver.url, b"", {})).status == 204
    await client.close()


async def test_a_server_that_takes_connections_and_nothing_else_keeps_no_call_either(receiver: Receiver) -> None:
    proxy = FaultProxy(receiver.url)
    await proxy.up()
    proxy.freeze()
    client = OutgoingClient(Guard(LOOPBACK_ALONE), seconds=0.4)
    for scheme in ("http", "https"):
        with pytest.raises(TemporaryFailure, match="within"):
            await client.post(f"{scheme}://127.0.0.1:{proxy.port}/", b"x" * 5_000_000, {})
    await client.close()
    await proxy.down()


@pytest.mark.parametrize(
    "respond",
    [
        repeats(HEAD + b"Content-Length: 100000000000\r\n\r\n", b"x" * 60_000),
        repeats(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"ea60\r\n" + b"x" * 60_000 + b"\r\n"),
    ],
    ids=["of a length", "chunked"],
)
async def test_of_a_body_without_end_the_beginning_is_read(
    receiver: Receiver, client: OutgoingClient, respond: Respond
) -> None:
    receiver.respond = respond
    response = await client.post(receiver.url, b"", {})
    assert len(response.body) == outgoing.LARGEST_RESPONSE
    assert len(response.answer) < 500


@pytest.mark.parametrize(
    "respond",
    [hangs_up, repeats(HEAD, b"X-Filler: " + b"x" * 60_000 + b"\r\n"), repeats(b"", b"no HTTP at all\r\n" * 1000)],
    ids=["hangs up", "headers without end", "another protocol"],
)
async def test_what_is_no_response_may_be_one_later(
    receiver: Receiver, client: OutgoingClient, respond: Respond
) -> None:
    receiver.respond = respond
    with pytest.raises(TemporaryFailure, match="no response"):
        await client.post(receiver.url, b"", {})


async def test_a_name_that_is_not_found_and_a_port_that_is_closed_may_be_there_later(client: OutgoingClient) -> None:
    async with receiving() as gone:
        pass
    with pytest.raises(TemporaryFailure, match="takes no connection"):
        await client.post(gone.url, b"", {})
    with pytest.raises(TemporaryFailure, match="was not found"):
        await client.post("https://name.invalid/", b"", {})


async def test_the_next_address_of_a_name_is_tried_when_one_takes_no_connection(receiver: Receiver) -> None:
    async def resolve(_host: str, _port: int) -> list[Address]:
        return [ip_address("127.0.0.9"), ip_address("127.0.0.1")]

    client = OutgoingClient(Guard(LOOPBACK_ALONE, resolve))
    assert (await client.post(f"http://two.example:{receiver.port}/", b"", {})).status == 204
    await client.close()


@pytest.mark.parametrize(("named", "accepted"), [("hooks.example", True), ("other.example", False)])
async def test_a_certificate_is_for_the_name_and_not_for_the_address(
    tmp_path: Path, named: str, accepted: bool
) -> None:
    authority = Authority(tmp_path)
    own = authority.issue("receiver", named)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(own.certificate, own.key)
    trusting = ssl.create_default_context(cafile=authority.file)

    async def resolve(_host: str, _port: int) -> list[Address]:
        return [ip_address("127.0.0.1")]

    allowed: tuple[Network, ...] = LOOPBACK_ALONE
    client = OutgoingClient(Guard(allowed, resolve), tls=trusting)
    async with receiving(tls=server) as receiver:
        url = f"https://hooks.example:{receiver.port}/"
        if accepted:
            assert (await client.post(url, b"", {})).status == 204
        else:
            with pytest.raises(TemporaryFailure, match="certificate"):
                await client.post(url, b"", {})
        assert len(receiver.received) == accepted
    await client.close()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("120", 120), ("0", 0), ("99999999", 86400), ("-5", None), ("soon", None), ("Thu, 01 Jan 1970 00:00:00 GMT", 0)],
)
async def test_a_server_may_say_when_to_come_again(
    receiver: Receiver, client: OutgoingClient, header: str, seconds: float | None
) -> None:
    receiver.respond = answers(503, Retry_After=header)
    with pytest.raises(TemporaryFailure) as failure:
        (await client.post(receiver.url, b"", {})).require_success()
    assert failure.value.retry_after_seconds == seconds


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (410, TargetGone),
        (400, PermanentFailure),
        (429, TemporaryFailure),
        (500, TemporaryFailure),
        (302, PermanentFailure),
    ],
)
async def test_a_status_says_whether_to_try_again(
    receiver: Receiver, client: OutgoingClient, status: int, kind: type[Exception]
) -> None:
    receiver.respond = answers(status, b"because\x1b[31m \xff")
    with pytest.raises(kind, match=rf"^HTTP {status}: because\[31m \ufffd$"):
        (await client.post(receiver.url, b"", {})).require_success(gone={410}, refused=outgoing.REFUSALS)


async def test_what_is_read_comes_with_its_headers(receiver: Receiver, client: OutgoingClient) -> None:
    receiver.respond = answers(200, b"BEGIN:VCALENDAR", ETag='"7"')
    response = await client.get(f"{receiver.url}/a.ics", {"If-None-Match": '"6"'}, largest=100)
    assert (response.status, response.headers["etag"], response.body) == (200, '"7"', b"BEGIN:VCALENDAR")
    (received,) = receiver.received
    assert (received.target, received.headers["if-none-match"], received.body) == ("/a.ics", '"6"', b"")
    assert "content-length" not in received.headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_get_follows_redirects(receiver: Receiver, client: OutgoingClient, status: int) -> None:
    async with receiving() as other:
        receiver.respond = answers(status, Location=f"{other.url}/b.ics#part")
        other.respond = answers(200, b"there")
        assert (await client.get(receiver.url, {}, largest=100)).body == b"there"
        assert other.received[0].target == "/b.ics"


async def test_a_redirect_may_be_relative(receiver: Receiver, client: OutgoingClient) -> None:
    async def respond(writer: asyncio.StreamWriter) -> None:
        first = len(receiver.received) == 1
        await (answers(302, Location="../c.ics") if first else answers(200))(writer)

    receiver.respond = respond
    assert (await client.get(f"{receiver.url}/a/b.ics", {}, largest=100)).status == 200
    assert receiver.received[1].target == "/c.ics"


@pytest.mark.parametrize("to", ["http://127.0.0.1:{port}/", "https://[::1]:{port}/", "file:///etc/passwd", "//x@y/"])
async def test_every_redirect_is_guarded(receiver: Receiver, to: str) -> None:
    client = OutgoingClient(Guard(networks("127.0.0.2/32")))
    async with receiving("127.0.0.2") as permitted:
        permitted.respond = answers(302, Location=to.format(port=receiver.port))
        with pytest.raises(PermanentFailure, match="not called"):
            await client.get(permitted.url, {}, largest=100)
    await client.close()
    assert receiver.connections == 0


@pytest.mark.parametrize("to", ["http://[/", "//[::1/a.ics", "https://a]b/"])
async def test_a_redirect_to_no_address_is_a_failure_of_the_other_side(
    receiver: Receiver, client: OutgoingClient, to: str
) -> None:
    receiver.respond = answers(302, Location=to)
    with pytest.raises(PermanentFailure, match="not called: the address must be an absolute URL"):
        await client.get(receiver.url, {}, largest=100)


async def test_redirects_end(receiver: Receiver, client: OutgoingClient) -> None:
    receiver.respond = answers(302, Location="/again")
    with pytest.raises(PermanentFailure, match="more than 5 redirects"):
        await client.get(receiver.url, {}, largest=100)
    assert len(receiver.received) == 1 + outgoing.MOST_REDIRECTS


async def test_redirects_have_the_time_of_one_call(receiver: Receiver) -> None:
    async def respond(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.15)
        await answers(302, Location="/again")(writer)

    receiver.respond = respond
    client = OutgoingClient(Guard(LOOPBACK_ALONE), seconds=0.4)
    with pytest.raises(TemporaryFailure, match=r"within 0\.4 s"):
        await client.get(receiver.url, {}, largest=100)
    assert len(receiver.received) <= 3
    await client.close()


async def test_a_body_may_have_as_many_bytes_as_are_allowed_and_no_more(
    receiver: Receiver, client: OutgoingClient
) -> None:
    receiver.respond = answers(200, b"x" * 1000)
    assert len((await client.get(receiver.url, {}, largest=1000)).body) == 1000
    for endless in (answers(200, b"x" * 1001), repeats(HEAD + b"Content-Length: 100000000000\r\n\r\n", b"x" * 60_000)):
        receiver.respond = endless
        with pytest.raises(PermanentFailure, match="more than 1,000 bytes"):
            await client.get(receiver.url, {}, largest=1000)
