"""A second user's calls while conflicts and free time of the fullest calendars are looked for."""

from collections.abc import Mapping
from typing import Any

import grpc
import pytest
from focusmesh.calendar.v1 import planning_service_pb2 as pb
from focusmesh.todo.v1 import task_service_pb2
from focusmesh.todo.v1.task_service_pb2_grpc import TaskServiceStub
from focusmesh.type.v1 import recurrence_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from mesh.database.pool import Database
from tests.contract.calendar.person import Person, timestamp
from tests.support.errors import refused
from tests.support.neighbours import disturbance
from tests.support.tokens import Signer
from tests.support.user_stub import UserStub

pytestmark = pytest.mark.alone

SERIES = 1_000
WINDOW: Mapping[str, Timestamp] = {
    "start_time": timestamp("2030-03-01T00:00:00Z"),
    "end_time": timestamp("2030-05-02T00:00:00Z"),
}
ALWAYS = pb.WorkingHours(start="00:00", end="00:00", days=recurrence_pb2.Weekday.values()[1:])


async def fill(db: Database, person: Person, event_id: str) -> None:
    """Copies a daily event so often that one begins every 86.4 seconds, and lasts 80.

    Of each ten one has a row for each day: half of the rows cancel, half move by a second.
    """
    async with db.transaction() as tx:
        await tx.execute("UPDATE events SET length_seconds = 80, next_end_at = NULL WHERE id = %s::uuid", (event_id,))
        await tx.execute(
            """
            INSERT INTO events SELECT (jsonb_populate_record(events, jsonb_build_object('id', uuidv7(),
                'start_slot', to_char(start_slot::timestamp + number * interval '86.4 seconds',
                    'YYYY-MM-DD"T"HH24:MI:SS'),
                'scheduled_start', scheduled_start + number * interval '86.4 seconds'))).*
            FROM events, generate_series(1, %s) AS number WHERE id = %s::uuid""",
            (SERIES - 1, event_id),
        )
        await tx.execute(
            """
            INSERT INTO occurrences (event_id, slot, user_id, status, start_slot, start_time)
            SELECT id, slot, user_id, CASE WHEN odd = 0 THEN 'cancelled' ELSE 'planned' END,
                CASE WHEN odd = 1 THEN moved END,
                CASE WHEN odd = 1 THEN moved::timestamp AT TIME ZONE 'UTC' END
            FROM (SELECT id, user_id, start_slot::timestamp + interval '1 day' * day AS at, day %% 2 AS odd FROM
                (SELECT *, row_number() OVER (ORDER BY id) AS number FROM events WHERE user_id = %s::uuid) AS numbered,
                generate_series(0, 100) AS day WHERE number %% 10 = 0) AS slots,
                to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS') AS slot,
                to_char(at + interval '1 second', 'YYYY-MM-DD"T"HH24:MI:SS') AS moved""",
            (person.user_id,),
        )
        await tx.execute("ANALYZE events, occurrences")


async def look(person: Person, method: str, **fields: Any) -> Any:
    return await getattr(person.planning, method)(**WINDOW, **fields, timeout=60)


@pytest.mark.timeout(240)
async def test_the_longest_searches_for_one_user_do_not_disturb_another(
    channel: grpc.aio.Channel, todo_channel: grpc.aio.Channel, signer: Signer, db: Database
) -> None:
    person = await Person.living_in("UTC", channel, signer, db)
    other = await person.another()
    event = await person.event(
        "2030-01-20T00:00:00", recurrence=recurrence_pb2.Recurrence(frequency=recurrence_pb2.FREQUENCY_DAILY)
    )
    await fill(db, person, event.id)
    todo = UserStub(TaskServiceStub(todo_channel), task_service_pb2, signer, person.user_id)
    task = (await todo.CreateTask(title="Write")).task

    async def search() -> None:
        assert not (await look(person, "FindConflicts", page_size=200)).conflicts
        assert len((await look(person, "FindConflicts", page_size=200, is_draft=True)).conflicts) == 200
        assert not (await look(person, "FindFreeTime", working_hours=ALWAYS, minutes=60)).free_times
        with refused("NO_FREE_TIME"):
            await look(person, "PlanTask", working_hours=ALWAYS, todo_task_id=task.id, minutes=60)

    measured = await disturbance(search(), lambda: other.planning.FindConflicts(**WINDOW))
    measured.check()
