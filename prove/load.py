"""The load: an open loop that sends a request every tick, whatever became of the earlier ones."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from harness.accounts import User
from mesh.runtime.ids import new_id
from prove.callers import COMPLETE, CREATE, LIST, START, UPDATE, Caller, Operation
from prove.checker import SUCCESS, UNAVAILABLE, Attempt

MOST_IN_FLIGHT = 256
_RETRY_SECONDS = 0.2
_LONGEST_TICK_SECONDS = 0.02
_FINISH_SECONDS = 15.0
_SHARES = {CREATE: 25, UPDATE: 20, START: 15, COMPLETE: 15, LIST: 25}
"""Of a hundred requests; a change without a task to change becomes a create."""
_NEXT_STEPS = {START: "pending", COMPLETE: "in_progress"}


class _Job(NamedTuple):
    """An operation of a user, until its response is another than UNAVAILABLE."""

    user: User
    operation: Operation
    caller: Caller
    state: str
    due: float = 0.0


@dataclass
class Load:
    """Users at work."""

    users: Sequence[User]
    callers: Sequence[Caller]
    rate: float
    """Requests a second, repeated ones included."""
    rng: random.Random
    attempts: list[Attempt] = field(default_factory=list)
    delayed: int = 0
    """Requests that were due while too many were in flight."""
    _idle: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    _retries: deque[_Job] = field(default_factory=deque)
    _running: set[asyncio.Task[None]] = field(default_factory=set)
    _stopping: bool = False
    began: float = 0.0
    ended: float = 0.0

    async def run(self) -> None:
        """Sends until `stop`, then repeats what was begun until it gets a final response."""
        self.began = time.monotonic()
        sent = 0
        while not self._stopping:
            due = int((time.monotonic() - self.began) * self.rate)
            for _ in range(due - sent):
                self._tick()
            sent = due
            await asyncio.sleep(min(_LONGEST_TICK_SECONDS, 1 / self.rate))
        self.ended = time.monotonic()
        await self._finish()

    def stop(self) -> None:
        """Stops sending new operations."""
        self._stopping = True

    @property
    def requests_per_second(self) -> float:
        """The rate while new operations were sent."""
        sent = sum(1 for attempt in self.attempts if attempt.sent <= self.ended)
        return sent / max(0.001, self.ended - self.began)

    async def _finish(self) -> None:
        deadline = time.monotonic() + _FINISH_SECONDS
        while (self._running or self._retries) and time.monotonic() < deadline:
            if self._retries and self._retries[0].due <= time.monotonic():
                self._send(self._retries.popleft())
            await asyncio.sleep(1 / self.rate)
        for task in self._running:
            task.cancel()

    def _tick(self) -> None:
        if len(self._running) >= MOST_IN_FLIGHT:
            self.delayed += 1
        elif self._retries and self._retries[0].due <= time.monotonic():
            self._send(self._retries.popleft())
        else:
            self._send(self._new_job())

    def _new_job(self) -> _Job:
        user, caller = self.rng.choice(self.users), self.rng.choice(self.callers)
        operation = self.rng.choices(list(_SHARES), list(_SHARES.values()))[0]
        idle = self._idle.setdefault(user.id, {"pending": [], "in_progress": [], "complete": []})
        request_id = new_id()
        if operation == LIST:
            return _Job(user, Operation(LIST), caller, "")
        state = _NEXT_STEPS.get(operation) or self.rng.choice(list(idle))
        if operation != CREATE and idle[state]:
            index = self.rng.randrange(len(idle[state]))
            idle[state][index], idle[state][-1] = idle[state][-1], idle[state][index]
            return _Job(user, Operation(operation, request_id, idle[state].pop(), request_id), caller, state)
        return _Job(user, Operation(CREATE, request_id, text=request_id), caller, "")

    def _send(self, job: _Job) -> None:
        task = asyncio.get_running_loop().create_task(self._attempt(job))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _attempt(self, job: _Job) -> None:
        sent = time.monotonic()
        response = await job.caller.call(job.user.token, job.operation)
        self.attempts.append(
            Attempt(
                way=job.caller.way,
                operation=job.operation.kind,
                user_id=job.user.id,
                request_id=job.operation.request_id,
                sent=sent,
                received=time.monotonic(),
                code=response.code,
                task_id=response.task_id,
                version=response.version,
            )
        )
        if response.code == SUCCESS and response.task_id:
            self._idle[job.user.id][_state_after(job)].append(response.task_id)
        elif response.code == UNAVAILABLE and job.operation.kind != LIST:
            self._retries.append(job._replace(due=time.monotonic() + _RETRY_SECONDS))


def _state_after(job: _Job) -> str:
    return {CREATE: "pending", START: "in_progress", COMPLETE: "complete"}.get(job.operation.kind, job.state)
