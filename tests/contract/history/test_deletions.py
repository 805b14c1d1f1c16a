"""A session may be deleted and brought back here and in pomodoro: its task shows what the days of its user show."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, product
from operator import itemgetter

import pytest
from focusmesh.history.v1 import history_service_pb2 as pb

from mesh.database.pool import Database
from mesh.events.envelope import ConsumedEvent, Message, read
from mesh.runtime.clock import SECOND
from mesh.runtime.ids import new_id
from services.todo import wire
from services.todo.model import FocusSession
from services.todo.rules import focus
from tests.contract.history.histories import Histories, History, Time, add
from tests.support.focus_events import Timer, consumed

pytestmark = pytest.mark.asyncio(loop_scope="module")
MINUTES = 60
TOPIC = "history-events"


def orders(*, is_there: bool = True) -> Iterator[tuple[str, ...]]:
    """Four deletions and returns that are possible one after the other: in pomodoro, which history follows, or here."""
    for acts in product(("p-", "p+", "h-", "h+"), repeat=4):
        there = {"p": is_there, "h": is_there}
        for service, act in acts:
            if there[service] == (act == "+"):
                break
            there["h"] = act == "+"
            if service == "p":
                there["p"] = act == "+"
        else:
            yield acts


async def published(db: Database, session_id: str) -> list[ConsumedEvent]:
    async with db.connection() as connection:
        cursor = await connection.execute("SELECT key, value FROM outbox ORDER BY seq")
        rows = await cursor.fetchall()
    events = [read(Message(TOPIC, 0, 0, key.encode(), value, (), 0)) for key, value in rows]
    return [event for event in events if event.subject == session_id]


def on_tasks(*topics: Sequence[ConsumedEvent]) -> int:
    """Seconds that todo counts of a session after these events."""
    session = FocusSession("", "", {}, is_deleted=False)
    for event in (event for topic in topics for event in topic):
        session = focus.report(session, wire.report_from_event(event))
    return sum(seconds for seconds, _ in focus.counted(session).values())


async def on_days(user: History) -> int:
    total: int = (await user.summary(pb.SUMMARY_GROUP_DAY)).total.focused_seconds
    return total


def a_session(user: History, begin: int) -> Timer:
    """A finished one of 25 minutes on a task of todo."""
    timer = user.session(begin, titles=["Write"])
    [task] = timer.focus.tasks
    timer.focus = timer.focus._replace(tasks=(task._replace(todo_task_id=new_id()),))
    return timer.after(26 * MINUTES).finish()


async def follow(user: History, timer: Timer, groups: Iterable[Iterable[str]], seconds: int, by_hand: int = 0) -> None:
    """Does these acts, those of pomodoro in one group as one batch, and compares after each group."""
    for group in groups:
        for act in group:
            if act == "h-":
                await user.DeleteArchivedSession(archived_session_id=timer.id)
            elif act == "h+":
                await user.UndeleteArchivedSession(archived_session_id=timer.id)
            else:
                timer.after(60)
                timer.delete() if act == "p-" else timer.undelete()
        await user.record(timer)
        days = await on_days(user) - by_hand
        assert days == (seconds if act[1] == "+" else 0)
        of_pomodoro, of_history = consumed(timer.events), await published(user.db, timer.id)
        assert (on_tasks(of_pomodoro, of_history), on_tasks(of_history, of_pomodoro)) == (days, days)


@pytest.mark.parametrize("acts", list(orders()), ids=" ".join)
@pytest.mark.parametrize(
    ("batched", "by_hand"),
    [(False, 0), (True, 0), (False, 60)],
    ids=["one by one", "all that pomodoro did at once", "with time taken out"],
)
async def test_a_task_shows_what_days_show_wherever_the_session_was_deleted_last(
    histories: Histories, time: Time, acts: tuple[str, ...], batched: bool, by_hand: int
) -> None:
    user = await histories.user()
    if by_hand:
        await add(user, time.noon(1) + 600 * SECOND, by_hand)
    timer = a_session(user, time.noon(1))
    await user.record(timer)
    groups = [list(group) for _, group in groupby(acts, itemgetter(0))] if batched else [[act] for act in acts]
    await follow(user, timer, groups, 25 * MINUTES - by_hand, by_hand)


@pytest.mark.parametrize("acts", list(orders(is_there=False)), ids=" ".join)
async def test_so_it_does_of_a_session_that_was_deleted_before_it_came(
    histories: Histories, time: Time, acts: tuple[str, ...]
) -> None:
    user = await histories.user()
    timer = a_session(user, time.noon(1)).after(60).delete()
    await user.record(timer)
    await follow(user, timer, [[act] for act in acts], 25 * MINUTES)
