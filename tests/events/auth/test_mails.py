"""From auth to the broker: mails are announced by ids, and neither an address nor a token is ever there."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from focusmesh.auth.v1 import contact_service_pb2 as contacts_pb
from focusmesh.auth.v1 import email_service_pb2 as pb
from focusmesh.auth.v1 import user_service_pb2 as users_pb
from focusmesh.auth.v1.contact_service_pb2_grpc import ContactServiceStub
from focusmesh.auth.v1.email_service_pb2_grpc import EmailServiceStub
from focusmesh.auth.v1.user_service_pb2_grpc import UserServiceStub

from harness.waiting import until
from mesh.events.envelope import Message
from mesh.runtime.ids import new_id
from mesh.runtime.signing_keys import private_key
from services.auth.events import TOPICS
from services.auth.main import build
from services.auth.settings import Settings
from stack.keys import Keys
from stack.layout import State
from tests.events.fakes import raw
from tests.support.databases import ServiceUrl
from tests.support.serving import serving, settings_for
from tests.support.tokens import service_token

PASSWORD = "a horse, a battery and 2 staples"


class Auth(NamedTuple):
    """The service, which publishes to the broker, and the key of the one that sends mails."""

    channel: grpc.aio.Channel
    notification: Ed25519PrivateKey


@pytest.fixture
async def auth(service_url: ServiceUrl, valkey: str, kafka: str, tmp_path: Path) -> AsyncIterator[Auth]:
    keys = Keys(State(tmp_path))
    common = settings_for(database_url=service_url("auth"), redis_url=valkey)
    own = {
        "kafka_bootstrap": kafka,
        "signing_key_file": str(keys.signing_key()),
        "refresh_hash_key": "a secret of these tests",
        "caller_keys": f"notification={keys.public_service_key('notification')}",
    }
    key = private_key(keys.service_key("notification").read_bytes())
    async with serving(build(Settings(**{**vars(common), **own}))) as channel:
        yield Auth(channel, key)


class Reader:
    """What anybody finds on the broker who may read it."""

    def __init__(self, kafka: str, user_id: str) -> None:
        self._kafka, self._key = kafka, user_id.encode()

    def messages(self) -> list[Message]:
        """Every message about the user, as it is."""
        return [message for topic in TOPICS for message in raw(self._kafka, topic) if message.key == self._key]

    def announced(self) -> list[dict[str, Any]]:
        """The announcements of mails, in order."""
        events = [orjson.loads(message.value or b"") for message in self.messages()]
        return [event for event in events if event["type"] == "mail-requested"]

    async def mail(self, number: int) -> str:
        """Id of the user's mail with this number, from 1; waits until it is announced."""
        await until(lambda: len(self.announced()) >= number, f"mail {number} is announced")
        mail_id: str = self.announced()[number - 1]["data"]["payload"]["mail_id"]
        return mail_id


async def test_mails_are_announced_by_ids_and_no_address_password_or_token_reaches_the_broker(
    auth: Auth, kafka: str
) -> None:
    emails, email = EmailServiceStub(auth.channel), f"{new_id()}@example.com"
    registered = await UserServiceStub(auth.channel).Register(users_pb.RegisterRequest(email=email, password=PASSWORD))
    user_id, broker = registered.user.id, Reader(kafka, registered.user.id)

    async def issue(mail_id: str) -> str:
        request = contacts_pb.IssueMailTokenRequest(user_id=user_id, mail_id=mail_id)
        bearer = f"Bearer {service_token('notification', 'auth', auth.notification)}"
        issued = await ContactServiceStub(auth.channel).IssueMailToken(request, metadata=(("authorization", bearer),))
        return issued.token

    verification = await issue(await broker.mail(1))
    await emails.VerifyEmail(pb.VerifyEmailRequest(token=verification))
    await emails.RequestPasswordReset(pb.RequestPasswordResetRequest(email=email))
    reset = await issue(await broker.mail(2))
    new_password = "nine blue staples in a stable"
    await emails.ResetPassword(pb.ResetPasswordRequest(token=reset, password=new_password))
    await emails.RequestPasswordReset(pb.RequestPasswordResetRequest(email=email))
    await broker.mail(3)

    first, second, third = broker.announced()
    assert [mail["data"]["payload"]["kind"] for mail in (first, second, third)] == [
        "verify_email",
        "reset_password",
        "reset_password",
    ]
    for mail in (first, second, third):
        assert set(mail["data"]["payload"]) == {"mail_id", "kind"}
        assert (mail["source"], mail["partitionkey"], mail["sequence"]) == ("/focusmesh/auth", user_id, "0" * 19 + "1")
        assert mail["subject"] == mail["data"]["mail_id"] == mail["data"]["payload"]["mail_id"]
    shown = str(broker.messages())
    assert user_id in shown
    for secret in (verification, reset, PASSWORD, new_password, email):
        assert secret.removeprefix("fmm_") not in shown
