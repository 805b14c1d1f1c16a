"""Reads go to a read replica where the settings name one: here to a physical standby of the database."""

from collections.abc import AsyncIterator, Iterator

import grpc
import psycopg
import pytest
import pytest_asyncio
from focusmesh.history.v1 import history_service_pb2 as pb

from harness.waiting import until
from services.history.main import build
from services.history.settings import Settings
from stack.database import Cluster
from stack.keys import Keys
from tests.contract.history.histories import Histories, Time
from tests.support.serving import SignerKeys, serving, settings_for, without_broker
from tests.support.standby import standby_of
from tests.support.tokens import Signer

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def standby_url(cluster: Cluster, history_url: str) -> Iterator[str]:
    """The service's role on a standby, for its database."""
    with standby_of(cluster) as standby:
        yield history_url.replace(f":{cluster.port}/", f":{standby.port}/")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channel(
    history_url: str, standby_url: str, _valkey: str, signer: Signer, time: Time, keys: Keys
) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the service, which reads from the standby."""
    common = settings_for(
        database_url=history_url,
        redis_url=_valkey,
        service_key_file=str(keys.service_key("history")),
        call_targets="auth=127.0.0.1:1",
    )
    settings = Settings(**vars(common), history_read_dsn=standby_url)
    async with serving(without_broker(build(settings, SignerKeys(signer), time.now))) as channel:
        yield channel


async def test_every_read_is_served_by_the_standby(histories: Histories, time: Time, standby_url: str) -> None:
    with psycopg.connect(standby_url) as connection:
        assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
    user = await histories.user("UTC")  # where noon of the day before is always yesterday
    timer = user.session(time.noon(1), titles=["Write"]).after(26 * 60).finish()
    await user.record(timer)

    async def followed() -> bool:
        return bool((await user.ListArchivedSessions(include_cold=True)).archived_sessions)

    await until(followed, "the standby has the session")
    window = {"from_date": "2026-01-01", "before_date": "2026-12-31"}
    assert (await user.GetArchivedSession(archived_session_id=timer.id, include_cold=True)).archived_session.id
    for group in list(pb.SummaryGroup.values())[1:]:
        assert (await user.SummarizeFocus(group=group, **window)).total.focused_seconds == 1500
    assert (await user.GetHeatmap(**window)).days
    assert (await user.GetStreak()).streak.current_days == 1
    assert (await user.GetGoals()).this_week.focused_seconds in (0, 1500)
    assert timer.id in (await user.ExportHistory(format=pb.EXPORT_FORMAT_JSON, include_cold=True)).text
    with psycopg.connect(standby_url) as connection:
        [statements] = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'history' AND query LIKE '%sessions_archive%'"
        ).fetchone() or (0,)
    assert statements > 0


async def test_writes_go_to_the_primary(histories: Histories, time: Time) -> None:
    user = await histories.user()
    timer = user.session(time.noon(1)).after(26 * 60).finish()
    await user.record(timer)
    await user.DeleteArchivedSession(archived_session_id=timer.id)

    async def followed() -> bool:
        return bool((await user.ListArchivedSessions(show_deleted=True)).archived_sessions)

    await until(followed, "the standby has the deleted session")
