"""A service that is asked to stop fails no call."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path

import grpc
import psycopg
import pytest
from focusmesh.auth.v1 import key_service_pb2_grpc
from focusmesh.todo.v1 import task_pb2
from focusmesh.todo.v1 import task_service_pb2 as pb

from harness.waiting import until
from mesh.runtime.settings import ServiceSettings
from stack.keys import Keys
from stack.layout import ROOT, State
from tests.contract.mesh.key_service import Auth
from tests.contract.mesh.todo_service import Todo, running
from tests.support.ports import LOOPBACK
from tests.support.serving import settings_for
from tests.support.tokens import Signer


async def keep_calling(todo: Todo, made: list[str]) -> None:
    """Creates tasks until health says that it is time to go elsewhere, as the gateway does."""
    while await todo.serving():
        made.append((await todo.create()).task.id)


async def test_calls_are_served_until_callers_have_noticed(signer: Signer, todo_url: str, valkey: str) -> None:
    async with running(signer, todo_url, valkey, drain_seconds=0.5) as todo:
        await until(todo.serving, "everything is there")
        made: list[str] = []
        callers = [asyncio.create_task(keep_calling(todo, made)) for _ in range(8)]
        await until(lambda: len(made) > 50, "calls are made")
        todo.stop.set()
        await asyncio.gather(*callers)
        assert not todo.served.done()
        late = (await todo.create()).task.id
        await todo.served
    with psycopg.connect(todo_url) as connection:
        stored = {str(task_id) for (task_id,) in connection.execute("SELECT id FROM tasks")}
    assert stored == {*made, late}


async def test_calls_that_arrived_in_time_are_served_by_a_service_that_is_far_behind(
    signer: Signer, todo_url: str, valkey: str
) -> None:
    """gRPC cancels calls that have arrived when a server stops and that nobody has taken up yet."""
    async with running(signer, todo_url, valkey, drain_seconds=1.0) as todo:
        await until(todo.serving, "everything is there")
        calls = [asyncio.create_task(todo.create()) for _ in range(30)]
        todo.stop.set()
        await fall_behind(seconds=1.2)
        await asyncio.gather(*calls)
        await todo.served


async def fall_behind(seconds: float) -> None:
    """Lets each turn of the event loop take long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.03)  # noqa: ASYNC251 (that is what it is for)
        await asyncio.sleep(0)


async def test_a_call_that_runs_is_completed_before_the_service_ends(
    signer: Signer, todo_url: str, valkey: str
) -> None:
    async with running(signer, todo_url, valkey, stop_grace_seconds=10) as todo:
        await until(todo.serving, "everything is there")
        task = (await todo.create()).task
        with psycopg.connect(todo_url) as blocker:
            blocker.execute("SELECT FROM tasks WHERE id = %s FOR UPDATE", (task.id,))
            call = asyncio.ensure_future(
                todo.tasks.StartTask(pb.StartTaskRequest(task_id=task.id), metadata=todo.metadata, timeout=10)
            )
            await until(lambda: waits_for_a_row(todo_url), "the call runs")
            todo.stop.set()
            await until(lambda: refuses_calls(todo), "new calls are refused")
            assert not call.done()
        assert (await call).task.state == task_pb2.TASK_STATE_IN_PROGRESS
        await todo.served


def waits_for_a_row(url: str) -> bool:
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        ).fetchone()
    return found == (1,)


async def refuses_calls(todo: Todo) -> bool:
    try:
        await todo.create()
    except grpc.aio.AioRpcError as error:
        return error.code() is grpc.StatusCode.UNAVAILABLE
    return False


@pytest.fixture
async def auth_target(signer: Signer) -> AsyncIterator[str]:
    """Where a service finds the test's key."""
    auth, server = Auth(), grpc.aio.server()
    auth.signers.append(signer)
    key_service_pb2_grpc.add_KeyServiceServicer_to_server(auth, server)
    port = server.add_insecure_port(f"{LOOPBACK}:0")
    await server.start()
    yield f"{LOOPBACK}:{port}"
    await server.stop(0)


@asynccontextmanager
async def a_process(settings: ServiceSettings, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The todo service as a process of its own; ended by the block, or with it."""
    configuration = {f"FOCUSMESH_{name.upper()}": str(value) for name, value in asdict(settings).items()}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.todo.main"),
        cwd=ROOT,
        env={"PYTHONPATH": ":".join(map(str, (ROOT, ROOT / "gen" / "python"))), **configuration, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
def settings(todo_url: str, valkey: str, auth_target: str, tmp_path: Path) -> ServiceSettings:
    made = settings_for(
        database_url=todo_url,
        redis_url=valkey,
        drain_seconds=0.5,
        service_key_file=str(Keys(State(tmp_path)).service_key("todo")),
        call_targets=f"auth={auth_target}",
    )
    return replace(made, jwks_target=auth_target)


@pytest.fixture
async def todo(settings: ServiceSettings, signer: Signer) -> AsyncIterator[Todo]:
    """The service where the settings let it listen."""
    async with grpc.aio.insecure_channel(settings.listen) as channel:
        yield Todo(channel, (("authorization", f"Bearer {signer.token()}"),))


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
async def test_a_process_that_is_asked_to_stop_drains_and_ends_well(
    asked: signal.Signals, settings: ServiceSettings, todo: Todo
) -> None:
    async with a_process(settings) as process:
        await until(todo.serving, "the process serves", seconds=30)
        made: list[str] = []
        calling = asyncio.create_task(keep_calling(todo, made))
        await until(lambda: len(made) > 5, "calls are made")
        process.send_signal(asked)
        await calling
        await todo.create()
        output, _ = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0, output.decode()
    lines = [json.loads(line) for line in output.decode().splitlines()]
    assert lines[-1]["message"] == "stopped"
    assert {line["level"] for line in lines} <= {"INFO", "WARNING"}


async def test_a_collector_that_is_away_does_not_hold_up_the_end(settings: ServiceSettings, todo: Todo) -> None:
    nowhere = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{LOOPBACK}:1"}
    async with a_process(replace(settings, trace_ratio=1.0), **nowhere) as process:
        await until(todo.serving, "the process serves", seconds=30)
        await todo.create()
        process.terminate()
        assert process.stdout is not None
        async for line in process.stdout:
            if json.loads(line)["message"] == "stopped":
                break
        await asyncio.wait_for(process.wait(), 4)
    assert process.returncode == 0
