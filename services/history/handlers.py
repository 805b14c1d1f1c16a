"""The RPCs of HistoryService, one method each. Reads go to a pool of their own, which may lead to a read replica."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Protocol, TypeAlias, TypeVar

from focusmesh.history.v1 import history_service_pb2 as pb
from focusmesh.history.v1 import history_service_pb2_grpc as rpc
from focusmesh.history.v1.archived_session_pb2 import ArchivedSession
from google.protobuf.message import Message

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.events import outbox
from mesh.events.outbox import Event
from mesh.rpc.call import Context, current_call
from mesh.rpc.change import change
from mesh.rpc.etag import etag_of
from mesh.rpc.pagination import LARGEST_RESPONSE, Pages
from mesh.runtime.clock import Clock
from mesh.runtime.ids import new_id
from mesh.runtime.slices import in_slices
from services.history import events, wire
from services.history.model import Archived, Goals, Group, Person, Record
from services.history.rules import days, sessions, windows
from services.history.rules import goals as goal_rules
from services.history.store import archive, figures, partitions, people, plans, recordings
from services.history.store import goals as goal_store
from services.history.wire import plans as plan_wire

_Response = TypeVar("_Response", bound=Message)
_Change: TypeAlias = (
    pb.UpdateArchivedSessionRequest | pb.DeleteArchivedSessionRequest | pb.UndeleteArchivedSessionRequest
)
_LONGEST_SUMMARY, _LONGEST_HEATMAP, _LONGEST_PLAN = 3660, 371, 371
"""Dates."""
_EXPORT_STEP = 10
"""Of a response, and the sessions whose tasks are read at once: 375 KB each at most."""
_DAY = timedelta(days=1)


class _Progress(Protocol):
    def __call__(self, kind: Callable[..., _Response], goals: Goals) -> _Response: ...


class HistoryHandlers(rpc.HistoryServiceServicer):
    """History of the caller."""

    def __init__(
        self,
        db: Database,
        reads: Database,
        pages: Pages,
        fetch: Callable[[str], Awaitable[Person]],
        clock: Clock,
        *,
        retention_days: int,
    ) -> None:
        """fetch: reads where a user is of whom nothing is stored yet."""
        self.db, self.reads, self.pages, self.fetch, self.clock = db, reads, pages, fetch, clock
        self.retention_days = retention_days

    async def ListArchivedSessions(
        self, request: pb.ListArchivedSessionsRequest, context: Context
    ) -> pb.ListArchivedSessionsResponse:
        user_id = current_call().user_id
        window, page = wire.window_from_pb(request), self.pages.read(request, user_id)
        async with self.reads.connection() as connection:
            found, cold = await archive.list_sessions(connection, user_id, window, page)
        messages = [wire.archived_to_pb(each, is_cold=each.id in cold) for each in found[: page.size]]
        response = pb.ListArchivedSessionsResponse(archived_sessions=messages)
        return self.pages.cut(response, found, page, archive.page_key)

    async def GetArchivedSession(
        self, request: pb.GetArchivedSessionRequest, context: Context
    ) -> pb.GetArchivedSessionResponse:
        user_id, session_id = current_call().user_id, request.archived_session_id
        async with self.reads.connection() as connection:
            found, tasks, is_cold = await archive.get(
                connection, user_id, session_id, include_cold=request.include_cold
            )
        return pb.GetArchivedSessionResponse(archived_session=wire.archived_to_pb(found, tasks, is_cold=is_cold))

    async def AddManualSession(
        self, request: pb.AddManualSessionRequest, context: Context
    ) -> pb.AddManualSessionResponse:
        user_id, now = current_call().user_id, self.clock()
        session, task = wire.manual_from_pb(request, session_id=new_id(), task_id=new_id(), user_id=user_id, now=now)
        sessions.require_past(session.created_at, now)
        sessions.require_hot(session.created_at, self._hot_from(now))
        sessions.require_times(session.start_time or 0, session.created_at, is_manual=True)
        record = sessions.manual(session, task, is_pomodoro=request.is_pomodoro)
        response = pb.AddManualSessionResponse(archived_session=wire.archived_to_pb(record.archived, record.tasks))
        await people.learn(self.db, [user_id], self.fetch)
        async with self.db.transaction() as tx:
            person = (await people.lock(tx, [user_id]))[user_id]
            await _require_free(tx, record)
            await partitions.make(tx, [windows.month_of(session.created_at)])
            await recordings.put_titles(
                tx, [(user_id, each.todo_task_id or each.task_id, each.title) for each in record.tasks]
            )
            await _save(tx, person, record, response, events.archived_session_added(record))
        outbox.wake()
        return response

    async def UpdateArchivedSession(
        self, request: pb.UpdateArchivedSessionRequest, context: Context
    ) -> pb.UpdateArchivedSessionResponse:
        now, changes = self.clock(), wire.changes_from_pb(request)

        def decide(record: Record) -> Record:
            hot_from, etag = self._hot_from(now), etag_of(request)
            return sessions.change(record, changes, now=now, hot_from=hot_from, etag=etag)

        return await self._change(request, decide, pb.UpdateArchivedSessionResponse, events.archived_session_updated)

    async def DeleteArchivedSession(
        self, request: pb.DeleteArchivedSessionRequest, context: Context
    ) -> pb.DeleteArchivedSessionResponse:
        now = self.clock()

        def decide(record: Record) -> Record:
            return sessions.delete(record, now=now, hot_from=self._hot_from(now), etag=etag_of(request))

        return await self._change(request, decide, pb.DeleteArchivedSessionResponse, events.archived_session_deleted)

    async def UndeleteArchivedSession(
        self, request: pb.UndeleteArchivedSessionRequest, context: Context
    ) -> pb.UndeleteArchivedSessionResponse:
        now = self.clock()

        def decide(record: Record) -> Record:
            return sessions.undelete(record, now=now, etag=etag_of(request))

        return await self._change(request, decide, pb.UndeleteArchivedSessionResponse, events.archived_session_updated)

    async def SummarizeFocus(self, request: pb.SummarizeFocusRequest, context: Context) -> pb.SummarizeFocusResponse:
        user_id, group = current_call().user_id, wire.group_from_pb(request.group)
        first, before = wire.dates_from_pb(request, _LONGEST_SUMMARY)
        page = self.pages.read(request, user_id)
        async with self.reads.connection() as connection:
            week_start = 1
            if group is Group.WEEK:
                week_start = windows.week_start_number((await people.get_person(connection, user_id)).week_start)
            total, found = await figures.summarize(connection, user_id, first, before, group, week_start, page)
        buckets = [wire.bucket_to_pb(bucket, group) for bucket in found[: page.size]]
        response = pb.SummarizeFocusResponse(buckets=buckets, total=wire.figures_to_pb(total))
        return self.pages.cut(response, found, page, figures.bucket_key)

    async def SummarizePlan(self, request: pb.SummarizePlanRequest, context: Context) -> pb.SummarizePlanResponse:
        user_id, group = current_call().user_id, plan_wire.group_from_pb(request.group)
        first, before = wire.dates_from_pb(request, _LONGEST_PLAN)
        page = self.pages.read(request, user_id)
        async with self.reads.connection() as connection:
            person = await people.get_person(connection, user_id)
            week_start = windows.week_start_number(person.week_start)
            total, found = await plans.summarize(connection, user_id, first, before, group, week_start, page)
        buckets = map(plan_wire.bucket_to_pb, found[: page.size])
        response = pb.SummarizePlanResponse(buckets=buckets, total=plan_wire.figures_to_pb(total))
        return self.pages.cut(response, found, page, plans.bucket_key)

    async def GetHeatmap(self, request: pb.GetHeatmapRequest, context: Context) -> pb.GetHeatmapResponse:
        first, before = wire.dates_from_pb(request, _LONGEST_HEATMAP)
        async with self.reads.connection() as connection:
            found = await figures.list_days(connection, current_call().user_id, first, before)
        return pb.GetHeatmapResponse(days=wire.heatmap_to_pb(found))

    async def GetGoals(self, request: pb.GetGoalsRequest, context: Context) -> pb.GetGoalsResponse:
        user_id = current_call().user_id
        async with self.reads.connection() as connection:
            goals = await goal_store.get_goals(connection, user_id)
            progress = await self._progress(connection, user_id)
        return progress(pb.GetGoalsResponse, goals)

    async def UpdateGoals(self, request: pb.UpdateGoalsRequest, context: Context) -> pb.UpdateGoalsResponse:
        user_id, now, changes = current_call().user_id, self.clock(), wire.goal_changes_from_pb(request)
        async with self.db.connection() as connection:
            progress = await self._progress(connection, user_id)
        return await change(
            self.db,
            read=lambda connection: goal_store.get_goals(connection, user_id),
            decide=lambda goals: goal_rules.update(goals, changes, now=now, etag=etag_of(request)),
            respond=lambda goals: progress(pb.UpdateGoalsResponse, goals),
            save=lambda connection, goals, effects: goal_store.save_goals(connection, user_id, goals, effects),
        )

    async def GetStreak(self, request: pb.GetStreakRequest, context: Context) -> pb.GetStreakResponse:
        user_id = current_call().user_id
        async with self.reads.connection() as connection:
            person = await people.get_person(connection, user_id)
            goals = await goal_store.get_goals(connection, user_id)
            seconds, pomodoros = ((goals.daily_minutes or 0) * 60, 0 if goals.daily_minutes else 1)
            qualifying = await figures.list_qualifying(connection, user_id, seconds=seconds, pomodoros=pomodoros)
        today = days.date_at(person.zones, self.clock())
        streaks = await in_slices(
            goal_rules.streaks(qualifying, goals, today, was_lived=lambda day: days.was_lived(person.zones, day))
        )
        return pb.GetStreakResponse(streak=wire.streak_to_pb(streaks[-1], today, today_qualifies=today in qualifying))

    async def ExportHistory(self, request: pb.ExportHistoryRequest, context: Context) -> pb.ExportHistoryResponse:
        user_id = current_call().user_id
        window, page = wire.window_from_pb(request), self.pages.read(request, user_id)
        async with self.reads.connection() as connection:
            found, cold = await archive.list_sessions(connection, user_id, window, page, ascending=True)
        is_csv = request.format == pb.EXPORT_FORMAT_CSV
        rows = await self._rows(found[: page.size], cold, wire.csv_row if is_csv else wire.json_text)
        more_after = archive.page_key(found[len(rows) - 1]) if len(rows) < len(found) else None
        join = wire.csv_page if is_csv else wire.json_page
        text = join(rows, is_first=page.after is None, is_last=more_after is None)
        return self.pages.lead_on(pb.ExportHistoryResponse(text=text), page, more_after)

    async def RebuildAggregates(
        self, request: pb.RebuildAggregatesRequest, context: Context
    ) -> pb.RebuildAggregatesResponse:
        user_id = current_call().user_id
        await people.learn(self.db, [user_id], self.fetch)
        async with self.db.transaction() as tx:
            count, changed = await rebuild(tx, (await people.lock(tx, [user_id]))[user_id])
            response = pb.RebuildAggregatesResponse(session_count=count, changed_day_count=changed)
            await outbox.store_response(tx, current_call().side_effects(response))
        return response

    async def _rows(
        self, found: Sequence[Archived], cold: set[str], write: Callable[[ArchivedSession], str]
    ) -> list[str]:
        """The first of these sessions as an export writes them: as many as fit into a response, at least one."""
        rows, size = list[str](), 0
        for begin in range(0, len(found), _EXPORT_STEP):
            step = found[begin : begin + _EXPORT_STEP]
            async with self.reads.connection() as connection:
                tasks = await archive.list_tasks(connection, current_call().user_id, step, cold)
            for row in await in_slices(
                write(wire.archived_to_pb(each, tasks.get(each.id, ()), is_cold=each.id in cold)) for each in step
            ):
                size += len(row.encode())
                if rows and size > LARGEST_RESPONSE:
                    return rows
                rows.append(row)
        return rows

    async def _change(
        self,
        request: _Change,
        decide: Callable[[Record], Record],
        kind: Callable[..., _Response],
        event: Callable[[Record], Event],
    ) -> _Response:
        """Changes one session; a decision that returns the record it was given changes nothing."""
        call = current_call()
        async with self.db.transaction() as tx:
            known = await people.lock(tx, [call.user_id])
            record = await archive.get_record(tx, call.user_id, request.archived_session_id)
            changed = decide(record)
            response = kind(archived_session=wire.archived_to_pb(changed.archived, changed.tasks))
            if changed is record:
                await outbox.store_response(tx, call.side_effects(response))
                return response
            if changed.recorded.deleted_at is None and changed.recorded != record.recorded:
                await _require_free(tx, changed)
            await _save(tx, known[call.user_id], changed, response, event(changed))
        outbox.wake()
        return response

    async def _progress(self, connection: Connection, user_id: str) -> "_Progress":
        """How far the goals of today and of this week are reached, for a response."""
        person = await people.get_person(connection, user_id)
        today = days.date_at(person.zones, self.clock())
        week = windows.week_of(today, person.week_start)
        worked = {
            day: found.focused_seconds
            for day, found in await figures.list_days(connection, user_id, week, today + _DAY)
        }

        def respond(kind: Callable[..., _Response], goals: Goals) -> _Response:
            return kind(
                goals=wire.goals_to_pb(goals),
                today=wire.progress_to_pb(today, worked.get(today, 0), goals.daily_minutes),
                this_week=wire.progress_to_pb(week, sum(worked.values()), goals.weekly_minutes),
            )

        return respond

    def _hot_from(self, now: int) -> int:
        return windows.hot_from(now, self.retention_days)


async def rebuild(tx: Connection, person: Person) -> tuple[int, int]:
    """Computes the figures of a locked user again; returns how many sessions were read and how many days changed."""
    count, after = 0, None
    await recordings.clear_days(tx, person.user_id)
    while page := await recordings.list_between(tx, person.user_id, None, None, after):
        parts = await in_slices(days.split(each, person.zones) for each in page)
        await recordings.add_days(tx, [part for each in parts for part in each])
        count, after = count + len(page), page[-1]
    return count, await recordings.rebuild_aggregates(tx, person.user_id)


async def _require_free(tx: Connection, record: Record) -> None:
    """Raises TimeOverlaps when another session of the user was at work at the same time."""
    begin, end, after = record.recorded.begin_time, record.recorded.end_time, None
    while begin is not None and (page := await recordings.list_between(tx, record.archived.user_id, begin, end, after)):
        await in_slices(sessions.require_free(record, (each for each in page if each.deleted_at is None)))
        after = page[-1]


async def _save(tx: Connection, person: Person, record: Record, response: Message, event: Event) -> None:
    """Stores a session of a locked user, what it has on each day, and the side effects of the call."""
    await recordings.put(tx, [record.recorded])
    await recordings.replace_days(tx, [record.archived.id], days.split(record.recorded, person.zones))
    await archive.save(tx, record, current_call().side_effects(response, event))
