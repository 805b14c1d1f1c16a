"""Users of the benchmark: registered and signed in through the gateway, as anybody is."""

import json
import secrets
import time
import urllib.error
import urllib.request
from typing import Any

from stack.errors import StackError

_FRESH_SECONDS = 240
"""A token is replaced when it is older, so that none expires within a measurement."""


class Account:
    """One user and a token that is always fresh."""

    def __init__(self, gateway_url: str) -> None:
        """Registers it. Raises StackError."""
        self._url = gateway_url
        self._email = f"bench-{secrets.token_hex(8)}@example.org"
        self._password = secrets.token_urlsafe(16)
        self._token, self._since = "", 0.0
        response = self._post("/v1/users", {"email": self._email, "password": self._password})
        self.user_id: str = response["user"]["id"]

    @property
    def token(self) -> str:
        """An access token that holds for minutes."""
        if time.monotonic() - self._since > _FRESH_SECONDS or not self._token:
            self._token = self._post("/v1/sessions", {"email": self._email, "password": self._password})["tokens"][
                "accessToken"
            ]
            self._since = time.monotonic()
        return self._token

    def _post(self, path: str, body: dict[str, str]) -> Any:
        request = urllib.request.Request(  # noqa: S310 (our own gateway)
            self._url + path, json.dumps(body).encode(), {"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=15) as response:  # noqa: S310
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise StackError(
                f"{path} answers {error.code}", log=error.read().decode(errors="replace"), advice="`make logs S=auth`"
            ) from error
