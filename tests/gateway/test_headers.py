"""Headers that gRPC cannot read: removed or refused here, and never counted against a replica."""

import struct
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import quantiles

import grpc
import httpx
import pytest

from harness.clients import Grpc, GrpcWeb, Rest, empty
from harness.rpcs import BY_NAME
from tests.gateway.gateways import two_replicas
from tests.gateway.http2 import exchange
from tests.gateway.upstream import Upstream
from tests.support.gateway_process import Running
from tests.support.tokens import Signer

INVALID_ARGUMENT = str(grpc.StatusCode.INVALID_ARGUMENT.value[0])
GET, KEYS, CREATE = BY_NAME["GetTask"], BY_NAME["GetJwks"], BY_NAME["CreateTask"]
EMPTY_MESSAGE = b"\0\0\0\0\0"
SECONDS = 5.0

REMOVED = [
    ("x-a-bin", "!"),
    ("authorization-bin", "!"),
    ("grpc-tags-bin", "!!!"),
    ("grpc-trace-bin", "x"),
    ("grpc-server-stats-bin", "!"),
    ("grpc-status-details-bin", "!"),
    ("endpoint-load-metrics-bin", "!"),
    ("lb-cost-bin", ""),
    ("lb-token", "x"),
    ("grpc-status", "x"),
    ("grpc-message", "%zz"),
    ("grpc-internal-encoding-request", "x"),
    ("grpc-previous-rpc-attempts", "x"),
    ("grpc-retry-pushback-ms", "x"),
    ("te", "gzip"),
]
REFUSED = [
    ("grpc-encoding", "snappy"),
    ("grpc-encoding", ""),
    ("grpc-encoding", "gzip, deflate"),
    ("grpc-timeout", "1"),
    ("grpc-timeout", "-1S"),
    ("grpc-timeout", "soon"),
    ("grpc-timeout", "999999999S"),
    ("grpc-timeout", ""),
]
GOOD = [
    {"grpc-timeout": "3S"},
    {"grpc-timeout": "99999999n"},
    {"grpc-encoding": "identity"},
    {"grpc-encoding": "gzip"},
    {"grpc-accept-encoding": "identity, deflate, gzip"},
    {"te": "trailers"},
    {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
    {"accept-encoding": "gzip"},
]


class Wire:
    """Sends what no gRPC library would: a call with any method and any header."""

    def __init__(self, url: str) -> None:
        """url: of the gateway, without a path."""
        self.http = httpx.Client(base_url=url, timeout=10)

    def post(self, headers: Mapping[str, str], *, method: str = "POST", content: bytes = EMPTY_MESSAGE) -> str:
        """Calls GetJwks; returns the status, or the empty string when it is in a trailer, as that of success is."""
        sent = {"content-type": "application/grpc", **headers}
        raw = self.http.request(method, KEYS.grpc_path, content=content, headers=sent)
        assert raw.status_code == 200
        return raw.headers.get("grpc-status", "")


@pytest.fixture(scope="module")
def wire(gateway: Running) -> Iterator[Wire]:
    """A caller without a library."""
    wire = Wire(gateway.url)
    yield wire
    wire.http.close()


@pytest.mark.parametrize(("name", "value"), REMOVED)
def test_a_header_that_only_grpc_itself_may_send_is_removed(
    rest: Rest, web: GrpcWeb, wire: Wire, upstream: Upstream, token: str, name: str, value: str
) -> None:
    for client in (rest, web):
        assert client.call(GET, empty(GET), token, {name: value}).ok
        assert upstream.last(GET).metadata.get(name, "trailers") == "trailers"
    assert wire.post({name: value}) == ""


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_a_grpc_header_with_a_bad_value_is_refused(
    rest: Rest, web: GrpcWeb, wire: Wire, upstream: Upstream, token: str, name: str, value: str
) -> None:
    before = len(upstream.received)

    by_rest, by_web = (client.call(GET, empty(GET), token, {name: value}) for client in (rest, web))
    by_wire = wire.post({name: value})

    assert (by_rest.http, by_rest.reason) == (400, "MALFORMED_REQUEST")
    for result in (by_rest, by_web):
        assert result.message == f"The header {name} cannot be read."
    assert [str(by_rest.code), str(by_web.code), by_wire] == [INVALID_ARGUMENT] * 3
    assert len(upstream.received) == before


@pytest.mark.parametrize("headers", GOOD, ids=str)
def test_a_good_header_changes_nothing(
    rest: Rest, web: GrpcWeb, wire: Wire, token: str, headers: Mapping[str, str]
) -> None:
    assert rest.call(GET, empty(GET), token, headers).ok
    assert web.call(GET, empty(GET), token, headers).ok
    assert wire.post(headers) == ""


def test_a_compressed_call_passes(gateway: Running, upstream: Upstream, token: str) -> None:
    with grpc.insecure_channel(gateway.target, compression=grpc.Compression.Gzip) as channel:
        call = channel.unary_unary(CREATE.grpc_path)
        call(b"\x0a\x04\x0a\x02hi" * 100, metadata=(("authorization", f"Bearer {token}"),), timeout=SECONDS)

    assert upstream.last(CREATE).request.ByteSize()


def test_the_deadline_of_a_grpc_client_still_reaches_the_service(rpc: Grpc, upstream: Upstream, token: str) -> None:
    call = rpc.channel.unary_unary(GET.grpc_path)
    call(b"", metadata=(("authorization", f"Bearer {token}"),), timeout=2)

    received = upstream.last(GET)
    assert received.seconds_left is not None
    assert 1 < received.seconds_left < 2.1  # gRPC rounds a time-out up when it writes the header


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_grpc_call_that_is_no_post_is_no_rpc(wire: Wire, upstream: Upstream, method: str) -> None:
    before = len(upstream.received)

    assert wire.post({}, method=method) == str(grpc.StatusCode.UNIMPLEMENTED.value[0])
    assert len(upstream.received) == before


def with_trailer(port: int, name: str, value: str) -> None:
    """Calls GetJwks by HTTP/2 with a trailer behind the request, and waits until the response ends."""
    headers = {":path": KEYS.grpc_path, "content-type": "application/grpc", "te": "trailers"}
    exchange(port, headers, EMPTY_MESSAGE, {name: value})


@pytest.mark.parametrize(("name", "value"), [("x-a-bin", "!"), ("grpc-status", "x"), ("grpc-timeout", "x")])
def test_a_trailer_of_a_request_disturbs_no_other_caller(
    gateway: Running, rest: Rest, rpc: Grpc, token: str, name: str, value: str
) -> None:
    for _ in range(5):
        with_trailer(gateway.port, name, value)
        assert rest.call(KEYS, empty(KEYS), token).ok
        assert rpc.call(KEYS, empty(KEYS), token).ok


class TestAHostileCaller:
    """Calls without a token, each of which gRPC would fail with its own error or reset."""

    @staticmethod
    def attack(wire: Wire, rest: Rest, stop: threading.Event) -> None:
        """Sends every bad header, body and deadline, again and again."""
        while not stop.is_set():
            for name, value in (*REMOVED, *REFUSED):
                rest.call(KEYS, empty(KEYS), headers={name: value})
                wire.post({name: value})
            for _ in range(10):
                wire.post({"grpc-timeout": "1n"})
                rest.call(KEYS, empty(KEYS), headers={"grpc-timeout": "1n"})
                wire.post({}, content=struct.pack(">BI", 1, 1) + b"x")
                wire.post({"grpc-encoding": "gzip"}, content=struct.pack(">BI", 1, 1) + b"x")
                wire.post({}, content=struct.pack(">BI", 0, 1) + b"\xff")
                wire.post({}, method="PUT")

    def test_ejects_no_replica_and_disturbs_nobody(self, folder: Path, signer: Signer) -> None:
        with two_replicas(folder / "hostile", signer) as (gateway, first, second):
            wire, hostile, other = Wire(gateway.url), Rest(gateway.url), Rest(gateway.url)
            token, stop, seconds = signer.token(), threading.Event(), []
            attacker = threading.Thread(target=self.attack, args=(wire, hostile, stop))
            attacker.start()
            deadline = time.monotonic() + SECONDS
            while time.monotonic() < deadline:
                began = time.monotonic()
                assert other.call(GET, empty(GET), token).ok
                seconds.append(time.monotonic() - began)
            stop.set()
            attacker.join()

            assert gateway.figure("envoy_cluster_outlier_detection_ejections_enforced_total") == 0
            assert gateway.healthy("auth") == 2
            assert min(len(replica.calls(GET)) for replica in (first, second)) > len(seconds) / 4
            assert quantiles(seconds, n=100)[-1] <= 0.1
            for client in (wire, hostile, other):
                client.http.close()
