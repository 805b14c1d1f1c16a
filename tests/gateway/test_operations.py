"""How the gateway is run: drained, watched, traced."""

import asyncio
import json
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from google.protobuf.message import Message

from envoy import drain
from harness.clients import CallResult, Client, Grpc, Rest, empty
from harness.rpcs import BY_NAME, response_class
from harness.waiting import wait_until
from tests.gateway.collector import Collector
from tests.gateway.gateways import UNLIMITED, await_keys, endpoints
from tests.gateway.upstream import Upstream
from tests.support.gateway_process import Running, running
from tests.support.ports import LOOPBACK
from tests.support.tokens import Signer

CREATE, GET = BY_NAME["CreateTask"], BY_NAME["GetTask"]
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def pair(folder: Path, upstream: Upstream, signer: Signer) -> Iterator[tuple[Running, Running]]:
    """Two gateways, as behind a load balancer."""
    gateways = []
    for name in ("first", "second"):
        own = folder / f"{name}-{uuid.uuid4().hex[:6]}"
        own.mkdir()
        gateways.append(Running(own, endpoints(upstream), allowances=UNLIMITED))
    with running(gateways[0]), running(gateways[1]):
        for gateway in gateways:
            await_keys(gateway, signer)
        yield gateways[0], gateways[1]


class Balanced:
    """Callers behind a load balancer: each call goes to the first gateway whose health check is good."""

    def __init__(self, gateways: tuple[Running, Running]) -> None:
        self.ways = [(gateway, Rest(gateway.url), Grpc(gateway.target)) for gateway in gateways]
        self.responses: list[tuple[Running, CallResult]] = []
        self.stop = threading.Event()

    def go_on(self, way: int, token: str) -> None:
        """Calls until `stop` is set; way 1 is REST, 2 is gRPC."""
        while not self.stop.is_set():
            chosen = next(each for each in self.ways if each[0].is_open())
            client = chosen[way]
            assert isinstance(client, Rest | Grpc)
            self.responses.append((chosen[0], client.call(CREATE, empty(CREATE), token)))


def test_a_drained_gateway_fails_no_call(pair: tuple[Running, Running], token: str) -> None:
    leaving, staying = pair
    callers = Balanced(pair)
    with ThreadPoolExecutor(4) as pool:
        working: list[Future[None]] = [pool.submit(callers.go_on, way, token) for way in (1, 2, 1, 2)]
        wait_until(lambda: len(callers.responses) > 50, "calls go to the first gateway")

        assert drain.drain(leaving.admin_socket, notice_seconds=1)
        leaving.stop()
        after = len(callers.responses)
        wait_until(lambda: len(callers.responses) > after + 50, "calls go to the other gateway")
        callers.stop.set()
        for work in working:
            work.result()

    assert [response for _, response in callers.responses if not response.ok] == []
    assert {gateway.port for gateway, _ in callers.responses} == {leaving.port, staying.port}


def test_a_call_in_flight_ends_well_while_the_gateway_drains(
    pair: tuple[Running, Running], upstream: Upstream, token: str
) -> None:
    began, release = threading.Event(), threading.Event()

    async def when_released(*_: object) -> Message:
        began.set()
        await asyncio.to_thread(release.wait, 10)
        return response_class(CREATE)()

    leaving, _ = pair
    rest = Rest(leaving.url)
    with upstream.behaving(CREATE, when_released), ThreadPoolExecutor(2) as pool:
        call = pool.submit(rest.call, CREATE, empty(CREATE), token)
        assert began.wait(5)
        draining = pool.submit(drain.drain, leaving.admin_socket, notice_seconds=0)
        wait_until(lambda: httpx.get(f"{leaving.url}/healthz").status_code == 503, "it says that it leaves")
        assert drain.calls(leaving.admin_socket) >= 1
        assert not draining.done()
        release.set()

        assert call.result().ok
        assert draining.result()
    rest.close()


def test_draining_gives_up_on_calls_that_do_not_end(
    pair: tuple[Running, Running], upstream: Upstream, token: str
) -> None:
    release = threading.Event()

    async def when_released(*_: object) -> Message:
        await asyncio.to_thread(release.wait, 10)
        return response_class(CREATE)()

    leaving, _ = pair
    rest = Rest(leaving.url)
    with upstream.behaving(CREATE, when_released), ThreadPoolExecutor(1) as pool:
        call = pool.submit(rest.call, CREATE, empty(CREATE), token)
        wait_until(lambda: drain.calls(leaving.admin_socket) == 1, "the call is in flight")
        assert not drain.drain(leaving.admin_socket, notice_seconds=0, longest_seconds=0.3)
        release.set()
        call.result()
    rest.close()


def test_draining_a_gateway_that_is_not_there_is_an_error(folder: Path) -> None:
    with pytest.raises(drain.DrainError):
        drain.drain(folder / "nobody.sock")
    assert drain.main(["--admin", str(folder / "nobody.sock")]) == 1


def test_a_call_is_logged_as_one_line_of_json_without_its_query(gateway: Running, rest: Rest, token: str) -> None:
    result = rest.get("/v1/tasks?pageToken=secret-token", token)
    request_id = result.headers["x-request-id"]
    wait_until(lambda: request_id in gateway.access_log(), "the call is logged")

    line = next(json.loads(line) for line in gateway.access_log().splitlines() if request_id in line)

    assert (line["method"], line["path"], line["status"]) == ("GET", "/v1/tasks", 200)
    assert line["route"] == "focusmesh.todo.v1.TaskService/ListTasks"
    assert "secret-token" not in gateway.access_log()


CALLERS_TRACE = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "a=b", "baggage": "a=b"}


def test_no_caller_decides_that_a_trace_is_recorded(client: Client, upstream: Upstream, token: str) -> None:
    client.call(GET, empty(GET), token, CALLERS_TRACE)

    assert not {*CALLERS_TRACE, "x-caller-traceparent"} & upstream.last(GET).metadata.keys()


def test_the_trace_of_the_caller_is_logged(gateway: Running, rest: Rest, token: str) -> None:
    request_id = rest.call(GET, empty(GET), token, CALLERS_TRACE).headers["x-request-id"]
    wait_until(lambda: request_id in gateway.access_log(), "the call is logged")

    line = next(json.loads(line) for line in gateway.access_log().splitlines() if request_id in line)
    assert line["traceparent"] == CALLERS_TRACE["traceparent"]


@pytest.mark.parametrize(("percent", "flags"), [(100.0, "01"), (0.0, "00")])
def test_with_a_collector_the_gateway_begins_the_trace_and_hands_it_on(
    folder: Path, upstream: Upstream, signer: Signer, collector: tuple[Collector, int], percent: float, flags: str
) -> None:
    own = folder / f"traced-{flags}"
    own.mkdir()
    collected, port = collector
    traced = Running(own, endpoints(upstream), allowances=UNLIMITED, otlp=(LOOPBACK, port), trace_percent=percent)
    with running(traced):
        await_keys(traced, signer)
        rest = Rest(traced.url)
        rest.call(GET, empty(GET), signer.token(), CALLERS_TRACE)

        version, trace, parent, sent = upstream.last(GET).metadata["traceparent"].split("-")
        assert (version, sent) == ("00", flags)
        assert trace != TRACE
        if percent:
            wait_until(lambda: any(span.span_id.hex() == parent for span in collected.spans), "the span is exported")
            span = next(span for span in collected.spans if span.span_id.hex() == parent)
            told = {attribute.key: attribute.value.string_value for attribute in span.attributes}
            assert (span.trace_id.hex(), told["caller.traceparent"]) == (trace, CALLERS_TRACE["traceparent"])
        rest.close()
