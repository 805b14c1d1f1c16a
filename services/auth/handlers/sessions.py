"""The RPCs of SessionService, one method each."""

from focusmesh.auth.v1 import session_pb2
from focusmesh.auth.v1 import session_service_pb2 as pb
from focusmesh.auth.v1 import session_service_pb2_grpc as rpc
from redis.asyncio import Redis

from mesh import revocations
from mesh.clock import Clock
from mesh.db import Database
from mesh.guard import Call, Context, caller
from mesh.ids import new_id
from services.auth import store, wire
from services.auth.cache import Attempts
from services.auth.errors import CredentialsWrong, RefreshTokenInvalid, RefreshTokenReused, TooManyAttempts
from services.auth.handlers.passwords import PasswordWorker
from services.auth.model import SESSION_LIFE, Credentials
from services.auth.rules import passwords, sessions
from services.auth.rules.tokens import RefreshTokens, Signer


class SessionHandlers(rpc.SessionServiceServicer):
    """Sign-ins."""

    def __init__(
        self,
        db: Database,
        redis: "Redis",
        worker: PasswordWorker,
        signer: Signer,
        refresh_tokens: RefreshTokens,
        clock: Clock,
    ) -> None:
        """clock: microseconds since the epoch."""
        self.db, self.redis, self.attempts, self.worker = db, redis, Attempts(redis), worker
        self.signer, self.refresh_tokens, self.clock = signer, refresh_tokens, clock

    async def Login(self, request: pb.LoginRequest, context: Context) -> pb.LoginResponse:
        user_id = await self._authenticate(request, caller(context))
        now, session_id = self.clock(), new_id()
        first, expires = self.refresh_tokens.derive(session_id, 1), now + SESSION_LIFE
        async with self.db.connection() as connection:
            begun = await store.insert_session(
                connection, session_id, user_id, self.refresh_tokens.hash(first), now=now, expires=expires
            )
        if not begun:
            raise CredentialsWrong
        return pb.LoginResponse(tokens=self._tokens(user_id, session_id, first, expires, now))

    async def Refresh(self, request: pb.RefreshRequest, context: Context) -> pb.RefreshResponse:  # noqa: ARG002 (public)
        presented, now = self.refresh_tokens.read(request.refresh_token), self.clock()
        if presented is None:
            raise RefreshTokenInvalid
        newest = self.refresh_tokens.derive(presented.session_id, presented.generation + 1)
        expires = now + SESSION_LIFE
        async with self.db.connection() as connection:
            user_id = await store.exchange_token(
                connection,
                presented.session_id,
                self.refresh_tokens.hash(request.refresh_token),
                self.refresh_tokens.hash(newest),
                now=now,
                expires=expires,
            )
            session = None if user_id else await store.get_session(connection, presented.session_id)
        if user_id is None:
            try:
                session = sessions.require_previous(session, presented.generation, now=now)
            except RefreshTokenReused:
                await self._end(presented.session_id)
                raise
            user_id, expires = session.user_id, session.expires_at
        return pb.RefreshResponse(tokens=self._tokens(user_id, presented.session_id, newest, expires, now))

    async def Logout(self, request: pb.LogoutRequest, context: Context) -> pb.LogoutResponse:  # noqa: ARG002 (public)
        presented = self.refresh_tokens.read(request.refresh_token)
        if presented is None:
            raise RefreshTokenInvalid
        await self._end(presented.session_id)
        return pb.LogoutResponse()

    async def _authenticate(self, request: pb.LoginRequest, call: Call) -> str:
        """The id of the user whose password it is; raises CredentialsWrong, TooManyAttempts, Overloaded.

        An unknown address, a closed account and a wrong password are the same answer after the same work.
        """
        account = self.refresh_tokens.pseudonym(request.email.lower())
        network = sessions.network_of(call.peer_address())
        wait = await self.attempts.take(account, network)
        if wait > 0:
            raise TooManyAttempts(retry_after=wait)
        async with self.db.connection() as connection:
            found = await store.find_credentials(connection, request.email)
        right = await self.worker.verify(found.password_hash if found else None, request.password)
        if found is None or not right or not found.active:
            raise CredentialsWrong
        await self.attempts.give_back(account, network)
        await self._renew_hash(found, request.password)
        return found.user_id

    async def _renew_hash(self, credentials: Credentials, password: str) -> None:
        """Stores the password under today's parameters when it was hashed with others."""
        if not passwords.outdated(credentials.password_hash):
            return
        renewed = await self.worker.hash(password)
        async with self.db.connection() as connection:
            await store.replace_password_hash(connection, credentials.user_id, credentials.password_hash, renewed)

    async def _end(self, session_id: str) -> None:
        """Ends a session: for the access tokens first, which every service checks in Redis, then for good.

        When Redis is away nothing changes and the caller tries again; when the row cannot be written, trying again does
        no harm.
        """
        now = self.clock()
        await revocations.push(self.redis, revocations.session_member(session_id), sessions.forget_at(now))
        async with self.db.connection() as connection:
            await store.end_session(connection, session_id, now)

    def _tokens(self, user_id: str, session_id: str, refresh: str, expires: int, now: int) -> session_pb2.Tokens:
        access = self.signer.access_token(user_id, session_id, new_id(), now=now)
        return wire.tokens_to_pb(access, refresh, expires)
