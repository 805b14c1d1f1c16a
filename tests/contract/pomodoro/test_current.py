"""GetCurrentFocusSession: cached in Redis, which is never the only copy."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import psycopg
import pytest
import pytest_asyncio
from focusmesh.pomodoro.v1 import focus_session_pb2
from focusmesh.pomodoro.v1 import focus_session_service_pb2 as pb
from redis.asyncio import Redis

from harness.waiting import until
from mesh.runtime.ids import new_id
from services.pomodoro.cache import CurrentSessions
from services.pomodoro.jobs import GuestIntervalEnder, IntervalEnder
from services.pomodoro.main import build
from services.pomodoro.settings import Settings
from tests.contract.pomodoro.devices import MINUTE, PAUSED, RUNNING, Device, Time
from tests.support.ports import free_ports
from tests.support.serving import SignerKeys, serving, without_broker
from tests.support.tokens import Signer

pytestmark = pytest.mark.asyncio(loop_scope="module")

RUNNING_SESSIONS = 500


@pytest.fixture
def cache(redis: "Redis") -> CurrentSessions:
    return CurrentSessions(redis)


async def all_of(devices: list[Device], call: Callable[[Device], Awaitable[object]]) -> list[object]:
    """The results of a call of each device, fifty at a time."""
    results: list[object] = []
    for at in range(0, len(devices), 50):
        results += await asyncio.gather(*map(call, devices[at : at + 50]))
    return results


async def all_known(redis: "Redis", devices: list[Device]) -> bool:
    """Whether what is cached of each user is shown."""
    stamps = await redis.mget([f"pomodoro:stamp:{device.user_id}" for device in devices])
    entries = await redis.mget([f"pomodoro:current:{device.user_id}" for device in devices])
    return all(stamp and entry and entry.startswith(stamp) for stamp, entry in zip(stamps, entries, strict=True))


async def cached(device: Device, redis: "Redis") -> focus_session_pb2.FocusSession:
    """The session that a user is in, which is cached from then on."""

    async def is_cached() -> bool:
        await current(device)
        return await all_known(redis, [device])

    await until(is_cached, "the session is cached")
    return (await current(device)).focus_session


async def current(device: Device) -> pb.GetCurrentFocusSessionResponse:
    response: pb.GetCurrentFocusSessionResponse = await device.GetCurrentFocusSession()
    return response


async def test_without_its_data_redis_loses_nothing_of_500_running_sessions_and_is_rebuilt(
    channel: grpc.aio.Channel, signer: Signer, redis: "Redis", cache: CurrentSessions, time: Time
) -> None:
    devices = [Device(channel, signer) for _ in range(RUNNING_SESSIONS)]
    await all_of(devices, lambda device: device.create(start=True))
    before = [each.focus_session for each in await all_of(devices, current)]  # type: ignore[attr-defined]
    await redis.flushall()
    after = [each.focus_session for each in await all_of(devices, current)]  # type: ignore[attr-defined]
    assert after == before

    async def rebuilt() -> bool:
        await all_of(devices, current)
        return await all_known(redis, devices)

    # How fast it is, is measured and not tested: a few seconds with everybody asking twice.
    await until(rebuilt, "every session is cached again", seconds=30)
    known = [await cache.find(device.user_id) for device in devices]
    assert [each.focus.session.id for each in known if each.focus] == [each.id for each in before]
    time.pass_(MINUTE)
    paused = await all_of(devices[:50], _pause)
    assert {each.focus_session.progress_seconds for each in paused} == {MINUTE}  # type: ignore[attr-defined]


async def _pause(device: Device) -> object:
    session = (await current(device)).focus_session
    return await device.PauseFocusSession(focus_session_id=session.id, etag=session.etag)


async def test_the_second_read_needs_no_database(laptop: Device, pomodoro_url: str, redis: "Redis", time: Time) -> None:
    session = await laptop.create(start=True, tasks=[pb.NewSessionTask(title="Write")])
    first = await cached(laptop, redis)
    with psycopg.connect(pomodoro_url, autocommit=True) as connection:
        connection.execute("UPDATE sessions SET title = 'unseen' WHERE id = %s", (session.id,))
        time.pass_(3 * MINUTE)
        second = (await current(laptop)).focus_session
        connection.execute("UPDATE sessions SET title = NULL WHERE id = %s", (session.id,))
    assert (second.progress_seconds, second.tasks[0].focused_seconds) == (3 * MINUTE, 3 * MINUTE)
    assert (second.title, second.etag, second.interval_end_time) == ("", first.etag, first.interval_end_time)


async def test_that_there_is_no_session_is_cached_until_there_is_one(
    laptop: Device, redis: "Redis", cache: CurrentSessions
) -> None:
    assert not (await cached(laptop, redis)).id
    assert (await cache.find(laptop.user_id)).known
    assert not (await current(laptop)).HasField("focus_session")
    session = await laptop.create(start=True)
    assert (await current(laptop)).focus_session.id == session.id


async def test_what_was_read_before_a_change_is_never_shown_after_it(
    laptop: Device, redis: "Redis", cache: CurrentSessions
) -> None:
    """A reader that was slow: it stores what it read when the change has long been made."""
    session = await laptop.create(start=True)
    await cached(laptop, redis)
    read = await cache.find(laptop.user_id)
    await laptop.PauseFocusSession(focus_session_id=session.id)
    await cached(laptop, redis)
    cache.put(laptop.user_id, read.stamp, read.focus)
    await cache.run_once()
    assert (await current(laptop)).focus_session.state == PAUSED


async def test_a_retry_of_a_call_whose_replica_died_after_its_commit_shows_the_change(
    laptop: Device, redis: "Redis"
) -> None:
    session = await laptop.create(start=True)
    await cached(laptop, redis)
    keys = [f"pomodoro:{kind}:{laptop.user_id}" for kind in ("stamp", "current")]
    before = dict(zip(keys, await redis.mget(keys), strict=True))
    pause = {"focus_session_id": session.id, "request_id": new_id()}
    await laptop.PauseFocusSession(**pause)
    await cached(laptop, redis)
    await redis.mset(before)
    assert (await current(laptop)).focus_session.state == RUNNING
    await laptop.PauseFocusSession(**pause)
    assert (await current(laptop)).focus_session.state == PAUSED


async def test_an_interval_that_is_over_is_not_shown_from_the_cache(laptop: Device, redis: "Redis", time: Time) -> None:
    await laptop.create(start=True)
    await cached(laptop, redis)
    time.pass_(26 * MINUTE)
    shown = (await current(laptop)).focus_session
    assert (shown.state, shown.interval_number, shown.progress_seconds) == (RUNNING, 2, MINUTE)


@pytest_asyncio.fixture(loop_scope="module")
async def elsewhere(pomodoro_settings: Settings, signer: Signer, time: Time) -> AsyncIterator[grpc.aio.Channel]:
    """Another replica."""
    listen = f"127.0.0.1:{free_ports(1)[0]}"
    app = without_broker(build(Settings(**{**vars(pomodoro_settings), "listen": listen}), SignerKeys(signer), time.now))
    app.components = [each for each in app.components if not isinstance(each, IntervalEnder | GuestIntervalEnder)]
    async with serving(app) as channel:
        yield channel


async def test_whoever_got_the_response_to_a_change_reads_it_at_every_replica(
    laptop: Device, elsewhere: grpc.aio.Channel, signer: Signer
) -> None:
    phone = Device(elsewhere, signer, laptop.user_id)
    session = await laptop.create(start=True)
    for _ in range(50):
        for change, state in ((laptop.PauseFocusSession, PAUSED), (laptop.ResumeFocusSession, RUNNING)):
            await change(focus_session_id=session.id)
            assert (await current(phone)).focus_session.state == state
