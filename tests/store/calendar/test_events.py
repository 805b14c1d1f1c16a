"""Deleted events are removed when they cannot be brought back any more, and users are where they were said to be."""

from mesh.database.pool import Database
from mesh.runtime import clock
from mesh.runtime.clock import DAY
from mesh.runtime.ids import new_id
from services.calendar.jobs.purges import EventPurger
from services.calendar.store import events, occurrences, users
from services.calendar.store.users import UserZones
from tests.store.calendar.kept import kept
from tests.support.calendar_model import USER, a_row, an_event


async def test_an_event_is_removed_with_its_rows_after_its_time(db: Database) -> None:
    now, slot = clock.now(), "2026-09-07T18:00:00"
    ids = {name: new_id() for name in ("past", "ahead", "live")}
    for name, purge_at in (("past", now - DAY), ("ahead", now + DAY), ("live", None)):
        event = an_event(slot, id=ids[name], deleted_at=None if purge_at is None else now - 31 * DAY, purge_at=purge_at)
        await kept(db, event, a_row(slot, title="Own"))

    assert await EventPurger(db).run_once() == 1

    async with db.connection() as connection:
        cursor = await connection.execute("SELECT id::text FROM events")
        assert {id_ for (id_,) in await cursor.fetchall()} == {ids["ahead"], ids["live"]}
        assert not await occurrences.all_rows(connection, ids["past"])
        assert len(await occurrences.all_rows(connection, ids["live"])) == 1


async def test_a_uid_counts_while_its_event_is_the_users_own_and_not_deleted(db: Database) -> None:
    await kept(db, an_event("2026-09-07T18:00:00", id=new_id(), uid="one"))
    await kept(db, an_event("2026-09-07T18:00:00", id=new_id(), uid="two", deleted_at=1, purge_at=clock.now() + DAY))

    async with db.connection() as connection:
        assert await events.has_uid(connection, USER, "one")
        assert not await events.has_uid(connection, USER, "two")
        assert not await events.has_uid(connection, new_id(), "one")
        assert not await events.has_uid(connection, USER, None)


async def test_auth_is_asked_once_where_a_user_is(db: Database) -> None:
    asked: list[str] = []

    async def fetch(user_id: str) -> str | None:
        asked.append(user_id)
        return "Asia/Tokyo"

    zones, user_id = UserZones(db, fetch), new_id()

    assert [await zones.of(user_id) for _ in range(2)] == ["Asia/Tokyo"] * 2
    assert asked == [user_id]


async def test_what_a_message_says_counts_more_than_what_auth_said_before(db: Database) -> None:
    user_id = new_id()
    async with db.connection() as connection:
        assert await users.set_zone(connection, user_id, "Europe/Zurich")
        await users.learn_zone(connection, user_id, "Asia/Tokyo")
        assert await users.zone_of(connection, user_id) == "Europe/Zurich"
        assert not await users.set_zone(connection, user_id, "Europe/Zurich")


async def test_a_deleted_user_is_nowhere_and_stays_so(db: Database) -> None:
    user_id = new_id()
    async with db.connection() as connection:
        await users.mark_deleted(connection, user_id)
        assert not await users.set_zone(connection, user_id, "Europe/Zurich")
        await users.learn_zone(connection, user_id, "Europe/Zurich")
        assert await users.zone_of(connection, user_id) is None
        assert await users.lock_zone(connection, user_id) is None
