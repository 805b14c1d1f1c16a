"""Streams, by both protocols."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import cycle

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from harness.waiting import until
from mesh.events.envelope import ConsumedEvent
from mesh.rpc import revocations
from mesh.runtime.ids import new_id
from services.realtime.cache.streams import _PUBLISH
from services.realtime.consumers import ChangePublisher
from tests.support.realtime_clients import Ended, RealtimeClient, Target
from tests.support.realtime_replicas import Publish, Replica, an_event
from tests.support.tokens import Signer


async def test_a_stream_opens_and_says_when_it_will_close(
    target: Target, client: RealtimeClient, signer: Signer
) -> None:
    expires = int(time.time()) + 200
    async with client.open(target, signer.token(exp=expires)) as stream:
        frame = await stream.frame()
    assert frame.HasField("opened")
    assert frame.opened.heartbeat_seconds == 15
    assert frame.opened.close_time.seconds == expires
    assert abs(frame.opened.server_time.seconds - time.time()) < 5
    assert frame.cursor


async def test_a_change_arrives_as_it_was_published(
    target: Target, client: RealtimeClient, token: str, publish: Publish
) -> None:
    async with client.open(target, token) as stream:
        await stream.frame()
        task = new_id()
        published = await publish(subject=task, version=7, title="Buy groceries", due_date=None, number=3)
        change = (await stream.change()).change
    assert (change.event_id, change.event_type, change.subject_id, change.version) == (
        published,
        "task-created",
        task,
        7,
    )
    assert dict(change.payload) == {"title": "Buy groceries", "due_date": None, "number": 3}
    assert abs(change.occur_time.seconds - time.time()) < 30


async def test_only_the_owner_receives_it(
    target: Target, client: RealtimeClient, token: str, signer: Signer, publish: Publish
) -> None:
    another = new_id()
    async with client.open(target, token) as mine, client.open(target, signer.token(sub=another)) as theirs:
        await mine.frame()
        await theirs.frame()
        await publish()
        published = await publish(user_id=another)
        assert await theirs.events(1) == [published]


async def test_a_redis_that_lost_its_scripts_is_given_them_again(
    target: Target, client: RealtimeClient, token: str, publish: Publish, valkey: str
) -> None:
    async with client.open(target, token) as stream:
        await stream.frame()
        first = await publish()
        async with Redis.from_url(valkey) as redis:
            await redis.script_flush()
        second = await publish()
        assert await stream.events(2) == [first, second]


async def test_every_device_of_a_user_receives_the_same(
    target: Target, client: RealtimeClient, token: str, publish: Publish
) -> None:
    async with client.open(target, token) as one, client.open(target, token) as other:
        await one.frame()
        await other.frame()
        published = [await publish() for _ in range(20)]
        assert await one.events(20) == published
        assert await other.events(20) == published


async def test_an_event_that_comes_again_is_delivered_once(
    target: Target, client: RealtimeClient, token: str, user: str, broadcast: ChangePublisher
) -> None:
    first, second, last = an_event(user), an_event(user), an_event(user)
    async with client.open(target, token) as stream:
        await stream.frame()
        await broadcast.apply([first, second, first])
        await broadcast.apply([first, second])
        await broadcast.apply([last])
        assert await stream.events(3) == [first.id, second.id, last.id]


async def test_nothing_older_comes_after_something_newer(
    target: Target, client: RealtimeClient, token: str, user: str, broadcast: ChangePublisher
) -> None:
    task = new_id()
    first, second, third = (an_event(user, subject=task, version=version) for version in (1, 2, 3))
    together = an_event(user, subject=task, version=3)
    async with client.open(target, token) as stream:
        await stream.frame()
        await broadcast.apply([second, first, third, second, together, third, together])
        last = an_event(user)
        await broadcast.apply([last])
        assert await stream.events(4) == [second.id, third.id, together.id, last.id]


async def test_a_later_epoch_is_newer_than_any_version_of_an_earlier_one(
    target: Target, client: RealtimeClient, token: str, user: str, broadcast: ChangePublisher
) -> None:
    task = new_id()
    before, late = (an_event(user, subject=task, version=version) for version in (9, 10))
    restored, next_one = (an_event(user, subject=task, epoch=2, version=version) for version in (4, 5))
    async with client.open(target, token) as stream:
        await stream.frame()
        await broadcast.apply([before, restored, late, next_one, restored])
        last = an_event(user)
        await broadcast.apply([last])
        assert await stream.events(4) == [before.id, restored.id, next_one.id, last.id]


async def test_a_client_that_comes_back_missed_nothing(
    target: Target, client: RealtimeClient, token: str, publish: Publish
) -> None:
    async with client.open(target, token) as stream:
        await stream.frame()
        received = [await publish()]
        assert await stream.events(1) == received
        cursor = stream.cursor
    missed = [await publish() for _ in range(5)]
    async with client.open(target, token, cursor) as stream:
        assert (await stream.frame()).cursor == cursor
        assert await stream.events(5) == missed
        published = await publish()
        assert await stream.events(1) == [published]


async def test_the_cursor_of_the_first_frame_is_enough(
    target: Target, client: RealtimeClient, token: str, publish: Publish
) -> None:
    async with client.open(target, token) as stream:
        cursor = (await stream.frame()).cursor
    missed = [await publish(), await publish()]
    async with client.open(target, token, cursor) as stream:
        assert await stream.events(2) == missed


async def test_without_a_cursor_a_stream_begins_now(
    target: Target, client: RealtimeClient, token: str, publish: Publish
) -> None:
    await publish()
    async with client.open(target, token) as stream:
        await stream.frame()
        published = await publish()
        assert await stream.events(1) == [published]


async def test_a_long_absence_is_read_in_pages_while_more_comes(
    target: Target, client: RealtimeClient, token: str, user: str, publish: Publish, broadcast: ChangePublisher
) -> None:
    async with client.open(target, token) as stream:
        cursor = (await stream.frame()).cursor
    missed = [an_event(user) for _ in range(700)]
    await broadcast.apply(missed)
    async with client.open(target, token, cursor) as stream:
        await stream.frame()
        meanwhile = [await publish() for _ in range(50)]
        assert await stream.events(750) == [event.id for event in missed] + meanwhile


async def test_a_burst_beyond_the_queue_arrives_whole(
    replica: Replica, client: RealtimeClient, token: str, user: str, broadcast: ChangePublisher
) -> None:
    target = await replica(queue_frames=5)
    burst = [an_event(user) for _ in range(1500)]
    async with client.open(target, token) as stream:
        await stream.frame()
        telling = asyncio.create_task(broadcast.apply(burst))
        assert await stream.events(1500) == [event.id for event in burst]
        await telling


@pytest.mark.parametrize("cursor", ["1-1", "99999999999999-0"])
async def test_a_cursor_beyond_the_retention_gets_a_resync(
    target: Target, client: RealtimeClient, token: str, publish: Publish, cursor: str
) -> None:
    async with client.open(target, token, cursor) as stream:
        assert (await stream.frame()).HasField("opened")
        lost = await stream.frame()
        assert lost.resync.retention_seconds == 300
        published = await publish()
        assert await stream.events(1) == [published]
    missed = await publish()
    async with client.open(target, token, lost.cursor) as stream:
        assert await stream.events(2) == [published, missed]


@pytest.mark.parametrize("cursor", ["x", "1", "-1-0", "$", f"1-{2**64}"])
async def test_a_malformed_cursor_is_refused(target: Target, client: RealtimeClient, token: str, cursor: str) -> None:
    async with client.open(target, token, cursor) as stream:
        ended = await stream.end()
    assert (ended.code, ended.reason) == (client.bad_cursor, "CURSOR_INVALID")


async def test_a_quiet_stream_shows_that_it_lives_and_moves_on(
    replica: Replica, client: RealtimeClient, token: str, publish: Publish
) -> None:
    target = await replica(heartbeat_seconds=1)
    async with client.open(target, token) as stream:
        opened = await stream.frame()
        beats = [await stream.frame() for _ in range(3)]
        published = await publish()
        assert await stream.events(1) == [published]
    assert all(beat.HasField("heartbeat") for beat in beats)
    assert beats[2].heartbeat.server_time.seconds - opened.opened.server_time.seconds >= 2
    assert int(beats[2].cursor.split("-")[0]) > int(opened.cursor.split("-")[0]) + 900
    async with client.open(target, token, beats[2].cursor) as stream:
        assert await stream.events(1) == [published]


async def test_a_stream_ends_with_its_token(target: Target, client: RealtimeClient, signer: Signer) -> None:
    expires = int(time.time()) + 2
    async with client.open(target, signer.token(exp=expires)) as stream:
        ended = await stream.end()
    assert (ended.code, ended.reason) == (client.signed_out, "TOKEN_INVALID")
    assert expires - 0.1 <= time.time() < expires + 2


async def test_a_stream_ends_within_two_seconds_of_signing_out(
    target: Target, client: RealtimeClient, signer: Signer, user: str, valkey: str
) -> None:
    session = new_id()
    async with (
        Redis.from_url(valkey, decode_responses=True) as redis,
        client.open(target, signer.token(sub=user, sid=session)) as ending,
        client.open(target, signer.token(sub=user)) as staying,
    ):
        await ending.frame()
        await staying.frame()
        began = time.monotonic()
        await revocations.push(redis, revocations.session_member(session), time.time() + 600)
        ended = await ending.end()
        assert (ended.code, ended.reason) == (client.signed_out, "TOKEN_REVOKED")
        assert time.monotonic() - began < 2


async def test_all_streams_of_a_user_end_when_all_sessions_end(
    target: Target, client: RealtimeClient, signer: Signer, user: str, valkey: str, publish: Publish
) -> None:
    now = int(time.time())
    async with (
        Redis.from_url(valkey, decode_responses=True) as redis,
        client.open(target, signer.token(sub=user, iat=now - 10)) as ending,
        client.open(target, signer.token(sub=user, iat=now)) as staying,
    ):
        await ending.frame()
        await staying.frame()
        await revocations.push(redis, revocations.user_member(user, now), time.time() + 600)
        assert (await ending.end()).reason == "TOKEN_REVOKED"
        published = await publish()
        assert await staying.events(1) == [published]


async def test_a_user_has_so_many_streams(replica: Replica, client: RealtimeClient, token: str, signer: Signer) -> None:
    target = await replica(streams_per_user=1)
    async with client.open(target, token) as first:
        await first.frame()
        async with client.open(target, token) as second:
            ended = await second.end()
        assert (ended.code, ended.reason) == (client.cut, "TOO_MANY_STREAMS")
        async with client.open(target, signer.token()) as another:
            await another.frame()

    await until(partial(_opens, client, target, token), "the slot of the stream that ended is free")


async def test_a_replica_has_so_many_streams(replica: Replica, client: RealtimeClient, signer: Signer) -> None:
    target = await replica(max_streams=1)
    async with client.open(target, signer.token()) as first:
        await first.frame()
        async with client.open(target, signer.token()) as second:
            ended = await second.end()
        assert (ended.code, ended.reason) == (client.cut, "OVERLOADED")


async def test_any_replica_goes_on_where_another_left_off(
    replica: Replica, client: RealtimeClient, token: str, publish: Publish
) -> None:
    one, other = await replica(), await replica()
    async with client.open(one, token) as stream, client.open(other, token) as beside:
        await stream.frame()
        await beside.frame()
        published = await publish()
        assert await stream.events(1) == await beside.events(1) == [published]
        cursor = stream.cursor
    missed = await publish()
    async with client.open(other, token, cursor) as stream:
        assert await stream.events(1) == [missed]


@pytest.mark.parametrize("queue_frames", [4, 1000])
async def test_a_client_that_reads_nothing_is_cut(
    replica: Replica, client: RealtimeClient, token: str, user: str, broadcast: ChangePublisher, queue_frames: int
) -> None:
    target = await replica(queue_frames=queue_frames, patience_seconds=0.3, streams_per_user=1)
    async with client.open(target, token) as stream:
        await stream.frame()
        for _ in range(40):
            await broadcast.apply([an_event(user, text="x" * 50_000) for _ in range(10)])
        await until(partial(_opens, client, target, token), "the stream that reads nothing is gone")
        ended = await stream.end()
    assert (ended.code, ended.reason) == (client.cut, "SLOW_CONSUMER")


async def _opens(client: RealtimeClient, target: Target, token: str) -> bool:
    """Whether the user may open one more stream."""
    async with client.open(target, token) as another:
        try:
            return (await another.frame()).HasField("opened")
        except Ended:
            return False


async def test_clients_that_come_back_to_a_redis_that_lost_its_data_get_a_resync(
    target: Target, client: RealtimeClient, token: str, publish: Publish, valkey: str
) -> None:
    async with client.open(target, token) as stream:
        await stream.frame()
        await publish()
        await stream.events(1)
        cursor = stream.cursor
    await publish()
    async with Redis.from_url(valkey) as redis:
        await redis.flushall()
    async with client.open(target, token, cursor) as stream:
        await stream.frame()
        assert (await stream.frame()).HasField("resync")
        published = await publish()
        assert await stream.events(1) == [published]


async def test_another_run_of_a_redis_that_keeps_no_log_begins_anew(
    target: Target, client: RealtimeClient, token: str, publish: Publish, valkey: str
) -> None:
    async with client.open(target, token) as stream:
        await stream.frame()
        await publish()
        await stream.events(1)
        cursor = stream.cursor
    async with Redis.from_url(valkey) as redis:
        await redis.config_set("appendonly", "no")
        try:
            await redis.hset("realtime:birth", "run", "an earlier one")
            async with client.open(target, token, cursor) as stream:
                await stream.frame()
                assert (await stream.frame()).HasField("resync")
        finally:
            await redis.config_set("appendonly", "yes")


async def test_another_run_of_a_redis_that_keeps_a_log_goes_on(
    target: Target, client: RealtimeClient, token: str, publish: Publish, valkey: str
) -> None:
    async with client.open(target, token) as stream:
        cursor = (await stream.frame()).cursor
    missed = await publish()
    async with Redis.from_url(valkey) as redis:
        await redis.hset("realtime:birth", "run", "an earlier one")
    async with client.open(target, token, cursor) as stream:
        assert await stream.events(1) == [missed]


async def test_a_full_redis_delays_nobody_and_changes_arrive_again_as_soon_as_there_is_room(
    target: Target, client: RealtimeClient, token: str, publish: Publish, valkey: str
) -> None:
    async with Redis.from_url(valkey) as redis, client.open(target, token) as stream:
        before = (await stream.frame()).cursor
        most = (await redis.config_get("maxmemory"))["maxmemory"]
        await redis.config_set("maxmemory", 1)
        try:
            await publish()
            assert (await stream.frame()).HasField("resync")
        finally:
            await redis.config_set("maxmemory", most)
        published = await publish()
        assert await stream.events(1) == [published]
    async with client.open(target, token, before) as stream:
        await stream.frame()
        assert (await stream.frame()).HasField("resync")
        assert await stream.events(1) == [published]


async def test_the_fuller_redis_is_the_less_of_a_stream_is_kept_and_what_is_small_stays_whole(
    target: Target,
    client: RealtimeClient,
    token: str,
    signer: Signer,
    user: str,
    broadcast: ChangePublisher,
    valkey: str,
) -> None:
    another = new_id()
    flood = [an_event(user, text="x" * 50_000) for _ in range(40)]
    small = [an_event(another, text="x" * 500) for _ in range(20)]
    async with Redis.from_url(valkey) as redis:
        most = (await redis.config_get("maxmemory"))["maxmemory"]
        await broadcast.apply(flood)
        used = (await redis.info("memory"))["used_memory"]
        await redis.config_set("maxmemory", int(used / 0.8))
        try:
            async with client.open(target, token) as mine, client.open(target, signer.token(sub=another)) as theirs:
                await mine.frame()
                await theirs.frame()
                await broadcast.apply(small)
                assert await theirs.events(20) == [event.id for event in small]
                await broadcast.apply([an_event(user, text="x" * 50_000)])
                assert (await mine.frame()).HasField("resync")
            assert (await redis.info("memory"))["used_memory"] < used
        finally:
            await redis.config_set("maxmemory", most)


async def test_the_very_first_cursor_of_a_new_redis_is_good(
    target: Target, client: RealtimeClient, token: str, publish: Publish, valkey: str
) -> None:
    async with Redis.from_url(valkey) as redis:
        await redis.flushall()
    async with client.open(target, token) as stream:
        cursor = (await stream.frame()).cursor
    missed = await publish()
    async with client.open(target, token, cursor) as stream:
        assert await stream.events(1) == [missed]


async def test_large_changes_are_cut_by_their_size(
    target: Target, client: RealtimeClient, token: str, user: str, broadcast: ChangePublisher, valkey: str
) -> None:
    async with client.open(target, token) as stream:
        before = (await stream.frame()).cursor
    flood = [an_event(user, text="x" * 200_000) for _ in range(60)]
    for first in range(0, 60, 10):
        await broadcast.apply(flood[first : first + 10])
    async with Redis.from_url(valkey) as redis:
        assert await redis.memory_usage(f"realtime:stream:{user}", samples=0) < 5 * 1024 * 1024
    async with client.open(target, token, before) as stream:
        await stream.frame()
        assert (await stream.frame()).HasField("resync")
        last = an_event(user)
        await broadcast.apply([last])
        assert await stream.events(1) == [last.id]


async def test_a_flood_is_cut_and_those_who_missed_something_get_a_resync(
    target: Target, client: RealtimeClient, token: str, user: str, broadcast: ChangePublisher
) -> None:
    async with client.open(target, token) as stream:
        before = (await stream.frame()).cursor
    flood = [an_event(user, text="x" * 4_000) for _ in range(1_600)]
    await _apply(broadcast, flood[:1_500])
    async with client.open(target, token, before) as stream:
        await stream.frame()
        assert (await stream.frame()).HasField("resync")
        await broadcast.apply(flood[1_500:])
        assert await stream.events(100) == [event.id for event in flood[1_500:]]


async def test_a_flood_reaches_an_open_stream_whole_or_says_that_it_does_not(
    target: Target, client: RealtimeClient, token: str, user: str, broadcast: ChangePublisher
) -> None:
    async with client.open(target, token) as stream:
        await stream.frame()
        events = [an_event(user, text="x" * 4_000) for _ in range(3_000)]
        flood = [event.id for event in events]
        flooding = asyncio.create_task(_apply(broadcast, events))
        expected = 0
        while expected < len(flood):
            frame = await stream.frame()
            if frame.HasField("resync"):
                await flooding
                break
            if frame.HasField("change"):
                assert frame.change.event_id == flood[expected]
                expected += 1
        await flooding
        last = an_event(user)
        await broadcast.apply([last])
        while True:
            frame = await stream.frame()
            if frame.HasField("resync"):  # this one may cover the last change
                last = an_event(user)
                await broadcast.apply([last])
            if frame.change.event_id == last.id:
                return


async def _apply(broadcast: ChangePublisher, events: Sequence[ConsumedEvent]) -> None:
    """As the consumer does, in batches."""
    for first in range(0, len(events), 500):
        await broadcast.apply(events[first : first + 500])


async def test_no_change_is_lost_while_redis_forgets_and_learns_its_scripts(
    broadcast: ChangePublisher, valkey: str, user: str
) -> None:
    """Another replica may teach Redis while a long batch is on its way: its rest must not overtake its beginning."""
    subjects = [new_id() for _ in range(20)]

    async def publish_until_accepted(events: Sequence[ConsumedEvent]) -> None:
        while True:
            with suppress(NoScriptError):
                return await broadcast.apply(events)

    published = asyncio.Event()
    async with Redis.from_url(valkey) as redis:

        async def forget_and_learn() -> None:
            while not published.is_set():
                await redis.script_flush()
                await asyncio.sleep(0.001 * next(step))  # so that the two are not in step
                await redis.script_load(_PUBLISH)
                await asyncio.sleep(0.001 * next(step))

        step = cycle((0, 3, 0, 1, 0, 5, 1, 2))
        forgetting = asyncio.create_task(forget_and_learn())
        for batch in range(60):
            versions = range(batch * 3 + 1, batch * 3 + 4)
            await publish_until_accepted([an_event(user, subject=one, version=v) for v in versions for one in subjects])
        published.set()
        await forgetting
        assert await redis.xlen(f"realtime:stream:{user}") == 60 * 3 * len(subjects)
