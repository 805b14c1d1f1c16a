"""Settings of the gateways under test, and what they need from auth."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from focusmesh.auth.v1 import key_service_pb2

from contract.methods import Method
from envoy.routes import WEBSOCKET_CLUSTER
from envoy.settings import Allowances, Bucket
from harness.clients import Rest, empty
from harness.rpcs import BY_NAME, METHODS
from harness.waiting import wait_until
from tests.gateway.upstream import Upstream
from tests.support.gateway_process import Running, running
from tests.support.ports import LOOPBACK, free_ports
from tests.support.tokens import Signer

PLENTY = Bucket(1_000_000, 1_000_000, 1)
UNLIMITED = Allowances(*[PLENTY] * len(Allowances._fields))
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
    return {**{method.owner: grpc for method in METHODS}, WEBSOCKET_CLUSTER: websocket}


def await_keys(gateway: Running, signer: Signer, method: Method = BY_NAME["ListTasks"]) -> None:
    """Waits until tokens of the signer are accepted. method: of a service that responds."""
    client = Rest(gateway.url)
    wait_until(lambda: client.call(method, empty(method), signer.token()).ok, "the gateway accepts a good token")
    client.close()


@contextmanager
def two_replicas(folder: Path, signer: Signer) -> Iterator[tuple[Running, Upstream, Upstream]]:
    """A gateway with two replicas of everything behind it."""
    folder.mkdir()
    replicas = [Upstream(*free_ports(2), published(signer)) for _ in range(2)]
    for replica in replicas:
        replica.start()
    with running(Running(folder, endpoints(*replicas), allowances=UNLIMITED)) as gateway:
        await_keys(gateway, signer)
        yield gateway, replicas[0], replicas[1]
    for replica in replicas:
        replica.close()
