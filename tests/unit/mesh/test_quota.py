"""A bound on a user's rows that most writes need not look at."""

from typing import Any

import pytest

from mesh.database.quota import Quota
from mesh.runtime.errors import FailedPrecondition


class TooMany(FailedPrecondition):
    """The user has as many rows as one may have."""

    reason = "TOO_MANY"
    message = "{limit} are as many as can be."


class Table:
    """A table in which a user has so many rows; says how often it was counted."""

    def __init__(self, rows: int) -> None:
        self.rows, self.counted = rows, 0

    async def execute(self, _statement: str, _values: tuple[str]) -> "Table":
        self.counted += 1
        return self

    async def fetchone(self) -> tuple[int]:
        return (self.rows,)


class World:
    """The quota with a clock and a chance that tests set."""

    def __init__(self, rows: int) -> None:
        self.table, self.now, self.chance = Table(rows), 0.0, 0.0
        self.quota = Quota("tasks", 100_000, TooMany, chance=lambda: self.chance, clock=lambda: self.now)

    async def write(self, more: int = 1) -> None:
        connection: Any = self.table
        await self.quota.require(connection, "alice", more)

    async def is_refused(self, more: int = 1) -> bool:
        with pytest.raises(TooMany) as error:
            await self.write(more)
        return error.value.metadata == {"limit": "100000"}


@pytest.mark.parametrize(("more", "chance", "counted"), [(1, 0.009, 1), (1, 0.011, 0), (50, 0.49, 1), (100, 0.999, 1)])
async def test_the_more_rows_a_write_adds_the_likelier_it_is_looked_at(more: int, chance: float, counted: int) -> None:
    world = World(rows=0)
    world.chance = chance
    await world.write(more)
    assert world.table.counted == counted


async def test_rows_that_do_not_all_fit_are_refused_and_fewer_are_not() -> None:
    world = World(rows=99_950)
    assert await world.is_refused(51)
    await world.write(50)


async def test_a_full_user_is_refused_always_and_counted_now_and_then() -> None:
    world = World(rows=100_000)
    assert await world.is_refused()
    world.chance = 0.999
    for world.now in (1.0, 9.0, 11.0, 12.0):
        assert await world.is_refused()
    assert world.table.counted == 2


async def test_a_user_with_room_again_is_no_longer_looked_at_always() -> None:
    world = World(rows=100_000)
    assert await world.is_refused()
    world.now, world.chance, world.table.rows = 11.0, 0.999, 99_000
    await world.write()
    await world.write()
    assert world.table.counted == 2
