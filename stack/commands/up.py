"""`make up`: starts everything, checks it by one real call, and prints where everything is."""

import os
import time
from collections.abc import Mapping

from envoy.settings import settings_in
from stack import preflight
from stack.errors import StackError, run_command
from stack.layout import main_ports, main_state
from stack.registry import MOST_REPLICAS, load
from stack.signals import install_signal_handlers
from stack.stack import Stack
from stack.terminal import GREEN, colour, mebibytes, table


def requested_replicas(text: str) -> dict[str, int]:
    """Replicas by service from `todo=2,audit=2`. Raises StackError."""
    expected: dict[str, int] = {}
    for item in filter(None, text.split(",")):
        name, _, number = item.strip().partition("=")
        if name not in load().services or not number.isdigit() or not 1 <= int(number) <= MOST_REPLICAS:
            raise StackError(
                f"REPLICAS={text} does not read as SERVICE=1 to SERVICE={MOST_REPLICAS}",
                advice=f"`make up REPLICAS=todo=2` with one of {', '.join(load().services)}",
            )
        expected[name] = int(number)
    return expected


def report(what: str, seconds: float) -> None:
    """Prints a line for each program that became ready."""
    print(f"  {colour('✓', GREEN)} {what:<12} {seconds:5.1f} s", flush=True)


def addresses(stack: Stack) -> str:
    """Where everything listens."""
    ports = stack.ports
    rows = [
        ("REST, gRPC, gRPC-Web", stack.gateway_url),
        ("WebSocket", f"ws://{stack.gateway_target}/v1/realtime"),
        ("gateway's metrics", f"http://127.0.0.1:{ports.gateway_metrics}/stats/prometheus"),
        *((f"{replica.name} (gRPC)", f"127.0.0.1:{replica.port(ports)}") for replica in stack.replicas),
        ("PostgreSQL", f"127.0.0.1:{ports.postgres}   make psql S=todo"),
        *((name.capitalize(), f"127.0.0.1:{port}") for name, port in ports.valkey.items()),
        ("Kafka", f"127.0.0.1:{ports.kafka}   make topics"),
        ("mail catcher", f"127.0.0.1:{ports.mail}   make mail"),
    ]
    return table(("what", "where"), rows)


def first_calls(stack: Stack) -> str:
    """Lines to paste: register, sign in, create a task over REST, list tasks over gRPC."""
    url, json_type = stack.gateway_url, "-H 'content-type: application/json'"
    who = f'{{"email":"ada.{int(time.time())}@example.org","password":"correct horse battery"}}'
    read = 'import json, sys; print(json.load(sys.stdin)["tokens"]["accessToken"])'
    bearer = '-H "authorization: Bearer $TOKEN"'
    return "\n".join(
        (
            f"curl -sS {url}/v1/users {json_type} -d '{who}'",
            f"TOKEN=$(curl -sS {url}/v1/sessions {json_type} -d '{who}' | python3 -c '{read}')",
            f'curl -sS {url}/v1/tasks {bearer} {json_type} -d \'{{"title":"Buy groceries"}}\'',
            f".venv/bin/buf curl --schema gen/gateway/gateway.binpb --protocol grpc --http2-prior-knowledge {bearer}"
            f" {url}/focusmesh.todo.v1.TaskService/ListTasks",
        )
    )


def show(stack: Stack) -> None:
    """The table of a running stack."""
    used = stack.memory(stack.supervisor.pid) if stack.supervisor.pid else 0
    print(f"\n{addresses(stack)}\n\nPaste and try:\n\n{first_calls(stack)}\n")
    print(f"All processes together hold {mebibytes(used)}.")


def require_shape(running: Stack, expected: Mapping[str, int]) -> None:
    """Raises StackError when the running stack lacks a service, or runs another number of replicas than requested."""
    has = {service.name: len(running.replicas_of(service.name)) for service in running.services}
    if other := [name for name in load().services if name not in has or has[name] != expected.get(name, has[name])]:
        raise StackError(
            f"the stack that runs has another shape: {', '.join(f'{has.get(name, 0)} of {name}' for name in other)}",
            advice="`make down up`, with the same REPLICAS=…",
        )


def main() -> None:
    """Starts the stack, or reports that it runs."""
    install_signal_handlers()
    state, expected = main_state(), requested_replicas(os.environ.get("REPLICAS", ""))
    running = Stack.running(state)
    if running is not None:
        require_shape(running, expected)
        for name in running.programs:
            running.wait_healthy(name)
        print("The stack runs already.")
        show(running)
        return
    preflight.python()
    preflight.disk(state)
    preflight.memory()
    began = time.monotonic()
    stack = Stack(state, main_ports(), replicas=expected, environment=settings_in(os.environ), report=report)
    stack.start()
    show(stack)
    print(f"Ready after {time.monotonic() - began:.1f} s. Stop it with `make down`.")


if __name__ == "__main__":
    run_command(main)
