"""Logout: how long an ended session is still served, by every replica, and how long its streams stay open.

A WebSocket is closed when its close frame has arrived: it says why, and nothing follows it. Its TCP connection has to
end too, while the replicas are watched; through the gateway it does so a second later (ADR 18).
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import grpc
from websockets.exceptions import ConnectionClosed, InvalidStatus

from contract import descriptors
from contract.methods import Method
from harness.accounts import Accounts, User
from prove.promises import Promise
from prove.subscribers import GrpcSubscriber, Subscriber, WebSocketSubscriber
from stack.errors import StackError
from stack.layout import LOOPBACK
from stack.stack import Stack

ALLOWED_SECONDS = 2.0
_OPEN_SECONDS = 10.0
_WATCHED_SECONDS = 3.0
_PAUSE_SECONDS = 0.1
"""Between two reads at one endpoint. There are dozens of endpoints: read faster, they are the load that is measured."""
_SIGN_IN_AGAIN = 4401
"""Close code of a WebSocket whose session ended."""


class Delay(NamedTuple):
    """How long one endpoint went on serving a session, from the instant at which its end was acknowledged."""

    endpoint: str
    seconds: float
    wrong: str = ""
    """What else is wrong; empty when nothing is."""


def reads(methods: Sequence[Method]) -> dict[str, str]:
    """By service, the path of an RPC that a signed-in user may repeat and whose empty request is valid.

    A path without a variable needs no id; a required field would show as INVALID_ARGUMENT.
    """
    found: dict[str, str] = {}
    for method in methods:
        user = method.access in descriptors.GRANTED
        if user and method.repeatable and not method.streaming and method.binding and method.binding.is_literal:
            found.setdefault(method.owner, method.grpc_path)
    return found


async def prove(stack: Stack, accounts: Accounts, users: list[User]) -> Promise:
    """Signs sessions out and watches every replica and its open streams. users: signed in for this alone."""
    found = [
        delay
        for watched in await asyncio.gather(*(_sign_out(stack, accounts, user) for user in users))
        for delay in watched
    ]
    slowest = max(found, key=lambda delay: delay.seconds)
    return Promise.unless(
        [
            f"{delay.endpoint}: {delay.wrong or f'{delay.seconds:.2f} s'}"
            for delay in found
            if delay.wrong or delay.seconds > ALLOWED_SECONDS
        ],
        f"logout holds on every replica, and closes streams, in {ALLOWED_SECONDS:.0f} s",
        f"{slowest.seconds * 1000:.0f} ms at the slowest of {len(found)} endpoints ({slowest.endpoint})",
    )


async def _sign_out(stack: Stack, accounts: Accounts, user: User) -> list[Delay]:
    streams = list(_streams(stack, user))
    opened = [asyncio.Event() for _ in streams]
    endings = [asyncio.create_task(_ending(stream, begun)) for stream, begun in zip(streams, opened, strict=True)]
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.gather(*(begun.wait() for begun in opened)), _OPEN_SECONDS)
    await asyncio.to_thread(accounts.sign_out, user)
    began = time.monotonic()
    reads = [asyncio.create_task(_read(*endpoint, user.token, began)) for endpoint in _endpoints(stack)]
    delays = list(await asyncio.gather(*reads))
    for stream, begun, ending in zip(streams, opened, endings, strict=True):
        if not ending.done():
            ending.cancel()
            delays.append(Delay(stream.name, _WATCHED_SECONDS, "is still open"))
        else:
            ended, wrong = ending.result()
            delays.append(
                Delay(stream.name, max(0.0, ended - began), wrong if begun.is_set() else f"did not open: {wrong}")
            )
    return delays


def _endpoints(stack: Stack) -> Iterator[tuple[str, str, str]]:
    """Name, RPC to read by and address of the gateway and of every replica that serves single calls."""
    known = reads(descriptors.load().rpcs)
    for replica in stack.replicas:
        if read := known.get(replica.service.name):
            yield replica.name, read, f"{LOOPBACK}:{replica.port(stack.ports)}"
        elif replica.service.websocket_port is None:
            raise StackError(
                f"nothing shows how long {replica.name} serves an ended session",
                advice="give its contract a read for users whose path has no variable, such as a list",
            )
    yield "gateway", known["todo"], stack.gateway_target


async def _read(endpoint: str, rpc: str, target: str, token: str, began: float) -> Delay:
    """Reads on, also after the first error: a session that ended must not come back.

    It counts as served until the first refusal after the last success.
    """
    refused_after: float | None = None
    wrong = "is never refused"
    async with grpc.aio.insecure_channel(target) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(rpc)
        while time.monotonic() < began + _WATCHED_SECONDS:
            try:
                await call(b"", metadata=(("authorization", f"Bearer {token}"),), timeout=5)
                refused_after = None
            except grpc.aio.AioRpcError as error:
                refused = error.code() is grpc.StatusCode.UNAUTHENTICATED
                wrong = "" if refused else f"fails with {error.code().name}"
                if refused_after is None:
                    refused_after = time.monotonic() - began
            await asyncio.sleep(_PAUSE_SECONDS)
    return Delay(endpoint, _WATCHED_SECONDS if refused_after is None else refused_after, wrong)


def _streams(stack: Stack, user: User) -> Iterator[Subscriber]:
    """One stream by each protocol to every replica, and by each through the gateway."""
    rng = random.Random()  # noqa: S311 (never used: these do not leave by themselves)
    yield WebSocketSubscriber("a WebSocket through the gateway", user, stack.gateway_target, rng)
    yield GrpcSubscriber("Subscribe through the gateway", user, stack.gateway_target, rng)
    for replica in stack.replicas:
        if (port := replica.websocket_port(stack.ports)) is not None:
            yield WebSocketSubscriber(f"a WebSocket at {replica.name}", user, f"{LOOPBACK}:{port}", rng)
            target = f"{LOOPBACK}:{replica.port(stack.ports)}"
            yield GrpcSubscriber(f"Subscribe at {replica.name}", user, target, rng)


async def _ending(stream: Subscriber, opened: asyncio.Event) -> tuple[float, str]:
    """When the stream ended, and what was wrong with the way it did."""
    wrong = ""
    try:
        async for _ in stream.frames(""):
            opened.set()
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAUTHENTICATED:
            wrong = f"ended with {error.code().name}"
    except InvalidStatus as error:
        wrong = f"was refused with {error.response.status_code}"
    except ConnectionClosed as error:
        if error.rcvd is None or error.rcvd.code != _SIGN_IN_AGAIN:
            wrong = f"was closed with {error.rcvd}"
    else:
        wrong = "ended without saying why"
    return stream.closed or time.monotonic(), wrong
