"""Takes a gateway out of service without a failed call: `python -m envoy.drain --admin .run/stack/gateway.sock`.

It says at `/healthz` that it leaves, asks connections to go elsewhere, and waits until no call is left. After that
SIGTERM cuts nothing. SIGTERM alone cuts every call in flight.
"""

import argparse
import http.client
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from envoy.process import DRAIN_SECONDS
from stack.unix_http import UnixConnection

_POLL_SECONDS = 0.05
_ACTIVE = r"^cluster\..*\.upstream_rq_active$"
_OWN = {f"cluster.{name}.upstream_rq_active" for name in ("admin", "keys", "otlp")}
"""Calls of the gateway itself."""


class DrainError(Exception):
    """The administration did not respond as expected."""


def drain(admin_socket: Path, *, notice_seconds: float = DRAIN_SECONDS, longest_seconds: float = 30.0) -> bool:
    """Drains; returns whether no call was left, or False when `longest_seconds` passed first. Raises DrainError.

    notice_seconds: how long load balancers need to see `/healthz` say 503; calls are served all that time.
    """
    _ask(admin_socket, "POST", "/healthcheck/fail")
    _ask(admin_socket, "POST", "/drain_listeners?graceful&skip_exit")
    began = time.monotonic()
    while (elapsed := time.monotonic() - began) < longest_seconds:
        if elapsed >= notice_seconds and not calls(admin_socket):
            return True
        time.sleep(_POLL_SECONDS)
    return False


def calls(admin_socket: Path) -> int:
    """How many calls the gateway serves right now; raises DrainError."""
    lines = _ask(admin_socket, "GET", f"/stats?filter={_ACTIVE}").splitlines()
    figures = [line.rpartition(": ")[::2] for line in lines]
    return sum(int(figure) for name, figure in figures if name not in _OWN)


def _ask(admin_socket: Path, verb: str, path: str) -> str:
    connection = UnixConnection(admin_socket)
    try:
        connection.request(verb, path)
        response = connection.getresponse()
        text = response.read().decode()
    except (OSError, http.client.HTTPException) as error:
        raise DrainError(f"{admin_socket}: {error}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise DrainError(f"{verb} {path} was responded to with {response.status}: {text}")
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Drains one gateway; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m envoy.drain", description="Take a gateway out of service.")
    parser.add_argument("--admin", type=Path, required=True, help="its administration's unix socket")
    parser.add_argument("--notice", type=float, default=DRAIN_SECONDS, help="seconds that it goes on being open")
    parser.add_argument("--longest", type=float, default=30.0, help="seconds after which it gives up waiting")
    given = parser.parse_args(arguments)
    try:
        quiet = drain(given.admin, notice_seconds=given.notice, longest_seconds=given.longest)
    except DrainError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0 if quiet else 1


if __name__ == "__main__":
    sys.exit(main())
