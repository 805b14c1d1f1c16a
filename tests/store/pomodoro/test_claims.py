"""Claims of guests in the database: one of each guest, kept for a month, erased with the account."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from mesh.database.connection import Connection
from mesh.database.pool import Database, WriteConflict
from mesh.runtime import clock
from mesh.runtime.clock import DAY
from mesh.runtime.ids import new_id
from services.pomodoro.model import GuestClaim
from services.pomodoro.store import claims as claim_store
from tests.support.databases import ServiceUrl, opened


@pytest.fixture
async def db(service_url: ServiceUrl) -> AsyncIterator[Database]:
    async with opened(service_url("pomodoro"), "pomodoro") as database:
        yield database


@pytest.fixture
async def connection(db: Database) -> AsyncIterator[Connection]:
    async with db.connection() as connection:
        yield connection


def a_claim(user_id: str = "", *, ago: int = 0) -> GuestClaim:
    return GuestClaim(new_id(), user_id or new_id(), b"what was answered".hex(), clock.now() - ago)


async def test_a_guest_is_claimed_once(connection: Connection) -> None:
    claim = a_claim()
    await claim_store.insert_claim(connection, claim, [])
    with pytest.raises(WriteConflict):
        await claim_store.insert_claim(connection, claim._replace(user_id=new_id()), [])
    assert await claim_store.find_claim(connection, claim.guest_id) == claim
    assert await claim_store.find_claim(connection, new_id()) is None


async def test_a_claim_that_knows_not_of_all_claims_of_its_user_conflicts(connection: Connection) -> None:
    user_id = new_id()
    first, second = sorted(a_claim(user_id) for _ in range(2))
    await claim_store.insert_claim(connection, first, [])
    with pytest.raises(WriteConflict):
        await claim_store.insert_claim(connection, second, [])
    assert await claim_store.list_claimed(connection, user_id) == [first.guest_id]
    await claim_store.insert_claim(connection, second, [first.guest_id])
    assert await claim_store.list_claimed(connection, user_id) == [first.guest_id, second.guest_id]


async def test_of_two_claims_of_one_user_at_once_the_second_waits_and_conflicts(db: Database) -> None:
    user_id = new_id()
    async with db.connection() as connection, connection.transaction():
        await claim_store.insert_claim(connection, a_claim(user_id), [])

        async def second() -> None:
            async with db.transaction() as tx:
                await claim_store.insert_claim(tx, a_claim(user_id), [])

        waiting = asyncio.create_task(second())
        async with db.transaction() as tx:
            await claim_store.insert_claim(tx, a_claim(), [])
    with pytest.raises(WriteConflict):
        await waiting


async def test_the_guest_of_a_claim_is_to_be_ended_until_it_was(connection: Connection) -> None:
    older, newer = a_claim(ago=DAY), a_claim()
    for claim in (newer, older):
        await claim_store.insert_claim(connection, claim, [])
    assert await claim_store.list_unended(connection, 10) == [older, newer]
    assert await claim_store.list_unended(connection, 1) == [older]
    await claim_store.end_claim(connection, older.guest_id)
    assert await claim_store.list_unended(connection, 10) == [newer]


async def test_claims_go_after_a_month_when_their_guests_have_ended(connection: Connection) -> None:
    unended, ended, newer = a_claim(ago=31 * DAY), a_claim(ago=31 * DAY), a_claim(ago=29 * DAY)
    for claim in (unended, ended, newer):
        await claim_store.insert_claim(connection, claim, [])
    for claim in (ended, newer):
        await claim_store.end_claim(connection, claim.guest_id)
    assert await claim_store.purge_claims(connection, 30, 10) == 1
    left = [await claim_store.find_claim(connection, claim.guest_id) for claim in (unended, ended, newer)]
    assert left == [unended, None, newer]


async def test_claims_go_with_their_account(connection: Connection) -> None:
    mine, other = a_claim(), a_claim()
    for claim in (mine, other):
        await claim_store.insert_claim(connection, claim, [])
        await claim_store.end_claim(connection, claim.guest_id)
    assert await claim_store.erase_claims(connection, mine.user_id, 10) == 1
    assert await claim_store.erase_claims(connection, mine.user_id, 10) == 0
    assert await claim_store.find_claim(connection, mine.guest_id) is None
    assert await claim_store.find_claim(connection, other.guest_id) == other


async def test_a_claim_whose_account_is_deleted_stays_empty_until_its_guest_is_ended(connection: Connection) -> None:
    claim = a_claim()
    await claim_store.insert_claim(connection, claim, [])
    assert await claim_store.erase_claims(connection, claim.user_id, 10) == 1
    assert await claim_store.erase_claims(connection, claim.user_id, 10) == 0
    assert await claim_store.list_unended(connection, 10) == [claim._replace(response="")]
    await claim_store.end_claim(connection, claim.guest_id)
    assert await claim_store.find_claim(connection, claim.guest_id) is None
