"""A second user's calls while the largest batches, lists and edits of a first one are worked on."""

import asyncio
from datetime import datetime, timedelta

import grpc
import pytest
from focusmesh.recurrence.v1 import schedule_service_pb2 as pb
from focusmesh.recurrence.v1.schedule_service_pb2_grpc import ScheduleServiceStub
from focusmesh.type.v1 import recurrence_pb2
from google.protobuf.field_mask_pb2 import FieldMask

from mesh.database.pool import Database
from mesh.events.inbox import Inbox
from mesh.events.outbox import Event
from mesh.rpc.pagination import LARGEST_RESPONSE
from mesh.runtime.ids import new_id
from services.recurrence.consumers import Follower
from services.recurrence.jobs import ReminderFirer
from services.recurrence.rules.schedules import MOST_CHANGES
from tests.contract.recurrence.world import in_utc
from tests.support.neighbours import disturbance
from tests.support.recurrence_events import a_series_event, consumed, recurring, seconds_from_now
from tests.support.tokens import Signer
from tests.support.user_stub import UserStub

SERIES = 450
"""Events of one batch, which has 1 MiB at most."""
OFFSETS = [f"-P{days}DT1M" for days in range(10)]
FIRST = datetime(2030, 1, 1, 9)
RARE = recurrence_pb2.Recurrence(
    frequency=recurrence_pb2.FREQUENCY_WEEKLY,
    by_day=[recurrence_pb2.RecurrenceDay(weekday=day) for day in range(1, 8)],
    by_month=[1],
    by_set_pos=[2],
)


def slot(days: int) -> str:
    """The slot so many days after the first."""
    return (FIRST + timedelta(days=days)).isoformat()


def batch(user: str, ids: list[str], version: int, kind: str) -> list[Event]:
    """An event of each of these series, with as many reminders as may be."""
    return [
        a_series_event(
            user,
            id_,
            version=version,
            kind=kind,
            title="\x01" * 255,
            reminder_time=seconds_from_now(3600 + version),
            reminder_offsets=OFFSETS,
            **recurring(id_, slot(0)),
        )
        for id_ in ids
    ]


@pytest.mark.timeout(180)
async def test_the_largest_work_for_one_user_does_not_disturb_another(
    channel: grpc.aio.Channel, db: Database, signer: Signer
) -> None:
    user = UserStub(ScheduleServiceStub(channel), pb, signer)
    other = user.another_user()
    ids = sorted(new_id() for _ in range(SERIES))
    inbox = Inbox(db, Follower(db, in_utc, lambda: None).subscriptions())
    made = {
        version: await asyncio.to_thread(lambda v=version, k=kind: [*map(consumed, batch(user.user_id, ids, v, k))])
        for version, kind in ((1, "task-created"), (2, "task-updated"), (3, "task-completed"))
    }

    async def live() -> None:
        await inbox.apply(made[1])
        await inbox.apply(made[2])
        async with db.connection() as connection:
            await connection.execute("UPDATE task_reminders SET remind_at = now() - interval '1 hour'")
            full = [slot(1 + days) for days in range(MOST_CHANGES)]
            await connection.execute(
                "UPDATE recurrence_schedules SET cancelled = to_jsonb(%s::text[]), moved = (SELECT"
                " jsonb_object_agg(name, 1893488400000000) FROM unnest(%s::text[]) AS name)",
                (full, [slot(200 + days) for days in range(MOST_CHANGES)]),
            )
        firer = ReminderFirer(db)
        for _ in range(5):
            assert await firer.run_once() == firer.batch
        page = await user.ListSchedules(page_size=200, timeout=60)
        assert {len(schedule.moved_slots) for schedule in page.schedules} == {MOST_CHANGES}
        assert page.next_page_token
        assert page.ByteSize() > LARGEST_RESPONSE - page.schedules[0].ByteSize(), "no further one fits"
        await user.ListUpcomingReminders(page_size=200, timeout=60)
        changes = pb.SeriesChanges(update_mask=FieldMask(paths=["start"]), start=FIRST.replace(minute=1).isoformat())
        await user.UpdateSeries(schedule_id=ids[0], scope=pb.SERIES_SCOPE_ALL, changes=changes, timeout=60)
        draft = {"recurrence": RARE, "time_zone": "Europe/Berlin", "start": "2030-01-02T02:30:00"}
        assert len((await user.PreviewRecurrence(draft=draft, count=100, timeout=60)).slots) == 100
        await inbox.apply(made[3])

    (await disturbance(live(), lambda: other.ListSchedules(timeout=60))).check()
