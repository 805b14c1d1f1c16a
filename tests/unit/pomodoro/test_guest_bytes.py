"""How much a guest may store."""

from typing import Any, cast

import pytest

from mesh.events.outbox import SideEffects, StoredResponse
from mesh.runtime.clock import SECOND
from mesh.runtime.ids import new_id
from services.pomodoro.cache import Guests, GuestSessions
from services.pomodoro.errors import GuestFull
from services.pomodoro.model import MOST_GUEST_BYTES, Act, Focus, Guest, Task
from services.pomodoro.rules import sessions, tasks
from tests.unit.pomodoro.drive import a_session

NOTHING = SideEffects((), None, "")


class Redis:
    """Takes every document."""

    def register_script(self, _script: str) -> Any:
        async def written(**_arguments: object) -> int:
            return 1

        return written


def a_guest() -> GuestSessions:
    return GuestSessions(Guests(cast(Any, Redis())), Guest(new_id(), 2_000_000_000), 0, None)


def act(now: int = 1) -> Act:
    return Act(now, "laptop", None)


def a_focus(*, tasks: int = 0, size: int = 4_000, start: bool = False) -> Focus:
    session_id = new_id()
    listed = [Task(new_id(), session_id, "x", "x" * size, False, at, 0, 0, None, 0, 0) for at in range(tasks)]
    return sessions.create(a_session(id=session_id, task_count=tasks), listed, act(), start=start)


async def full(guest: GuestSessions, running: Focus) -> None:
    """Lets nothing else grow."""
    await guest.save(running, NOTHING)
    while len(guest.document()) < MOST_GUEST_BYTES - 24_000:
        await guest.save(a_focus(tasks=5), NOTHING)
    with pytest.raises(GuestFull, match="256 KiB"):
        await guest.save(a_focus(tasks=5, size=6_000), NOTHING)


def stored(guest: GuestSessions) -> GuestSessions:
    """The guest as the next call reads it: without what was refused."""
    kept = a_guest()
    for focus in guest.kept[:-1]:
        kept._sessions[focus.session.id] = focus
    assert len(kept.document()) <= MOST_GUEST_BYTES
    return kept


async def test_a_guest_who_is_full_puts_sessions_away_and_removes_tasks() -> None:
    guest, running = a_guest(), a_focus(tasks=1, start=True)
    await full(guest, running)
    guest = stored(guest)
    paused = sessions.pause(running, act(SECOND))
    await guest.save(paused, NOTHING)
    with pytest.raises(GuestFull):
        await guest.save(tasks.add(paused, act(SECOND), a_focus(tasks=1, size=30_000).tasks[0]), NOTHING)
    await guest.save(sessions.finish(paused, act(SECOND)), NOTHING)
    planned = guest.kept[1]
    await guest.save(tasks.remove(planned, act(SECOND), planned.tasks[0].id), NOTHING)
    await guest.save(sessions.delete(guest.kept[-1], act(SECOND)), NOTHING)


async def test_intervals_of_a_guest_who_is_full_end() -> None:
    guest, running = a_guest(), a_focus(start=True)
    await full(guest, running)
    guest = stored(guest)
    *_, ended = sessions.advance(running, 26 * 60 * SECOND, None, 4)
    await guest.save(ended, NOTHING)
    assert ended in guest.kept


async def test_deleted_sessions_and_older_responses_make_room() -> None:
    guest, first = a_guest(), a_focus(tasks=5)
    await full(guest, first)
    guest = stored(guest)
    for at in range(2):
        response = StoredResponse("u", "m", f"{at}", b"", b"x" * 10_000)
        await guest.save(sessions.delete(guest.kept[0], act(at)), SideEffects((), response, ""))
    await guest.save(a_focus(tasks=5), NOTHING)
    assert len(guest.document()) <= MOST_GUEST_BYTES
    assert first.session.id not in guest._sessions
    assert [each.request_id for each in guest._responses] == ["1"]
