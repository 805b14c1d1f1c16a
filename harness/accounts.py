"""Accounts as their owners use them: registered, signed in and signed out through the gateway, over REST."""

import time
from dataclasses import dataclass, replace
from typing import Any

import httpx

from mesh.runtime.ids import new_id
from stack.errors import StackError

PASSWORD = "correct horse battery staple"  # noqa: S105 (of accounts that live as long as a run)
RETRY_SECONDS = 90.0
"""A gateway with everyday rate limits admits thirty registrations a minute."""
_TRY_AGAIN = {httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE}


@dataclass(frozen=True)
class User:
    """An account with the tokens of one of its sessions."""

    id: str
    email: str
    token: str = ""
    refresh_token: str = ""


class Accounts:
    """Calls the auth service; may be used by several threads. Methods raise StackError when a call fails."""

    def __init__(self, http: httpx.Client, *, retry_seconds: float = RETRY_SECONDS) -> None:
        """http: with the gateway as its base URL. retry_seconds: for how long calls are repeated on 429 and 503."""
        self._http, self._retry_seconds = http, retry_seconds

    def sign_up(self) -> User:
        """A new account, signed in."""
        return self.sign_in(self.register())

    def register(self, **fields: str) -> User:
        """A new account without a session."""
        request = {"email": f"{new_id()}@example.org", "password": PASSWORD, "requestId": new_id(), **fields}
        return User(self._post("/v1/users", request)["user"]["id"], request["email"])

    def sign_in(self, user: User) -> User:
        """The account in a new session."""
        tokens = self._post("/v1/sessions", {"email": user.email, "password": PASSWORD})["tokens"]
        return replace(user, token=tokens["accessToken"], refresh_token=tokens["refreshToken"])

    def sign_out(self, user: User) -> None:
        """Ends the user's session."""
        self._post("/v1/sessions:logout", {"refreshToken": user.refresh_token})

    def _post(self, path: str, body: dict[str, str]) -> dict[str, Any]:
        deadline = time.monotonic() + self._retry_seconds
        while (response := self._http.post(path, json=body)).status_code in _TRY_AGAIN and time.monotonic() < deadline:
            time.sleep(float(response.headers.get("retry-after", 1)))
        if not response.is_success:
            limited = response.status_code == httpx.codes.TOO_MANY_REQUESTS
            advice = "wait a minute, then again" if limited else "`make status`, `make logs`"
            raise StackError(f"POST {path}: {response.status_code} {response.text}", advice=advice)
        found: dict[str, Any] = response.json()
        return found
