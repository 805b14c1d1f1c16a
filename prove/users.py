"""Users of a proof: made and signed in through the gateway, like anybody."""

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx

from mesh.runtime.ids import new_id
from stack.errors import StackError

_PASSWORD = "correct horse battery staple"  # noqa: S105 (of users that live as long as a proof)
_PATIENCE_SECONDS = 90.0
"""A gateway with everyday allowances lets thirty sign-ups a minute through."""


@dataclass
class User:
    """Somebody with a session."""

    id: str
    email: str
    token: str
    refresh_token: str


class Accounts:
    """The auth service, as users see it."""

    def __init__(self, url: str) -> None:
        """url: of the gateway."""
        self._http = httpx.AsyncClient(base_url=url, timeout=15)

    async def close(self) -> None:
        """Ends its connections."""
        await self._http.aclose()

    async def make(self, number: int) -> list[User]:
        """So many new users, signed in. Raises StackError."""
        return list(await asyncio.gather(*(self._make() for _ in range(number))))

    async def sign_in(self, user: User) -> User:
        """The user in another session. Raises StackError."""
        body = await self._post("/v1/sessions", {"email": user.email, "password": _PASSWORD})
        tokens = body["tokens"]
        return User(user.id, user.email, tokens["accessToken"], tokens["refreshToken"])

    async def sign_out(self, user: User) -> None:
        """Ends the user's session. Raises StackError."""
        await self._post("/v1/sessions:logout", {"refreshToken": user.refresh_token})

    async def chain_is_whole(self, user: User) -> bool:
        """Whether the audit service finds the user's chain intact, from its beginning to its end."""
        position = 1
        while position:
            response = await self._http.get(
                "/v1/auditRecords:verify",
                params={"fromPosition": position},
                headers={"authorization": f"Bearer {user.token}"},
            )
            found = response.json()
            if not (response.is_success and found["intact"]):
                return False
            position = found.get("nextPosition", 0)
        return True

    async def _make(self) -> User:
        email = f"{new_id()}@example.org"
        body = await self._post("/v1/users", {"email": email, "password": _PASSWORD, "requestId": new_id()})
        return await self.sign_in(User(body["user"]["id"], email, "", ""))

    async def _post(self, path: str, body: dict[str, str]) -> dict[str, Any]:
        """Tries again while it is told to wait."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _PATIENCE_SECONDS
        while True:
            response = await self._http.post(path, json=body)
            if response.is_success:
                found: dict[str, Any] = response.json()
                return found
            if response.status_code not in (429, 503) or loop.time() > deadline:
                raise StackError(
                    f"POST {path} was answered {response.status_code}: {response.text}", advice="`make logs`"
                )
            await asyncio.sleep(float(response.headers.get("retry-after", 1)))
