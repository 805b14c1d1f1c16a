"""One gateway and the services behind it, shared by the tests of this folder."""

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from focusmesh.auth.v1 import key_service_pb2

from envoy.contract import Method
from envoy.routes import WEBSOCKET_CLUSTER
from envoy.settings import Allowances, Bucket
from tests.gateway.upstream import Upstream
from tests.support.clients import Client, Grpc, GrpcWeb, Rest, empty
from tests.support.gateway_process import LOOPBACK, Running, eventually, free_ports, running
from tests.support.rpcs import BY_NAME, METHODS
from tests.support.tokens import Signer

PLENTY = Bucket(1_000_000, 1_000_000, 1)
UNLIMITED = Allowances(PLENTY, PLENTY, PLENTY, PLENTY, PLENTY)
ORIGIN = "https://app.example"


def published(*signers: Signer) -> key_service_pb2.GetJwksResponse:
    """The key set of these signers."""
    keys = [
        key_service_pb2.JsonWebKey(
            kty="OKP",
            crv="Ed25519",
            kid=signer.kid,
            use="sig",
            alg="EdDSA",
            x=base64.urlsafe_b64encode(signer.public_bytes).rstrip(b"=").decode(),
        )
        for signer in signers
    ]
    return key_service_pb2.GetJwksResponse(keys=keys)


def endpoints(*upstreams: Upstream) -> dict[str, list[tuple[str, int]]]:
    """Every service at these upstreams."""
    grpc = [(LOOPBACK, upstream.port) for upstream in upstreams]
    websocket = [(LOOPBACK, upstream.websocket_port) for upstream in upstreams]
    return {**{method.cluster: grpc for method in METHODS}, WEBSOCKET_CLUSTER: websocket}


@pytest.fixture(scope="session")
def signer() -> Signer:
    """The key that tokens are signed with."""
    return Signer()


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


def await_keys(gateway: Running, signer: Signer, method: Method = BY_NAME["ListTasks"]) -> None:
    """Waits until tokens of the signer are accepted. method: of a service that answers."""
    client = Rest(gateway.url)
    eventually(lambda: client.call(method, empty(method), signer.token()).ok, "the gateway accepts a good token")
    client.close()


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
