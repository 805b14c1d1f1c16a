"""Waiting, in an event loop and outside of one."""

from itertools import count

import pytest

from harness.waiting import until, wait_until
from stack.errors import StackError


async def test_waiting_ends_when_the_condition_holds() -> None:
    numbers = count()

    async def asked() -> bool:
        return next(numbers) > 3

    await until(asked, "it holds", poll=0)
    await until(lambda: next(numbers) > 6, "it holds", poll=0)
    wait_until(lambda: next(numbers) > 9, "it holds", poll=0)
    assert next(numbers) == 11


async def test_waiting_ends_at_the_deadline_with_what_did_not_happen() -> None:
    with pytest.raises(StackError, match=r"not within 0\.01 s: it holds"):
        await until(lambda: False, "it holds", 0.01)
    with pytest.raises(StackError, match=r"not within 0\.01 s: it holds"):
        wait_until(lambda: False, "it holds", 0.01, advice="look again")
