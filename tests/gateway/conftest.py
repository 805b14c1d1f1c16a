"""One gateway and the services behind it, shared by the tests of this folder."""

import shutil
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc

from harness.clients import Client, Grpc, GrpcWeb, Rest
from tests.gateway.collector import Collector
from tests.gateway.gateways import ORIGIN, UNLIMITED, await_keys, endpoints, published
from tests.gateway.upstream import Upstream
from tests.support.gateway_process import Running, running
from tests.support.ports import LOOPBACK, free_ports
from tests.support.tokens import Signer


@pytest.fixture(scope="session")
def upstream(signer: Signer) -> Iterator[Upstream]:
    """The services."""
    upstream = Upstream(*free_ports(2), published(signer))
    upstream.start()
    yield upstream
    upstream.close()


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """Where gateways write; short, because the path of a socket is."""
    folder = Path(__file__).resolve().parents[2] / ".run" / f"test-gateway-{free_ports(1)[0]}"
    folder.mkdir(parents=True)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def gateway(upstream: Upstream, folder: Path, signer: Signer) -> Iterator[Running]:
    """The gateway, without limits on rates and with its keys fetched."""
    with running(Running(folder, endpoints(upstream), allowances=UNLIMITED, allowed_origins=(ORIGIN,))) as gateway:
        await_keys(gateway, signer)
        yield gateway


@pytest.fixture(scope="session")
def rest(gateway: Running) -> Iterator[Rest]:
    """A REST client."""
    client = Rest(gateway.url)
    yield client
    client.close()


@pytest.fixture(scope="session")
def rpc(gateway: Running) -> Iterator[Grpc]:
    """A client of native gRPC."""
    client = Grpc(gateway.target)
    yield client
    client.close()


@pytest.fixture(scope="session")
def web(gateway: Running) -> Iterator[GrpcWeb]:
    """A client of gRPC-Web."""
    client = GrpcWeb(gateway.url)
    yield client
    client.close()


@pytest.fixture(scope="session", params=["rest", "grpc", "grpc-web", "grpc-web-text"])
def client(request: pytest.FixtureRequest, gateway: Running) -> Iterator[Client]:
    """Every way to call, one after the other."""
    kinds = {
        "rest": lambda: Rest(gateway.url),
        "grpc": lambda: Grpc(gateway.target),
        "grpc-web": lambda: GrpcWeb(gateway.url),
        "grpc-web-text": lambda: GrpcWeb(gateway.url, text=True),
    }
    client = kinds[request.param]()
    yield client
    client.close()


@pytest.fixture
def token(signer: Signer) -> str:
    """A good token of a new user."""
    return signer.token()


@pytest.fixture
def collector() -> Iterator[tuple[Collector, int]]:
    """A collector of spans and its port."""
    [port] = free_ports(1)
    server, collector = grpc.server(futures.ThreadPoolExecutor(2)), Collector()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    server.add_insecure_port(f"{LOOPBACK}:{port}")
    server.start()
    yield collector, port
    server.stop(None)
