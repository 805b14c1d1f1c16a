"""The RPCs of GuestClaimService: an account takes a guest's sessions along, once (ADR 13)."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from focusmesh.auth.v1.guest_service_pb2 import GetGuestRequest, GetGuestResponse
from focusmesh.auth.v1.guest_service_pb2_grpc import GuestServiceStub
from focusmesh.pomodoro.v1 import guest_claim_service_pb2 as pb
from focusmesh.pomodoro.v1 import guest_claim_service_pb2_grpc as rpc
from redis.exceptions import RedisError

from mesh.database.connection import Connection
from mesh.database.pool import Database, WriteConflict
from mesh.events import outbox
from mesh.events.outbox import SideEffects
from mesh.rpc.call import Context, current_call
from mesh.rpc.status import CalleeError
from mesh.runtime.slices import in_slices
from services.pomodoro import events, wire
from services.pomodoro.cache import Guests
from services.pomodoro.errors import GuestClaimed, GuestTokenInvalid
from services.pomodoro.handlers.writes import Writes
from services.pomodoro.model import MOST_TRANSITIONS, Act, AnotherRuns, Focus, GuestClaim, Status
from services.pomodoro.rules import claims, sessions, timeline
from services.pomodoro.rules.claims import Claimed
from services.pomodoro.rules.timeline import Span
from services.pomodoro.store import claims as claim_store
from services.pomodoro.store.sessions import UserSessions

_FIRST = "00000000-0000-0000-0000-000000000000"


class GuestClaimHandlers(rpc.GuestClaimServiceServicer):
    """Guests whose sessions the caller claims."""

    def __init__(
        self, db: Database, guests: Guests, auth: GuestServiceStub, writes: Writes, claimed: Callable[[], None]
    ) -> None:
        """claimed: called after a claim has committed; the guest is to be ended."""
        self.db, self.guests, self.auth, self.writes, self._claimed = db, guests, auth, writes, claimed

    async def PreviewGuestClaim(
        self, request: pb.PreviewGuestClaimRequest, context: Context
    ) -> pb.PreviewGuestClaimResponse:
        guest = await self._guest(request.guest_refresh_token)
        found, act = await self.guests.peek(guest.guest_id), self.writes.act(request)

        async def attempt(connection: Connection) -> Sequence[Claimed]:
            if await claim_store.find_claim(connection, guest.guest_id) is not None:
                raise GuestClaimed
            if not guest.active:
                raise GuestTokenInvalid
            return await self._plan(connection, found, act)

        planned = await self.db.retry_on_conflict(attempt)
        self.writes.seen(act.now)
        return pb.PreviewGuestClaimResponse(
            claimed_sessions=wire.claimed_to_pb(planned, act.now), server_time=wire.timestamp(act.now)
        )

    async def ClaimGuestSessions(
        self, request: pb.ClaimGuestSessionsRequest, context: Context
    ) -> pb.ClaimGuestSessionsResponse:
        guest = await self._guest(request.guest_refresh_token)
        user_id = current_call().user_id

        async def attempt(connection: Connection) -> pb.ClaimGuestSessionsResponse:
            made = await claim_store.find_claim(connection, guest.guest_id)
            if made is not None and made.user_id != user_id:
                raise GuestClaimed
            if made is not None:
                response = pb.ClaimGuestSessionsResponse.FromString(bytes.fromhex(made.response))
            else:
                response = await self._claim(connection, guest)
            self.writes.changes.send(user_id)
            return response

        response = await self.writes.notify(self.db.retry_on_conflict(attempt))
        self._claimed()
        await _tried(self.guests.forget(guest.guest_id))
        return response

    async def _guest(self, token: str) -> GetGuestResponse:
        """Whose refresh token it is; raises GuestTokenInvalid."""
        request = GetGuestRequest(user_id=current_call().user_id, guest_refresh_token=token)
        try:
            return await self.auth.GetGuest(request)
        except CalleeError as error:
            if error.reason != "REFRESH_TOKEN_INVALID":
                raise
            raise GuestTokenInvalid from None

    async def _claim(self, connection: Connection, guest: GetGuestResponse) -> pb.ClaimGuestSessionsResponse:
        """Writes all sessions and the claim, or nothing; raises WriteConflict when another claim came first."""
        if not guest.active:
            raise GuestTokenInvalid
        call, act = current_call(), Act(self.writes.clock(), current_call().identity.session_id, None)
        known = await claim_store.list_claimed(connection, call.user_id)
        commits, found = False, await self.guests.freeze(guest.guest_id)
        try:
            claimed = await self._plan(connection, found, act)
            response = pb.ClaimGuestSessionsResponse(
                claimed_sessions=wire.claimed_to_pb(claimed, act.now), server_time=wire.timestamp(act.now)
            )
            claim = GuestClaim(guest.guest_id, call.user_id, response.SerializeToString().hex(), act.now)
            async with connection.transaction():
                await claim_store.insert_claim(connection, claim, known)
                for focus, _ in claimed:
                    effects = SideEffects([events.session_claimed(focus)], None, call.traceparent)
                    await UserSessions(connection).save(focus, effects)
                commits = True
        except AnotherRuns:
            raise WriteConflict from None
        finally:
            if not commits:
                await _tried(self.guests.unfreeze(guest.guest_id))
        outbox.wake()
        return response

    async def _plan(self, connection: Connection, found: Sequence[Focus], act: Act) -> Sequence[Claimed]:
        """The guest's sessions as they become the caller's."""
        user_id = current_call().user_id
        advanced = [await self._advanced(focus, act) for focus in found]
        running = await UserSessions(connection).find_running(user_id)
        if running is not None:
            running = await self.writes.advanced(UserSessions(connection), running, act.now)
        another_runs = running is not None and running.session.status == Status.RUNNING
        own = await self._own(connection, advanced, act)
        return await in_slices(claims.claim(focus, act, user_id, own, another_runs=another_runs) for focus in advanced)

    async def _advanced(self, focus: Focus, act: Act) -> Focus:
        """The guest's session after the ends of intervals that are due."""
        if not sessions.is_due(focus.session, act.now):
            return focus
        guest_id = focus.session.user_id
        seen = (await self.writes.presence.last([guest_id])).get(guest_id)
        return (await in_slices(sessions.advance(focus, act.now, seen, MOST_TRANSITIONS)))[-1]

    async def _own(self, connection: Connection, found: Sequence[Focus], act: Act) -> list[Span]:
        """When sessions of the caller ran since the first of the guest's began."""
        begin = min((focus.session.start_time for focus in found if focus.session.start_time), default=act.now)
        own: list[Span] = []
        after_id, more = _FIRST, True
        while more:
            page = await UserSessions(connection).list_overlapping(current_call().user_id, begin, act.now, after_id)
            own += [
                span for ran in await in_slices(tuple(claims.spans(each, act.now)) for each in page) for span in ran
            ]
            more = bool(page)
            after_id = page[-1].session.id if page else after_id
        return timeline.merged(own)


async def _tried(change: Awaitable[None]) -> None:
    """Awaits what may be left undone while Redis is away: the guest stays frozen, and GuestEnder forgets it."""
    with suppress(RedisError, OSError):
        await change
