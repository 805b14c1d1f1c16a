"""A second user's calls while a first one has the largest session that the rules allow, with as many missed ends."""

import pytest
from focusmesh.pomodoro.v1 import focus_session_service_pb2 as pb

from mesh.database.pool import Database
from services.pomodoro.model import MOST_TASKS, MOST_TRANSITIONS
from tests.contract.pomodoro.devices import MINUTE, Device, Time
from tests.support.databases import opened
from tests.support.neighbours import disturbance

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORST = pb.NewSessionTask(title="\x01" * 255, description="\x01" * 1000)


async def test_the_largest_session_of_one_user_does_not_disturb_another(
    laptop: Device, time: Time, pomodoro_url: str
) -> None:
    other = laptop.another_user()
    await other.create(start=True, focus_minutes=180)
    plan = {"focus_minutes": 1, "short_break_minutes": 1, "long_break_minutes": 1, "long_break_interval": 12}
    session = await laptop.create(
        title="\x01" * 255,
        tasks=[WORST] * MOST_TASKS,
        start=True,
        auto_start_breaks=True,
        auto_start_focus=True,
        **plan,
    )

    async def live(db: Database) -> None:
        for _ in range(12):
            time.pass_(6 * MINUTE)
            await laptop.GetCurrentFocusSession()
            await laptop.SkipInterval(focus_session_id=session.id, timeout=60)
        kind = pb.INTERRUPTION_KIND_EXTERNAL
        while True:
            added = await laptop.AddInterruption(focus_session_id=session.id, kind=kind, timeout=60)
            if added.focus_session.interruption_count > MOST_TRANSITIONS - 120:
                return
            async with db.connection() as connection:  # as the relay does, or 64 MiB of events would wait
                await connection.execute("DELETE FROM outbox WHERE key = %s", (laptop.user_id,))

    async with opened(pomodoro_url, "pomodoro", connections=1) as db:
        (await disturbance(live(db), lambda: other.GetCurrentFocusSession(timeout=60))).check()
