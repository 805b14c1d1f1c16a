"""The password worker: bounded, and the same work for everybody."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from mesh.runtime.errors import Overloaded
from services.auth.handlers import PasswordWorker
from services.auth.rules import passwords


class Work:
    """Stands for the hashing: it runs until it may end, and records its arguments."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.let_go = threading.Event()

    def __call__(self, password_hash: str, password: str) -> bool:
        self.asked.append((password_hash, password))
        self.let_go.wait(10)
        return True


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    work = Work()
    monkeypatch.setattr(passwords, "verify", work)
    yield work
    work.let_go.set()


@pytest.fixture
async def worker() -> AsyncIterator[PasswordWorker]:
    worker = PasswordWorker(threads=1, queue=2)
    worker.start()
    yield worker
    await worker.close()


async def test_more_than_the_queue_holds_is_refused_at_once_with_a_retry_delay(
    work: Work, worker: PasswordWorker
) -> None:
    waiting = [asyncio.ensure_future(worker.verify("hash", "password")) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refused:
        await worker.verify("hash", "password")
    assert refused.value.retry_after == 1.0
    work.let_go.set()
    assert await asyncio.gather(*waiting) == [True, True, True]
    assert await worker.verify("hash", "password")


async def test_callers_who_give_up_release_no_slot_before_their_work_is_done(
    work: Work, worker: PasswordWorker
) -> None:
    given_up = [asyncio.ensure_future(worker.verify("hash", "password")) for _ in range(3)]
    await asyncio.sleep(0)
    given_up[0].cancel()
    await asyncio.wait([given_up[0]])
    with pytest.raises(Overloaded):
        await worker.verify("hash", "password")


async def test_without_a_hash_the_same_work_is_done_and_fails(work: Work, worker: PasswordWorker) -> None:
    work.let_go.set()
    assert not await worker.verify(None, "password")
    assert await worker.verify("hash", "password")
    (decoy, first), (real, second) = work.asked
    assert decoy.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert (first, real, second) == ("password", "hash", "password")
