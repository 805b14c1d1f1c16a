"""The RPCs of TaskService, one method each."""

from collections.abc import Callable
from typing import Protocol, TypeAlias, TypeVar

from focusmesh.todo.v1 import task_service_pb2 as pb
from focusmesh.todo.v1 import task_service_pb2_grpc as rpc

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.events import outbox
from mesh.events.outbox import Event
from mesh.rpc.call import Context, current_call
from mesh.rpc.fieldmask import update_paths
from mesh.rpc.pagination import Pages
from mesh.runtime.clock import Clock
from mesh.runtime.ids import new_id
from services.todo import events, rules, store, wire
from services.todo.model import Task

_Verb: TypeAlias = (
    pb.StartTaskRequest | pb.CompleteTaskRequest | pb.ReopenTaskRequest | pb.DeleteTaskRequest | pb.UndeleteTaskRequest
)
_Answer = TypeVar(
    "_Answer",
    pb.StartTaskResponse,
    pb.CompleteTaskResponse,
    pb.ReopenTaskResponse,
    pb.DeleteTaskResponse,
    pb.UndeleteTaskResponse,
)


class _Rule(Protocol):
    """A decision of `rules`."""

    def __call__(self, task: Task, *, now: int, etag: str | None) -> Task: ...


class TaskHandlers(rpc.TaskServiceServicer):
    """Tasks of the caller."""

    def __init__(self, db: Database, pages: Pages, clock: Clock) -> None:
        """clock: microseconds since the epoch."""
        self.db, self.pages, self.clock = db, pages, clock

    async def CreateTask(self, request: pb.CreateTaskRequest, context: Context) -> pb.CreateTaskResponse:
        call = current_call()
        task = wire.new_task_from_pb(request, task_id=new_id(), user_id=call.user_id, now=self.clock())
        response = pb.CreateTaskResponse(task=wire.task_to_pb(task))
        async with self.db.connection() as connection:
            await store.insert_task(connection, task, call.side_effects(response, events.task_created(task)))
        return response

    async def BatchCreateTasks(
        self, request: pb.BatchCreateTasksRequest, context: Context
    ) -> pb.BatchCreateTasksResponse:
        call, now = current_call(), self.clock()
        # A microsecond apart: lists by creation show the order of the request.
        tasks = [
            wire.new_task_from_pb(new, task_id=new_id(), user_id=call.user_id, now=now + place)
            for place, new in enumerate(request.tasks)
        ]
        response = pb.BatchCreateTasksResponse(tasks=[wire.task_to_pb(task) for task in tasks])
        effect = call.side_effects(response, *(events.task_created(task) for task in tasks))
        async with self.db.connection() as connection:
            await store.insert_tasks(connection, tasks, effect)
        return response

    async def GetTask(self, request: pb.GetTaskRequest, context: Context) -> pb.GetTaskResponse:
        async with self.db.connection() as connection:
            task = await store.get_task(connection, current_call().user_id, request.task_id)
        return pb.GetTaskResponse(task=wire.task_to_pb(task))

    async def ListTasks(self, request: pb.ListTasksRequest, context: Context) -> pb.ListTasksResponse:
        user_id = current_call().user_id
        chosen, page = wire.filter_from_pb(request), self.pages.read(request, user_id)
        async with self.db.connection() as connection:
            tasks = await store.list_tasks(connection, user_id, chosen, page)
        response = wire.page_to_pb(tasks[: page.size])
        shown = len(response.tasks)
        if len(tasks) > shown:
            response.next_page_token = self.pages.next_token(page, store.page_key(chosen.order, tasks[shown - 1]))
        return response

    async def UpdateTask(self, request: pb.UpdateTaskRequest, context: Context) -> pb.UpdateTaskResponse:
        call, now = current_call(), self.clock()
        changes = wire.changes_from_pb(request, update_paths(request, wire.UPDATABLE))

        async def decide(connection: Connection) -> pb.UpdateTaskResponse:
            task = await store.get_task(connection, call.user_id, request.task_id)
            changed = rules.update(task, changes, now=now, etag=_etag(request))
            response = pb.UpdateTaskResponse(task=wire.task_to_pb(changed))
            if changed is task:
                await outbox.remember(connection, call.side_effects(response))
            else:
                await store.save_task(connection, changed, call.side_effects(response, events.task_updated(changed)))
            return response

        return await self.db.retry_on_conflict(decide)

    async def StartTask(self, request: pb.StartTaskRequest, context: Context) -> pb.StartTaskResponse:
        return await self._change(request, rules.start, events.task_updated, pb.StartTaskResponse)

    async def CompleteTask(self, request: pb.CompleteTaskRequest, context: Context) -> pb.CompleteTaskResponse:
        return await self._change(request, rules.complete, events.task_completed, pb.CompleteTaskResponse)

    async def ReopenTask(self, request: pb.ReopenTaskRequest, context: Context) -> pb.ReopenTaskResponse:
        return await self._change(request, rules.reopen, events.task_updated, pb.ReopenTaskResponse)

    async def DeleteTask(self, request: pb.DeleteTaskRequest, context: Context) -> pb.DeleteTaskResponse:
        return await self._change(request, rules.delete, events.task_deleted, pb.DeleteTaskResponse)

    async def UndeleteTask(self, request: pb.UndeleteTaskRequest, context: Context) -> pb.UndeleteTaskResponse:
        return await self._change(request, rules.undelete, events.task_updated, pb.UndeleteTaskResponse)

    async def _change(
        self, request: _Verb, rule: _Rule, event: Callable[[Task], Event], answer: type[_Answer]
    ) -> _Answer:
        """Reads the task, lets the rule decide, and writes its next version with the event."""
        call, now = current_call(), self.clock()

        async def decide(connection: Connection) -> _Answer:
            task = await store.get_task(connection, call.user_id, request.task_id)
            changed = rule(task, now=now, etag=_etag(request))
            response = answer(task=wire.task_to_pb(changed))
            await store.save_task(connection, changed, call.side_effects(response, event(changed)))
            return response

        return await self.db.retry_on_conflict(decide)


def _etag(request: "_Verb | pb.UpdateTaskRequest") -> str | None:
    return request.etag if request.HasField("etag") else None
