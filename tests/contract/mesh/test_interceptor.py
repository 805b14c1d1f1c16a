"""The interceptor, in all four call shapes."""

import asyncio
import time

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from redis.asyncio import Redis

from harness.waiting import until
from mesh.rpc import revocations
from mesh.rpc.admission import RETRY_SECONDS
from mesh.rpc.identity import Tokens
from mesh.rpc.interceptor import Interceptor
from mesh.rpc.policy import PolicyMissingError
from mesh.rpc.revocations import Revocations
from mesh.rpc.service_identity import Callers
from mesh.runtime.ids import new_id
from tests.contract.mesh.shapes import MOST_CALLS, SHAPES, Caller, Shapes, declare, register
from tests.support import tokens
from tests.support.errors import refused
from tests.support.serving import SignerKeys
from tests.support.tokens import Signer

every_shape = pytest.mark.parametrize("method", SHAPES)


@every_shape
async def test_a_call_with_a_good_token_reaches_its_handler(call: Caller, signer: Signer, method: str) -> None:
    assert " ".join(await call(method, "a", "b", token=signer.token())) == "a b"


@pytest.mark.parametrize("method", ["Once", "Many"])
async def test_a_call_without_a_request_is_refused_at_once(call: Caller, signer: Signer, method: str) -> None:
    with refused("INVALID_REQUEST") as error:
        await call.without_request(method, token=signer.token())
    assert (error.code, error.message) == (grpc.StatusCode.INVALID_ARGUMENT, "request: is missing")


@every_shape
async def test_the_caller_is_whom_the_token_names(call: Caller, signer: Signer, method: str) -> None:
    user = new_id()
    assert await call(method, "who", token=signer.token(sub=user)) == [user]


@every_shape
async def test_a_handler_is_given_the_context_of_grpc_itself(call: Caller, signer: Signer, method: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call(method, "abort", token=signer.token())
    assert error.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert error.value.details() == "aborted by its handler"
    assert ("x-aborted", "yes") in tuple(error.value.trailing_metadata())


async def test_each_of_many_calls_at_once_sees_its_own_caller(call: Caller, signer: Signer) -> None:
    names = [new_id(), new_id(), new_id()]
    seen = await asyncio.gather(*(call("Chat", "who", "who", token=signer.token(sub=name)) for name in names))
    assert seen == [[name, name] for name in names]


@every_shape
async def test_an_error_reaches_the_caller_with_its_reason(call: Caller, signer: Signer, method: str) -> None:
    with refused("NOTHING_THERE", thing_id="t1") as error:
        await call(method, "refuse", token=signer.token())
    assert (error.code, error.domain) == (grpc.StatusCode.NOT_FOUND, "shapes.focusmesh")


@every_shape
async def test_an_unexpected_error_shows_nothing_but_where_to_look(call: Caller, signer: Signer, method: str) -> None:
    with refused("INTERNAL") as error:
        await call(method, "break", token=signer.token())
    assert error.code is grpc.StatusCode.INTERNAL
    assert "hunter2" not in error.message
    assert error.metadata["error_id"] in error.message


@every_shape
async def test_a_call_that_takes_too_long_is_refused_before_its_caller_gives_up(
    call: Caller, signer: Signer, method: str
) -> None:
    with refused("DEADLINE_EXCEEDED") as error:
        await call(method, "wait", token=signer.token(), timeout=2)
    assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("method", ["Once", "Many"])
async def test_a_call_whose_request_does_not_come_ends_in_time_and_keeps_no_place(
    call: Caller, signer: Signer, method: str
) -> None:
    async def wait() -> None:
        with refused("DEADLINE_EXCEEDED") as error:
            await call.silent(method, token=signer.token())
        assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED

    waiting = [asyncio.create_task(wait()) for _ in range(MOST_CALLS + 1)]
    assert await call(method, "a", token=signer.token()) == ["a"]
    await asyncio.gather(*waiting)


@every_shape
@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": int(time.time()) - 1}, "TOKEN_INVALID"),
        ({"exp": int(time.time()) + 3600}, "TOKEN_INVALID"),
        ({"iss": "https://elsewhere.example"}, "TOKEN_INVALID"),
        ({"aud": "another-api"}, "TOKEN_INVALID"),
        ({"sid": None}, "TOKEN_INVALID"),
        ({"sid": ["a", "b"]}, "TOKEN_INVALID"),
        ({"sid": "session"}, "TOKEN_INVALID"),
        ({"sub": "ada"}, "TOKEN_INVALID"),
        ({"sub": ""}, "TOKEN_INVALID"),
        ({"iat": float("inf")}, "TOKEN_INVALID"),
        ({"exp": float("inf")}, "TOKEN_INVALID"),
        ({"exp": {}}, "TOKEN_INVALID"),
        ({"guest": []}, "TOKEN_INVALID"),
        ({"scope": "tasks:write"}, "SCOPE_MISSING"),
    ],
    ids=[
        *("expired", "lives too long", "another issuer", "another audience", "no session", "many sessions"),
        *("a session that is no UUID", "a user that is no UUID", "nobody", "issued never", "expires never"),
        *("expires at no number", "a guest until no number", "without the scope"),
    ],
)
async def test_a_token_that_does_not_hold_is_refused(
    call: Caller, signer: Signer, method: str, claims: dict[str, object], reason: str
) -> None:
    with refused(reason):
        await call(method, "a", token=signer.token(**claims))


@every_shape
@pytest.mark.parametrize(
    "content", [b"\x0a\x02\xff\xfe", b"\x0a\xff"], ids=["text is not UTF-8", "bytes are no message"]
)
async def test_bytes_that_are_no_message_are_refused(call: Caller, signer: Signer, method: str, content: bytes) -> None:
    with refused("INVALID_REQUEST") as error:
        await call.raw(method, content, token=signer.token())
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "google.protobuf.StringValue" in error.message


@every_shape
async def test_a_message_of_more_fields_than_its_type_has_is_refused(call: Caller, signer: Signer, method: str) -> None:
    with refused("INVALID_REQUEST") as error:
        await call.raw(method, b"\x10\x01" * 10_000, token=signer.token())
    assert "fields" in error.message


@every_shape
async def test_a_request_is_not_validated_before_its_caller_is_known(call: Caller, method: str) -> None:
    with refused("TOKEN_INVALID"):
        await call.raw(method, b"\x0a\xff", token="nonsense")


async def test_calls_beyond_the_limit_are_refused_before_they_are_read_and_health_still_responds(
    call: Caller, signer: Signer
) -> None:
    token = signer.token()
    waiting = [asyncio.create_task(call("Once", "wait", token=token, timeout=3)) for _ in range(MOST_CALLS)]
    try:

        async def refuses() -> bool:
            try:
                await call("Once", "a", token="nonsense")
            except grpc.aio.AioRpcError as error:
                return error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            return False

        await until(refuses, "as many calls run as may", seconds=2)
        for method in ("Once", "Collect"):
            with refused("OVERLOADED") as error:
                await call(method, "a", token=token)
            assert error.code is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert error.retry_after == RETRY_SECONDS
        assert await call.healthy()
        assert await call("Chat", "a", token=token) == ["a"]
    finally:
        for each in waiting:
            each.cancel()

    async def serves() -> bool:
        try:
            return await call("Once", "a", token=token) == ["a"]
        except grpc.aio.AioRpcError:
            return False

    await until(serves, "nothing is done any more for callers who have gone", seconds=2)


async def test_open_streams_have_a_limit_of_their_own(call: Caller, signer: Signer) -> None:
    token = signer.token()
    running = [call.open(token) for _ in range(MOST_CALLS)]
    for chat in running:
        await chat.write(StringValue(value="a"))
        assert (await chat.read()).value == "a"
    with refused("OVERLOADED"):
        await call("Chat", "a", token=token)
    assert await call("Once", "a", token=token) == ["a"]
    for chat in running:
        await chat.done_writing()
        assert await chat.code() is grpc.StatusCode.OK
    assert await call("Chat", "a", token=token) == ["a"]


async def test_a_token_from_the_future_is_refused(call: Caller, signer: Signer) -> None:
    later = int(time.time()) + 3600
    with refused("TOKEN_INVALID"):
        await call("Once", "a", token=signer.token(iat=later, exp=later + 300))


async def test_tokens_of_other_kinds_are_refused(call: Caller, signer: Signer) -> None:
    payload = tokens.claims()
    for token in (
        tokens.unsigned(payload, signer.kid),
        tokens.symmetric(payload, signer.kid, signer.public_bytes),
        Signer(kid=signer.kid).token(),
        Signer(kid="unknown").token(),
        "nonsense",
    ):
        with refused("TOKEN_INVALID"):
            await call("Once", "a", token=token)
    with refused("TOKEN_MISSING"):
        await call("Once", "a")


async def test_a_session_that_ended_is_refused_at_once_also_with_a_cached_token(
    call: Caller, signer: Signer, valkey: str
) -> None:
    session = new_id()
    token = signer.token(sid=session)
    assert await call("Once", "a", token=token) == ["a"]
    async with Redis.from_url(valkey) as redis:
        member = revocations.session_member(session)
        await revocations.push(redis, member, time.time() + 60)

    async def ended() -> bool:
        try:
            await call("Once", "a", token=token)
        except grpc.aio.AioRpcError as error:
            return error.code() is grpc.StatusCode.UNAUTHENTICATED
        return False

    await until(ended, "the session's token is refused", seconds=2)


async def test_a_method_without_a_policy_stops_the_start(valkey: str, signer: Signer) -> None:
    declare("focusmesh.shapes.v1.UnruledService", None)
    known = Revocations(Redis.from_url(valkey))
    interceptor = Interceptor(
        Tokens(SignerKeys(signer), known, issuer="i", audience="a"),
        Callers("shapes"),
        None,
        most_calls=1,
        most_streams=1,
    )
    with pytest.raises(PolicyMissingError, match="UnruledService"):
        register("focusmesh.shapes.v1.UnruledService", Shapes(), interceptor)
