"""The service that sends, as far as auth knows it: it learns of mails by events, and asks for addresses and tokens."""

from typing import NamedTuple

import grpc
import orjson
from focusmesh.auth.v1 import contact_service_pb2 as pb
from focusmesh.auth.v1.contact_service_pb2_grpc import ContactServiceStub

from harness.waiting import until
from mesh.database.pool import Database
from mesh.runtime import clock
from services.auth.jobs import MailRequester, RegistrationCompleter
from tests.contract.auth.planner import Caller
from tests.support.tokens import service_token


class Announced(NamedTuple):
    """A mail, as its event shows it."""

    mail_id: str
    kind: str
    user_id: str


class Mailbox:
    """Mails of users: announced in the outbox, with tokens that auth makes for the service notification."""

    def __init__(self, db: Database, channel: grpc.aio.Channel, notification: Caller) -> None:
        self._db, self._contacts, self._notification = db, ContactServiceStub(channel), notification

    async def announced(self, user_id: str) -> list[Announced]:
        """Every mail that was announced for the user until now, the first one first."""
        async with self._db.connection() as connection:
            cursor = await connection.execute("SELECT value FROM outbox WHERE key = %s ORDER BY seq", (user_id,))
            events = [orjson.loads(value) for (value,) in await cursor.fetchall()]
        mails = [event for event in events if event["type"] == "mail-requested"]
        return [Announced(mail["subject"], mail["data"]["payload"]["kind"], user_id) for mail in mails]

    async def answered(self) -> None:
        """Answers every request so far, by a mail or by none, beside the service's own tasks."""
        completer, requester = RegistrationCompleter(self._db, clock.now), MailRequester(self._db, clock.now)
        while await completer.run_once() or await requester.run_once():
            pass

        async def is_idle() -> bool:
            async with self._db.connection() as connection:
                cursor = await connection.execute("SELECT FROM mail_requests UNION ALL SELECT FROM registrations")
                return await cursor.fetchone() is None

        await until(is_idle, "every request is answered", seconds=5)

    async def newest(self, user_id: str, kind: str) -> Announced:
        """The newest mail of the user, which must be of this kind."""
        await self.answered()
        mail = (await self.announced(user_id))[-1]
        assert mail.kind == kind
        return mail

    async def issue(self, mail: Announced) -> pb.IssueMailTokenResponse:
        """The token of a mail, as the service that sends gets it."""
        request = pb.IssueMailTokenRequest(user_id=mail.user_id, mail_id=mail.mail_id)
        return await self._contacts.IssueMailToken(request, metadata=self.bearer())

    async def token(self, user_id: str, kind: str) -> str:
        """The token in the newest mail of the user, which must be of this kind."""
        return (await self.issue(await self.newest(user_id, kind))).token

    async def contact(self, user_id: str) -> pb.Contact:
        """Where the user is reached."""
        request = pb.GetContactRequest(user_id=user_id)
        return (await self._contacts.GetContact(request, metadata=self.bearer())).contact

    def bearer(self) -> tuple[tuple[str, str], ...]:
        """Metadata of a call by notification."""
        token = service_token(self._notification.name, "auth", self._notification.key)
        return (("authorization", f"Bearer {token}"),)
