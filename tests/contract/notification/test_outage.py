"""After two hours in which nothing was sent, three replicas come back at once."""

from contextlib import AsyncExitStack
from dataclasses import replace

import orjson
import pytest

from harness.waiting import until
from mesh.database.pool import Database
from mesh.runtime.ids import new_id
from services.notification.main import build
from services.notification.settings import Settings
from tests.support.ports import free_ports
from tests.support.serving import SignerKeys, serving, without_broker
from tests.support.tokens import Signer

USERS, REMINDERS = 40, 25
"""A thousand in all."""


@pytest.mark.parametrize("settle_seconds", [5.0])
async def test_a_thousand_reminders_are_one_message_a_user_and_none_comes_twice(
    settings: Settings, signer: Signer, db: Database
) -> None:
    user_ids = [new_id() for _ in range(USERS)]
    async with db.connection() as connection:
        await connection.execute(
            """
            INSERT INTO reminders (user_id, type, scheduled_for, fire_at, payload)
            SELECT user_id, 'in_app', at, at, '{"title": "Call home"}'
            FROM unnest(%s::uuid[]) AS user_id, generate_series(1, %s) AS number,
                LATERAL (SELECT now() - number * interval '4 minutes 48 seconds') AS due (at)""",
            (user_ids, REMINDERS),
        )

    async def all_shown() -> bool:
        async with db.connection() as connection:
            cursor = await connection.execute("SELECT count(*) FROM notifications WHERE outcome = 'late'")
            return await cursor.fetchone() == (USERS * REMINDERS,)

    async with AsyncExitStack() as replicas:
        for port in free_ports(3):
            app = build(replace(settings, listen=f"127.0.0.1:{port}"), SignerKeys(signer))
            await replicas.enter_async_context(serving(without_broker(app)))
        await until(all_shown, "everything is shown", seconds=60)

    async with db.connection() as connection:
        cursor = await connection.execute("SELECT key, value FROM outbox")
        published = [(key, orjson.loads(value)["data"]["payload"]) for key, value in await cursor.fetchall()]
        cursor = await connection.execute("SELECT status, count(*) FROM reminders GROUP BY status")
        assert await cursor.fetchall() == [("sent", USERS * REMINDERS)]
    assert sorted(key for key, _ in published) == sorted(user_ids)
    assert {payload["count"] for _, payload in published} == {REMINDERS}
    assert {payload["unread_count"] for _, payload in published} == {REMINDERS}
