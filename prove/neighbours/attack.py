"""What a hostile user sends to one RPC: the largest requests that are allowed, and the costliest that are refused.

It is sent from a process of its own, so that the one that measures is not busy with it, and as fast as the gateway's
default allowance of one user permits: its burst at once, then its refill.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

import grpc
import orjson
from google.protobuf.message import Message

from contract.methods import Method
from envoy.settings import Allowances, Bucket
from harness.awkward_requests import awkward_requests, largest_request
from harness.clients import rest_request
from harness.hostile_requests import hostile_requests, wrong_message
from harness.http import Pool
from harness.rpcs import descriptor, request_class
from harness.valid_requests import valid_request
from mesh.rpc.limits import RequestLimits
from mesh.runtime.ids import new_id

_CALL_SECONDS = 10.0
_MOST_IN_FLIGHT = 64
_REFUSED = 8
"""Of the hostile requests of a type, so many are sent; all of them are tried without a stack."""
_PAUSE_SECONDS = 0.005


class Rest(NamedTuple):
    """A request by REST."""

    verb: str
    path: str
    body: bytes | None


class Attack(NamedTuple):
    """Everything about one RPC that the sending process needs."""

    method: Method
    target: str
    token: str
    requests: list[bytes | Rest]
    """In protobuf or by REST, without a `request_id`; sent in turn, each of them at least once."""
    allowance: Bucket
    seconds: float
    """At least."""


def attack_on(method: Method, target: str, token: str, given: Mapping[str, Any], seconds: float, seed: int) -> Attack:
    """The attack on an RPC. given: values of its fields that must exist. seed: of the choice of what is refused."""
    rng = random.Random(seed)  # noqa: S311 (not a secret)
    # The smallest one too: a service may refuse what the rules of the contract allow.
    allowed = [valid_request(method, given), *(request for _, request in awkward_requests(method, given))]
    ids = {name: value for name, value in given.items() if not isinstance(value, Message)}
    if len(ids) < len(given):  # messages that are given are small ones
        allowed += [request for _, request in awkward_requests(method, ids)]
    refused = list(_refused(method, rng))
    rest = [_rest(method, request) for request in allowed] if method.binding and method.exposed else []
    requests = [request.SerializeToString() for request in allowed] + refused
    rng.shuffle(requests)
    return Attack(method, target, token, in_turn(requests, rest), allowance_of(method), seconds)


def in_turn(by_grpc: Sequence[bytes], by_rest: Sequence[Rest]) -> list[bytes | Rest]:
    """Each request of both once, mixed evenly."""
    shares: list[tuple[float, bytes | Rest]] = [((at + 0.5) / len(by_grpc), one) for at, one in enumerate(by_grpc)]
    shares += [((at + 0.5) / len(by_rest), one) for at, one in enumerate(by_rest)]
    return [one for _, one in sorted(shares, key=lambda each: each[0])]


def allowance_of(method: Method) -> Bucket:
    """How often one user may call; what only services call follows from writes."""
    name = method.rate.lower()
    allowances = Allowances()._asdict()
    bucket: Bucket = allowances[name] if method.exposed and name in allowances else allowances["write"]
    return bucket


def send(attack: Attack) -> Counter[str]:
    """Sends for the attack's time, and until all was sent; returns how many calls ended with which status."""
    return asyncio.run(_send(attack))


def _refused(method: Method, rng: random.Random) -> Iterator[bytes]:
    kind = descriptor(method).input_type
    size = RequestLimits(kind, largest=largest_request(method)).most_bytes
    found = [content for _, content in hostile_requests(kind, size)]
    yield from rng.sample(found, min(_REFUSED, len(found)))
    yield wrong_message(kind).SerializeToString()[:size]


def _rest(method: Method, request: Any) -> Rest:
    verb, path, query, body = rest_request(method, request)
    return Rest(verb, f"{path}?{urlencode(query)}" if query else path, None if body is None else orjson.dumps(body))


async def _send(attack: Attack) -> Counter[str]:
    codes: Counter[str] = Counter()
    channel = grpc.aio.insecure_channel(attack.target)
    sender = _Sender(attack, channel, codes)
    await send_in_turn(attack, sender.call)
    sender.close()
    await channel.close()
    return codes


async def send_in_turn(attack: Attack, call: Callable[[bytes | Rest], Coroutine[Any, Any, None]]) -> None:
    """Calls with each request in turn, as fast as is allowed, for the attack's time and until all was sent."""
    running: set[asyncio.Task[None]] = set()
    burst, refill, seconds = attack.allowance
    began, sent = time.monotonic(), 0
    while (passed := time.monotonic() - began) < attack.seconds or sent < len(attack.requests):
        allowed = min(burst + int(passed * refill / seconds), sent + _MOST_IN_FLIGHT - len(running))
        for number in range(sent, allowed):
            task = asyncio.create_task(call(attack.requests[number % len(attack.requests)]))
            running.add(task)
            task.add_done_callback(running.discard)
        sent = max(sent, allowed)
        await asyncio.sleep(_PAUSE_SECONDS)
    await asyncio.gather(*running)


class _Sender:
    """Makes the calls of an attack."""

    def __init__(self, attack: Attack, channel: grpc.aio.Channel, codes: Counter[str]) -> None:
        self._attack, self._codes = attack, codes
        self._pool = Pool(attack.target)
        self._metadata = (("authorization", f"Bearer {attack.token}"),) if attack.token else ()
        open_call: Any = channel.unary_stream if attack.method.streaming else channel.unary_unary
        self._stub = open_call(attack.method.grpc_path)
        self._kind: Any = request_class(attack.method)
        self._repeats = "request_id" in self._kind.DESCRIPTOR.fields_by_name

    def close(self) -> None:
        """Ends connections."""
        self._pool.close()

    async def call(self, request: bytes | Rest) -> None:
        """Makes a call; counts how it ended."""
        try:
            code = await (self._by_rest(request) if isinstance(request, Rest) else self._by_grpc(request))
        except (OSError, grpc.aio.UsageError) as error:
            code = type(error).__name__
        self._codes[code] += 1

    async def _by_grpc(self, content: bytes) -> str:
        if self._repeats:  # another request each time, not the stored response of the last
            content += self._kind(request_id=new_id()).SerializeToString()
        try:
            call = self._stub(content, metadata=self._metadata, timeout=_CALL_SECONDS)
            if self._attack.method.streaming:
                await call.read()
                call.cancel()
            else:
                await call
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "OK"

    async def _by_rest(self, request: Rest) -> str:
        body = request.body
        if body and self._repeats:
            body = b'{"request_id":"%s"%s' % (new_id().encode(), b"," + body[1:] if len(body) > 2 else b"}")
        response = await self._pool.request(request.verb, request.path, body, self._attack.token, _CALL_SECONDS)
        return str(response.status)
