"""A second user's calls while the largest history of a first one is recorded, split again, rebuilt and exported."""

import asyncio

import pytest
from focusmesh.history.v1 import history_service_pb2 as pb

from mesh.database.pool import Database
from mesh.events.envelope import ConsumedEvent
from mesh.events.inbox import Inbox
from mesh.events.outbox import Event
from mesh.runtime.clock import SECOND
from mesh.runtime.ids import new_id
from services.history.consumers import Recorder
from services.history.handlers import rebuild
from services.history.store import people
from services.pomodoro import events
from services.pomodoro.model import MOST_TASKS, MOST_TRANSITIONS
from tests.contract.history.histories import Histories, History, Time, add, nobody
from tests.support.focus_events import consumed
from tests.support.neighbours import disturbance

pytestmark = pytest.mark.asyncio(loop_scope="module")
SESSIONS = 30
MINUTES = 60


def largest_session(user: History, begin: int) -> Event:
    """The last event of a session with as many transitions and tasks, and texts as costly, as may be."""
    timer = user.session(begin, titles=["\x01" * 255] * MOST_TASKS, auto_start_focus=True)
    while len(timer.focus.transitions) < MOST_TRANSITIONS - 2:
        timer.after(0.5 * MINUTES).select(len(timer.focus.transitions) % MOST_TASKS)
        timer.after(0.5 * MINUTES + 0.123456).skip()
        del timer.events[:-1]
    worst = tuple(task._replace(description="\x01" * 1000, todo_task_id=new_id()) for task in timer.focus.tasks)
    timer.focus = timer.focus._replace(tasks=worst)
    return events.session_finished(timer.finish().focus)


def largest_sessions(user: History, begin: int) -> list[ConsumedEvent]:
    """That event, of so many sessions, as it is consumed."""
    largest = largest_session(user, begin)
    return consumed([largest._replace(id=new_id(), subject=new_id()) for _ in range(SESSIONS)])


async def test_the_largest_history_of_one_user_does_not_disturb_another(
    histories: Histories, time: Time, db: Database
) -> None:
    user, other = await histories.user("Europe/Berlin"), await histories.user()
    # In a thread: the service runs on the event loop of the test, and takes a long pause for an outage of Redis.
    copies = await asyncio.to_thread(largest_sessions, user, time.noon(20))
    for at in range(time.noon(20) + 10 * SECOND, time.noon(20) + 6000 * SECOND, 120 * SECOND):
        await add(user, at, 1)  # every copy is cut so often
    inbox = Inbox(db, Recorder(db, nobody).subscriptions())

    async def live() -> None:
        for first in range(0, SESSIONS, 2):  # as many as a batch of 1 MiB holds
            await inbox.apply(copies[first : first + 2])
        await user.lives("Asia/Kathmandu", since=time.noon(20))
        async with db.transaction() as tx:
            await rebuild(tx, (await people.lock(tx, [user.user_id]))[user.user_id])
        await user.ExportHistory(format=pb.EXPORT_FORMAT_CSV, page_size=200, timeout=60)
        page = await user.ExportHistory(format=pb.EXPORT_FORMAT_JSON, page_size=200, timeout=60)
        assert page.next_page_token
        assert len((await user.ListArchivedSessions(page_size=200, timeout=60)).archived_sessions) == SESSIONS + 50

    (await disturbance(live(), lambda: other.GetGoals(timeout=60))).check()
