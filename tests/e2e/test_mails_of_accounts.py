"""From an address to its inbox and back: verification and a new password, and who else sees the tokens: nobody."""

import json
from collections.abc import Iterator

import pytest
from focusmesh.auth.v1 import email_service_pb2, user_service_pb2
from google.protobuf.message import Message
from websockets.asyncio.client import connect

from harness.clients import CallResult, Rest
from harness.owners import Account
from harness.rpcs import BY_NAME
from harness.waiting import until, wait_until
from mesh.runtime.ids import new_id
from stack.registry import load
from stack.stack import Stack
from tests.e2e.collector import Collector
from tests.events.fakes import raw
from tests.support.inboxes import Inbox

NEW_PASSWORD = "nine blue staples in a stable"


class Person:
    """Somebody with an account and an inbox, whose calls are all traced."""

    def __init__(self, stack: Stack) -> None:
        self.rest = Rest(stack.gateway_url)
        self.account = Account(self.rest)
        self.inbox = Inbox(stack, self.account.email)
        self.traceparent = f"00-{new_id().replace('-', '')}-00f067aa0ba902b7-01"

    def call(self, method: str, request: Message, token: str | None = None) -> CallResult:
        """A call whose trace is found by `traceparent`."""
        return self.rest.call(BY_NAME[method], request, token, {"traceparent": self.traceparent})

    def use(self, method: str, request: Message) -> None:
        """A call without a token; fails when the call does."""
        assert (result := self.call(method, request)).ok, result


@pytest.fixture
def person(stack: Stack) -> Iterator[Person]:
    """Somebody new."""
    person = Person(stack)
    yield person
    person.rest.close()


async def test_an_address_is_verified_and_a_forgotten_password_replaced_by_mail(
    stack: Stack, person: Person, collector: Collector
) -> None:
    account, email = person.account, person.account.email
    verification = person.inbox.token(1)
    person.use("VerifyEmail", email_service_pb2.VerifyEmailRequest(token=verification))
    me = person.call("GetMe", user_service_pb2.GetMeRequest(), account.token).response
    assert isinstance(me, user_service_pb2.GetMeResponse)
    assert me.user.email_verified

    person.use("RequestPasswordReset", email_service_pb2.RequestPasswordResetRequest(email=email))
    reset = person.inbox.token(2)
    url = stack.gateway_url.replace("http", "ws", 1) + "/v1/realtime"
    async with connect(url, additional_headers={"authorization": f"Bearer {account.token}"}) as frames:
        assert "opened" in json.loads(await frames.recv())
        request = email_service_pb2.ResetPasswordRequest(token=reset, password=NEW_PASSWORD)
        person.use("ResetPassword", request)
        await until(lambda: frames.close_code is not None, "the WebSocket is closed", seconds=2)
    assert person.call("GetMe", user_service_pb2.GetMeRequest(), account.token).reason == "TOKEN_REVOKED"
    assert person.call("ResetPassword", request).reason == "MAIL_TOKEN_INVALID"
    credentials = {"email": email, "password": NEW_PASSWORD}
    assert person.rest.http.post("/v1/sessions", json=credentials).is_success

    def traced() -> set[str]:
        return {span.name.rpartition("/")[2] for span in collector.spans("auth", person.traceparent)}

    wait_until(lambda: {"VerifyEmail", "ResetPassword"} <= traced(), "the calls with tokens were traced")
    places = {
        "a log": [path.read_text() for path in stack.state.logs.iterdir()],
        "Kafka": [str(raw(stack.broker.bootstrap, topic, **stack.broker.client)) for topic in load().topics],
        "a trace": [str(exported) for exported in collector.exported],
    }
    assert account.id in str(places["Kafka"])
    for place, texts in places.items():
        assert not [text for text in texts if verification in text or reset in text], f"a token is in {place}"


def test_who_asks_for_an_address_without_an_account_reaches_nobody(stack: Stack, person: Person) -> None:
    unknown = f"{new_id()}@example.org"
    person.use("RequestPasswordReset", email_service_pb2.RequestPasswordResetRequest(email=unknown))
    # Its own request comes after it, so by then the other one was answered too.
    known = email_service_pb2.RequestEmailVerificationRequest(email=person.account.email)
    person.use("RequestEmailVerification", known)
    person.inbox.token(2)
    assert Inbox(stack, unknown).messages() == []
