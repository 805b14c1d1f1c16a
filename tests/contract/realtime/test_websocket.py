"""What only the WebSocket has: the handshake, and the messages that a client may send."""

import asyncio
import json
import time
from contextlib import suppress
from typing import Any

import pytest
from focusmesh.realtime.v1.realtime_event_pb2 import RealtimeEvent
from google.protobuf import json_format
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from mesh.runtime.ids import new_id
from tests.support.realtime_clients import Target, stream_of
from tests.support.realtime_replicas import Publish, Replica
from tests.support.tokens import Signer, unsigned

APP = Origin("https://app.example.org")


def address(target: Target, path: str = "/v1/realtime") -> str:
    return f"ws://{target.websocket}{path}"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def rejection(target: Target, *, path: str = "/v1/realtime", **handshake: Any) -> tuple[int, str]:
    """Status and reason with which a handshake is rejected; the body is in the shape of the REST interface."""
    with pytest.raises(InvalidStatus) as raised:
        async with connect(address(target, path), **handshake):
            pass
    response = raised.value.response
    body = json.loads(response.body or b"")
    assert response.headers["Content-Type"] == "application/json"
    assert body["message"]
    assert isinstance(body["code"], int)
    reasons = [detail["reason"] for detail in body.get("details", []) if detail["@type"].endswith("ErrorInfo")]
    return response.status_code, next(iter(reasons), "")


async def test_a_browser_sends_its_token_in_the_subprotocol_and_it_is_not_repeated(target: Target, token: str) -> None:
    offered = [Subprotocol("focusmesh.v1"), Subprotocol(f"bearer.{token}")]
    async with connect(address(target), subprotocols=offered) as socket:
        assert socket.subprotocol == "focusmesh.v1"
        assert json.loads(await socket.recv())["opened"]
        assert socket.response is not None
        assert token not in str(socket.response.headers)


async def test_a_program_sends_its_token_in_the_header(target: Target, token: str) -> None:
    async with connect(address(target), additional_headers=bearer(token)) as socket:
        assert socket.subprotocol is None
        assert json.loads(await socket.recv())["opened"]


async def test_a_token_in_the_address_is_not_taken(target: Target, token: str) -> None:
    assert await rejection(target, path=f"/v1/realtime?token={token}&access_token={token}") == (401, "TOKEN_MISSING")


async def test_frames_are_the_json_form_of_the_contract(target: Target, token: str, publish: Publish) -> None:
    async with connect(address(target), additional_headers=bearer(token)) as socket:
        await socket.recv()
        published = await publish(title="Buy groceries", nothing=None)
        text = await socket.recv()
    shown = json.loads(text)
    assert list(shown) == ["cursor", "change"]
    assert shown["change"]["eventId"] == published
    assert shown["change"]["payload"] == {"title": "Buy groceries", "nothing": None}
    frame = json_format.Parse(text, RealtimeEvent())
    assert json_format.MessageToDict(frame, always_print_fields_with_no_presence=True) == shown


@pytest.mark.parametrize("token", ["", "x", "a.b.c", unsigned({"sub": "x"}, "test-key")])
async def test_a_bad_token_is_refused_at_the_handshake(target: Target, token: str) -> None:
    assert await rejection(target, additional_headers=bearer(token)) == (401, "TOKEN_INVALID")


async def test_an_expired_or_foreign_token_is_refused_at_the_handshake(target: Target, signer: Signer) -> None:
    assert await rejection(target, additional_headers=bearer(signer.token(exp=1))) == (401, "TOKEN_INVALID")
    assert await rejection(target, additional_headers=bearer(Signer().token())) == (401, "TOKEN_INVALID")
    assert await rejection(target, additional_headers=bearer(signer.token(aud="other"))) == (403, "TOKEN_INVALID")


async def test_a_token_without_the_scope_is_refused_at_the_handshake(target: Target, signer: Signer) -> None:
    headers = bearer(signer.token(scope="tasks:read"))
    assert await rejection(target, additional_headers=headers) == (403, "SCOPE_MISSING")


async def test_any_other_path_is_not_there(target: Target, token: str) -> None:
    for path in ("/", "/v1/realtime/", "/v1/realtime/x", "//v1/realtime"):
        assert (await rejection(target, path=path, additional_headers=bearer(token)))[0] == 404


async def test_only_pages_of_our_own_may_connect(replica: Replica, token: str) -> None:
    target = await replica(allowed_origins=f"https://other.example.org, {APP}")
    async with connect(address(target), origin=APP, additional_headers=bearer(token)) as socket:
        await socket.recv()
    for origin in ("https://evil.example", "null", f"{APP}.evil.example", "http://app.example.org"):
        rejected = await rejection(target, origin=Origin(origin), additional_headers=bearer(token))
        assert rejected == (403, "ORIGIN_REFUSED")


@pytest.mark.parametrize("origins", [[APP, APP], [APP, "https://evil.example"], ["https://evil.example", APP], ["//["]])
async def test_a_page_has_one_origin(replica: Replica, token: str, origins: list[str]) -> None:
    target = await replica(allowed_origins=APP)
    headers = [*bearer(token).items(), *(("Origin", origin) for origin in origins)]
    assert await rejection(target, additional_headers=headers) == (403, "ORIGIN_REFUSED")


@pytest.mark.parametrize("path", ["//[", "//", "/[", "/v1/realtime;x"])
async def test_a_path_that_is_no_address_is_not_there(target: Target, token: str, path: str) -> None:
    assert (await rejection(target, path=path, additional_headers=bearer(token)))[0] == 404


async def test_a_client_may_send_its_cursor_first(target: Target, token: str, publish: Publish) -> None:
    async with connect(address(target), additional_headers=bearer(token)) as socket:
        cursor = json.loads(await socket.recv())["cursor"]
    missed = [await publish(), await publish()]
    async with connect(address(target), additional_headers=bearer(token)) as socket:
        stream = stream_of(socket)
        await socket.send(json.dumps({"cursor": cursor}))
        assert await stream.events(2) == missed
        published = await publish()
        assert await stream.events(1) == [published]


async def test_a_cursor_after_the_first_change_is_refused(target: Target, token: str, publish: Publish) -> None:
    async with connect(address(target), additional_headers=bearer(token)) as socket:
        stream = stream_of(socket)
        cursor = (await stream.frame()).cursor
        await publish()
        await stream.events(1)
        await socket.send(json.dumps({"cursor": cursor}))
        ended = await stream.end()
    assert (ended.code, ended.reason) == (1008, "CURSOR_INVALID")


@pytest.mark.parametrize("said", [
    "", "x", "{", "[]", "{}", '{"cursor": 1}', '{"cursor": ""}', '{"cursor": "x"}', '"1-0"', b"\xff\x00", "1" * 1000,
    '{"cursor": "\U0001f600"}', "[" * 500,
])  # fmt: skip
async def test_a_client_that_sends_anything_else_is_cut(target: Target, token: str, said: str | bytes) -> None:
    async with connect(address(target), additional_headers=bearer(token)) as socket:
        stream = stream_of(socket)
        await stream.frame()
        await socket.send(said)
        ended = await stream.end()
    assert (ended.code, ended.reason) == (1008, "CURSOR_INVALID")


async def test_a_long_message_is_cut_before_it_is_read(target: Target, token: str) -> None:
    async with connect(address(target), additional_headers=bearer(token)) as socket:
        stream = stream_of(socket)
        await stream.frame()
        await socket.send("x" * 100_000)
        assert (await stream.end()).code == 1009


async def test_a_ping_gets_its_pong(target: Target, token: str) -> None:
    async with connect(address(target), additional_headers=bearer(token)) as socket:
        await socket.recv()
        async with asyncio.timeout(5):
            await (await socket.ping())


async def test_a_client_that_says_a_cursor_again_and_again_is_closed(target: Target, token: str) -> None:
    async with connect(address(target), additional_headers=bearer(token)) as socket:
        cursor = json.loads(await socket.recv())["cursor"]
        with suppress(ConnectionClosed):
            while True:
                await socket.send(json.dumps({"cursor": cursor}))
                await socket.recv()
    assert (socket.close_code, socket.close_reason) == (1013, "TOO_MANY_MESSAGES")


async def test_a_flood_of_pings_closes_its_own_connection_and_takes_no_more_of_the_loop(
    target: Target, token: str, signer: Signer
) -> None:
    async with (
        connect(address(target), additional_headers=bearer(token)) as socket,
        connect(address(target), additional_headers=bearer(signer.token(sub=new_id()))) as other,
    ):
        await other.recv()
        empty_ping = bytes([0x89, 0x80, 0, 0, 0, 0])
        begun = time.thread_time()
        socket.transport.write(empty_ping * 40_000)
        await asyncio.wait_for(socket.wait_closed(), 10)
        assert time.thread_time() - begun < 0.2  # of both ends and everything else; answering all took 0.7 s
        await (await other.ping())
    assert (socket.close_code, socket.close_reason) == (1013, "TOO_MANY_MESSAGES")


async def test_a_client_that_pings_every_second_stays(replica: Replica, token: str, publish: Publish) -> None:
    target = await replica(messages_burst=3, messages_per_second=50.0)
    async with connect(address(target), additional_headers=bearer(token)) as socket:
        await socket.recv()
        for _ in range(20):
            await (await socket.ping())
            await asyncio.sleep(0.03)  # what the client does: it is the rate that is tested
        published = await publish()
        assert json.loads(await socket.recv())["change"]["eventId"] == published
