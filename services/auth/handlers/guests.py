"""The RPCs of GuestService: pomodoro asks for the guest of a claim, and ends it."""

from contextlib import suppress

from focusmesh.auth.v1 import guest_service_pb2 as pb
from focusmesh.auth.v1 import guest_service_pb2_grpc as rpc
from redis.asyncio import Redis

from mesh.rpc import revocations
from mesh.rpc.call import Context
from mesh.runtime.clock import Clock
from services.auth.cache import GuestSessions
from services.auth.errors import RefreshTokenInvalid, RefreshTokenReused
from services.auth.model import Session
from services.auth.rules import sessions
from services.auth.rules.tokens import RefreshTokens


class GuestHandlers(rpc.GuestServiceServicer):
    """Guests that an account claims."""

    def __init__(self, redis: "Redis", guests: GuestSessions, refresh_tokens: RefreshTokens, clock: Clock) -> None:
        self.redis, self.guests, self.refresh_tokens, self.clock = redis, guests, refresh_tokens, clock

    async def GetGuest(self, request: pb.GetGuestRequest, context: Context) -> pb.GetGuestResponse:
        presented = self.refresh_tokens.read(request.guest_refresh_token)
        if presented is None or not presented.is_guest:
            raise RefreshTokenInvalid
        guest = await self.guests.find(presented.session_id)
        if guest is not None:
            _require_usable(guest, presented.generation, self.clock())
        return pb.GetGuestResponse(guest_id=presented.session_id, active=guest is not None)

    async def EndGuest(self, request: pb.EndGuestRequest, context: Context) -> pb.EndGuestResponse:
        member = revocations.session_member(request.guest_id)
        await revocations.push(self.redis, member, sessions.forget_at(self.clock()))
        await self.guests.remove(request.guest_id)
        return pb.EndGuestResponse()


def _require_usable(guest: Session, generation: int, now: int) -> None:
    """Raises RefreshTokenInvalid unless the token could be refreshed now."""
    if generation != guest.generation:
        with suppress(RefreshTokenReused):  # refreshing it ends the guest; asking does not
            sessions.require_previous(guest, generation, now=now)
            return
        raise RefreshTokenInvalid
