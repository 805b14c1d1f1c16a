"""Users of a proof: made and read through the gateway, like anybody's accounts."""

import asyncio

import httpx

from harness.accounts import Accounts, User


async def sign_up(accounts: Accounts, number: int) -> list[User]:
    """So many new users, signed in. Raises StackError."""
    return list(await asyncio.gather(*(asyncio.to_thread(accounts.sign_up) for _ in range(number))))


def chain_is_whole(http: httpx.Client, user: User) -> bool:
    """Whether the audit service finds the user's chain intact, from its beginning to its end."""
    position = 1
    while position:
        response = http.get(
            "/v1/auditRecords:verify",
            params={"fromPosition": position},
            headers={"authorization": f"Bearer {user.token}"},
        )
        found = response.json()
        if not (response.is_success and found["intact"]):
            return False
        position = found.get("nextPosition", 0)
    return True
