"""The ceiling of summaries: the same statements as the history service's, in a bare grpc.aio handler, by day only.

No token, policy, validation, page tokens, metrics or rules; a header names the caller.
"""

import asyncio
import signal
import sys
import uuid
from datetime import date

import grpc
import uvloop
from focusmesh.history.v1 import focus_summary_pb2
from focusmesh.history.v1 import history_service_pb2 as pb
from focusmesh.history.v1 import history_service_pb2_grpc as rpc
from psycopg_pool import AsyncConnectionPool

from bench.ceiling import CALLER, CONNECTIONS, Context, Pool

_SUMS = """
    sum(total_focused_seconds)::integer, sum(total_break_seconds)::integer, sum(total_pomodoros)::integer,
    sum(total_planned_seconds)::integer"""
_ROWS = "FROM daily_user_aggregates WHERE user_id = %s AND date_date >= %s AND date_date < %s"
_TOTAL = f"SELECT {_SUMS} {_ROWS}"
_DAYS = f"SELECT date_date, {_SUMS} {_ROWS} GROUP BY 1 ORDER BY 1 LIMIT 51"


class BareHistory(rpc.HistoryServiceServicer):
    """One RPC."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    async def SummarizeFocus(self, request: pb.SummarizeFocusRequest, context: Context) -> pb.SummarizeFocusResponse:
        caller = uuid.UUID(str(dict(context.invocation_metadata() or ())[CALLER]))
        values = caller, date.fromisoformat(request.from_date), date.fromisoformat(request.before_date)
        async with self.pool.connection() as connection:
            total = await (await connection.execute(_TOTAL, values)).fetchone()
            rows = await (await connection.execute(_DAYS, values)).fetchall()
        response = pb.SummarizeFocusResponse(total=_figures(*(total or ())))
        for day, *sums in rows[:50]:
            response.buckets.add(date=day.isoformat(), figures=_figures(*sums))
        return response


def _figures(
    focused: int | None = 0, breaks: int | None = 0, pomodoros: int | None = 0, planned: int | None = 0
) -> focus_summary_pb2.FocusFigures:
    return focus_summary_pb2.FocusFigures(
        focused_seconds=focused or 0,
        break_seconds=breaks or 0,
        pomodoro_count=pomodoros or 0,
        planned_seconds=planned or 0,
    )


async def serve(database_url: str, listen: str) -> None:
    """Serves until SIGTERM."""
    pool: Pool = AsyncConnectionPool(
        database_url, min_size=CONNECTIONS, max_size=CONNECTIONS, kwargs={"autocommit": True}, open=False
    )
    await pool.open(wait=True)
    server = grpc.aio.server()
    rpc.add_HistoryServiceServicer_to_server(BareHistory(pool), server)  # type: ignore[abstract]
    server.add_insecure_port(listen)
    await server.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await server.stop(0.2)
    await pool.close()


if __name__ == "__main__":
    uvloop.run(serve(*sys.argv[1:3]))
