"""The RPCs of SessionService, one method each."""

from contextlib import suppress

from focusmesh.auth.v1 import session_pb2
from focusmesh.auth.v1 import session_service_pb2 as pb
from focusmesh.auth.v1 import session_service_pb2_grpc as rpc
from redis.asyncio import Redis

from mesh.database.pool import Database
from mesh.rpc import revocations
from mesh.rpc.call import CallContext, Context, current_call
from mesh.runtime.clock import Clock
from mesh.runtime.errors import Overloaded
from mesh.runtime.ids import new_id
from services.auth import wire
from services.auth.cache import GuestSessions, LoginThrottle
from services.auth.errors import (
    CredentialsWrong,
    RefreshTokenInvalid,
    RefreshTokenReused,
    TooManyAttempts,
    TooManyGuests,
)
from services.auth.handlers.passwords import PasswordWorker
from services.auth.model import SESSION_LIFE, Credentials, Session
from services.auth.rules import passwords, sessions
from services.auth.rules.tokens import RefreshToken, RefreshTokens, Signer
from services.auth.store import accounts, logins


class SessionHandlers(rpc.SessionServiceServicer):
    """Sessions of users, begun by a password, and of guests: kept by refresh tokens."""

    def __init__(
        self,
        db: Database,
        redis: "Redis",
        worker: PasswordWorker,
        signer: Signer,
        refresh_tokens: RefreshTokens,
        clock: Clock,
        *,
        guests: GuestSessions,
        guest_life: int,
        require_verified_email: bool,
    ) -> None:
        """guest_life: how long a guest lives, in microseconds. require_verified_email: let nobody else in."""
        self.db, self.redis, self.attempts, self.worker = db, redis, LoginThrottle(redis), worker
        self.signer, self.refresh_tokens, self.clock = signer, refresh_tokens, clock
        self.guests, self.guest_life, self.require_verified_email = guests, guest_life, require_verified_email

    async def Login(self, request: pb.LoginRequest, context: Context) -> pb.LoginResponse:
        credentials = await self._authenticate(request, current_call())
        now = self.clock()
        session = sessions.begin(new_id(), credentials.user_id, now=now)
        first = self.refresh_tokens.derive(session.id, session.generation)
        async with self.db.connection() as connection:
            begun = await logins.insert_session(
                connection, session, self.refresh_tokens.hash(first), credentials.password_version
            )
        if not begun:
            raise CredentialsWrong
        return pb.LoginResponse(tokens=self._tokens(session, first, now))

    async def Refresh(self, request: pb.RefreshRequest, context: Context) -> pb.RefreshResponse:
        presented, now = self._authentic(request.refresh_token), self.clock()
        newest = self.refresh_tokens.derive(presented.session_id, presented.generation + 1, presented.is_guest)
        if presented.is_guest:
            session, exchanged = await self._exchange_guest(presented, now)
        else:
            session, exchanged = await self._exchange(presented.session_id, request.refresh_token, newest, now)
        if not exchanged:
            session = await self._previous(session, presented, now)
        return pb.RefreshResponse(tokens=self._tokens(session, newest, now, is_guest=presented.is_guest))

    async def Logout(self, request: pb.LogoutRequest, context: Context) -> pb.LogoutResponse:
        await self._end(self._authentic(request.refresh_token))
        return pb.LogoutResponse()

    async def CreateGuest(self, request: pb.CreateGuestRequest, context: Context) -> pb.CreateGuestResponse:
        wait = await self.guests.acquire(sessions.network_of(current_call().peer_address()))
        if wait > 0:
            raise TooManyGuests(retry_after=wait)
        guest_id, now = new_id(), self.clock()
        guest = sessions.begin(guest_id, guest_id, now=now, life=self.guest_life)
        await self.guests.insert(guest)
        first = self.refresh_tokens.derive(guest.id, guest.generation, is_guest=True)
        return pb.CreateGuestResponse(tokens=self._tokens(guest, first, now, is_guest=True))

    async def _exchange(self, session_id: str, token: str, newest: str, now: int) -> tuple[Session, bool]:
        """The session, and whether `token` was exchanged for `newest`; raises RefreshTokenInvalid."""
        async with self.db.connection() as connection:
            exchanged = await logins.exchange_token(
                connection,
                session_id,
                self.refresh_tokens.hash(token),
                self.refresh_tokens.hash(newest),
                now=now,
                expires=now + SESSION_LIFE,
            )
            if exchanged is not None:
                return exchanged, True
            return await logins.get_session(connection, session_id), False

    async def _exchange_guest(self, presented: RefreshToken, now: int) -> tuple[Session, bool]:
        """The same of a guest."""
        guest, exchanged = await self.guests.exchange_token(presented.session_id, presented.generation, now)
        if guest is None:
            raise RefreshTokenInvalid
        return guest, exchanged

    async def _authenticate(self, request: pb.LoginRequest, call: CallContext) -> Credentials:
        """The account whose password it is; raises CredentialsWrong, TooManyAttempts, Overloaded."""
        account = self.refresh_tokens.pseudonym(request.email.lower())
        network = sessions.network_of(call.peer_address())
        wait = await self.attempts.acquire(account, network)
        if wait > 0:
            raise TooManyAttempts(retry_after=wait)
        try:
            found = await self._check(request)
        except CredentialsWrong:
            raise
        except Exception:
            # The password was not checked, so the attempt does not count.
            await self.attempts.refund(account, network)
            raise
        await self.attempts.reset(account, network)
        await self._renew_hash(found, request.password)
        return found

    async def _check(self, request: pb.LoginRequest) -> Credentials:
        """The account; raises CredentialsWrong after the same work for an unknown address and a wrong password.

        The same for one that waits for VerifyEmail: whoever registered an address would learn, by signing in with that
        password, whether it had an account before.
        """
        async with self.db.connection() as connection:
            found = await accounts.find_credentials(connection, request.email)
        right = await self.worker.verify(found.password_hash if found else None, request.password)
        waits = self.require_verified_email and found is not None and not found.email_verified
        if found is None or not right or not found.active or waits:
            raise CredentialsWrong
        return found

    async def _renew_hash(self, credentials: Credentials, password: str) -> None:
        """Hashes the password with today's parameters unless it was; when busy, leaves that to the next login."""
        if not passwords.outdated(credentials.password_hash):
            return
        with suppress(Overloaded):
            renewed = await self.worker.hash(password)
            async with self.db.connection() as connection:
                await accounts.replace_password_hash(
                    connection, credentials.user_id, credentials.password_hash, renewed
                )

    def _authentic(self, token: str) -> RefreshToken:
        found = self.refresh_tokens.read(token)
        if found is None:
            raise RefreshTokenInvalid
        return found

    async def _previous(self, session: Session, presented: RefreshToken, now: int) -> Session:
        """The session, when this token is the one before its newest; ends the session when the token is reused."""
        try:
            return sessions.require_previous(session, presented.generation, now=now)
        except RefreshTokenReused:
            await self._end(presented)
            raise

    async def _end(self, presented: RefreshToken) -> None:
        """Ends a session: first in Redis, where every service checks access tokens, then in its row.

        When Redis is unavailable nothing changes; when the row cannot be written, the call can be repeated.
        """
        session_id, now = presented.session_id, self.clock()
        await revocations.push(self.redis, revocations.session_member(session_id), sessions.forget_at(now))
        if presented.is_guest:
            await self.guests.remove(session_id)
            return
        async with self.db.connection() as connection:
            await logins.end_session(connection, session_id, now)

    def _tokens(self, session: Session, refresh_token: str, now: int, *, is_guest: bool = False) -> session_pb2.Tokens:
        if is_guest:
            access = self.signer.guest_token(session.id, new_id(), now=now, until=session.expires_at)
        else:
            access = self.signer.access_token(session.user_id, session.id, new_id(), now=now)
        return wire.tokens_to_pb(access, refresh_token, session.expires_at)
