"""Accounts claim guests, once."""

import asyncio

import grpc
import psycopg
import pytest
from focusmesh.auth.v1 import session_service_pb2
from focusmesh.auth.v1.guest_service_pb2 import EndGuestRequest
from focusmesh.pomodoro.v1 import focus_session_pb2
from focusmesh.pomodoro.v1 import focus_session_service_pb2 as focus_pb
from focusmesh.pomodoro.v1 import guest_claim_service_pb2 as pb
from focusmesh.pomodoro.v1 import guest_claim_service_pb2_grpc as rpc

from harness.waiting import until
from mesh.app import App
from mesh.runtime.errors import DependencyUnavailable
from mesh.runtime.ids import new_id
from services.pomodoro.jobs import GuestEnder
from stack import database
from tests.contract.pomodoro.claims.claimants import Claimant, Guest, Sessions, a_guest, a_user, claim, worked
from tests.contract.pomodoro.devices import FINISHED, MINUTE, PAUSED, PLANNED, RUNNING, Time, events
from tests.support.errors import refused
from tests.support.tokens import Signer

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_user_takes_the_guest_s_sessions_along(
    user: Claimant, guest: Guest, time: Time, urls: dict[str, str]
) -> None:
    device = guest.device
    task = focus_pb.NewSessionTask(title="Write")
    finished, planned = await device.create(start=True, tasks=[task]), await device.create(title="Later")
    time.pass_(20 * MINUTE)
    await device.FinishFocusSession(focus_session_id=finished.id)
    dropped = await device.create()
    await device.DeleteFocusSession(focus_session_id=dropped.id)
    running = await device.create(start=True)
    time.pass_(3 * MINUTE)

    token = guest.tokens.refresh_token
    preview = await user.claims.PreviewGuestClaim(guest_refresh_token=token)
    assert (await user.device.ListFocusSessions()).focus_sessions == []
    assert (await device.GetCurrentFocusSession()).focus_session.id == running.id
    response = await claim(user, guest)

    shown = [(each.focus_session.id, each.focus_session.state) for each in response.claimed_sessions]
    assert shown == [(finished.id, FINISHED), (planned.id, PLANNED), (running.id, RUNNING)]
    assert [each.overlap_seconds for each in response.claimed_sessions] == [0, 0, 0]
    previewed = [(each.focus_session.id, each.focus_session.state) for each in preview.claimed_sessions]
    assert (previewed, [each.overlap_seconds for each in preview.claimed_sessions]) == (shown, [0, 0, 0])
    read = (await user.device.GetFocusSession(focus_session_id=finished.id)).focus_session
    assert (read.total_focused_seconds, read.tasks[0].focused_seconds) == (20 * MINUTE, 20 * MINUTE)
    current = (await user.device.GetCurrentFocusSession()).focus_session
    assert (current.id, current.progress_seconds) == (running.id, 3 * MINUTE)
    assert current.interval_end_time == running.interval_end_time
    published = [kind for session in (finished, planned, running) for kind, _ in events(urls["pomodoro"], session.id)]
    assert published == ["session-finished", "session-created", "session-started"]
    assert events(urls["pomodoro"], dropped.id) == []
    await user.device.FinishFocusSession(focus_session_id=running.id)


async def test_the_guest_ends_here_at_once_and_everywhere_soon(
    user: Claimant, guest: Guest, sessions: Sessions, guest_ender: GuestEnder
) -> None:
    await guest.device.create(start=True)
    await claim(user, guest)
    with refused("GUEST_CLAIMED"):
        await guest.device.create()
    assert await guest_ender.run_once() >= 1
    with refused("REFRESH_TOKEN_INVALID"):
        await sessions.Refresh(session_service_pb2.RefreshRequest(refresh_token=guest.tokens.refresh_token))

    async def is_refused() -> bool:
        try:
            await guest.device.GetCurrentFocusSession()
        except grpc.aio.AioRpcError as error:
            return error.code() == grpc.StatusCode.UNAUTHENTICATED
        return False

    await until(is_refused, "the guest's access token is refused")


async def test_of_twenty_parallel_claims_one_is_made_and_all_get_its_response(
    user: Claimant, guest: Guest, time: Time, urls: dict[str, str]
) -> None:
    made = [await guest.device.create() for _ in range(3)]
    running = await guest.device.create(start=True)
    time.pass_(MINUTE)
    responses = await asyncio.gather(*(claim(user, guest) for _ in range(20)))
    assert all(response == responses[0] for response in responses)
    ids = [each.id for each in (await user.device.ListFocusSessions()).focus_sessions]
    assert sorted(ids) == sorted(each.id for each in [*made, running])
    assert all(len(events(urls["pomodoro"], session_id)) == 1 for session_id in ids)


async def test_of_the_claims_of_two_users_those_of_one_succeed(
    user: Claimant, guest: Guest, channel: grpc.aio.Channel, signer: Signer
) -> None:
    session, other = await guest.device.create(start=True), a_user(channel, signer)
    both = await asyncio.gather(
        *(claim(each, guest) for each in (user, other) for _ in range(5)), return_exceptions=True
    )
    won = [isinstance(each, pb.ClaimGuestSessionsResponse) for each in both]
    assert won in ([True] * 5 + [False] * 5, [False] * 5 + [True] * 5)
    winner, loser = (user, other) if won[0] else (other, user)
    assert (await winner.device.GetFocusSession(focus_session_id=session.id)).focus_session.state == RUNNING
    for call in (loser.claims.ClaimGuestSessions, loser.claims.PreviewGuestClaim, winner.claims.PreviewGuestClaim):
        with refused("GUEST_CLAIMED"):
            await call(guest_refresh_token=guest.tokens.refresh_token)


async def test_a_claim_is_answered_again_when_the_guest_has_ended(
    user: Claimant, guest: Guest, guest_ender: GuestEnder
) -> None:
    session = await guest.device.create(start=True)
    first = await claim(user, guest)
    await guest_ender.run_once()
    await user.device.PauseFocusSession(focus_session_id=session.id)
    assert await claim(user, guest) == first


async def test_what_overlaps_a_session_of_the_user_is_taken_out_and_reported(
    user: Claimant, guest: Guest, time: Time
) -> None:
    """Guest: 0 to 60 min. User: 10 to 20, 30 to 40 and, in a session that is deleted, 50 to 55 min."""
    theirs = await guest.device.create(start=True, focus_minutes=100)
    for start, length, deletes in ((10, 10, False), (10, 10, False), (10, 5, True)):
        time.pass_(start * MINUTE)
        own = await user.device.create(start=True)
        time.pass_(length * MINUTE)
        await user.device.FinishFocusSession(focus_session_id=own.id)
        if deletes:
            await user.device.DeleteFocusSession(focus_session_id=own.id)
    time.pass_(5 * MINUTE)
    await guest.device.FinishFocusSession(focus_session_id=theirs.id)

    [claimed] = (await claim(user, guest)).claimed_sessions

    session = claimed.focus_session
    assert (claimed.overlap_seconds, session.total_focused_seconds) == (25 * MINUTE, 35 * MINUTE)
    assert session.outcome == focus_session_pb2.FOCUS_SESSION_OUTCOME_PARTIAL
    assert await worked(user.device) == 55 * MINUTE
    await user.device.UndeleteFocusSession(focus_session_id=own.id)
    assert await worked(user.device) == 60 * MINUTE


async def test_while_a_session_of_the_user_runs_the_guest_s_is_paused(user: Claimant, guest: Guest, time: Time) -> None:
    theirs = await guest.device.create(start=True)
    time.pass_(10 * MINUTE)
    own = await user.device.create(start=True)
    time.pass_(5 * MINUTE)
    [claimed] = (await claim(user, guest)).claimed_sessions
    session = claimed.focus_session
    assert (session.id, session.state, session.progress_seconds) == (theirs.id, PAUSED, 10 * MINUTE)
    assert claimed.overlap_seconds == 5 * MINUTE
    assert (await user.device.GetCurrentFocusSession()).focus_session.id == own.id
    assert await worked(user.device) == 15 * MINUTE


async def test_intervals_of_the_guest_that_are_over_end_at_their_end(user: Claimant, guest: Guest, time: Time) -> None:
    await guest.device.create(start=True)
    time.pass_(60 * MINUTE)
    [claimed] = (await claim(user, guest)).claimed_sessions
    session = claimed.focus_session
    assert (session.state, session.interval_number, session.pomodoro_count) == (PAUSED, 3, 1)
    assert (session.total_focused_seconds, session.total_break_seconds) == (25 * MINUTE, 5 * MINUTE)


async def test_a_second_guest_overlaps_the_sessions_of_the_first(
    user: Claimant, guest: Guest, channel: grpc.aio.Channel, sessions: Sessions, signer: Signer, time: Time
) -> None:
    second = await a_guest(channel, sessions, signer)
    for each in (guest, second):
        await each.device.create(start=True)
    time.pass_(8 * MINUTE)
    await claim(user, guest)
    [claimed] = (await claim(user, second)).claimed_sessions
    assert (claimed.overlap_seconds, claimed.focus_session.state) == (8 * MINUTE, PAUSED)
    assert await worked(user.device) == 8 * MINUTE


async def test_guests_that_one_user_claims_at_once_count_no_second_twice(
    user: Claimant, channel: grpc.aio.Channel, sessions: Sessions, signer: Signer, time: Time
) -> None:
    guests = [await a_guest(channel, sessions, signer) for _ in range(4)]
    for each in guests:
        await each.device.create(start=True)
    time.pass_(8 * MINUTE)
    for each in guests:
        current = (await each.device.GetCurrentFocusSession()).focus_session
        await each.device.FinishFocusSession(focus_session_id=current.id)
    responses = await asyncio.gather(*(claim(user, each) for each in guests))
    overlaps = [each.claimed_sessions[0].overlap_seconds for each in responses]
    assert sorted(overlaps) == [0, 8 * MINUTE, 8 * MINUTE, 8 * MINUTE]
    assert await worked(user.device) == 8 * MINUTE


async def test_a_guest_without_sessions_is_claimed_too(user: Claimant, guest: Guest, guest_ender: GuestEnder) -> None:
    assert (await claim(user, guest)).claimed_sessions == []
    with refused("GUEST_CLAIMED"):
        await guest.device.create()
    assert await guest_ender.run_once() >= 1


async def test_a_claim_that_was_cut_off_before_it_committed_is_made_by_the_next(
    user: Claimant, guest: Guest, app: App, guest_ender: GuestEnder
) -> None:
    session = await guest.device.create()
    await guest_ender.guests.freeze(guest.device.user_id)
    with refused("UNAVAILABLE"):
        await guest.device.create()
    assert (await user.device.ListFocusSessions()).focus_sessions == []
    [claimed] = (await claim(user, guest)).claimed_sessions
    assert claimed.focus_session.id == session.id


class Away:
    """GuestService of an auth that does not respond."""

    async def EndGuest(self, _request: object) -> None:
        raise DependencyUnavailable("auth")


async def test_a_claim_that_was_cut_off_after_it_committed_ends_the_guest_later(
    user: Claimant, guest: Guest, sessions: Sessions, guest_ender: GuestEnder
) -> None:
    session = await guest.device.create(start=True)
    await claim(user, guest)
    cut_off = GuestEnder(guest_ender.db, guest_ender.guests, Away(), guest_ender.changes)  # type: ignore[arg-type]
    await guest_ender.guests._redis.hdel(f"pomodoro:guest:{guest.device.user_id}", "claimed")
    with pytest.raises(DependencyUnavailable):
        await cut_off.run_once()
    with refused("GUEST_CLAIMED"):
        await guest.device.FinishFocusSession(focus_session_id=session.id)
    assert (await user.device.GetCurrentFocusSession()).focus_session.id == session.id
    assert await guest_ender.run_once() >= 1
    with refused("REFRESH_TOKEN_INVALID"):
        await sessions.Refresh(session_service_pb2.RefreshRequest(refresh_token=guest.tokens.refresh_token))
    assert await guest_ender.run_once() == 0


class AwayFor:
    """GuestService of an auth that fails for one guest; keeps the ids of the others."""

    def __init__(self, guest_id: str) -> None:
        self.guest_id, self.ended = guest_id, list[str]()

    async def EndGuest(self, request: EndGuestRequest) -> None:
        if request.guest_id == self.guest_id:
            raise DependencyUnavailable("auth")
        self.ended.append(request.guest_id)


async def test_one_guest_that_cannot_be_ended_keeps_no_other_from_it(
    user: Claimant, guest: Guest, channel: grpc.aio.Channel, sessions: Sessions, signer: Signer, guest_ender: GuestEnder
) -> None:
    others = [await a_guest(channel, sessions, signer) for _ in range(2)]
    for each in (guest, *others):
        await claim(user, each)
        # As if the replica had died after the commit, more than two minutes ago.
        await guest_ender.guests._redis.delete(f"pomodoro:guest:{each.device.user_id}")
    auth = AwayFor(guest.device.user_id)
    ender = GuestEnder(guest_ender.db, guest_ender.guests, auth, guest_ender.changes)  # type: ignore[arg-type]
    with pytest.raises(DependencyUnavailable):
        await ender.run_once()
    assert {each.device.user_id for each in others} <= set(auth.ended)
    for each in (guest, *others):
        with refused("GUEST_CLAIMED"):
            await each.device.create()
    assert await guest_ender.run_once() == 1


async def test_a_guest_whose_claim_never_committed_goes_on(guest: Guest, guest_ender: GuestEnder) -> None:
    session = await guest.device.create()
    await guest_ender.guests.freeze(guest.device.user_id)
    key = f"pomodoro:guest:{guest.device.user_id}"
    assert await guest_ender.guests._redis.ttl(key) > 0
    with refused("UNAVAILABLE"):
        await guest.device.GetFocusSession(focus_session_id=session.id)
    await guest_ender.guests._redis.hset(key, "frozen_until", "1")
    assert (await guest.device.GetFocusSession(focus_session_id=session.id)).focus_session == session


async def test_a_guest_stays_frozen_while_any_of_its_claims_may_commit(guest: Guest, guest_ender: GuestEnder) -> None:
    guests, guest_id = guest_ender.guests, guest.device.user_id
    session = await guest.device.create()
    for _ in range(2):
        await guests.freeze(guest_id)
    await guests.unfreeze(guest_id)
    with refused("UNAVAILABLE"):
        await guest.device.GetFocusSession(focus_session_id=session.id)
    await guests.unfreeze(guest_id)
    assert (await guest.device.GetFocusSession(focus_session_id=session.id)).focus_session == session


async def test_only_a_live_guest_can_be_claimed(user: Claimant, guest: Guest, sessions: Sessions) -> None:
    await sessions.Logout(session_service_pb2.LogoutRequest(refresh_token=guest.tokens.refresh_token))
    for token in (guest.tokens.refresh_token, guest.tokens.access_token[:512], "nonsense"):
        for call in (user.claims.ClaimGuestSessions, user.claims.PreviewGuestClaim):
            with refused("GUEST_TOKEN_INVALID") as error:
                await call(guest_refresh_token=token)
            assert error.fields == ["guest_refresh_token"]


async def test_a_token_that_was_exchanged_long_ago_claims_nothing(
    user: Claimant, guest: Guest, sessions: Sessions
) -> None:
    token = guest.tokens.refresh_token
    for _ in range(2):
        refreshed = await sessions.Refresh(session_service_pb2.RefreshRequest(refresh_token=token))
        token = refreshed.tokens.refresh_token
    with refused("GUEST_TOKEN_INVALID"):
        await claim(user, guest)
    await claim(user, guest._replace(tokens=refreshed.tokens))


async def test_a_guest_claims_nobody(guest: Guest, channel: grpc.aio.Channel) -> None:
    request = pb.ClaimGuestSessionsRequest(guest_refresh_token=guest.tokens.refresh_token)
    bearer = (("authorization", f"Bearer {guest.tokens.access_token}"),)
    with refused("GUEST_NOT_ALLOWED"):
        await rpc.GuestClaimServiceStub(channel).ClaimGuestSessions(request, metadata=bearer)


async def test_nothing_is_half_claimed_when_a_session_cannot_be_written(
    user: Claimant, guest: Guest, urls: dict[str, str], cluster: database.Cluster
) -> None:
    """A row in the way of the last session: the claim fails, and the guest has everything still."""
    made = [await guest.device.create() for _ in range(3)]
    with psycopg.connect(urls["pomodoro"], autocommit=True) as connection:
        connection.execute(
            "INSERT INTO sessions (id, user_id, status) VALUES (%s, %s, 'planned')", (made[-1].id, new_id())
        )
        with refused("INTERNAL"):
            await claim(user, guest)
        assert (await user.device.ListFocusSessions()).focus_sessions == []
        assert len((await guest.device.ListFocusSessions()).focus_sessions) == 3
        connection.execute("DELETE FROM sessions WHERE id = %s", (made[-1].id,))
    assert len((await claim(user, guest)).claimed_sessions) == 3
