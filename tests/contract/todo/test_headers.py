"""Headers that mean a field, from the call to the response."""

from typing import Any

from focusmesh.todo.v1 import task_service_pb2 as pb

from mesh.runtime.ids import new_id
from tests.contract.todo.todo_client import TaskBuilder, Todo, events
from tests.support.errors import refused

BY_REST = {"x-envoy-original-path": "/v1/tasks"}
"""What the gateway adds to the call that it makes of a REST request."""


async def test_a_stale_if_match_is_a_stale_etag(todo: Todo, a_task: TaskBuilder) -> None:
    task = await a_task()
    update = pb.UpdateTaskRequest(task_id=task.id, update_mask={"paths": ["title"]}, title="y")

    with refused("VERSION_CONFLICT", etag=task.etag):
        await todo.open(update, {"if-match": '"v9"'})

    assert (await todo.open(update, {"if-match": f'"{task.etag}"'})).task.title == "y"


async def test_an_idempotency_key_is_a_request_id_however_it_is_written(todo: Todo, todo_url: str) -> None:
    key, request = new_id(), pb.CreateTaskRequest(title="x")

    made = [await todo.open(request, {"idempotency-key": text}) for text in (key, key.upper(), f'"{key}"')]
    made.append(await todo.CreateTask(title="x", request_id=key.upper()))

    assert made == [made[0]] * 4
    assert events(todo_url, made[0].task.id) == [("task-created", 1)]


async def test_a_rest_caller_gets_the_etag_as_a_header_and_names_as_json_has_them(todo: Todo) -> None:
    async def etag_header(headers: dict[str, str]) -> Any:
        call = todo.open(pb.CreateTaskRequest(title="x"), headers)
        await call
        return dict(await call.initial_metadata()).get("etag")

    assert (await etag_header(BY_REST), await etag_header({})) == ('"v1"', None)
    for headers, named in ((BY_REST, "taskId"), ({}, "task_id")):
        with refused("INVALID_REQUEST") as error:
            await todo.open(pb.GetTaskRequest(task_id="none"), headers)
        assert error.fields == [named]
        assert error.message.startswith(named)
