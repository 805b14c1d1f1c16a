"""The RPCs of ScheduleService, one method each."""

from collections.abc import Callable
from itertools import islice

from focusmesh.recurrence.v1 import schedule_service_pb2 as pb
from focusmesh.recurrence.v1 import schedule_service_pb2_grpc as rpc
from google.protobuf.message import Message

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.recurrence.rule import RuleError
from mesh.recurrence.series import slots
from mesh.rpc.call import Context, current_call
from mesh.rpc.etag import check_etag, etag_of
from mesh.rpc.pagination import Pages
from mesh.runtime.clock import Clock
from mesh.runtime.ids import new_id
from mesh.runtime.slices import in_slices
from services.recurrence import wire
from services.recurrence.errors import ScheduleBusy, ScheduleInactive, SlotNotFound
from services.recurrence.model import OpenTask, Outcome, Schedule
from services.recurrence.rules import edits
from services.recurrence.rules import schedules as rules
from services.recurrence.store import plans, schedules, tasks

_DEFAULT_SLOTS, _MOST_SLOTS = 10, 100
_MOST_FOLLOWERS = 20
"""Schedules, one after the other, among which a skipped slot is looked for."""


class ScheduleHandlers(rpc.ScheduleServiceServicer):
    """Schedules of the caller."""

    def __init__(self, db: Database, pages: Pages, clock: Clock, planned: Callable[[], None]) -> None:
        """planned: called when todo has something to do."""
        self.db, self.pages, self.clock, self.planned = db, pages, clock, planned

    async def GetSchedule(self, request: pb.GetScheduleRequest, context: Context) -> pb.GetScheduleResponse:
        async with self.db.connection() as connection:
            schedule = await schedules.get_schedule(connection, current_call().user_id, request.schedule_id)
            task = await tasks.find_open(connection, schedule.id)
        return pb.GetScheduleResponse(schedule=wire.schedule_to_pb(schedule, task))

    async def ListSchedules(self, request: pb.ListSchedulesRequest, context: Context) -> pb.ListSchedulesResponse:
        user_id = current_call().user_id
        page = self.pages.read(request, user_id)
        is_active = request.is_active if request.HasField("is_active") else None
        async with self.db.connection() as connection:
            found = await schedules.list_schedules(connection, user_id, is_active, page)
            open_tasks = await tasks.open_of(connection, [schedule.id for schedule in found])
        messages = await in_slices(wire.schedule_to_pb(each, open_tasks.get(each.id)) for each in found[: page.size])
        return self.pages.cut(pb.ListSchedulesResponse(schedules=messages), found, page, schedules.schedule_key)

    async def PreviewRecurrence(
        self, request: pb.PreviewRecurrenceRequest, context: Context
    ) -> pb.PreviewRecurrenceResponse:
        if request.HasField("draft"):
            series, moved = wire.series_from_pb(request.draft), {}
            found = slots(series)
        else:
            async with self.db.connection() as connection:
                schedule = await schedules.get_schedule(connection, current_call().user_id, request.schedule_id)
            series, moved = rules.series_of(schedule), dict(schedule.moved)
            found = rules.upcoming(schedule)
        most = min(request.count or _DEFAULT_SLOTS, _MOST_SLOTS)
        made = await in_slices(wire.slot_to_pb(slot, series, moved) for slot in islice(found, most))
        return pb.PreviewRecurrenceResponse(slots=made)

    async def ListCompletions(self, request: pb.ListCompletionsRequest, context: Context) -> pb.ListCompletionsResponse:
        user_id = current_call().user_id
        page = self.pages.read(request, user_id)
        async with self.db.connection() as connection:
            schedule = await schedules.get_schedule(connection, user_id, request.schedule_id)
            found = await schedules.list_completions(connection, user_id, schedule.id, page)
        response = pb.ListCompletionsResponse(completions=map(wire.completion_to_pb, found[: page.size]))
        return self.pages.cut(response, found, page, schedules.completion_key)

    async def SkipOccurrence(self, request: pb.SkipOccurrenceRequest, context: Context) -> pb.SkipOccurrenceResponse:
        slot = request.slot if request.HasField("slot") else None
        async with self.db.transaction() as tx:
            schedule, task = await self._locked(tx, request.schedule_id)
            check_etag(etag_of(request), schedule.version)
            if slot is None or (task is not None and slot == task.slot):
                await _require_settled(tx, schedule)
            furthest = await schedules.furthest(tx, [schedule.id])
            others = [each for each in await tasks.list_tasks(tx, (), [schedule.id]) if task and each.id != task.id]
            other = min(others, key=lambda each: each.slot or "", default=None)
            last = furthest.get(schedule.id, "")
            outcome = rules.skip(schedule, task, slot, self.clock(), new_id(), last, other)
            response = pb.SkipOccurrenceResponse(schedule=wire.schedule_to_pb(outcome.schedule, task))
            if outcome.completion is not None:
                response.completion.CopyFrom(wire.completion_to_pb(outcome.completion))
            await _save(tx, outcome, response)
        self.planned()
        return response

    async def UndoCompletion(self, request: pb.UndoCompletionRequest, context: Context) -> pb.UndoCompletionResponse:
        async with self.db.transaction() as tx:
            completion = await schedules.get_completion(tx, current_call().user_id, request.completion_id)
            schedule, task = await self._locked(tx, completion.series_id)
            completion = await schedules.get_completion(tx, current_call().user_id, request.completion_id)
            if completion.task_id is None:
                schedule, task = await self._that_skips(tx, schedule, task, completion.slot)
            await _require_settled(tx, schedule)
            entries = await schedules.list_counting(tx, [completion.task_id] if completion.task_id else [])
            stays = rules.stays_after(completion, await tasks.list_tasks(tx, (), [schedule.id]), entries)
            outcome = rules.undo(schedule, completion, self.clock(), new_id(), reopens=True, stays=stays)
            response = pb.UndoCompletionResponse(schedule=wire.schedule_to_pb(outcome.schedule, task))
            if outcome.completion is not None:
                response.completion.CopyFrom(wire.completion_to_pb(outcome.completion))
            await _save(tx, outcome, response)
        self.planned()
        return response

    async def UpdateSeries(self, request: pb.UpdateSeriesRequest, context: Context) -> pb.UpdateSeriesResponse:
        async with self.db.transaction() as tx:
            schedule, task = await self._locked(tx, request.schedule_id)
            check_etag(etag_of(request), schedule.version)
            await _require_settled(tx, schedule)
            if task is None:
                raise ScheduleBusy(schedule.id) if schedule.is_active else ScheduleInactive(schedule_id=schedule.id)
            outcome = self._edited(request, schedule, task)
            shown = outcome.new or outcome.schedule
            is_open = outcome.new is None or not outcome.schedule.is_active
            await tasks.put_tasks(tx, [revised := edits.revised(task, outcome)])
            if outcome.new is None:
                await schedules.rename_next(tx, schedule.id, task.slot or "", revised.slot or "")
            response = pb.UpdateSeriesResponse(schedule=wire.schedule_to_pb(shown, revised if is_open else None))
            await _save(tx, outcome, response)
        self.planned()
        return response

    async def ListUpcomingReminders(
        self, request: pb.ListUpcomingRemindersRequest, context: Context
    ) -> pb.ListUpcomingRemindersResponse:
        user_id = current_call().user_id
        page = self.pages.read(request, user_id)
        async with self.db.connection() as connection:
            found = await tasks.list_waiting(connection, user_id, page)
        response = pb.ListUpcomingRemindersResponse(upcoming_reminders=map(wire.reminder_to_pb, found[: page.size]))
        return self.pages.cut(response, found, page, tasks.reminder_key)

    async def _locked(self, tx: Connection, schedule_id: str) -> tuple[Schedule, OpenTask | None]:
        schedule = await schedules.get_schedule(tx, current_call().user_id, schedule_id, lock=True)
        return schedule, await tasks.find_open(tx, schedule.id)

    async def _that_skips(
        self, tx: Connection, schedule: Schedule, task: OpenTask | None, slot: str
    ) -> tuple[Schedule, OpenTask | None]:
        """The schedule that leaves out a slot which was skipped ahead: edits take it along to those that follow."""
        for _ in range(_MOST_FOLLOWERS):
            has_it = any(each[:10] == slot[:10] for each in schedule.cancelled)
            if schedule.successor is None or (has_it and schedule.is_active):
                break
            schedule, task = await self._locked(tx, schedule.successor["id"])
        return schedule, task

    def _edited(self, request: pb.UpdateSeriesRequest, schedule: Schedule, task: OpenTask) -> Outcome:
        now, cause = self.clock(), new_id()
        change = wire.change_from_pb(request, schedule)
        try:
            match request.scope:
                case pb.SERIES_SCOPE_THIS:
                    return edits.this(schedule, task, request.slot, wire.due_from_pb(request), now, cause)
                case pb.SERIES_SCOPE_FOLLOWING:
                    return edits.following(schedule, task, request.slot, change, now, cause, new_id())
                case _:
                    return edits.all_of(schedule, task, change, now, cause)
        except RuleError as error:
            if error.part == "slot":
                raise SlotNotFound(slot=request.slot) from None
            raise wire.wrong_rule(error) from None


async def _require_settled(tx: Connection, schedule: Schedule) -> None:
    """Raises ScheduleBusy while todo has yet to do something: what is decided next may depend on it."""
    if await plans.has_plans(tx, schedule.id):
        raise ScheduleBusy(schedule.id)


async def _save(tx: Connection, outcome: Outcome, response: Message) -> None:
    """Writes what a call decided, with its response."""
    if outcome.completion is not None:
        await schedules.put_completions(tx, [outcome.completion])
        await schedules.trim_completions(tx, [outcome.completion.series_id])
    await plans.add_plans(tx, outcome.plans)
    changed = [outcome.schedule, *([outcome.new] if outcome.new else [])]
    await schedules.put_schedules(tx, changed, current_call().side_effects(response))
