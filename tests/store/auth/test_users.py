"""Accounts and settings in the database."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mesh.database.connection import Connection
from mesh.database.pool import Database, WriteConflict
from mesh.events.outbox import SideEffects
from mesh.runtime.clock import now
from mesh.runtime.ids import new_id
from services.auth import events
from services.auth.errors import EmailTaken, UserInactive
from services.auth.model import Account, Credentials, Theme, User, UserSettings
from services.auth.rules import users
from services.auth.store import accounts

NOTHING = SideEffects((), None, "")
UserBuilder = Callable[..., Awaitable[User]]


def registered(user: User) -> SideEffects:
    return SideEffects([events.user_registered(user)], None, "00-trace")


async def test_an_account_comes_back_as_it_was_written(db: Database, a_user: UserBuilder) -> None:
    user = await a_user(email="Ann.Lee@Example.com", name="Ann", time_zone="Asia/Tokyo", day_start_minutes=240)
    async with db.connection() as connection:
        assert await accounts.get_user(connection, user.id) == user
        with pytest.raises(UserInactive):
            await accounts.get_user(connection, new_id())
        with pytest.raises(UserInactive):
            await accounts.get_settings(connection, new_id())


@pytest.mark.parametrize("other", ["ann@example.com", "ANN@example.com", "Ann@Example.Com"])
async def test_an_address_is_one_account_s_in_whatever_case_and_a_refused_one_leaves_nothing(
    db: Database, a_user: UserBuilder, count: Callable[[str], Awaitable[int]], other: str
) -> None:
    await a_user(email="ann@example.com")
    before = {table: await count(table) for table in ("users", "user_settings", "outbox")}
    with pytest.raises(EmailTaken):
        await a_user(email=other)
    assert {table: await count(table) for table in ("users", "user_settings", "outbox")} == before


async def test_of_many_who_register_one_address_at_once_one_has_it(a_user: UserBuilder) -> None:
    results = await asyncio.gather(
        *(a_user(email="Same@example.com" if index % 2 else "same@Example.com") for index in range(12)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, User) for result in results) == 1
    assert sum(isinstance(result, EmailTaken) for result in results) == 11


async def test_credentials_are_found_by_the_address_in_any_case(db: Database, a_user: UserBuilder) -> None:
    user = await a_user(email="Ann@example.com")
    async with db.connection() as connection:
        found = await accounts.find_credentials(connection, "aNN@EXAMPLE.com")
        assert found == Credentials(user.id, "a hash", password_version=1, email_verified=False, active=True)
        assert await accounts.find_credentials(connection, "bea@example.com") is None


async def test_a_registration_writes_one_event_without_the_address(
    db: Database, a_user: UserBuilder, outbox_rows: Callable[[], Awaitable[list[Any]]]
) -> None:
    user = await a_user(email="ann.secret@example.com", name="Ann")
    [(topics, key, version, value)] = await outbox_rows()
    assert (topics, key, version) == (["user-events"], user.id, 1)
    assert b"user-registered" in bytes(value)
    assert b"secret" not in bytes(value)


async def test_the_next_version_of_an_account_is_written_with_its_event(
    db: Database, a_user: UserBuilder, outbox_rows: Callable[[], Awaitable[list[Any]]]
) -> None:
    user = await a_user()
    changed = users.update_user(user, {"name": "Bea", "time_zone": "Asia/Tokyo"}, now=now(), etag=None)
    async with db.connection() as connection:
        await accounts.save_user(
            connection, changed, SideEffects([events.user_updated(Account(changed, "monday"))], None, "")
        )
        assert await accounts.get_user(connection, user.id) == changed
    assert [row[2] for row in await outbox_rows()] == [1, 2]


async def test_a_change_of_another_version_or_of_a_closed_account_writes_nothing(
    db: Database,
    a_user: UserBuilder,
    close_user: Callable[[str], Awaitable[None]],
    count: Callable[[str], Awaitable[int]],
) -> None:
    user = await a_user()
    changed = users.update_user(user, {"name": "Bea"}, now=now(), etag=None)
    effect = SideEffects([events.user_updated(Account(changed, "monday"))], None, "")
    async with db.connection() as connection:
        with pytest.raises(WriteConflict):
            await accounts.save_user(connection, changed._replace(version=3), effect)
        await close_user(user.id)
        with pytest.raises(WriteConflict):
            await accounts.save_user(connection, changed, effect)
    assert await count("outbox") == 1


async def test_settings_begin_with_the_defaults_of_the_specification(db: Database, a_user: UserBuilder) -> None:
    user = await a_user()
    async with db.connection() as connection:
        settings = await accounts.get_settings(connection, user.id)
    assert settings == UserSettings(25, 5, 15, 4, Theme.LIGHT, version=1, updated_at=user.created_at)


async def test_settings_come_back_as_they_were_changed(db: Database, a_user: UserBuilder) -> None:
    user = await a_user()
    async with db.connection() as connection:
        settings = await accounts.get_settings(connection, user.id)
        changed = users.update_settings(
            settings, {"default_pomodoro_minutes": 50, "theme": Theme.SYSTEM}, now=now(), etag="v1"
        )
        await accounts.save_settings(connection, user.id, changed, NOTHING)
        assert await accounts.get_settings(connection, user.id) == changed
        with pytest.raises(WriteConflict):
            await accounts.save_settings(connection, user.id, changed, NOTHING)


@pytest.mark.parametrize("read", [accounts.get_user, accounts.get_settings])
async def test_neither_a_closed_account_nor_its_settings_are_read(
    db: Database,
    a_user: UserBuilder,
    close_user: Callable[[str], Awaitable[None]],
    read: Callable[[Connection, str], Awaitable[Any]],
) -> None:
    user = await a_user()
    await close_user(user.id)
    async with db.connection() as connection:
        with pytest.raises(UserInactive):
            await read(connection, user.id)


async def test_a_hash_is_renewed_only_when_the_password_is_still_the_one_that_was_checked(
    db: Database, a_user: UserBuilder
) -> None:
    user = await a_user(email="ann@example.com")
    async with db.connection() as connection:
        await accounts.replace_password_hash(connection, user.id, "another hash", "stolen")
        assert (await _hash(connection)) == "a hash"
        await accounts.replace_password_hash(connection, user.id, "a hash", "a new hash")
        assert (await _hash(connection)) == "a new hash"


async def test_accounts_that_were_closed_lately_are_distinguished_from_those_closed_long_ago(
    db: Database, a_user: UserBuilder, close_user: Callable[[str], Awaitable[None]]
) -> None:
    user = await a_user()
    before = now()
    async with db.connection() as connection:
        assert await accounts.users_closed_since(connection, 0) == []
        await close_user(user.id)
        [(user_id, closed)] = await accounts.users_closed_since(connection, before)
        assert user_id == user.id
        assert await accounts.users_closed_since(connection, closed + 1) == []


async def test_every_column_and_index_of_the_specification_is_there(connection: Connection) -> None:
    cursor = await connection.execute(
        "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns"
        " WHERE table_schema = 'auth'"
    )
    found = set(await cursor.fetchall())
    uuid, text, instant, number = "uuid", "text", "timestamp with time zone", "integer"
    specified = {
        "users": {
            ("id", uuid, "NO"),
            ("email", text, "NO"),
            ("name", text, "YES"),
            ("password_hash", text, "NO"),
            ("is_active", "boolean", "NO"),
            ("created_at", instant, "NO"),
            ("updated_at", instant, "NO"),
            ("deleted_at", instant, "YES"),
        },
        "refresh_tokens": {
            ("id", uuid, "NO"),
            ("user_id", uuid, "NO"),
            ("token_hash", text, "NO"),
            ("issued_at", instant, "NO"),
            ("expires_at", instant, "NO"),
            ("revoked_at", instant, "YES"),
            ("last_used_at", instant, "YES"),
        },
        "user_settings": {
            ("user_id", uuid, "NO"),
            ("default_pomodoro_minutes", number, "NO"),
            ("default_short_break_minutes", number, "NO"),
            ("default_long_break_minutes", number, "NO"),
            ("long_break_interval", number, "NO"),
            ("theme", text, "NO"),
            ("created_at", instant, "NO"),
            ("updated_at", instant, "NO"),
        },
    }
    assert {(table, *column) for table, columns in specified.items() for column in columns} <= found
    cursor = await connection.execute("SELECT indexname FROM pg_indexes WHERE schemaname = 'auth'")
    assert {"idx_refresh_tokens_user", "users_email_as_given", "users_email"} <= {
        name for (name,) in await cursor.fetchall()
    }


async def _hash(connection: Connection) -> str:
    found = await accounts.find_credentials(connection, "ann@example.com")
    assert found is not None
    return found.password_hash
