"""Rate limits of callers."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2

from envoy.settings import Allowances, Bucket
from harness.clients import CallResult, Client, Grpc, GrpcWeb, Rest, empty
from harness.rpcs import BY_NAME
from harness.waiting import wait_until
from tests.gateway.gateways import PLENTY, UNLIMITED, await_keys, endpoints
from tests.gateway.upstream import Upstream
from tests.support.gateway_process import Running, running
from tests.support.tokens import Signer

RESOURCE_EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
READ, WRITE, LOGIN, STREAM = (BY_NAME[name] for name in ("ListTasks", "CreateTask", "Login", "Subscribe"))
VERIFY, BATCH = BY_NAME["VerifyAuditRecords"], BY_NAME["BatchCreateTasks"]
SLOW = 60
ALLOWANCES = Allowances(
    address=PLENTY,
    credential=Bucket(3, 1, SLOW),
    session=Bucket(4, 1, SLOW),
    read=Bucket(5, 1, SLOW),
    write=Bucket(4, 1, SLOW),
    expensive=Bucket(3, 1, SLOW),
    stream=Bucket(2, 1, SLOW),
)


@pytest.fixture(scope="module")
def strict(upstream: Upstream, folder: Path, signer: Signer) -> Iterator[Running]:
    """A gateway with small allowances, never refilled within a test."""
    own = folder / "strict"
    own.mkdir()
    with running(Running(own, endpoints(upstream), allowances=ALLOWANCES)) as gateway:
        await_keys(gateway, signer)
        yield gateway


@pytest.fixture(params=["rest", "grpc", "grpc-web"])
def caller(request: pytest.FixtureRequest, strict: Running) -> Iterator[Client]:
    """Every way to call the strict gateway."""
    kinds = {
        "rest": lambda: Rest(strict.url),
        "grpc": lambda: Grpc(strict.target),
        "grpc-web": lambda: GrpcWeb(strict.url),
    }
    client = kinds[request.param]()
    yield client
    client.close()


def is_limited(response: CallResult) -> bool:
    if response.code != RESOURCE_EXHAUSTED:
        return False
    assert response.message == "Too many calls. Try again after the time in `retry-after`."
    assert response.detail(error_details_pb2.RetryInfo).retry_delay.seconds >= 1
    return True


def test_one_user_reads_no_more_than_allowed_and_others_go_on(caller: Client, signer: Signer) -> None:
    mine, yours = signer.token(), signer.token()

    responses = [caller.call(READ, empty(READ), mine) for _ in range(7)]

    assert [is_limited(response) for response in responses] == [False] * 5 + [True] * 2
    assert caller.call(READ, empty(READ), yours).ok


@pytest.mark.parametrize("method", ["ListTasks", "GetJwks"])
def test_who_does_not_finish_his_requests_leaves_the_service_to_others(
    gateway: Running, rest: Rest, signer: Signer, method: str
) -> None:
    done = threading.Event()
    with grpc.insecure_channel(gateway.target) as channel:
        unfinished = [
            channel.stream_unary(BY_NAME[method].grpc_path).future(
                _nothing_until(done), metadata=(("authorization", f"Bearer {signer.token()}"),), timeout=SLOW
            )
            for _ in range(90)
        ]
        try:
            others = [rest.call(BY_NAME[method], empty(BY_NAME[method]), signer.token()) for _ in range(20)]
            assert all(response.ok for response in others), others
            assert not any(call.done() for call in unfinished)
        finally:
            done.set()


def _nothing_until(done: threading.Event) -> Iterator[bytes]:
    done.wait()
    yield from ()


def test_writes_are_counted_apart_from_reads(caller: Client, signer: Signer) -> None:
    token = signer.token()

    responses = [caller.call(WRITE, empty(WRITE), token) for _ in range(6)]

    assert [is_limited(response) for response in responses] == [False] * 4 + [True] * 2
    assert caller.call(READ, empty(READ), token).ok


def test_expensive_reads_and_writes_are_counted_together_and_apart_from_others(caller: Client, signer: Signer) -> None:
    token = signer.token()

    responses = [caller.call(rpc, empty(rpc), token) for rpc in (VERIFY, BATCH, VERIFY, VERIFY, BATCH)]

    assert [is_limited(response) for response in responses] == [False] * 3 + [True] * 2
    assert caller.call(READ, empty(READ), token).ok
    assert caller.call(WRITE, empty(WRITE), token).ok


def test_another_token_of_the_same_user_is_no_new_allowance(caller: Client, signer: Signer, upstream: Upstream) -> None:
    user = f"user-of-{caller.name}"

    responses = [caller.call(READ, empty(READ), signer.token(sub=user)) for _ in range(7)]

    assert sum(map(is_limited, responses)) == 2


def test_streams_are_counted_when_they_open(strict: Running, signer: Signer) -> None:
    token = signer.token()
    rpc = Grpc(strict.target)

    responses = [rpc.call(STREAM, empty(STREAM), token) for _ in range(3)]
    rpc.close()

    assert [is_limited(response) for response in responses] == [False, False, True]


def test_rest_gets_a_retry_after_header(strict: Running, signer: Signer) -> None:
    rest, token = Rest(strict.url), signer.token()

    *_, last = [rest.get("/v1/tasks", token) for _ in range(6)]
    rest.close()

    assert (last.http, last.reason) == (429, "RATE_LIMITED")
    assert 1 <= int(last.headers["retry-after"]) <= SLOW
    assert last.detail(error_details_pb2.RetryInfo).retry_delay.seconds == int(last.headers["retry-after"])


def test_credentials_are_counted_by_address_whoever_calls(upstream: Upstream, folder: Path, signer: Signer) -> None:
    own = folder / "credentials"
    own.mkdir()
    with running(Running(own, endpoints(upstream), allowances=ALLOWANCES)) as gateway:
        await_keys(gateway, signer)
        rest, rpc = Rest(gateway.url), Grpc(gateway.target)

        responses = [
            rest.call(LOGIN, empty(LOGIN)),
            rpc.call(LOGIN, empty(LOGIN)),
            rest.call(BY_NAME["Register"], empty(BY_NAME["Register"])),
            rest.call(LOGIN, empty(LOGIN), signer.token()),
            rpc.call(BY_NAME["CreateGuest"], empty(BY_NAME["CreateGuest"])),
            rest.call(LOGIN, empty(LOGIN), headers={"x-forwarded-for": "203.0.113.9"}),
        ]

        assert [is_limited(response) for response in responses] == [False] * 3 + [True] * 3
        # Wrong passwords of a neighbour keep nobody from going on with a session, or from ending it.
        refresh, logout = BY_NAME["Refresh"], BY_NAME["Logout"]
        responses = [rest.call(each, empty(each)) for each in (refresh, logout, logout, refresh, refresh, logout)]
        assert [is_limited(response) for response in responses] == [False] * 4 + [True] * 2
        rest.close()
        rpc.close()


def test_an_address_is_limited_before_tokens_are_looked_at(upstream: Upstream, folder: Path, signer: Signer) -> None:
    own = folder / "address"
    own.mkdir()
    allowances = UNLIMITED._replace(address=Bucket(200, 200, SLOW))
    with running(Running(own, endpoints(upstream), allowances=allowances)) as gateway:
        await_keys(gateway, signer)
        rest = Rest(gateway.url)
        wait_until(lambda: is_limited(rest.get("/v1/tasks", "bad token")), "bad tokens run out of their allowance")
        assert is_limited(rest.get("/v1/nowhere"))
        rest.close()


def test_an_allowance_comes_back(upstream: Upstream, folder: Path, signer: Signer) -> None:
    own = folder / "refill"
    own.mkdir()
    allowances = ALLOWANCES._replace(read=Bucket(2, 2, 1))
    with running(Running(own, endpoints(upstream), allowances=allowances)) as gateway:
        await_keys(gateway, signer)
        rest, token = Rest(gateway.url), signer.token()
        while not is_limited(rest.get("/v1/tasks", token)):
            pass
        began = time.monotonic()
        wait_until(lambda: rest.get("/v1/tasks", token).ok, "calls are let through again")
        assert time.monotonic() - began < 3
        rest.close()
