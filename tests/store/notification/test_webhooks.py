"""Webhooks in the database: what is removed of them when it is void."""

from collections.abc import AsyncIterator

import pytest

from mesh.database.pool import Database
from mesh.runtime.clock import SECOND, now
from mesh.runtime.ids import new_id
from services.notification.model import Webhook
from services.notification.store import targets
from tests.support.databases import ServiceUrl, opened


@pytest.fixture
async def db(service_url: ServiceUrl) -> AsyncIterator[Database]:
    async with opened(service_url("notification"), "notification") as db:
        yield db


async def test_secrets_that_are_void_are_removed_without_waiting_for_who_holds_a_webhook(db: Database) -> None:
    held, free, valid = (
        Webhook(
            *(new_id(), new_id(), "https://example.org/", None, True, None, None, None, "aa", "bb"),
            *(now() + seconds * SECOND, now(), now(), 1),
        )
        for seconds in (-1, -1, 60)
    )
    async with db.connection() as connection:
        for webhook in (held, free, valid):
            await targets.insert_webhook(connection, webhook)
        async with db.transaction() as tx:
            await targets.lock_webhook(tx, held.id)
            assert await targets.forget_old_secrets(connection) == 1
        found = await targets.find_webhooks(connection, [held.id, free.id, valid.id])
    assert [found[each.id].old_secret for each in (held, free, valid)] == ["bb", None, "bb"]
