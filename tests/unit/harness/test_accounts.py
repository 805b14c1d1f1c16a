"""The account client, against a gateway that the test writes."""

import json
from collections.abc import Callable

import httpx
import pytest

from harness.accounts import PASSWORD, Accounts
from stack.errors import StackError

TOKENS = {"tokens": {"accessToken": "access", "refreshToken": "refresh"}}
Respond = Callable[[httpx.Request], httpx.Response]


def accounts(respond: Respond, *, retry_seconds: float = 5) -> Accounts:
    """A client of this gateway."""
    http = httpx.Client(base_url="http://gateway", transport=httpx.MockTransport(respond))
    return Accounts(http, retry_seconds=retry_seconds)


def test_who_signs_up_is_registered_and_signed_in_with_the_same_address() -> None:
    sent = []

    def respond(request: httpx.Request) -> httpx.Response:
        sent.append((request.url.path, json.loads(request.content)))
        return httpx.Response(200, json={"user": {"id": "u1"}} if request.url.path == "/v1/users" else TOKENS)

    made = accounts(respond)
    user = made.sign_in(made.register(email="ada@example.org"))
    made.sign_out(user)
    assert (user.id, user.email, user.token, user.refresh_token) == ("u1", "ada@example.org", "access", "refresh")
    assert [path for path, _ in sent] == ["/v1/users", "/v1/sessions", "/v1/sessions:logout"]
    assert sent[0][1]["email"] == "ada@example.org"
    assert sent[1][1] == {"email": "ada@example.org", "password": PASSWORD}
    assert sent[2][1] == {"refreshToken": "refresh"}


def test_a_call_that_is_refused_for_now_is_repeated() -> None:
    responses = iter([httpx.Response(status, headers={"retry-after": "0"}) for status in (429, 503)])
    assert accounts(lambda _: next(responses, httpx.Response(200, json={"user": {"id": "u1"}}))).register().id == "u1"


@pytest.mark.parametrize(("status", "advice"), [(429, "wait a minute"), (409, "make status")])
def test_a_call_that_fails_says_what_to_try(status: int, advice: str) -> None:
    with pytest.raises(StackError, match=f"POST /v1/users: {status} no") as error:
        accounts(lambda _: httpx.Response(status, text="no"), retry_seconds=0).register()
    assert advice in error.value.advice
