"""The RPCs of TaskService and TaskOwnershipService, one method each."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias, TypeVar

from focusmesh.todo.v1 import task_ownership_service_pb2 as ownership_pb
from focusmesh.todo.v1 import task_ownership_service_pb2_grpc as ownership_rpc
from focusmesh.todo.v1 import task_service_pb2 as pb
from focusmesh.todo.v1 import task_service_pb2_grpc as rpc
from google.protobuf.message import Message

from mesh.database.pool import Database
from mesh.events.outbox import Event
from mesh.rpc.call import Context, current_call
from mesh.rpc.change import change
from mesh.rpc.etag import etag_of
from mesh.rpc.pagination import Pages
from mesh.runtime.clock import Clock
from mesh.runtime.ids import new_id
from services.todo import events, rules, store, wire
from services.todo.model import Task

_Response = TypeVar("_Response", bound=Message)
_Rule: TypeAlias = Callable[[Task, int, str | None], Task]
"""A decision of `rules`: the task, the current instant, the etag of the request."""


class TaskHandlers(rpc.TaskServiceServicer):
    """Tasks of the caller."""

    def __init__(self, db: Database, pages: Pages, clock: Clock) -> None:
        self.db, self.pages, self.clock = db, pages, clock

    async def CreateTask(self, request: pb.CreateTaskRequest, context: Context) -> pb.CreateTaskResponse:
        call = current_call()
        task = wire.task_from_pb(request, task_id=new_id(), user_id=call.user_id, now=self.clock())
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
            wire.task_from_pb(new, task_id=new_id(), user_id=call.user_id, now=now + index)
            for index, new in enumerate(request.requests)
        ]
        response = pb.BatchCreateTasksResponse(tasks=[wire.task_to_pb(task) for task in tasks])
        side_effects = call.side_effects(response, *map(events.task_created, tasks))
        async with self.db.connection() as connection:
            await store.insert_tasks(connection, tasks, side_effects)
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
        key = partial(store.page_key, chosen.order)
        shown, next_page_token = self.pages.cut(tasks, page, key, fit=wire.fit(tasks))
        return wire.tasks_to_pb(shown, next_page_token)

    async def UpdateTask(self, request: pb.UpdateTaskRequest, context: Context) -> pb.UpdateTaskResponse:
        update = partial(rules.update, changes=wire.changes_from_pb(request))
        return await self._change(request, update, events.task_updated, pb.UpdateTaskResponse)

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
        self, request: Any, rule: _Rule, event: Callable[[Task], Event], response: Callable[..., _Response]
    ) -> _Response:
        """Changes the task of a request by a rule. request: has `task_id` and `etag`. response: takes `task`."""
        user_id, now = current_call().user_id, self.clock()
        return await change(
            self.db,
            read=lambda connection: store.get_task(connection, user_id, request.task_id),
            decide=lambda task: rule(task, now, etag_of(request)),
            respond=lambda task: response(task=wire.task_to_pb(task)),
            save=store.save_task,
            event=event,
        )


class TaskOwnershipHandlers(ownership_rpc.TaskOwnershipServiceServicer):
    """Whose tasks are whose, for other services."""

    def __init__(self, db: Database) -> None:
        self.db = db

    async def FindOwnedTasks(
        self, request: ownership_pb.FindOwnedTasksRequest, context: Context
    ) -> ownership_pb.FindOwnedTasksResponse:
        async with self.db.connection() as connection:
            found = await store.find_owned(connection, request.user_id, request.task_ids)
        return ownership_pb.FindOwnedTasksResponse(task_ids=found)
