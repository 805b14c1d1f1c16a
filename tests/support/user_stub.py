"""A service as one user calls it."""

from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

from mesh.runtime.ids import new_id
from tests.support.tokens import Signer


class UserStub:
    """`await habits.CreateHabit(title="x")` sends a CreateHabitRequest with the user's token."""

    def __init__(self, stub: Any, messages: ModuleType, signer: Signer, user_id: str = "", **claims: Any) -> None:
        """messages: the `_service_pb2` with the requests of the stub. claims: other than those of a good token."""
        self._stub, self._messages, self._signer = stub, messages, signer
        self.user_id = user_id or new_id()
        self._metadata = (("authorization", f"Bearer {signer.token(sub=self.user_id, **claims)}"),)

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        request = getattr(self._messages, f"{method}Request")

        async def call(*, timeout: float = 5.0, **fields: Any) -> Any:
            return await getattr(self._stub, method)(request(**fields), metadata=self._metadata, timeout=timeout)

        return call

    def another_user(self, **claims: Any) -> "UserStub":
        """The same service, called by another user."""
        return UserStub(self._stub, self._messages, self._signer, **claims)
