"""Another user's calls while the largest guest is claimed that the rules allow."""

import pytest
from focusmesh.pomodoro.v1 import focus_session_service_pb2 as focus_pb

from mesh.events.outbox import SideEffects
from mesh.runtime.clock import SECOND
from mesh.runtime.ids import new_id
from services.pomodoro import wire
from services.pomodoro.jobs import GuestEnder
from services.pomodoro.model import MOST_GUEST_BYTES, MOST_TRANSITIONS, Act, Focus, Preferences
from services.pomodoro.model import Guest as StoredGuest
from services.pomodoro.rules import sessions as sessions_rules
from services.pomodoro.store.sessions import UserSessions
from tests.contract.pomodoro.claims.claimants import Claimant, Guest, claim
from tests.contract.pomodoro.devices import Time
from tests.support.neighbours import disturbance

pytestmark = pytest.mark.asyncio(loop_scope="module")


def a_worst(user_id: str, begin: int, tasks: int) -> Focus:
    """A finished session of 298 transitions, with the largest texts."""
    session_id, device = new_id(), new_id()
    new = [focus_pb.NewSessionTask(title="ü" * 255, description="\x01" * 1000)] * tasks
    request = focus_pb.CreateFocusSessionRequest(title="ü" * 255, tasks=new)
    planned = wire.session_from_pb(request, Preferences(), session_id=session_id, user_id=user_id, now=begin)
    listed = wire.tasks_from_pb(request.tasks, [new_id() for _ in new], session_id=session_id, now=begin)
    focus, now = sessions_rules.create(planned, listed, Act(begin, device, None), start=True), begin
    while len(focus.transitions) < MOST_TRANSITIONS - 3:
        now += 2 * SECOND
        focus = sessions_rules.pause(focus, Act(now, device, None))
        now += SECOND
        focus = sessions_rules.resume(focus, Act(now, device, None))
    return sessions_rules.finish(focus, Act(now, device, None))


def a_copy(focus: Focus) -> Focus:
    """Another session like it."""
    session_id = new_id()
    tasks = tuple(task._replace(id=new_id(), session_id=session_id) for task in focus.tasks)
    transitions = tuple(each._replace(session_id=session_id) for each in focus.transitions)
    return Focus(focus.session._replace(id=session_id, current_task_id=None), tasks, transitions)


async def test_the_largest_guest_and_its_claim_disturb_nobody(
    user: Claimant, guest: Guest, guest_ender: GuestEnder, time: Time
) -> None:
    """As many transitions as a guest's 256 KiB hold, and 19 of the largest sessions of the user's own."""
    other, begin = user.device.another_user(), time.now() - 3600 * SECOND
    await other.create(start=True, focus_minutes=180)
    device, nothing = guest.device, SideEffects((), None, "")
    stored = await guest_ender.guests.read(StoredGuest(device.user_id, 2_000_000_000))
    async with stored.transaction():
        worst = a_worst(device.user_id, begin, 0)
        while len(stored.document()) < MOST_GUEST_BYTES - 60_000:
            await stored.save(a_copy(worst), nothing)
        kept = len(stored.kept)
    async with guest_ender.db.connection() as connection:
        own = a_worst(user.device.user_id, begin + SECOND, 5)
        for _ in range(19):
            await UserSessions(connection).save(a_copy(own), nothing)

    async def live() -> None:
        session = await device.create(start=True, tasks=[focus_pb.NewSessionTask(title="x")] * 5, timeout=60)
        for change in (device.PauseFocusSession, device.ResumeFocusSession) * 5:
            await change(focus_session_id=session.id, request_id=new_id(), timeout=60)
        await device.ListFocusSessions(timeout=60)
        await user.claims.PreviewGuestClaim(guest_refresh_token=guest.tokens.refresh_token, timeout=60)
        assert len((await claim(user, guest)).claimed_sessions) == kept + 1

    (await disturbance(live(), lambda: other.GetCurrentFocusSession(timeout=60))).check()
