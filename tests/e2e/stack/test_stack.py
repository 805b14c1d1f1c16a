"""Starting and stopping a whole stack by its commands."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import psutil
import psycopg
import pytest

from envoy import drain
from harness.clients import Rest
from harness.owners import Account
from harness.waiting import until
from stack import preflight
from stack.commands import down
from stack.database import MAIN, Cluster
from stack.errors import StackError
from stack.infrastructure import gateway, kafka, postgres
from stack.layout import LOOPBACK, PYTHON_PATH, ROOT, RUN, Ports, State
from stack.stack import Stack
from tests.support.stacks import started


@pytest.fixture
def ports() -> Iterator[Ports]:
    """Ports of the test's own."""
    ports, claim = preflight.claim_ports()
    yield ports
    claim.close()


@pytest.fixture
def state() -> Iterator[State]:
    """A state of the test's own; nothing of it outlives the test."""
    state = State(RUN / f"test-{os.getpid()}-own")
    yield state
    down.stop(state)
    down.erase(state)


@pytest.fixture(scope="module")
def running() -> Iterator[Stack]:
    """auth and todo behind a gateway, for tests that leave them at work."""
    with started("running", only=("auth", "todo")) as stack:
        yield stack


def verb(name: str, state: State, ports: Ports, *arguments: str) -> subprocess.Popen[str]:
    """A verb of the stack, in a process group of its own as a terminal would make it."""
    environment = {
        "PYTHONPATH": PYTHON_PATH,
        "FOCUSMESH_STATE": str(state.folder),
        "FOCUSMESH_PORT_BASE": str(ports.base),
    }
    return subprocess.Popen(
        [sys.executable, "-m", f"stack.commands.{name}", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def assert_nothing_left(state: State, ports: Ports) -> None:
    """No process of the stack, and no port of it, is in use."""
    assert list(preflight.leftovers(state)) == []
    preflight.free_ports(Stack(state, ports).listeners())


@pytest.mark.timeout(180)
@pytest.mark.parametrize("instant", ["supervisord.pid", "logs/postgres.log", "logs/todo-0.log"])
async def test_an_interrupted_start_leaves_nothing_behind(state: State, ports: Ports, instant: str) -> None:
    starting = verb("up", state, ports)
    await until((state.folder / instant).exists, f"the start comes to {instant}", 90)
    os.killpg(starting.pid, signal.SIGINT)
    assert starting.wait(60) == 130
    assert_nothing_left(state, ports)


@pytest.mark.timeout(240)
def test_what_is_up_says_so_and_comes_down_without_a_trace(state: State, ports: Ports) -> None:
    first, _ = verb("up", state, ports).communicate(timeout=120)
    assert f"http://127.0.0.1:{ports.gateway}" in first
    again, _ = verb("up", state, ports).communicate(timeout=60)
    assert "The stack runs already." in again
    shown = verb("status", state, ports)
    table, _ = shown.communicate(timeout=60)
    assert shown.returncode == 0, table
    ended, _ = verb("down", state, ports).communicate(timeout=60)
    assert "Stopped after" in ended
    assert_nothing_left(state, ports)


def test_nobody_else_reads_what_a_stack_stores(running: Stack) -> None:
    open_to_others = {}
    for path in (running.state.folder, *running.state.folder.rglob("*")):
        with suppress(FileNotFoundError):  # what runs renames its files meanwhile
            if (mode := path.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
                open_to_others[str(path)] = stat.filemode(mode)
    assert not open_to_others


@pytest.mark.parametrize("port", ["kafka", "kafka_controller"])
def test_who_does_not_know_the_password_is_told_nothing_by_the_broker(running: Stack, port: str) -> None:
    address = {"bootstrap.servers": f"{LOOPBACK}:{getattr(running.ports, port)}"}
    assert not kafka.responses(kafka.admin(address))
    assert not kafka.responses(kafka.admin(running.broker.client | address | {"sasl.password": "guessed"}))
    assert kafka.responses(kafka.admin(running.broker.client))


def test_a_restart_brings_what_changed_in_schema_and_contract(running: Stack) -> None:
    state, ports = running.state, running.ports
    with psycopg.connect(running.cluster.administrator_url(MAIN), autocommit=True) as connection:
        connection.execute("DROP SCHEMA todo CASCADE")
    (state.gateway / "gateway.json").write_text("another contract")
    before = running.pid("gateway")
    output, _ = verb("restart", state, ports, "todo").communicate(timeout=60)
    assert output.splitlines()[-1].startswith("gateway is healthy again")
    assert running.pid("gateway") != before
    assert Account(Rest(running.gateway_url)).task().title
    again, _ = verb("restart", state, ports, "todo").communicate(timeout=60)
    assert [line.split()[0] for line in again.splitlines()] == ["todo-0"]


async def test_a_call_in_flight_outlives_a_restart_of_the_gateway(running: Stack) -> None:
    with ThreadPoolExecutor(2) as pool:
        account, socket = Account(Rest(running.gateway_url)), gateway.admin_socket(running.state)
        assert account.task().title
        todo = psutil.Process(running.pid("todo-0"))
        todo.suspend()
        call = pool.submit(account.task)
        await until(lambda: drain.calls(socket) == 1, "the call is in flight")
        restart = pool.submit(running.restart, "gateway")
        await until(lambda: not open_to_callers(running), "the gateway leaves")
        todo.resume()
        assert call.result().title
        restart.result()


def open_to_callers(stack: Stack) -> bool:
    """Whether the gateway says that it takes calls."""
    try:
        return httpx.get(f"{stack.gateway_url}/healthz").is_success
    except httpx.TransportError:
        return False


def test_a_port_that_is_taken_is_reported_with_the_process_that_holds_it(
    state: State, ports: Ports, cluster: Cluster
) -> None:
    taken = Ports(cluster.port - ports.postgres + ports.base)
    with pytest.raises(StackError, match=rf"port {taken.postgres} is held by postgres \(pid \d+\)"):
        Stack(state, taken, components=(postgres.NAME,)).start()


def test_two_stacks_do_not_share_a_state(state: State, ports: Ports) -> None:
    with Stack(state, ports, components=("valkey",)), pytest.raises(StackError, match="a stack runs already"):
        Stack(state, ports, components=("valkey",)).start()


async def test_a_program_that_is_killed_comes_back(state: State, ports: Ports) -> None:
    with Stack(state, ports, components=("valkey",)) as stack:
        killed = stack.pid("valkey")
        stack.kill("valkey")
        await until(lambda: stack.healthy("valkey") and stack.pid("valkey") != killed, "it is back")


async def test_what_lost_its_supervisor_is_stopped_all_the_same(state: State, ports: Ports) -> None:
    stack = Stack(state, ports, components=("valkey",))
    stack.start()
    supervisor = psutil.Process(stack.supervisor.pid)
    supervisor.kill()
    await until(lambda: Stack.running(state) is None, "the supervisor is gone")
    assert list(preflight.leftovers(state)) != []
    down.stop(state)
    assert_nothing_left(state, ports)


async def test_a_program_that_does_not_start_is_reported_with_the_end_of_its_log(state: State, ports: Ports) -> None:
    with pytest.raises(StackError, match="todo-0 ends as soon as it is started") as error:
        Stack(
            state,
            ports,
            components=("postgres", "services"),
            only=("todo",),
            environment={"FOCUSMESH_DRAIN_SECONDS": "soon"},
        ).start()
    assert "FOCUSMESH_DRAIN_SECONDS" in error.value.log
    assert_nothing_left(state, ports)
