"""What the proof of overload counts."""

import asyncio

import pytest

from prove.flood import OK, Flood, Outcome
from prove.overload import CREATE, DIRECT, Case, asking, measured


def test_goodput_counts_only_what_was_done_before_the_load_ended() -> None:
    load = Flood(target="", requests=[], seconds=2.0, deadline=5.0, connections=1)
    outcome = Outcome(
        calls=[(0.5, 0.1, OK, False), (1.9, 0.1, OK, False), (1.9, 0.2, OK, False), (0.1, 3.0, OK, False)]
    )
    assert measured(Case(CREATE, DIRECT), outcome, load, 1.0, 1.0, {"service": 0.0}, 0).goodput == 1.0


async def test_a_health_check_that_still_hangs_at_the_end_counts() -> None:
    slowest: dict[str, float] = {}
    hangs = asyncio.Event()

    async def hanging() -> bool:
        hangs.set()
        await asyncio.Event().wait()
        return True

    async with asking(slowest, {"service": hanging}):
        await hangs.wait()
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(0.05)
        waited = asyncio.get_running_loop().time() - began
    assert waited <= slowest["service"] < 1.0


async def test_a_health_check_that_is_not_answered_by_serving_fails() -> None:
    slowest: dict[str, float] = {}
    asked = asyncio.Event()

    async def not_serving() -> bool:
        asked.set()
        return False

    async with asking(slowest, {"service": not_serving}):
        await asked.wait()
    assert slowest["service"] == pytest.approx(float("inf"))
