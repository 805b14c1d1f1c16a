"""What one user may store of responses and of events that wait is bounded; others are not concerned."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import pytest

from harness.waiting import until
from mesh.database.pool import Database
from mesh.events import outbox, shares
from mesh.events.outbox import Event, SideEffects, StoredResponse
from mesh.events.shares import ShareExhausted, Shares, require_room
from mesh.runtime import clock
from mesh.runtime.errors import DependencyUnavailable
from mesh.runtime.ids import new_id
from tests.support.databases import opened


@pytest.fixture
async def db(todo_url: str) -> AsyncIterator[Database]:
    """A schema as its service sees it."""
    async with opened(todo_url, "todo") as database:
        yield database


@pytest.fixture
async def _measured(db: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """The shares are measured after every 20 KiB, and end at 100."""
    monkeypatch.setattr(shares, "_MEASURED_BYTES", 20 * 1024)
    monkeypatch.setattr(shares, "MOST_BYTES", 100 * 1024)
    measuring = Shares(db)
    measuring.start()
    yield
    await measuring.close()


Adding = Callable[[str, int], SideEffects]
Refusing = Callable[[str, SideEffects], None]


def storing(user_id: str, size: int) -> SideEffects:
    return SideEffects((), StoredResponse(user_id, "m", new_id(), b"", b"x" * size), "")


def publishing(user_id: str, size: int) -> SideEffects:
    payload = {"text": "x" * size}
    event = Event(new_id(), "item-changed", "test", ("t",), user_id, new_id(), "item_id", 1, clock.now(), payload)
    return SideEffects([event], None, "")


def refuses(user_id: str, side_effects: SideEffects, by: Refusing = require_room) -> bool:
    try:
        by(user_id, side_effects)
    except ShareExhausted as error:
        return error.retry_after is not None
    return False


@contextmanager
def failing_for(user_id: str, measuring: Shares) -> Iterator[None]:
    """One user cannot be measured."""
    measure = measuring._measure

    async def measure_others(other: str) -> tuple[bool, bool]:
        if other == user_id:
            raise DependencyUnavailable("database")
        return await measure(other)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "_measure", measure_others)
        yield


@pytest.mark.usefixtures("_measured")
@pytest.mark.parametrize(
    ("adding", "other", "table", "of_user"),
    [(storing, publishing, "idempotency", "user_id::text"), (publishing, storing, "outbox", "key")],
)
async def test_a_user_with_too_much_waits_until_some_of_it_is_gone(
    db: Database, adding: Adding, other: Adding, table: str, of_user: str
) -> None:
    user, another = new_id(), new_id()
    async with db.connection() as connection:
        for _ in range(25):
            await outbox.write(connection, "SELECT 1", {}, adding(user, 5_000))
            await outbox.write(connection, "SELECT 1", {}, adding(another, 2_000))
        await until(lambda: refuses(user, adding(user, 1)), "there is too much")
        assert not refuses(another, adding(another, 5_000))
        assert not refuses(user, other(user, 5_000))
        await connection.execute(f"DELETE FROM {table} WHERE {of_user} = %s", (user,))
    await until(lambda: not refuses(user, adding(user, 5_000)), "there is room again", seconds=10)


@pytest.mark.usefixtures("_measured")
async def test_events_that_a_consumer_writes_count_for_their_user(db: Database) -> None:
    user = new_id()
    async with db.transaction() as tx:
        for _ in range(12):
            await outbox.write(tx, "SELECT 1", {}, publishing(user, 10_000))
    async with db.connection() as connection:
        await outbox.write(connection, "SELECT 1", {}, publishing(user, 25_000))
    await until(lambda: refuses(user, publishing(user, 1)), "the user's calls are refused")


@pytest.mark.usefixtures("_measured")
async def test_a_user_who_cannot_be_measured_holds_up_nobody_and_is_measured_later(
    db: Database,
) -> None:
    measuring = Shares(db)
    users = [new_id() for _ in range(3)]
    async with db.connection() as connection:
        for user in users:
            await outbox.write(connection, "SELECT 1", {}, storing(user, 101 * 1024))
            measuring.count(user, 101 * 1024)
    with failing_for(users[1], measuring), pytest.raises(DependencyUnavailable):
        await measuring.run_once()
    assert [refuses(user, storing(user, 1), measuring.require_room) for user in users] == [True, False, True]
    await measuring.run_once()
    assert all(refuses(user, storing(user, 1), measuring.require_room) for user in users)


async def test_a_full_user_who_cannot_be_measured_stays_refused_and_makes_way_for_the_next(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares, "_BATCH", 1)
    measuring, broken, gone = Shares(db), new_id(), new_id()
    measuring._full = {broken: (True, False), gone: (True, False)}
    with failing_for(broken, measuring):
        with pytest.raises(DependencyUnavailable):
            await measuring.run_once()
        await measuring.run_once()
    assert refuses(broken, storing(broken, 1), measuring.require_room)
    assert not refuses(gone, storing(gone, 1), measuring.require_room)
