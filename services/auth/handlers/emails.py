"""The RPCs of EmailService: what users do by mail to their own address."""

from focusmesh.auth.v1 import email_service_pb2 as pb
from focusmesh.auth.v1 import email_service_pb2_grpc as rpc
from google.protobuf.message import Message
from redis.asyncio import Redis

from mesh.database.connection import Connection
from mesh.database.pool import Database
from mesh.events import outbox
from mesh.rpc import revocations
from mesh.rpc.call import Context, current_call
from mesh.runtime.clock import SECOND, Clock
from mesh.runtime.ids import new_id
from services.auth import events
from services.auth.cache import MailThrottle
from services.auth.errors import TooManyAttempts
from services.auth.handlers.passwords import PasswordWorker
from services.auth.model import MailKind, MailRequest
from services.auth.rules import passwords, sessions, users
from services.auth.rules.tokens import RefreshTokens
from services.auth.store import accounts, logins, mails

_MOST_ONE_BY_ONE = 100
"""Sessions whose tokens are refused one by one."""


class MailLimit:
    """How many mails may be asked for without a session."""

    def __init__(self, redis: "Redis", tokens: RefreshTokens) -> None:
        self._throttle, self._tokens = MailThrottle(redis), tokens

    async def count(self, email: str) -> None:
        """Counts a mail to the address by the current caller; raises TooManyAttempts."""
        network = sessions.network_of(current_call().peer_address())
        wait = await self._throttle.acquire(self._tokens.pseudonym(email.lower()), network)
        if wait > 0:
            raise TooManyAttempts(retry_after=wait)


class EmailHandlers(rpc.EmailServiceServicer):
    """Verification of addresses and reset of passwords; nothing here shows which addresses have an account."""

    def __init__(
        self,
        db: Database,
        redis: "Redis",
        worker: PasswordWorker,
        tokens: RefreshTokens,
        limit: MailLimit,
        clock: Clock,
    ) -> None:
        """tokens: hashes what is stored of a token."""
        self.db, self.redis, self.worker, self.tokens, self.limit = db, redis, worker, tokens, limit
        self.clock = clock

    async def RequestEmailVerification(
        self, request: pb.RequestEmailVerificationRequest, context: Context
    ) -> pb.RequestEmailVerificationResponse:
        response = pb.RequestEmailVerificationResponse()
        await self._request(request.email, MailKind.VERIFY_EMAIL, response)
        return response

    async def VerifyEmail(self, request: pb.VerifyEmailRequest, context: Context) -> pb.VerifyEmailResponse:
        call, now, response = current_call(), self.clock(), pb.VerifyEmailResponse()

        async def verify(connection: Connection) -> None:
            async with connection.transaction():
                user_id = await mails.use_token(connection, self.tokens.hash(request.token), MailKind.VERIFY_EMAIL, now)
                await mails.close_mails(connection, user_id, MailKind.VERIFY_EMAIL, now)
                account = await accounts.get_account(connection, user_id)
                user = users.verify(account.user, now=now)
                if user is account.user:
                    await outbox.store_response(connection, call.side_effects(response))
                    return
                published = events.user_updated(account._replace(user=user))
                await accounts.save_user(connection, user, call.side_effects(response, published))

        await self.db.retry_on_conflict(verify)
        outbox.wake()
        return response

    async def RequestPasswordReset(
        self, request: pb.RequestPasswordResetRequest, context: Context
    ) -> pb.RequestPasswordResetResponse:
        response = pb.RequestPasswordResetResponse()
        await self._request(request.email, MailKind.RESET_PASSWORD, response)
        return response

    async def ResetPassword(self, request: pb.ResetPasswordRequest, context: Context) -> pb.ResetPasswordResponse:
        call, now, response = current_call(), self.clock(), pb.ResetPasswordResponse()
        passwords.require_uncommon(request.password)
        token_hash = self.tokens.hash(request.token)
        async with self.db.connection() as connection:  # a hash costs 20 ms of a core, so no stranger causes one
            user_id = await mails.require_token(connection, token_hash, MailKind.RESET_PASSWORD, now)
        password_hash = await self.worker.hash(request.password)
        revoked = await self._refuse_tokens(user_id, now)
        async with self.db.transaction() as tx:
            await mails.use_token(tx, token_hash, MailKind.RESET_PASSWORD, now)
            await mails.close_mails(tx, user_id, MailKind.RESET_PASSWORD, now)
            await accounts.set_password(tx, user_id, password_hash, call.side_effects(response))
            await logins.end_sessions_issued_since(tx, user_id, now - sessions.REFUSED_FOR, now)
        await self._refuse_tokens(user_id, now, but=revoked)
        return response

    async def _request(self, email: str, kind: MailKind, response: Message) -> None:
        """Notes that a mail is asked for.

        `services/auth/jobs.py` looks for the account later: neither the response nor its time shows if there is one.
        """
        call = current_call()
        await self.limit.count(email)
        request = MailRequest(new_id(), email, kind, self.clock(), call.traceparent)
        async with self.db.connection() as connection:
            await mails.insert_request(connection, request, call.side_effects(response))

    async def _refuse_tokens(self, user_id: str, now: int, but: frozenset[str] = frozenset()) -> frozenset[str]:
        """Refuses the access tokens of a user's sessions but these, in every service; returns the sessions.

        Before the rows are changed, like the end of one session, and after it for sessions that began meanwhile. Whose
        sessions are very many is refused as a user, and so is a login in the second of the reset.
        """
        async with self.db.connection() as connection:
            since = now - sessions.REFUSED_FOR
            found = await logins.list_sessions_issued_since(connection, user_id, since, _MOST_ONE_BY_ONE + 1)
        members = list(map(revocations.session_member, frozenset(found) - but))
        if len(found) > _MOST_ONE_BY_ONE:
            members = [revocations.user_member(user_id, now // SECOND + 1)]
        for member in members:
            await revocations.push(self.redis, member, sessions.forget_at(now))
        return frozenset(found)
