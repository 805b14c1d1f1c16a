"""Whose address counts when load balancers stand in front."""

import socket
import struct
from pathlib import Path

import pytest

from envoy.settings import Bucket
from harness.clients import Rest, empty
from harness.rpcs import BY_NAME
from harness.waiting import wait_until
from tests.gateway.gateways import UNLIMITED, await_keys, endpoints
from tests.gateway.upstream import Upstream
from tests.support.gateway_process import Running, running
from tests.support.ports import LOOPBACK
from tests.support.tokens import Signer

LOGIN = BY_NAME["Login"]
ONE = UNLIMITED._replace(credential=Bucket(1, 1, 60))


def logins(rest: Rest, forwarded: str) -> int:
    """Signs in with this `x-forwarded-for`; returns the HTTP status."""
    return rest.call(LOGIN, empty(LOGIN), headers={"x-forwarded-for": forwarded}).http


@pytest.mark.parametrize(
    ("hops", "forwarded", "seen"),
    [
        (1, "198.51.100.7", "198.51.100.7"),
        (1, "203.0.113.9, 198.51.100.7", "198.51.100.7"),
        (2, "203.0.113.9, 198.51.100.7, 10.0.0.1", "198.51.100.7"),
    ],
)
def test_behind_trusted_load_balancers_the_address_is_the_one_that_the_outermost_saw(
    upstream: Upstream, folder: Path, signer: Signer, hops: int, forwarded: str, seen: str
) -> None:
    own = folder / f"hops-{hops}-{len(forwarded)}"
    own.mkdir()
    with running(Running(own, endpoints(upstream), allowances=ONE, trusted_hops=hops)) as gateway:
        await_keys(gateway, signer)
        rest = Rest(gateway.url)

        assert logins(rest, forwarded) == 200
        assert upstream.last(LOGIN).metadata["x-envoy-external-address"] == seen
        assert logins(rest, f"192.0.2.1, {forwarded}") == 429
        assert logins(rest, forwarded.replace("198.51.100.7", "198.51.100.8")) == 200
        rest.close()


def answered(gateway: Running, preamble: bytes, request: str = "POST /v1/sessions") -> str:
    """Sends a request over a connection that begins with these bytes; returns the status, empty when it is closed."""
    with socket.create_connection((LOOPBACK, gateway.port), 5) as connection, connection.makefile("rb") as received:
        body = "Content-Length: 2\r\n\r\n{}" if request.startswith("POST") else "\r\n"
        headers = f"Host: a\r\nX-Forwarded-For: 192.0.2.1\r\n{body}"
        try:
            connection.sendall(preamble + f"{request} HTTP/1.1\r\n{headers}".encode())
            return received.readline().decode()[9:12]
        except ConnectionError:
            return ""


def version_1(address: str) -> bytes:
    return f"PROXY TCP4 {address} 192.0.2.1 40000 443\r\n".encode()


def version_2(address: str) -> bytes:
    addresses = socket.inet_aton(address) + socket.inet_aton("192.0.2.1") + struct.pack(">HH", 40000, 443)
    return b"\r\n\r\n\0\r\nQUIT\n" + struct.pack(">BBH", 0x21, 0x11, len(addresses)) + addresses


def test_the_proxy_protocol_says_whose_address_it_is(upstream: Upstream, folder: Path) -> None:
    own = folder / "proxy"
    own.mkdir()
    with running(Running(own, endpoints(upstream), allowances=ONE, proxy_protocol=True)) as gateway:
        keys = "GET /.well-known/jwks.json"
        wait_until(lambda: answered(gateway, version_1("192.0.2.9"), keys) == "200", "services are reached")

        assert answered(gateway, version_1("198.51.100.7")) == "200"
        assert upstream.last(LOGIN).metadata["x-envoy-external-address"] == "198.51.100.7"
        assert answered(gateway, version_2("198.51.100.7")) == "429"
        assert answered(gateway, version_2("198.51.100.8")) == "200"
        assert answered(gateway, b"") == ""
