"""Calls to another service, whose responses the test decides: tokens, traces, deadlines, further attempts, errors."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from focusmesh.policy.v1 import policy_pb2
from focusmesh.todo.v1 import task_service_pb2 as pb
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor_pb2 import MethodOptions
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from mesh.platform import Platform
from mesh.rpc.client import ServiceClient, UnexpectedResponse
from mesh.rpc.server import NOT_SERVING, SERVING
from mesh.rpc.service_identity import Callers, ServiceSigner
from mesh.rpc.status import CalleeError, abort
from mesh.runtime import errors
from mesh.runtime.errors import DependencyUnavailable, ServiceError
from mesh.runtime.telemetry import ServerSpan, SpanKind, new_traceparent
from tests.support.gateway_process import free_ports
from tests.support.serving import SignerKeys, settings_for
from tests.support.tokens import Signer

SERVICE = "focusmesh.ledger.v1.LedgerService"
METHODS = {
    "Read": MethodOptions.NO_SIDE_EFFECTS,
    "Write": MethodOptions.IDEMPOTENT,
    "Append": MethodOptions.IDEMPOTENCY_UNKNOWN,
}
KEY = Ed25519PrivateKey.generate()
REPEATABLE = pb.CreateTaskRequest(title="a", request_id="0198c0de-0000-7000-8000-000000000000")
ONCE_ONLY = pb.CreateTaskRequest(title="a")


class NothingThere(errors.NotFound):
    """The ledger has an error of its own."""

    reason = "NOTHING_THERE"
    message = "There is no entry {entry_id}."
    domain = "ledger.focusmesh"


@pytest.fixture(scope="session", autouse=True)
def _declared() -> None:
    """Adds the ledger to the descriptor pool."""
    file = descriptor_pb2.FileDescriptorProto(name="ledger.proto", package="focusmesh.ledger.v1", syntax="proto3")
    file.dependency.append(pb.DESCRIPTOR.name)
    service = file.service.add(name="LedgerService")
    for name, level in METHODS.items():
        method = service.method.add(
            name=name,
            input_type=".focusmesh.todo.v1.CreateTaskRequest",
            output_type=".focusmesh.todo.v1.CreateTaskResponse",
        )
        method.options.idempotency_level = level
        rule = policy_pb2.Rule(access=policy_pb2.ACCESS_INTERNAL, callers=["pomodoro"], rate=policy_pb2.RATE_CLASS_READ)
        method.options.Extensions[policy_pb2.rule].CopyFrom(rule)
    descriptor_pool.Default().Add(file)


class Ledger:
    """A callee that ends its first calls as given, and succeeds in all after them."""

    def __init__(self, *endings: grpc.StatusCode | ServiceError | str) -> None:
        """endings: a status without details, an error, or `hang`."""
        self.endings = list(endings)
        self.calls: list[dict[str, str | bytes]] = []

    async def serve(self, _request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        self.calls.append(dict(context.invocation_metadata() or ()))
        ending = self.endings.pop(0) if self.endings else None
        if ending == "hang":
            await asyncio.Event().wait()
        if isinstance(ending, grpc.StatusCode):
            await context.abort(ending, "secret of the callee")
        if isinstance(ending, ServiceError):
            await abort(context, ending, "ledger.focusmesh")
        return b""


class Health(health.aio.HealthServicer):
    """Records whether a client asks for it."""

    def __init__(self) -> None:
        super().__init__()
        self.watched = asyncio.Event()

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:
        self.watched.set()
        await super().Watch(request, context)


@asynccontextmanager
async def listening(ledger: Ledger, port: int, *, serving: bool = True) -> AsyncIterator[Health]:
    """Runs the callee."""
    server = grpc.aio.server()
    handlers = {name: grpc.unary_unary_rpc_method_handler(ledger.serve) for name in METHODS}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    state = Health()
    await state.set("", SERVING if serving else NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(state, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield state
    finally:
        await server.stop(None)


@pytest.fixture
def ports() -> list[int]:
    """Two ports on which nobody listens."""
    return free_ports(2)


@pytest.fixture
async def client(ports: list[int]) -> AsyncIterator[ServiceClient]:
    """Calls of pomodoro to either port."""
    target = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)
    client = ServiceClient("ledger", target, ServiceSigner("pomodoro", KEY), None)
    yield client
    await client.close()


async def call(
    client: ServiceClient, method: str = "Read", request: pb.CreateTaskRequest = ONCE_ONLY, timeout: float | None = None
) -> pb.CreateTaskResponse:
    """What a generated stub does."""
    stub = client.channel.unary_unary(
        f"/{SERVICE}/{method}", pb.CreateTaskRequest.SerializeToString, pb.CreateTaskResponse.FromString
    )
    response: pb.CreateTaskResponse = await stub(request, timeout=timeout)
    return response


async def test_a_call_carries_a_token_for_the_callee_alone(client: ServiceClient, ports: list[int]) -> None:
    ledger = Ledger()
    async with listening(ledger, ports[0]):
        await call(client)
        await call(client)
    first, second = ledger.calls
    assert first["authorization"] == second["authorization"]
    assert Callers("ledger", [("pomodoro", KEY.public_key())]).verify(first) == "pomodoro"
    claims = jwt.decode(str(first["authorization"])[7:], options={"verify_signature": False})
    assert claims["aud"] == "ledger"
    assert claims["exp"] - claims["iat"] <= 60


async def test_a_call_goes_on_in_the_trace_of_what_is_worked_on(client: ServiceClient, ports: list[int]) -> None:
    ledger, traceparent = Ledger(), new_traceparent()
    async with listening(ledger, ports[0]):
        await call(client)
        span = ServerSpan("event", traceparent, SpanKind.CONSUMER, {})
        await call(client)
        span.end("OK")
    assert [sent.get("traceparent") for sent in ledger.calls] == [None, traceparent]


UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(("method", "request_"), [("Read", ONCE_ONLY), ("Write", REPEATABLE)])
async def test_what_is_safe_to_repeat_is_tried_again(
    client: ServiceClient, ports: list[int], method: str, request_: pb.CreateTaskRequest
) -> None:
    ledger = Ledger(UNAVAILABLE, UNAVAILABLE, UNAVAILABLE)
    async with listening(ledger, ports[0]):
        await call(client, method, request_)
    assert len(ledger.calls) == 4


async def test_the_attempts_are_bounded(client: ServiceClient, ports: list[int]) -> None:
    ledger = Ledger(*[UNAVAILABLE] * 9)
    async with listening(ledger, ports[0]):
        with pytest.raises(DependencyUnavailable):
            await call(client)
    assert len(ledger.calls) == 4


@pytest.mark.parametrize(("method", "request_"), [("Write", ONCE_ONLY), ("Append", REPEATABLE)])
async def test_what_may_have_had_an_effect_is_tried_once(
    client: ServiceClient, ports: list[int], method: str, request_: pb.CreateTaskRequest
) -> None:
    ledger = Ledger(UNAVAILABLE)
    async with listening(ledger, ports[0]):
        with pytest.raises(DependencyUnavailable):
            await call(client, method, request_)
    assert len(ledger.calls) == 1


async def test_a_callee_that_is_too_busy_to_take_a_call_up_is_asked_again(
    client: ServiceClient, ports: list[int]
) -> None:
    ledger = Ledger(grpc.StatusCode.CANCELLED)
    async with listening(ledger, ports[0]):
        await call(client)
    assert len(ledger.calls) == 2


@pytest.mark.parametrize(
    "code",
    [code for code in grpc.StatusCode if code not in (UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.OK)],
)
async def test_only_a_callee_that_is_away_is_tried_again(
    client: ServiceClient, ports: list[int], code: grpc.StatusCode
) -> None:
    ledger = Ledger(code)
    async with listening(ledger, ports[0]):
        with pytest.raises(Exception):  # noqa: B017, PT011 (which one, the table of errors below says)
            await call(client)
    assert len(ledger.calls) == 1


async def test_no_attempt_is_made_after_the_deadline(client: ServiceClient, ports: list[int]) -> None:
    ledger, started = Ledger(*[UNAVAILABLE] * 9), time.monotonic()
    async with listening(ledger, ports[0]):
        await call_once_connected(client, ledger)
        with pytest.raises(DependencyUnavailable):
            await call(client, timeout=0.02)
    assert time.monotonic() - started < 1
    assert len(ledger.calls) <= 2


async def call_once_connected(client: ServiceClient, ledger: Ledger) -> None:
    """So that what follows does not begin with a connection."""
    endings, ledger.endings = ledger.endings, []
    await call(client)
    ledger.endings = endings


async def test_a_callee_that_is_away_is_unavailable_at_once(client: ServiceClient) -> None:
    started = time.monotonic()
    with pytest.raises(DependencyUnavailable) as raised:
        await call(client)
    assert raised.value.dependency == "ledger"
    assert time.monotonic() - started < 2


async def test_a_callee_that_does_not_respond_is_unavailable_at_the_deadline(
    client: ServiceClient, ports: list[int]
) -> None:
    ledger, started = Ledger("hang"), time.monotonic()
    async with listening(ledger, ports[0]):
        with pytest.raises(DependencyUnavailable):
            await call(client, timeout=0.5)
    assert 0.4 < time.monotonic() - started < 2
    assert len(ledger.calls) == 1


async def test_a_callee_that_accepts_connections_and_is_silent_is_unavailable_at_the_deadline(
    client: ServiceClient, ports: list[int]
) -> None:
    silent = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", ports[0])
    started = time.monotonic()
    async with silent:
        with pytest.raises(DependencyUnavailable):
            await call(client, timeout=0.5)
    assert time.monotonic() - started < 2


async def test_a_callee_that_comes_back_is_called_again(client: ServiceClient, ports: list[int]) -> None:
    with pytest.raises(DependencyUnavailable):
        await call(client, timeout=0.3)
    async with listening(Ledger(), ports[0]), asyncio.timeout(5):
        while True:
            try:
                await call(client)
                break
            except DependencyUnavailable:
                await asyncio.sleep(0)


async def test_replicas_are_called_in_turn_as_long_as_they_serve(client: ServiceClient, ports: list[int]) -> None:
    first, second, draining = Ledger(), Ledger(), Ledger()
    async with listening(second, ports[1]):
        async with listening(first, ports[0]):
            while not (first.calls and second.calls):
                await call(client)
        async with listening(draining, ports[0], serving=False) as asked:
            await asyncio.wait_for(asked.watched.wait(), 5)
            for _ in range(20):
                await call(client)
    assert draining.calls == []


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (NothingThere(entry_id="e1"), CalleeError),
        (errors.VersionConflict(etag="2"), CalleeError),
        (errors.Overloaded(), DependencyUnavailable),
        (errors.DependencyUnavailable("database"), DependencyUnavailable),
        (errors.DeadlineExceeded(), DependencyUnavailable),
        (errors.TokenMissing(), UnexpectedResponse),
        (errors.ServiceTokenInvalid(), UnexpectedResponse),
        (errors.CallerNotAllowed(service="pomodoro"), UnexpectedResponse),
        (errors.InternalOnly(), UnexpectedResponse),
        (errors.InvalidRequest(summary="title"), UnexpectedResponse),
        (errors.RequestIdReused(request_id="r1"), UnexpectedResponse),
        (errors.Internal(error_id="e1"), UnexpectedResponse),
        (grpc.StatusCode.UNAVAILABLE, DependencyUnavailable),
        (grpc.StatusCode.CANCELLED, DependencyUnavailable),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, DependencyUnavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, DependencyUnavailable),
        (grpc.StatusCode.UNKNOWN, UnexpectedResponse),
        (grpc.StatusCode.UNIMPLEMENTED, UnexpectedResponse),
        (grpc.StatusCode.NOT_FOUND, UnexpectedResponse),
    ],
    ids=lambda value: getattr(value, "reason", None) or getattr(value, "name", None),
)
async def test_only_what_the_callee_declares_is_passed_on(
    client: ServiceClient, ports: list[int], ending: grpc.StatusCode | ServiceError, expected: type[Exception]
) -> None:
    async with listening(Ledger(ending), ports[0]):
        with pytest.raises(expected) as raised:
            await call(client, "Append")
    assert type(raised.value) is expected


async def test_an_error_that_the_callee_declares_keeps_its_details(client: ServiceClient, ports: list[int]) -> None:
    async with listening(Ledger(NothingThere(entry_id="e1")), ports[0]):
        with pytest.raises(CalleeError, match="There is no entry e1") as raised:
            await call(client)
    error = raised.value
    assert (error.code, error.reason, error.domain) == (grpc.StatusCode.NOT_FOUND, "NOTHING_THERE", "ledger.focusmesh")
    assert error.metadata == {"entry_id": "e1"}


@pytest.mark.parametrize(
    ("changes", "named"),
    [({}, "FOCUSMESH_CALL_TARGETS"), ({"call_targets": "auth=127.0.0.1:1"}, "FOCUSMESH_SERVICE_KEY_FILE")],
)
async def test_a_caller_without_an_address_or_a_key_says_which(changes: dict[str, str], named: str) -> None:
    platform = Platform("ledger", settings_for(redis_url="redis://127.0.0.1:1", **changes), SignerKeys(Signer()))
    with pytest.raises(ValueError, match=named):
        platform.client("auth")
