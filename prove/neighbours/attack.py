"""What a hostile user sends to one RPC: the largest requests that are allowed, and the costliest that are refused.

It is sent from a process of its own, so that the one that measures is not busy with it, and as fast as the gateway's
default allowance of one user permits: its burst at once, then its refill.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

import grpc
import orjson

from contract.methods import Method
from envoy.settings import Allowances, Bucket
from harness.awkward_requests import awkward_requests, largest_request
from harness.clients import rest_request
from harness.hostile_requests import hostile_requests, wrong_message
from harness.http import Pool
from harness.rpcs import descriptor, request_class
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
    requests: list[bytes]
    """In protobuf, without a `request_id`."""
    by_rest: list[Rest]
    allowance: Bucket
    seconds: float


def attack_on(method: Method, target: str, token: str, given: Mapping[str, Any], seconds: float, seed: int) -> Attack:
    """The attack on an RPC. given: values of its fields that must exist. seed: of the choice of what is refused."""
    rng = random.Random(seed)  # noqa: S311 (not a secret)
    allowed = [request for _, request in awkward_requests(method, given)]
    refused = list(_refused(method, rng))
    rest = [_rest(method, request) for request in allowed] if method.binding and method.exposed else []
    requests = [request.SerializeToString() for request in allowed] + refused
    rng.shuffle(requests)
    return Attack(method, target, token, requests, rest, allowance_of(method), seconds)


def allowance_of(method: Method) -> Bucket:
    """How often one user may call; what only services call follows from writes."""
    name = method.rate.lower()
    allowances = Allowances()._asdict()
    bucket: Bucket = allowances[name] if method.exposed and name in allowances else allowances["write"]
    return bucket


def send(attack: Attack) -> Counter[str]:
    """Sends for the attack's time; returns how many calls ended with which status."""
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
    running: set[asyncio.Task[None]] = set()
    burst, refill, seconds = attack.allowance
    channel = grpc.aio.insecure_channel(attack.target)
    sender = _Sender(attack, channel, codes)
    began, sent = time.monotonic(), 0
    while (passed := time.monotonic() - began) < attack.seconds:
        allowed = min(burst + int(passed * refill / seconds), sent + _MOST_IN_FLIGHT - len(running))
        for number in range(sent, allowed):
            task = asyncio.create_task(sender.call(number))
            running.add(task)
            task.add_done_callback(running.discard)
        sent = max(sent, allowed)
        await asyncio.sleep(_PAUSE_SECONDS)
    await asyncio.gather(*running)
    sender.close()
    await channel.close()
    return codes


class _Sender:
    """Makes the calls of an attack by turns, half of them by REST where that is possible."""

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

    async def call(self, number: int) -> None:
        """Makes a call; counts how it ended."""
        try:
            if self._attack.by_rest and number % 2:
                code = await self._by_rest(self._attack.by_rest[number // 2 % len(self._attack.by_rest)])
            else:
                code = await self._by_grpc(self._attack.requests[number // 2 % len(self._attack.requests)])
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
