"""Connections of one address that do nothing, and everybody else."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.waiting import wait_until
from tests.gateway.gateways import endpoints
from tests.gateway.upstream import Upstream
from tests.support.gateway_process import Running, running
from tests.support.ports import LOOPBACK

MOST, TOO_MANY = 50, 60
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
SECONDS = 20.0


@pytest.fixture(scope="module")
def narrow(upstream: Upstream, folder: Path) -> Iterator[Running]:
    """A gateway for few connections, whose heap is so small that it closes idle ones after two seconds."""
    own = folder / "narrow"
    own.mkdir()
    with running(Running(own, endpoints(upstream), most_connections=MOST, heap_bytes=48 << 20)) as gateway:
        yield gateway


@contextlib.contextmanager
def connections(gateway: Running, number: int, first: bytes) -> Iterator[list[socket.socket]]:
    """So many connections of another address, each of which has sent `first`."""
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(number):
            connection = stack.enter_context(
                socket.create_connection((LOOPBACK, gateway.port), SECONDS, ("127.0.0.2", 0))
            )
            connection.sendall(first)
            opened.append(connection)
        yield opened


def test_a_silent_connection_takes_no_place(narrow: Running) -> None:
    with connections(narrow, TOO_MANY, b""):
        assert narrow.is_open()


@pytest.mark.parametrize("first", [b"G", PREFACE, REQUEST], ids=["a byte", "a preface", "a request"])
def test_who_holds_every_place_and_does_nothing_loses_them_and_readiness_is_told_meanwhile(
    narrow: Running, first: bytes
) -> None:
    for _ in range(TOO_MANY):
        assert narrow.is_ready()  # none of these frees a place for others

    refused = narrow.figure("envoy_listener_downstream_cx_overflow")
    with connections(narrow, TOO_MANY, first):
        wait_until(
            lambda: narrow.figure("envoy_listener_downstream_cx_overflow") >= refused + TOO_MANY - MOST,
            "all places are taken",
        )
        assert narrow.is_ready()
        wait_until(narrow.is_open, "others get in", SECONDS)
