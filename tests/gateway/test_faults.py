"""Services that are slow, away or dying."""

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from harness.clients import CallResult, Client, Grpc, GrpcWeb, Rest, empty
from harness.rpcs import BY_NAME, response_class
from harness.waiting import wait_until
from tests.gateway.behaviours import refusing
from tests.gateway.gateways import UNLIMITED, await_keys, endpoints, published, two_replicas
from tests.gateway.upstream import Behaviour, Upstream
from tests.support.gateway_process import Running, running
from tests.support.ports import LOOPBACK, free_ports
from tests.support.tokens import Signer

DEADLINE_EXCEEDED = grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE.value[0]
GET, CREATE, VERIFY, SUBSCRIBE = (BY_NAME[n] for n in ("GetTask", "CreateTask", "VerifyAuditRecords", "Subscribe"))


def never(cancelled: threading.Event | None = None) -> Behaviour:
    """Never responds; `cancelled` is set when the gateway gives up."""

    async def behaviour(*_: object) -> Message:
        try:
            await asyncio.Event().wait()
        finally:
            if cancelled:
                cancelled.set()
        raise AssertionError

    return behaviour


@contextmanager
def load(call: Callable[[], CallResult], workers: int = 4) -> Iterator[list[CallResult]]:
    """Calls without a pause while it lasts; the responses are complete afterwards."""
    responses: list[CallResult] = []
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            responses.append(call())

    with ThreadPoolExecutor(workers) as pool:
        working = [pool.submit(go_on) for _ in range(workers)]
        try:
            yield responses
        finally:
            stop.set()
            for worker in working:
                worker.result()


@contextmanager
def hanging_service(port: int) -> Iterator[subprocess.Popen[str]]:
    """A service that takes calls and never responds, in a process of its own."""
    command = [sys.executable, "-m", "tests.gateway.hanging", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "serving\n"
            yield process
        finally:
            process.kill()


def _avoids(replica: Upstream, call: Callable[[], bool]) -> bool:
    """Whether none of several calls, all of which succeed, goes to the replica."""
    before = len(replica.calls(GET))
    assert all(call() for _ in range(20))
    return len(replica.calls(GET)) == before


class TestDeadlines:
    def test_a_call_that_takes_too_long_ends_at_the_deadline_of_the_contract(
        self, rest: Rest, rpc: Grpc, web: GrpcWeb, upstream: Upstream, token: str
    ) -> None:
        cancelled = threading.Event()
        with upstream.behaving(CREATE, never(cancelled)), ThreadPoolExecutor() as pool:
            responses = list(pool.map(lambda client: client.call(CREATE, empty(CREATE), token), (rest, rpc, web)))

        assert {response.code for response in responses} == {DEADLINE_EXCEEDED}
        assert responses[0].http == 504
        assert cancelled.wait(2), "the service sees the cancellation"

    def test_a_service_that_hangs_is_given_up_in_the_usual_shape(
        self, folder: Path, signer: Signer, upstream: Upstream, token: str
    ) -> None:
        [port] = free_ports(1)
        own = folder / "hung"
        own.mkdir()
        addresses = {**endpoints(upstream), "todo": [(LOOPBACK, port)]}
        with hanging_service(port) as hanging, running(Running(own, addresses)) as gateway:
            await_keys(gateway, signer, BY_NAME["GetMe"])
            rest = Rest(gateway.url)
            with ThreadPoolExecutor() as pool:
                call = pool.submit(rest.call, CREATE, empty(CREATE), token)
                assert hanging.stdout
                assert hanging.stdout.readline() == "working\n"
                hanging.send_signal(signal.SIGSTOP)
                response = call.result()
            rest.close()

        assert (response.code, response.http, response.reason) == (DEADLINE_EXCEEDED, 504, "DEADLINE_EXCEEDED")

    @pytest.mark.parametrize(("method", "seconds"), [(GET, 5), (CREATE, 5), (VERIFY, 15), (BY_NAME["Login"], 10)])
    def test_services_know_how_long_they_have(
        self, client: Client, upstream: Upstream, token: str, method: object, seconds: int
    ) -> None:
        client.call(method, empty(method), token, {"grpc-timeout": "100S"} if client.name != "grpc" else None)

        left = upstream.last(method).seconds_left
        assert left is not None
        # A client of native gRPC waits for 10 seconds at most and says so.
        assert min(seconds, 10) - 1 < left <= seconds

    def test_a_shorter_deadline_of_the_caller_counts(self, web: Client, upstream: Upstream, token: str) -> None:
        with upstream.behaving(GET, never()):
            result = web.call(GET, empty(GET), token, {"grpc-timeout": "200m"})

        assert result.code == DEADLINE_EXCEEDED

    def test_streams_have_no_deadline(self, web: Client, upstream: Upstream, token: str) -> None:
        web.call(SUBSCRIBE, empty(SUBSCRIBE), token)

        assert upstream.last(SUBSCRIBE).seconds_left is None


class TestRetries:
    def test_a_call_without_effects_is_tried_again_when_a_service_is_unavailable(
        self, client: Client, upstream: Upstream, token: str
    ) -> None:
        attempts: list[Message] = []

        async def at_second_try(request: Message, context: grpc.aio.ServicerContext) -> Message:
            attempts.append(request)
            if len(attempts) == 1:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "Not now.")
            return response_class(GET)()

        with upstream.behaving(GET, at_second_try):
            assert client.call(GET, empty(GET), token).ok
        assert len(attempts) == 2

    def test_a_call_that_may_not_be_repeated_is_not(self, client: Client, upstream: Upstream, token: str) -> None:
        before = len(upstream.calls(CREATE))
        with upstream.behaving(CREATE, refusing("UNAVAILABLE", "Not now.")):
            result = client.call(CREATE, empty(CREATE), token)

        assert (result.code, result.message) == (UNAVAILABLE, "Not now.")
        assert len(upstream.calls(CREATE)) == before + 1


class TestAway:
    def test_a_service_that_is_down_is_unavailable_in_the_usual_shape_and_soon_back(
        self, folder: Path, signer: Signer
    ) -> None:
        own = folder / "down"
        own.mkdir()
        upstream = Upstream(*free_ports(2), published(signer))
        upstream.start()
        with running(Running(own, endpoints(upstream), allowances=UNLIMITED)) as gateway:
            await_keys(gateway, signer)
            rest, rpc = Rest(gateway.url), Grpc(gateway.target)
            upstream.stop()
            for method in (GET, CREATE):
                by_rest = rest.call(method, empty(method), signer.token())
                assert (by_rest.http, by_rest.code, by_rest.reason) == (503, UNAVAILABLE, "UNAVAILABLE")
                assert by_rest.message == "The service is not available right now. Try again in a moment."
                assert by_rest.detail(error_details_pb2.RetryInfo).retry_delay.seconds == 1
                by_grpc = rpc.call(method, empty(method), signer.token())
                assert (by_grpc.code, by_grpc.message) == (UNAVAILABLE, by_rest.message)

            upstream.start()
            wait_until(lambda: rest.call(GET, empty(GET), signer.token()).ok, "calls succeed again", 2)
            rest.close()
            rpc.close()
        upstream.close()

    def test_a_service_that_says_it_cannot_serve_gets_no_calls(self, folder: Path, signer: Signer) -> None:
        with two_replicas(folder / "not-serving", signer) as (gateway, first, second):
            rest = Rest(gateway.url)
            first.serving(False)
            wait_until(lambda: gateway.healthy("todo") == 1, "the replica is taken out")
            wait_until(lambda: _avoids(first, lambda: rest.call(GET, empty(GET), signer.token()).ok), "calls avoid it")

            second.serving(False)
            wait_until(lambda: gateway.healthy("todo") == 0, "both replicas are taken out")
            wait_until(lambda: rest.call(GET, empty(GET), signer.token()).http == 503, "no replica is called")

            first.serving(True)
            wait_until(lambda: rest.call(GET, empty(GET), signer.token()).ok, "calls succeed again", 2)
            rest.close()

    def test_a_replica_that_leaves_politely_fails_no_call(self, folder: Path, signer: Signer) -> None:
        with two_replicas(folder / "polite", signer) as (gateway, first, _):
            rest, rpc, token = Rest(gateway.url), Grpc(gateway.target), signer.token()
            by_rest, by_grpc = (lambda c=client: c.call(CREATE, empty(CREATE), token) for client in (rest, rpc))
            with load(by_rest) as rest_responses, load(by_grpc) as grpc_responses:
                for _ in range(2):
                    first.leave()
                    first.start()
                    wait_until(lambda: gateway.healthy("todo") == 2, "the replica is back")
            rest.close()
            rpc.close()

            assert min(len(rest_responses), len(grpc_responses)) > 50
            assert [response for response in (*rest_responses, *grpc_responses) if not response.ok] == []


class TestDeath:
    """A replica is killed while it works on a call."""

    @pytest.fixture
    def doomed(
        self, folder: Path, signer: Signer, upstream: Upstream
    ) -> Iterator[tuple[Running, subprocess.Popen[str]]]:
        """A gateway with one replica that never responds, and the usual one."""
        own = folder / f"death-{free_ports(1)[0]}"
        own.mkdir()
        [port] = free_ports(1)
        addresses = {**endpoints(upstream), "todo": [(LOOPBACK, port), (LOOPBACK, upstream.port)]}
        gateway = Running(own, addresses, allowances=UNLIMITED)
        with hanging_service(port) as hanging, running(gateway):
            await_keys(gateway, signer, BY_NAME["GetMe"])
            yield gateway, hanging

    @staticmethod
    def responses_when_killed(
        gateway: Running, hanging: subprocess.Popen[str], method: object, token: str
    ) -> list[CallResult]:
        """Calls until one hangs at the doomed replica, kills it, and returns what the callers saw."""
        rest = Rest(gateway.url)
        with ThreadPoolExecutor(8) as pool:
            calls = [pool.submit(rest.call, method, empty(method), token) for _ in range(8)]
            assert hanging.stdout
            assert hanging.stdout.readline() == "working\n"
            hanging.kill()
            responses = [call.result() for call in calls]
        rest.close()
        return responses

    def test_a_call_without_effects_is_retried_on_another_replica(
        self, doomed: tuple[Running, subprocess.Popen[str]], token: str
    ) -> None:
        assert all(response.ok for response in self.responses_when_killed(*doomed, GET, token))

    def test_any_other_call_is_unavailable(self, doomed: tuple[Running, subprocess.Popen[str]], token: str) -> None:
        responses = self.responses_when_killed(*doomed, CREATE, token)

        failed = [response for response in responses if not response.ok]
        assert failed
        assert {(response.http, response.reason) for response in failed} == {(503, "UNAVAILABLE")}
