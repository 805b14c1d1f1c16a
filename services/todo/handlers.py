"""The RPCs of TaskService and of the services for other services, one method each."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias, TypeVar

from focusmesh.todo.v1 import task_instance_service_pb2 as instance_pb
from focusmesh.todo.v1 import task_instance_service_pb2_grpc as instance_rpc
from focusmesh.todo.v1 import task_ownership_service_pb2 as ownership_pb
from focusmesh.todo.v1 import task_ownership_service_pb2_grpc as ownership_rpc
from focusmesh.todo.v1 import task_planning_service_pb2 as planning_pb
from focusmesh.todo.v1 import task_planning_service_pb2_grpc as planning_rpc
from focusmesh.todo.v1 import task_service_pb2 as pb
from focusmesh.todo.v1 import task_service_pb2_grpc as rpc
from google.protobuf.message import Message

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.database.quota import Quota
from mesh.events import outbox
from mesh.events.outbox import Event, SideEffects
from mesh.rpc.call import Context, current_call
from mesh.rpc.change import change
from mesh.rpc.etag import etag_of
from mesh.rpc.pagination import Pages
from mesh.runtime.clock import Clock
from mesh.runtime.ids import new_id
from mesh.runtime.slices import in_slices
from services.todo import events, store, wire
from services.todo.errors import TaskNotFound, TaskNotInSeries, of_element
from services.todo.model import State, Task
from services.todo.rules import series
from services.todo.rules import tasks as rules

_Response = TypeVar("_Response", bound=Message)
_Result = TypeVar("_Result")
_Rule: TypeAlias = Callable[[Task, int, str | None], Task]
"""A decision of `rules`: the task, the current instant, the etag of the request."""
_Save: TypeAlias = Callable[[Connection, Task, SideEffects], Awaitable[None]]


class TaskHandlers(rpc.TaskServiceServicer):
    """Tasks of the caller."""

    def __init__(
        self, db: Database, pages: Pages, quota: Quota, zone_of: Callable[[str], Awaitable[str]], clock: Clock
    ) -> None:
        """quota: of tasks. zone_of: the time zone of a user."""
        self.db, self.pages, self.quota, self.zone_of, self.clock = db, pages, quota, zone_of, clock

    async def CreateTask(self, request: pb.CreateTaskRequest, context: Context) -> pb.CreateTaskResponse:
        call = current_call()
        asked = wire.task_from_pb(request, task_id=new_id(), user_id=call.user_id, now=self.clock())
        try:
            task = rules.create(asked, None)
        except series.ZoneMissing:
            task = rules.create(asked, await self.zone_of(call.user_id))
        response = pb.CreateTaskResponse(task=wire.task_to_pb(task))
        side_effects = call.side_effects(response, events.task_created(task))
        if task.series_id is not None:
            await self._insert_series([task], [task], side_effects)
            return response
        async with self.db.connection() as connection:
            await self.quota.require(connection, call.user_id)
            await store.insert_task(connection, task, side_effects)
        return response

    async def BatchCreateTasks(
        self, request: pb.BatchCreateTasksRequest, context: Context
    ) -> pb.BatchCreateTasksResponse:
        call, now = current_call(), self.clock()
        asked = await in_slices(_new_task(request, index, call.user_id, now) for index in range(len(request.requests)))
        tasks = await self._with_zone(
            lambda zone: in_slices(_created(task, index, zone) for index, task in enumerate(asked))
        )
        response = pb.BatchCreateTasksResponse(tasks=await in_slices(map(wire.task_to_pb, tasks)))
        created = await in_slices(map(events.task_created, tasks))
        await asyncio.sleep(0)  # request and response are written next, up to 1 MiB each: another piece
        side_effects = call.side_effects(response, *created)
        if recurring := [task for task in tasks if task.series_id is not None]:
            await self._insert_series(tasks, recurring, side_effects)
            return response
        async with self.db.connection() as connection:
            await self.quota.require(connection, call.user_id, len(tasks))
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
            tasks, more_after = await store.list_tasks(connection, user_id, chosen, page)
        response, key = wire.tasks_to_pb(tasks[: page.size]), partial(store.page_key, chosen.order)
        return self.pages.cut(response, tasks, page, key, more_after=more_after)

    async def UpdateTask(self, request: pb.UpdateTaskRequest, context: Context) -> pb.UpdateTaskResponse:
        update = partial(rules.update, changes=wire.changes_from_pb(request), series_id=new_id())
        return await self._with_zone(
            lambda zone: self._change(
                request, partial(update, zone=zone), events.task_updated, pb.UpdateTaskResponse, _save_open
            )
        )

    async def StartTask(self, request: pb.StartTaskRequest, context: Context) -> pb.StartTaskResponse:
        return await self._change(request, rules.start, events.task_updated, pb.StartTaskResponse)

    async def CompleteTask(self, request: pb.CompleteTaskRequest, context: Context) -> pb.CompleteTaskResponse:
        return await self._change(
            request, rules.complete, events.task_completed, pb.CompleteTaskResponse, self._save_complete
        )

    async def ReopenTask(self, request: pb.ReopenTaskRequest, context: Context) -> pb.ReopenTaskResponse:
        return await self._change(request, rules.reopen, events.task_updated, pb.ReopenTaskResponse, _save_open)

    async def DeleteTask(self, request: pb.DeleteTaskRequest, context: Context) -> pb.DeleteTaskResponse:
        return await self._change(request, rules.delete, events.task_deleted, pb.DeleteTaskResponse)

    async def UndeleteTask(self, request: pb.UndeleteTaskRequest, context: Context) -> pb.UndeleteTaskResponse:
        return await self._change(request, rules.undelete, events.task_updated, pb.UndeleteTaskResponse, _save_open)

    async def _change(
        self,
        request: Any,
        rule: _Rule,
        event: Callable[[Task], Event],
        response: Callable[..., _Response],
        save: _Save = store.save_task,
    ) -> _Response:
        """Changes the task of a request by a rule. request: has `task_id` and `etag`. response: takes `task`."""
        user_id, now = current_call().user_id, self.clock()
        return await change(
            self.db,
            read=lambda connection: store.get_task(connection, user_id, request.task_id),
            decide=lambda task: rule(task, now, etag_of(request)),
            respond=lambda task: response(task=wire.task_to_pb(task)),
            save=save,
            event=event,
        )

    async def _with_zone(self, decide: Callable[[str | None], Awaitable[_Result]]) -> _Result:
        """What `decide` makes without a time zone, or, when it raises ZoneMissing, with that of the caller."""
        try:
            return await decide(None)
        except series.ZoneMissing:
            return await decide(await self.zone_of(current_call().user_id))

    async def _save_complete(self, connection: Connection, task: Task, side_effects: SideEffects) -> None:
        """Writes a completed task; raises TooManyTasks when its series goes on, for lack of room for the next."""
        if task.series_id is not None:
            await self.quota.require(connection, task.user_id)
        await store.save_task(connection, task, side_effects)

    async def _insert_series(self, tasks: Sequence[Task], recurring: Sequence[Task], side_effects: SideEffects) -> None:
        async with self.db.transaction() as tx:
            await self.quota.require(tx, tasks[0].user_id, len(tasks))
            await store.claim_series(tx, recurring, series.MOST_SERIES)
            await store.insert_tasks(tx, tasks, side_effects)
        outbox.wake()


class TaskInstanceHandlers(instance_rpc.TaskInstanceServiceServicer):
    """Instances of series, as the service that schedules them asks."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self.db, self.clock = db, clock

    async def ApplyInstance(
        self, request: instance_pb.ApplyInstanceRequest, context: Context
    ) -> instance_pb.ApplyInstanceResponse:
        slot, now = wire.slot_from_pb(request), self.clock()
        applies = {"put": self._put, "revise": self._revise, "withdraw": self._withdraw, "reopen": self._reopen}
        apply = applies[request.WhichOneof("change") or ""]
        return await self.db.retry_on_conflict(lambda connection: apply(connection, request, slot, now))

    async def _put(
        self, connection: Connection, request: instance_pb.ApplyInstanceRequest, slot: str, now: int
    ) -> instance_pb.ApplyInstanceResponse:
        found = await store.get_instance(connection, request.user_id, request.series_id, slot)
        if found is not None and not found.is_withdrawn:
            return await _unchanged(connection, found)
        source = await store.get_task(connection, request.user_id, request.put.source_task_id)
        source_series_id = request.put.source_series_id or request.series_id
        if source.series_id != source_series_id:
            raise TaskNotInSeries(task_id=source.id, series_id=source_series_id)
        first = source._replace(series_id=request.series_id)
        new = series.put(first, found, slot, wire.instance_from_pb(request), now)
        if found is None and await store.has_task(connection, new.user_id, new.id):
            new = new._replace(id=new_id())  # an edit took the task with that id to another slot
        save, event = (store.save_task, events.task_updated) if found else (store.put_instance, events.task_created)
        return await _applied(connection, new, save, event)

    async def _revise(
        self, connection: Connection, request: instance_pb.ApplyInstanceRequest, slot: str, now: int
    ) -> instance_pb.ApplyInstanceResponse:
        task = await store.get_task(connection, request.user_id, request.revise.task_id)
        decided_in = request.revise.source_series_id or task.series_id
        if task.series_id is None or task.series_id not in (decided_in, request.series_id):
            raise TaskNotInSeries(task_id=task.id, series_id=decided_in or request.series_id)
        if task.deleted_at is not None:
            return await _unchanged(connection, task, instance_pb.INSTANCE_OUTCOME_BEGUN)
        revised = series.revise(task, request.series_id, slot, wire.instance_from_pb(request), now)
        if revised is task:
            return await _unchanged(connection, task)
        return await _applied(connection, revised, store.save_task, events.task_updated)

    async def _withdraw(
        self, connection: Connection, request: instance_pb.ApplyInstanceRequest, slot: str, now: int
    ) -> instance_pb.ApplyInstanceResponse:
        found = await store.get_instance(connection, request.user_id, request.series_id, slot)
        if found is None or found.deleted_at is not None:
            return await _unchanged(connection, found)
        if series.is_begun(found):
            return await _unchanged(connection, found, instance_pb.INSTANCE_OUTCOME_BEGUN)
        withdrawn = rules.delete(found._replace(is_withdrawn=True), now, None)
        return await _applied(connection, withdrawn, store.save_task, events.task_deleted)

    async def _reopen(
        self, connection: Connection, request: instance_pb.ApplyInstanceRequest, slot: str, now: int
    ) -> instance_pb.ApplyInstanceResponse:
        task = await store.get_task(connection, request.user_id, request.reopen.task_id)
        if task.status != State.COMPLETE:
            return await _unchanged(connection, task)
        reopened = rules.reopen(task._replace(deleted_at=None, purge_at=None), now, None)
        return await _applied(connection, reopened, store.save_task, events.task_updated)


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


class TaskPlanningHandlers(planning_rpc.TaskPlanningServiceServicer):
    """Tasks, as a calendar needs them."""

    def __init__(self, db: Database, pages: Pages, quota: Quota, clock: Clock) -> None:
        """quota: of tasks."""
        self.db, self.pages, self.quota, self.clock = db, pages, quota, clock

    async def GetOwnedTask(
        self, request: planning_pb.GetOwnedTaskRequest, context: Context
    ) -> planning_pb.GetOwnedTaskResponse:
        async with self.db.connection() as connection:
            task = await store.get_task(connection, request.user_id, request.task_id)
        if task.deleted_at is not None:
            raise TaskNotFound(task_id=task.id)
        return planning_pb.GetOwnedTaskResponse(task=wire.task_to_pb(task))

    async def ListDueTasks(
        self, request: planning_pb.ListDueTasksRequest, context: Context
    ) -> planning_pb.ListDueTasksResponse:
        page = self.pages.read(request, request.user_id)
        async with self.db.connection() as connection:
            tasks = await store.list_due(connection, request.user_id, page)
        response = planning_pb.ListDueTasksResponse(tasks=map(wire.due_task_to_pb, tasks[: page.size]))
        return self.pages.cut(response, tasks, page, lambda task: [task.due_date, task.id])

    async def ImportTasks(
        self, request: planning_pb.ImportTasksRequest, context: Context
    ) -> planning_pb.ImportTasksResponse:
        uids = [task.uid for task in request.tasks]
        if request.dry_run:
            async with self.db.connection() as connection:
                return _imports(uids, await store.find_imported(connection, request.user_id, uids), {})
        async with self.db.transaction() as tx:
            await store.lock_user(tx, request.user_id)
            found = await store.find_imported(tx, request.user_id, uids)
            new = self._new_tasks(request, found)
            response = _imports(uids, found, new)
            side_effects = current_call().side_effects(response, *map(events.task_created, new.values()))
            if new:
                await self.quota.require(tx, request.user_id, len(new))
                await store.import_tasks(tx, new, side_effects)
            else:
                await outbox.store_response(tx, side_effects)
        outbox.wake()
        return response

    def _new_tasks(self, request: planning_pb.ImportTasksRequest, found: Mapping[str, str]) -> dict[str, Task]:
        """The tasks that were not imported before, by UID; each a microsecond after that before it."""
        now = self.clock()
        return {
            task.uid: wire.imported_from_pb(task, task_id=new_id(), user_id=request.user_id, now=now + index)
            for index, task in enumerate(request.tasks)
            if task.uid not in found
        }


def _imports(uids: Sequence[str], found: Mapping[str, str], new: Mapping[str, Task]) -> planning_pb.ImportTasksResponse:
    """What became of the tasks with these UIDs. found: ids of those that were there."""
    ids = {**found, **{uid: task.id for uid, task in new.items()}}
    return planning_pb.ImportTasksResponse(
        imports=[planning_pb.TaskImport(task_id=ids.get(uid, ""), is_new=uid not in found) for uid in uids]
    )


def _new_task(request: pb.BatchCreateTasksRequest, index: int, user_id: str, now: int) -> Task:
    """One task of a batch, a microsecond after that before it: lists by creation show the order of the request."""
    with of_element(f"requests[{index}]"):
        return wire.task_from_pb(request.requests[index], task_id=new_id(), user_id=user_id, now=now + index)


def _created(task: Task, index: int, zone: str | None) -> Task:
    with of_element(f"requests[{index}]"):
        return rules.create(task, zone)


async def _save_open(connection: Connection, task: Task, side_effects: SideEffects) -> None:
    """Writes the next version of a task; raises WriteConflict, and TooManySeries when a series too many would go on."""
    if task.series_id is None or task.completed_at is not None or task.deleted_at is not None:
        await store.save_task(connection, task, side_effects)
        return
    async with connection.transaction():
        await store.claim_series(connection, [task], series.MOST_SERIES)
        await store.save_task(connection, task, side_effects)
    outbox.wake()


async def _applied(
    connection: Connection,
    task: Task,
    save: _Save,
    event: Callable[[Task], Event],
) -> instance_pb.ApplyInstanceResponse:
    response = instance_pb.ApplyInstanceResponse(
        outcome=instance_pb.INSTANCE_OUTCOME_APPLIED, task=wire.task_to_pb(task)
    )
    await save(connection, task, current_call().side_effects(response, event(task)))
    return response


async def _unchanged(
    connection: Connection,
    task: Task | None,
    outcome: instance_pb.InstanceOutcome.ValueType = instance_pb.INSTANCE_OUTCOME_UNCHANGED,
) -> instance_pb.ApplyInstanceResponse:
    shown = None if task is None else wire.task_to_pb(task)
    response = instance_pb.ApplyInstanceResponse(outcome=outcome, task=shown)
    await outbox.store_response(connection, current_call().side_effects(response))
    return response
