"""The services: one program per replica, its environment and its health check."""

import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import NamedTuple

import grpc
from grpc_health.v1 import health_pb2

from contract.descriptors import load
from stack.database import Cluster
from stack.infrastructure import kafka, valkey
from stack.keys import Keys
from stack.layout import DEVELOPMENT_ORIGINS, LOOPBACK, PYTHON_PATH, Ports
from stack.registry import Registry, Service
from stack.supervisor import Program

_STOP_SECONDS = 20
"""Seconds until it is killed: drain, grace and the relay's last passes together."""
SECRETS = ("page-tokens", "refresh-tokens", "unsubscribe-links")
"""Passwords that services share among their replicas."""


class Replica(NamedTuple):
    """One process of a service."""

    service: Service
    number: int

    @property
    def name(self) -> str:
        """Name of its program, such as `todo-0`."""
        return f"{self.service.name}-{self.number}"

    def port(self, ports: Ports) -> int:
        """Port of its gRPC listener."""
        return ports.service(self.service.port, self.number)

    def websocket_port(self, ports: Ports) -> int | None:
        """Port of its WebSocket listener, if it has one."""
        offset = self.service.websocket_port
        return None if offset is None else ports.service(offset, self.number)

    def http_port(self, ports: Ports) -> int | None:
        """Port of its listener of plain HTTP, if it has one."""
        offset = self.service.http_port
        return None if offset is None else ports.service(offset, self.number)


def replicas(services: Iterable[Service], requested: Mapping[str, int]) -> Iterator[Replica]:
    """Every replica to run. requested: number of replicas by service; overrides the registry."""
    for service in services:
        for number in range(requested.get(service.name, service.replicas)):
            yield Replica(service, number)


def environment(
    replica: Replica, replicas: Iterable[Replica], registry: Registry, ports: Ports, keys: Keys
) -> dict[str, str]:
    """Settings of a replica; mesh/runtime/settings.py and the service's settings.py document them. replicas: all."""
    service = replica.service
    environment = {
        "PYTHONPATH": PYTHON_PATH,
        # Empty is unset: where bytecode is never written, every start compiles this repository's modules again.
        "PYTHONDONTWRITEBYTECODE": "",
        "FOCUSMESH_LISTEN": f"{LOOPBACK}:{replica.port(ports)}",
        "FOCUSMESH_REPLICA": str(replica.number),
        "FOCUSMESH_CONSUMER_INSTANCE": replica.name,
        "FOCUSMESH_REDIS_URL": valkey.url(ports, keys),
        "FOCUSMESH_OWN_REDIS_URL": valkey.url(ports, keys, valkey.of(service.name)),
        "FOCUSMESH_KAFKA_BOOTSTRAP": kafka.bootstrap(ports),
        "FOCUSMESH_PAGE_TOKEN_KEY": keys.password("page-tokens"),
    }
    if auth := registry.services.get("auth"):
        environment["FOCUSMESH_JWKS_TARGET"] = f"{LOOPBACK}:{ports.service(auth.port)}"
    if service.schema:
        environment["FOCUSMESH_DATABASE_URL"] = Cluster(ports.postgres, keys).runtime_url(service.schema)
    if service.name == "auth":
        environment["FOCUSMESH_SIGNING_KEY_FILE"] = str(keys.signing_key())
        environment["FOCUSMESH_REFRESH_HASH_KEY"] = keys.password("refresh-tokens")
    if service.name == "notification":
        environment |= _channels(ports, keys)
    if callers := callers_of(service.name):
        environment["FOCUSMESH_CALLER_KEYS"] = ";".join(
            f"{caller}={keys.public_service_key(caller)}" for caller in callers
        )
    if service.calls:
        environment["FOCUSMESH_SERVICE_KEY_FILE"] = str(keys.service_key(service.name))
        environment["FOCUSMESH_CALL_TARGETS"] = ";".join(
            f"{callee}={_target(registry.service(callee), replicas, ports)}" for callee in service.calls
        )
    if (port := replica.websocket_port(ports)) is not None:
        environment["FOCUSMESH_WEBSOCKET_LISTEN"] = f"{LOOPBACK}:{port}"
        environment["FOCUSMESH_ALLOWED_ORIGINS"] = DEVELOPMENT_ORIGINS
    if (port := replica.http_port(ports)) is not None:
        environment["FOCUSMESH_HTTP_LISTEN"] = f"{LOOPBACK}:{port}"
    return environment


def _channels(ports: Ports, keys: Keys) -> dict[str, str]:
    """Mail goes to the catcher; push messages are signed, and secrets encrypted, with keys of the stack's own."""
    return {
        "FOCUSMESH_SMTP_HOST": LOOPBACK,
        "FOCUSMESH_SMTP_PORT": str(ports.mail),
        "FOCUSMESH_SMTP_CA_FILE": str(keys.mail_certificate()[0]),
        "FOCUSMESH_PUBLIC_URL": f"http://{LOOPBACK}:{ports.gateway}",
        "FOCUSMESH_SECRETS_KEY": keys.password("notification-secrets"),
        "FOCUSMESH_UNSUBSCRIBE_KEY": keys.password("unsubscribe-links"),
        "FOCUSMESH_VAPID_KEY_FILE": str(keys.vapid_key()),
    }


@cache
def callers_of(service: str) -> tuple[str, ...]:
    """The services that the policies of a service's RPCs name as their callers."""
    return tuple(sorted({caller for rpc in load().rpcs if rpc.owner == service for caller in rpc.callers}))


def _target(callee: Service, replicas: Iterable[Replica], ports: Ports) -> str:
    """The gRPC address of every replica of a service; of its first one when it does not run in this stack."""
    running = [replica.port(ports) for replica in replicas if replica.service == callee]
    return "ipv4:" + ",".join(f"{LOOPBACK}:{port}" for port in running or [ports.service(callee.port)])


def program(replica: Replica, environment: Mapping[str, str]) -> Program:
    """The replica's process."""
    return Program(
        name=replica.name,
        command=(sys.executable, "-m", f"services.{replica.service.name}.main"),
        environment=environment,
        stop_seconds=_STOP_SECONDS,
    )


def _listened_on(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0


def _health(channel: grpc.Channel) -> Callable[..., health_pb2.HealthCheckResponse]:
    return channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )


def serving(port: int) -> bool:
    """Whether the service on a port reports SERVING."""
    if not _listened_on(port):  # a hundred times cheaper to ask than a gRPC channel, and asked often while it starts
        return False
    with grpc.insecure_channel(f"{LOOPBACK}:{port}") as channel:
        try:
            response = _health(channel)(health_pb2.HealthCheckRequest(), timeout=1)
        except grpc.RpcError:
            return False
    return bool(response.status == health_pb2.HealthCheckResponse.SERVING)
