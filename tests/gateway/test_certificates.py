"""The gateway and the services where every connection between them has a certificate at both ends."""

import ssl
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake

from harness.clients import Grpc, Rest, empty
from harness.rpcs import BY_NAME
from harness.waiting import until
from mesh.runtime import tls
from services.realtime.main import build
from services.realtime.settings import Settings
from tests.gateway.gateways import UNLIMITED, await_keys, published
from tests.gateway.upstream import Upstream
from tests.support.certificates import Authority
from tests.support.gateway_process import Running, running
from tests.support.ports import LOOPBACK, free_ports
from tests.support.realtime_clients import GRPC, WEBSOCKET, Target
from tests.support.serving import serving
from tests.support.tokens import Signer

LIST_TASKS, LIST_RECORDS = BY_NAME["ListTasks"], BY_NAME["ListAuditRecords"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Of the gateway and every service."""
    return Authority(tmp_path_factory.mktemp("certificates"))


def holding(authority: Authority, host: str) -> dict[str, str]:
    """Settings of a service with a certificate for the host."""
    files = authority.issue(host, host)
    return {
        "tls_certificate_file": str(files.certificate),
        "tls_key_file": str(files.key),
        "tls_client_ca_file": str(files.authority),
    }


def settings_for(**given: Any) -> Settings:
    """Settings of a realtime replica on free ports."""
    listen, websocket = free_ports(2)
    return Settings(
        listen=f"{LOOPBACK}:{listen}",
        websocket_listen=f"{LOOPBACK}:{websocket}",
        kafka_bootstrap=f"{LOOPBACK}:1",
        page_token_key="test",
        drain_seconds=0.0,
        **given,
    )


@pytest.fixture(scope="module")
def secured(authority: Authority, signer: Signer) -> Iterator[Upstream]:
    """The services, whose responses do not matter here."""
    own = settings_for(redis_url="", jwks_target="", **holding(authority, LOOPBACK))
    upstream = Upstream(*free_ports(2), keys=published(signer), credentials=tls.server_credentials(own))
    upstream.start()
    yield upstream
    upstream.close()


@pytest.fixture(scope="module")
def impostor(authority: Authority) -> Iterator[Upstream]:
    """Has a certificate of the authority, for another host."""
    own = settings_for(redis_url="", jwks_target="", **holding(authority, "impostor.example"))
    upstream = Upstream(*free_ports(2), keys=published(), credentials=tls.server_credentials(own))
    upstream.start()
    yield upstream
    upstream.close()


@pytest.fixture
async def replica(authority: Authority, secured: Upstream, valkey: str) -> AsyncIterator[Settings]:
    """The realtime service, which asks for keys as it does in production."""
    settings = settings_for(redis_url=valkey, jwks_target=f"{LOOPBACK}:{secured.port}", **holding(authority, LOOPBACK))
    async with serving(build(settings)):
        yield settings


@pytest.fixture
async def gateway(
    authority: Authority, secured: Upstream, impostor: Upstream, replica: Settings, folder: Path, signer: Signer
) -> AsyncIterator[Running]:
    """The gateway, once it knows the keys and calls the replica."""
    own = folder / "tls"
    own.mkdir(exist_ok=True)
    endpoints = {
        "auth": [(LOOPBACK, secured.port)],
        "todo": [(LOOPBACK, secured.port)],
        "audit": [(LOOPBACK, impostor.port)],
        "realtime": [_address(replica.listen)],
        "realtime_ws": [_address(replica.websocket_listen)],
    }
    tls_files = authority.issue("gateway", "gateway.example")
    with running(Running(own, endpoints, allowances=UNLIMITED, upstream_tls=tls_files)) as gateway:
        await_keys(gateway, signer)
        for cluster in ("realtime", "realtime_ws"):
            await until(lambda cluster=cluster: gateway.healthy(cluster) == 1, f"{cluster} is called")  # type: ignore[misc]
        yield gateway


async def test_every_way_in_leads_to_the_services(gateway: Running, token: str) -> None:
    for client in (Rest(gateway.url), Grpc(gateway.target)):
        assert client.call(LIST_TASKS, empty(LIST_TASKS), token).ok
        client.close()
    for client in (GRPC, WEBSOCKET):
        async with client.open(Target(gateway.target, gateway.target), token) as stream:
            assert (await stream.frame()).HasField("opened")


async def test_a_service_with_a_certificate_for_another_host_is_not_called(
    gateway: Running, impostor: Upstream, token: str
) -> None:
    client = Rest(gateway.url)
    assert client.call(LIST_RECORDS, empty(LIST_RECORDS), token).http == 503
    assert impostor.received == []
    client.close()


async def test_callers_without_a_certificate_are_refused(authority: Authority, replica: Settings, token: str) -> None:
    without_certificate = grpc.ssl_channel_credentials(authority.file.read_bytes())
    for credentials in (None, without_certificate):
        async with tls.channel(replica.listen, credentials) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
            assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    open_socket = partial(connect, additional_headers={"Authorization": f"Bearer {token}"}, open_timeout=5)
    address = f"{replica.websocket_listen}/v1/realtime"
    trusting = ssl.create_default_context(cafile=str(authority.file))
    for socket in (open_socket(f"ws://{address}"), open_socket(f"wss://{address}", ssl=trusting)):
        with pytest.raises((OSError, EOFError, InvalidHandshake)):
            await socket


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    return host, int(port)
