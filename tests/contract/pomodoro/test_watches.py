"""WatchFocusSession, as the devices of a user see it."""

import asyncio
from time import time as seconds

import pytest
from redis.asyncio import Redis

from mesh.rpc import revocations
from mesh.runtime.ids import new_id
from tests.contract.pomodoro.devices import FINISHED, PAUSED, RUNNING, Device, Time
from tests.support.errors import refused

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_watch_shows_the_state_at_once_and_every_change_on_any_device(laptop: Device, time: Time) -> None:
    phone = laptop.another()
    async with phone.watching() as states:
        assert not (await anext(states)).HasField("focus_session")
        session = await laptop.create(start=True)
        shown = (await anext(states)).focus_session
        assert (shown.id, shown.state) == (session.id, RUNNING)
        time.pass_(60)
        await laptop.PauseFocusSession(focus_session_id=session.id)
        paused = (await anext(states)).focus_session
        assert (paused.state, paused.progress_seconds) == (PAUSED, 60)
        await laptop.FinishFocusSession(focus_session_id=session.id)
        assert (await anext(states)).focus_session.state == FINISHED
        assert not (await anext(states)).HasField("focus_session")


async def test_a_user_has_so_many_open_watches(laptop: Device) -> None:
    async with laptop.watching() as first:
        await anext(first)
        others = [laptop.watching() for _ in range(9)]
        opened = [await each.__aenter__() for each in others]
        for states in opened:
            await anext(states)
        with refused("TOO_MANY_WATCHES", limit="10"):
            async with laptop.watching() as one_more:
                await anext(one_more)
        for each in others:
            await each.__aexit__(None, None, None)


async def test_a_watch_ends_with_its_token(laptop: Device) -> None:
    expires = int(seconds()) + 2
    async with laptop.another(exp=expires).watching() as states:
        await anext(states)
        with refused("TOKEN_INVALID"):
            await anext(states)
    assert expires - 0.1 <= seconds() < expires + 2


async def test_a_watch_ends_within_two_seconds_of_signing_out(laptop: Device, redis: "Redis") -> None:
    session = new_id()
    async with laptop.another(sid=session).watching() as ending, laptop.watching() as staying:
        await asyncio.gather(anext(ending), anext(staying))
        began = seconds()
        await revocations.push(redis, revocations.session_member(session), began + 600)
        with refused("TOKEN_REVOKED"):
            await anext(ending)
        assert seconds() - began < 2
        await laptop.create(start=True)
        assert (await anext(staying)).focus_session.state == RUNNING
