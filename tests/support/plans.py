"""The plan of a statement that a function of a store runs."""

from collections.abc import Awaitable, Callable
from typing import Any

from mesh.database.connection import Connection


class _Explaining:
    """A connection and its cursor in one: explains the statement that it is given, and finds no rows."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.plan = ""

    def cursor(self, **_: Any) -> "_Explaining":
        return self

    async def execute(self, statement: str, values: Any = None) -> "_Explaining":
        found = await self._connection.execute(f"EXPLAIN {statement}", values)  # type: ignore[arg-type]  # no literal
        self.plan = "\n".join([line for (line,) in await found.fetchall()])
        return self

    async def fetchall(self) -> list[Any]:
        return []

    async def fetchone(self) -> None:
        return None


async def plan_of(connection: Connection, call: Callable[[Any], Awaitable[Any]]) -> str:
    """How Postgres runs the last statement of a function that reads. call: is given the connection."""
    explaining = _Explaining(connection)
    await call(explaining)
    return explaining.plan
