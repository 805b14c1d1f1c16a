"""The audit service with its interceptor, on a database of its own."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import psycopg
import pytest

from harness.waiting import until
from mesh.database.migrate import head
from mesh.database.pool import Database
from services.audit.main import build
from services.audit.model import Record
from tests.contract.audit.audit_log import Log, Tamper
from tests.support.audit_records import Recorder, an_entry, record_all
from tests.support.databases import ServiceUrl
from tests.support.serving import SignerKeys, serving, settings_for, without_broker
from tests.support.tokens import Signer


@pytest.fixture
async def channel(service_url: ServiceUrl, valkey: str, signer: Signer) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the service."""
    app = build(settings_for(database_url=service_url("audit"), redis_url=valkey), SignerKeys(signer))
    async with serving(without_broker(app)) as channel:
        yield channel


@pytest.fixture
def log(channel: grpc.aio.Channel, signer: Signer) -> Log:
    """A new user's view of the service."""
    return Log(channel, signer)


@pytest.fixture
async def recorded(service_url: ServiceUrl, log: Log) -> AsyncIterator[Recorder]:
    """Records so many events of the user, as the consumer does; `now` in microseconds."""
    database = Database(service_url("audit"), revision=head("audit"), connections=2)
    database.start()
    await until(lambda: database.ready, "the database is ready")

    async def record(count: int = 1, *, user_id: str = "", now: int = 1, **fields: Any) -> list[Record]:
        return await record_all(database, [an_entry(user_id or log.user_id, **fields) for _ in range(count)], now=now)

    yield record
    await database.close()


@pytest.fixture
async def tamper(postgres: str) -> AsyncIterator[Tamper]:
    """Changes the log as somebody with every right on the database could."""
    async with await psycopg.AsyncConnection.connect(postgres, autocommit=True) as administrator:
        await administrator.execute("SET search_path = audit")

        async def change(statement: str, *values: object) -> None:
            await administrator.execute("ALTER TABLE audit_records DISABLE TRIGGER append_only")
            await administrator.execute(statement, values)  # type: ignore[call-overload]
            await administrator.execute("ALTER TABLE audit_records ENABLE ALWAYS TRIGGER append_only")

        yield change
