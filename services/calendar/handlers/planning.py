"""The RPCs of PlanningService, one method each."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, TypeVar

from focusmesh.calendar.v1 import planning_service_pb2 as pb
from focusmesh.calendar.v1 import planning_service_pb2_grpc as rpc

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.rpc.call import Context, current_call
from mesh.rpc.pagination import Key, Pages
from mesh.runtime.clock import SECOND, Clock
from mesh.runtime.ids import new_id
from mesh.runtime.slices import in_slices
from services.calendar import events as messages
from services.calendar.clients.tasks import Tasks
from services.calendar.errors import NoFreeTime
from services.calendar.model import Occurrence, Place, Taken, Timed, Window
from services.calendar.rules import changes, planning
from services.calendar.rules.listing import stream
from services.calendar.rules.planning import Conflict, Time
from services.calendar.rules.series import occurrence
from services.calendar.rules.taken import taken_times
from services.calendar.store import events, windows
from services.calendar.store.changes import Calendars, save
from services.calendar.store.taken import TIMED, read_timed
from services.calendar.store.users import UserZones
from services.calendar.wire import events as event_wire
from services.calendar.wire import planning as wire

_Found = TypeVar("_Found")

_MINUTE = 60 * SECOND
_DEFAULT_MINUTES = 25
_DEFAULT_COUNT, _LARGEST_COUNT = 50, 200


class PlanningHandlers(rpc.PlanningServiceServicer):
    """Taken and free time of the caller."""

    def __init__(
        self, db: Database, pages: Pages, calendars: Calendars, zones: UserZones, tasks: Tasks, clock: Clock
    ) -> None:
        self.db, self.pages, self.calendars, self.zones = db, pages, calendars, zones
        self.tasks, self.clock = tasks, clock

    async def FindConflicts(self, request: pb.FindConflictsRequest, context: Context) -> pb.FindConflictsResponse:
        user_id = current_call().user_id
        page, asked, zone = (
            self.pages.read(request, user_id),
            wire.window_from_pb(request),
            await self.zones.of(user_id),
        )
        after = _conflict(page.after)
        window = Window(asked.start if after is None else max(asked.start, after[0].start), asked.end, zone)
        async with self.db.connection() as connection:
            timed = await read_timed(connection, user_id, window, request.except_event_id or None)
        taken = await _taken(timed, window)
        steps = planning.drafted(taken) if request.is_draft else planning.conflicts(taken)
        found = await _first(page.limit(), planning.following(steps, after))
        shown = await self._shown(user_id, found[: page.size], asked if request.is_draft else None, zone)
        return self.pages.cut(
            pb.FindConflictsResponse(conflicts=[message for _, message in shown]),
            [conflict for conflict, _ in shown],
            page,
            _key,
            more_after=_key(found[page.size - 1]) if len(found) > page.size else None,
        )

    async def FindFreeTime(self, request: pb.FindFreeTimeRequest, context: Context) -> pb.FindFreeTimeResponse:
        user_id = current_call().user_id
        user_zone, asked = await self.zones.of(user_id), wire.window_from_pb(request)
        zone, hours = wire.zone_from_pb(request, user_zone), wire.hours_from_pb(request)
        length = (request.minutes or _DEFAULT_MINUTES) * _MINUTE
        count = min(request.count or _DEFAULT_COUNT, _LARGEST_COUNT)
        window = Window(asked.start, asked.end, user_zone)
        async with self.db.connection() as connection:
            timed = await read_timed(connection, user_id, window)
        free = planning.free_times(planning.working_times(asked, hours, zone), await _taken(timed, window))
        fitting = (planning.fitting(each, length, count + 1, in_blocks=request.in_blocks) for each in free)
        found = await _first(count + 1, fitting)
        return pb.FindFreeTimeResponse(free_times=map(wire.free_time_to_pb, found[:count]), has_more=len(found) > count)

    async def PlanTask(self, request: pb.PlanTaskRequest, context: Context) -> pb.PlanTaskResponse:
        call = current_call()
        task = await self.tasks.require(call.user_id, request.todo_task_id, "todo_task_id")
        minutes = request.minutes or planning.minutes_needed(task.estimated_pomodoros, task.pomodoros)
        zone, now = wire.zone_from_pb(request, await self.zones.of(call.user_id)), self.clock()
        ahead = wire.window_to_plan(request, task, now)
        while True:
            start = await self._first_free(request, ahead, minutes * _MINUTE, zone)
            if start is None:
                raise NoFreeTime(minutes=minutes)
            async with self.calendars.user(call.user_id, alone=True) as (tx, user_zone):
                await events.require_room(tx, call.user_id)
                if await _is_free(tx, call.user_id, Window(start, start + minutes * _MINUTE, user_zone)):
                    asked = wire.event_for_task(request, task, start, minutes, zone)
                    event = event_wire.event_from_pb(
                        asked, event_id=new_id(), user_id=call.user_id, zone=user_zone, now=now
                    )
                    change = changes.created(event, {}, user_zone)
                    response = pb.PlanTaskResponse(event=event_wire.event_to_pb(change.event))
                    await save(tx, [change], call.side_effects(response, messages.event_created(change.event)))
                    return response
            ahead = ahead._replace(start=start)  # somebody was faster: nothing before it was free

    async def _first_free(self, request: pb.PlanTaskRequest, ahead: Time, length: int, zone: str) -> int | None:
        """Where something of this length first begins in a window; None when nowhere. Without any lock: it may take
        seconds of who has thousands of series."""
        user_id = current_call().user_id
        window = Window(ahead.start, ahead.end, await self.zones.of(user_id))
        async with self.db.connection() as connection:
            timed = await read_timed(connection, user_id, window)
        working = planning.working_times(ahead, wire.hours_from_pb(request), zone)
        free = planning.free_times(working, await _taken(timed, window))
        return next(iter(await _first(1, (planning.starts(each, length, zone) for each in free))), None)

    async def _shown(
        self, user_id: str, found: Sequence[Conflict], draft: Time | None, zone: str
    ) -> list[tuple[Conflict, pb.Conflict]]:
        """Conflicts and their messages, without those that are none any more. zone: of the user."""
        places = {Place(*taken[:3]) for conflict in found for taken in conflict}
        async with self.db.connection() as connection:
            there = await windows.read(connection, user_id, places, TIMED.states)
        made = await in_slices(occurrence(each.event, each.slot, each.row, zone) for each in there.values())
        occurrences = {(each.event.id, each.slot): each for each in made if each is not None}
        messages = await in_slices(_message(conflict, draft, occurrences, zone) for conflict in found)
        return [(conflict, message) for conflict, message in zip(found, messages, strict=True) if message is not None]


async def _taken(timed: Timed, window: Window) -> Iterator[Taken]:
    """The times that occurrences take in a window, by start; the first slot of each event was looked for."""
    streams = await in_slices(stream(pattern, window) for pattern in timed.patterns.values())
    return taken_times(timed, [each for each in streams if each is not None], window)


async def _is_free(connection: Connection, user_id: str, window: Window) -> bool:
    """Whether nothing takes any time of a window."""
    return not await _first(1, planning.drafted(await _taken(await read_timed(connection, user_id, window), window)))


async def _first(most: int, steps: Iterable[Sequence[_Found]]) -> list[_Found]:
    """What was found first in the steps of a search."""
    return list(chain.from_iterable(await in_slices(planning.until(most, steps))))


def _message(
    conflict: Conflict, draft: Time | None, occurrences: Mapping[tuple[str, str], Occurrence], zone: str
) -> pb.Conflict | None:
    there = [occurrences.get((taken.event_id, taken.slot)) for taken in reversed(conflict)]
    if (first := there[0]) is None or (other := there[-1]) is None:
        return None
    return wire.conflict_to_pb(planning.shared(conflict, draft), first, other if draft is None else None, zone)


def _key(conflict: Conflict) -> Key:
    return list(chain.from_iterable(conflict))


def _conflict(key: Key | None) -> Conflict | None:
    """The conflict of a sort key."""
    if key is None:
        return None
    values: list[Any] = key
    return tuple(Taken(*values[index : index + 4]) for index in range(0, len(values), 4))
