"""A service waits for its dependencies, says NOT_SERVING while it cannot serve, and recovers by itself."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import psycopg
import pytest

from harness.waiting import until
from mesh.database.migrate import head
from stack.errors import StackError
from tests.contract.mesh.todo_service import Running, running
from tests.support.errors import refused
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.tokens import Signer


class TestWaiting:
    """Before its dependencies are there."""

    async def test_a_service_waits_for_its_database(self, signer: Signer, todo_url: str, valkey: str) -> None:
        async with fault_proxy(todo_url, up=False) as postgres, running(signer, postgres.url, valkey) as todo:
            assert await todo.not_serving()
            with refused("UNAVAILABLE") as error:
                await todo.create()
            assert error.code is grpc.StatusCode.UNAVAILABLE
            await postgres.up()
            await until(todo.serving, "it serves once the database is there")
            assert (await todo.create()).task.title == "x"

    async def test_a_service_waits_for_redis(self, signer: Signer, todo_url: str, valkey: str) -> None:
        async with fault_proxy(valkey, up=False) as redis, running(signer, todo_url, redis.url) as todo:
            await until(lambda: todo.database.ready, "the database is there")
            assert await todo.not_serving()
            with refused("UNAVAILABLE"):
                await todo.create()
            await redis.up()
            await until(todo.serving, "it serves once Redis is there")

    async def test_a_service_refuses_to_serve_behind_its_head_revision(
        self, signer: Signer, todo_url: str, valkey: str, postgres: str
    ) -> None:
        with psycopg.connect(postgres, autocommit=True) as administrator:
            administrator.execute("UPDATE todo.alembic_version SET version_num = '0000'")
            async with running(signer, todo_url, valkey) as todo:
                with pytest.raises(StackError, match="not within"):
                    await until(todo.serving, "it serves", seconds=1)
                with refused("UNAVAILABLE"):
                    await todo.create()
                administrator.execute("UPDATE todo.alembic_version SET version_num = %s", (head("todo"),))
                await until(todo.serving, "it serves once it is migrated")


class TestOutages:
    """A dependency that goes away and comes back."""

    @pytest.fixture
    async def to_postgres(self, todo_url: str) -> AsyncIterator[FaultProxy]:
        async with fault_proxy(todo_url) as made:
            yield made

    @pytest.fixture
    async def to_redis(self, valkey: str) -> AsyncIterator[FaultProxy]:
        async with fault_proxy(valkey) as made:
            yield made

    @pytest.fixture
    async def todo(self, signer: Signer, to_postgres: FaultProxy, to_redis: FaultProxy) -> AsyncIterator[Running]:
        async with running(signer, to_postgres.url, to_redis.url) as todo:
            await until(todo.serving, "everything is there")
            yield todo

    async def test_a_service_that_nobody_calls_notices_that_its_database_went_away(
        self, todo: Running, to_postgres: FaultProxy
    ) -> None:
        await to_postgres.down()
        await until(todo.not_serving, "health says so", seconds=5)
        await to_postgres.up()
        await until(todo.serving, "it recovers", seconds=2)

    async def test_calls_are_unavailable_while_the_database_is_away_and_succeed_within_two_seconds_of_its_return(
        self, todo: Running, to_postgres: FaultProxy
    ) -> None:
        await todo.create()
        await to_postgres.down()
        for _ in range(20):
            with refused("UNAVAILABLE") as error:
                await todo.create()
            assert error.code is grpc.StatusCode.UNAVAILABLE

        async def created() -> bool:
            try:
                await todo.create()
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNAVAILABLE:
                    return False
                raise
            return True

        await to_postgres.up()
        await until(created, "a create succeeds", seconds=2)

    async def test_a_database_that_stops_responding_is_unavailable(
        self, todo: Running, to_postgres: FaultProxy
    ) -> None:
        to_postgres.freeze()
        await until(todo.not_serving, "health says so", seconds=20)
        await to_postgres.down()
        await to_postgres.up()
        await until(todo.serving, "it recovers", seconds=5)

    async def test_without_redis_no_token_is_accepted(self, todo: Running, to_redis: FaultProxy) -> None:
        await todo.create()
        await to_redis.down()
        await until(todo.not_serving, "health says so", seconds=2)
        with refused("UNAVAILABLE") as error:
            await todo.create()
        assert error.code is grpc.StatusCode.UNAVAILABLE
        await to_redis.up()
        await until(todo.serving, "it recovers", seconds=5)
        await todo.create()

    async def test_a_call_that_is_cancelled_twice_leaves_the_other_calls_alone(self, todo: Running) -> None:
        async def sleep() -> None:
            async with todo.database.connection() as connection:
                await connection.execute("SELECT pg_sleep(30)")

        pool = todo.database.pool()
        sleeping = asyncio.create_task(sleep())
        await until(lambda: pool.get_stats()["pool_available"] < pool.max_size, "the statement runs")
        await asyncio.sleep(0)
        for _ in range(2):
            sleeping.cancel()
            await asyncio.sleep(0)
        await asyncio.gather(sleeping, return_exceptions=True)
        assert todo.database.pool() is pool
        await until(lambda: pool.get_stats()["pool_available"] == pool.max_size, "the pool is whole again")
