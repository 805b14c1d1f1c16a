"""The sessions of guests, of which Redis has the only copy.

`pomodoro:guest:<guest>`   hash, until the guest ends: document, JSON of everything of the guest; its version; claims,
                           how many claims are made of it, which freeze it until frozen_until, seconds since the epoch;
                           and claimed, once an account has claimed it
`pomodoro:guests:due`      sorted set: guests by the end of their running interval, microseconds since the epoch

A guest's document is read, changed and written as one, by whoever finds the version that it was read with.
"""

import base64
import binascii
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar

import orjson
from google.protobuf.message import Message
from redis.asyncio import Redis

from mesh.database.pool import WriteConflict
from mesh.events.outbox import SideEffects, StoredResponse
from mesh.rpc import idempotency
from mesh.rpc.pagination import Page
from mesh.runtime.clock import SECOND
from mesh.runtime.errors import Overloaded, RequestIdReused
from services.pomodoro.cache.documents import focus_of, row_of
from services.pomodoro.cache.guest_scripts import SPARING_BYTES, WRITE
from services.pomodoro.errors import (
    FocusSessionNotFound,
    GuestBeingClaimed,
    GuestClaimed,
    GuestFull,
    SessionTaskNotFound,
)
from services.pomodoro.model import (
    MOST_GUEST_BYTES,
    MOST_GUEST_SESSIONS,
    MOST_GUEST_TASKS,
    AnotherRuns,
    Filter,
    Focus,
    Guest,
    Kind,
    Session,
    Status,
)

_GUEST, _DUE = "pomodoro:guest:", "pomodoro:guests:due"
_MOST_CONFLICTS = 8
_MOST_RESPONSES = 20
"""Stored responses of one guest; the newest of them, and others as long as they fit into `_RESPONSE_BYTES`."""
_RESPONSE_BYTES = 64 * 1024
_ALWAYS = frozenset({Kind.PAUSE, Kind.FINISH, Kind.END})
"""Transitions that a guest may make who is full."""
_ACTIVE = (Status.RUNNING, Status.PAUSED)
_Result = TypeVar("_Result")

_FREEZE = """
local time = redis.call('TIME')
local frozen_until = tonumber(redis.call('HGET', KEYS[1], 'frozen_until') or '0')
if frozen_until <= tonumber(time[1]) then redis.call('HDEL', KEYS[1], 'claims') end
redis.call('HINCRBY', KEYS[1], 'claims', 1)
redis.call('HINCRBY', KEYS[1], 'version', 1)
redis.call('HSET', KEYS[1], 'frozen_until', time[1] + ARGV[1])
if redis.call('TTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return redis.call('HGET', KEYS[1], 'document')
"""
_UNFREEZE = """
if redis.call('HINCRBY', KEYS[1], 'claims', -1) <= 0 then redis.call('HDEL', KEYS[1], 'claims', 'frozen_until') end
"""
_FORGET = """
redis.call('HDEL', KEYS[1], 'document')
redis.call('HINCRBY', KEYS[1], 'version', 1)
redis.call('HSET', KEYS[1], 'claimed', 1)
redis.call('EXPIRE', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[2])
"""
_FROZEN_SECONDS = 120
"""Longer than a claim may take; then a guest goes on of whose claim nobody knows what became."""
_FROZEN_RETRY_SECONDS = 1.0
"""Until a frozen guest calls again, and until its intervals are looked at again."""
_FORGOTTEN_SECONDS = 72 * 3600
"""The longest life of a guest."""
_LIST_DUE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return {
  string.format('%.0f', now),
  first[2] and string.format('%.6f', (first[2] - now) / 1000000) or '',
  redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
}
"""


class _Response(NamedTuple):
    """The stored response of an idempotent call."""

    method: str
    request_id: str
    fingerprint: str
    content: str
    """Base64."""


class Due(NamedTuple):
    """Guests whose interval has ended by the clock of Redis."""

    now: int
    seconds: float | None
    """Until the first interval ends, negative when it has; None when none runs."""
    guest_ids: Sequence[str]


class _Stored(NamedTuple):
    """What is stored of a guest."""

    version: int
    content: str | None
    frozen: bool
    """An account claims the guest."""
    claimed: bool


class Guests:
    """Reads and writes the sessions of guests."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis
        self._write, self._list_due = redis.register_script(WRITE), redis.register_script(_LIST_DUE)
        self._freeze, self._unfreeze = redis.register_script(_FREEZE), redis.register_script(_UNFREEZE)
        self._forget = redis.register_script(_FORGET)

    async def retry_on_conflict(self, guest: Guest, decide: Callable[["GuestSessions"], Awaitable[_Result]]) -> _Result:
        """Runs read, decide, write again when another write came first; raises Overloaded after eight.

        Raises GuestClaimed and GuestBeingClaimed.
        """
        for _ in range(_MOST_CONFLICTS):
            try:
                return await decide(await self.read(guest))
            except WriteConflict:
                continue
        raise Overloaded(retry_after=0.1)

    async def read(self, guest: Guest) -> "GuestSessions":
        """Everything of a guest; raises GuestClaimed and GuestBeingClaimed."""
        stored = await self._read(guest.id)
        if stored.claimed:
            raise GuestClaimed
        if stored.frozen:
            raise GuestBeingClaimed(retry_after=_FROZEN_RETRY_SECONDS)
        return GuestSessions(self, guest, stored.version, stored.content)

    async def write(self, sessions: "GuestSessions") -> None:
        """Replaces everything of a guest; raises WriteConflict when another write came first, and GuestFull."""
        due = "" if sessions.due is None else str(sessions.due)
        guest = sessions.guest
        written = await self._write(
            keys=[_GUEST + guest.id, _DUE],
            args=[sessions.version, sessions.document(), guest.until, due, guest.id, int(sessions.adds)],
        )
        if not written:
            raise WriteConflict
        if written < 0:
            raise GuestFull(limit=SPARING_BYTES // 1024, what="KiB while there are many guests")
        sessions.version += 1

    async def list_due(self, limit: int) -> Due:
        """The guests whose interval has ended, the longest due first, at most `limit`."""
        now, seconds, guest_ids = await self._list_due(keys=[_DUE], args=[limit])
        return Due(int(now), float(seconds) if seconds else None, guest_ids)

    async def peek(self, guest_id: str) -> list[Focus]:
        """The sessions of a guest that are not deleted."""
        stored = await self._read(guest_id)
        return GuestSessions(self, Guest(guest_id, 0), 0, stored.content).kept

    async def freeze(self, guest_id: str) -> list[Focus]:
        """The same, after which the guest's calls are refused, for two minutes at most: an account claims them."""
        content = await self._freeze(keys=[_GUEST + guest_id], args=[_FROZEN_SECONDS])
        return GuestSessions(self, Guest(guest_id, 0), 0, content).kept

    async def unfreeze(self, guest_id: str) -> None:
        """Ends a claim that has not committed; the guest goes on unless there is another one."""
        await self._unfreeze(keys=[_GUEST + guest_id])

    async def forget(self, guest_id: str) -> None:
        """Removes everything of a guest, whose calls are refused from now on."""
        await self._forget(keys=[_GUEST + guest_id, _DUE], args=[_FORGOTTEN_SECONDS, guest_id])

    async def find(self, guest_id: str) -> "GuestSessions | None":
        """Everything of a guest who is due; None when there is nothing any more, or while an account claims it."""
        stored = await self._read(guest_id)
        if stored.content is None or stored.claimed:
            await self._redis.zrem(_DUE, guest_id)
            return None
        if stored.frozen:
            await self._redis.zadd(_DUE, {guest_id: (time.time() + _FROZEN_RETRY_SECONDS) * SECOND}, xx=True, gt=True)
            return None
        return GuestSessions(
            self, Guest(guest_id, orjson.loads(stored.content)["until"]), stored.version, stored.content
        )

    async def _read(self, guest_id: str) -> _Stored:
        reading: Any = self._redis.hmget(_GUEST + guest_id, ["version", "document", "frozen_until", "claimed"])
        version, content, frozen_until, claimed = await reading
        return _Stored(int(version or 0), content, float(frozen_until or 0) > time.time(), claimed is not None)


class GuestSessions:
    """The sessions of one guest, as they were read and as they are written."""

    def __init__(self, guests: Guests, guest: Guest, version: int, content: str | None) -> None:
        """content: the stored document; None for a guest of whom nothing is stored."""
        stored = orjson.loads(content) if content else {"sessions": [], "responses": []}
        self.guest, self.version = guest, version
        self._guests = guests
        self._sessions = {focus.session.id: focus for focus in map(focus_of, stored["sessions"])}
        self._responses = [_Response(*response) for response in stored["responses"]]
        self._in_transaction = False
        self.adds = False
        """Whether something was saved that a guest who is full may not save."""

    @property
    def due(self) -> int | None:
        """When the running interval ends; None when none runs."""
        running = self._running()
        return None if running is None else running.session.interval_end

    @property
    def kept(self) -> list[Focus]:
        """The sessions that are not deleted, in the order in which they began."""
        return [focus for focus in self._sessions.values() if focus.session.deleted_at is None]

    def document(self) -> str:
        """What is stored."""
        return self._content().decode()

    def _content(self) -> bytes:
        sessions = [row_of(focus) for focus in self._sessions.values()]
        responses = [tuple(response) for response in self._responses]
        return orjson.dumps({"until": self.guest.until, "sessions": sessions, "responses": responses})

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """What is saved inside is written together at its end; nothing of it, nor later, after an error."""
        self._in_transaction = True
        yield
        self._in_transaction = False
        await self._guests.write(self)

    async def get_focus(self, user_id: str, session_id: str) -> Focus:  # noqa: ARG002 (the guest is the user)
        """A session with all that belongs to it."""
        if focus := self._sessions.get(session_id):
            return focus
        raise FocusSessionNotFound(focus_session_id=session_id)

    async def find_state(self, user_id: str, session_id: str) -> Focus | None:  # noqa: ARG002
        """A session; None when there is none."""
        return self._sessions.get(session_id)

    async def get_state(self, user_id: str, session_id: str) -> Focus:
        """A session; raises FocusSessionNotFound."""
        return await self.get_focus(user_id, session_id)

    async def get_focus_of_task(self, user_id: str, task_id: str) -> Focus:  # noqa: ARG002
        """The session that a task belongs to."""
        for focus in self._sessions.values():
            if any(task.id == task_id for task in focus.tasks):
                return focus
        raise SessionTaskNotFound(session_task_id=task_id)

    async def find_current_state(self, user_id: str) -> Focus | None:  # noqa: ARG002
        """The running session, else the one paused last."""
        active = (focus for focus in self.kept if focus.session.status in _ACTIVE)
        return max(active, key=_current_order, default=None)

    async def find_running(self, user_id: str) -> Focus | None:  # noqa: ARG002
        """The running session."""
        return self._running()

    async def list_sessions(self, user_id: str, chosen: Filter, page: Page) -> list[Session]:  # noqa: ARG002
        """One session more than the page holds, the newest first."""
        found = [
            focus.session
            for focus in (self._sessions.values() if chosen.show_deleted else self.kept)
            if not chosen.states or focus.session.status in chosen.states
        ]
        found.sort(key=_list_order, reverse=True)
        if page.after is not None:
            instant, session_id = page.after
            found = [each for each in found if _list_order(each) < (int(instant or 0), str(session_id))]
        return found[: page.limit()]

    async def save(self, focus: Focus, side_effects: SideEffects) -> None:
        """Writes a session; nothing is published. Raises WriteConflict, AnotherRuns and GuestFull."""
        running = self._running()
        if focus.session.status == Status.RUNNING and running and running.session.id != focus.session.id:
            raise AnotherRuns
        before = self._sessions.get(focus.session.id)
        if before is None:
            self._make_room()
        tasks = sum(len(each.tasks) for each in self._sessions.values()) - (len(before.tasks) if before else 0)
        if tasks + len(focus.tasks) > MOST_GUEST_TASKS and len(focus.tasks) > (len(before.tasks) if before else 0):
            raise GuestFull(limit=MOST_GUEST_TASKS, what="tasks")
        self._sessions[focus.session.id] = focus
        self._keep(side_effects.response)
        if not _is_always_let(before, focus):
            self._require_bytes()
            self.adds = True
        if not self._in_transaction:
            await self._guests.write(self)

    async def store_response(self, side_effects: SideEffects) -> None:
        """Stores the response of a call that changed nothing."""
        if side_effects.response is not None:
            self._keep(side_effects.response)
            await self._guests.write(self)

    def response_to(self, method: str, request: Message) -> bytes | None:
        """The stored response to this request, or None; raises RequestIdReused when its id came with another one."""
        request_id: str = getattr(request, "request_id", "")
        for each in self._responses:
            if request_id and (each.method, each.request_id) == (method, request_id):
                if each.fingerprint != idempotency.fingerprint(request).hex():
                    raise RequestIdReused(request_id=request_id)
                return binascii.a2b_base64(each.content)
        return None

    def _keep(self, response: StoredResponse | None) -> None:
        if response is not None:
            self._responses.append(_stored(response))
        while len(self._responses) > 1 and (
            len(self._responses) > _MOST_RESPONSES
            or sum(len(each.content) for each in self._responses) > _RESPONSE_BYTES
        ):
            del self._responses[0]

    def _running(self) -> Focus | None:
        return next((each for each in self._sessions.values() if each.session.status == Status.RUNNING), None)

    def _make_room(self) -> None:
        """Drops the session that was deleted first when there are as many as may be; raises GuestFull without one."""
        if len(self._sessions) >= MOST_GUEST_SESSIONS and self._drop_deleted() is None:
            raise GuestFull(limit=MOST_GUEST_SESSIONS, what="sessions")

    def _require_bytes(self) -> None:
        """Drops older responses, then deleted sessions, when there is more than may be; raises GuestFull."""
        if len(self._content()) <= MOST_GUEST_BYTES:
            return
        del self._responses[:-1]
        excess = len(self._content()) - MOST_GUEST_BYTES
        while excess > 0:
            dropped = self._drop_deleted()
            if dropped is None:
                raise GuestFull(limit=MOST_GUEST_BYTES // 1024, what="KiB")
            excess -= len(orjson.dumps(row_of(dropped)))

    def _drop_deleted(self) -> Focus | None:
        """Drops the session that was deleted first; None without one."""
        deleted = [each.session for each in self._sessions.values() if each.session.deleted_at is not None]
        first = min(deleted, key=lambda session: session.deleted_at or 0, default=None)
        return None if first is None else self._sessions.pop(first.id)


def _is_always_let(before: Focus | None, focus: Focus) -> bool:
    """Whether a change puts a session away, removes a task or ends intervals; who is full may do that."""
    if before is None:
        return False
    added = {each.kind for each in focus.transitions[len(before.transitions) :]}
    is_deleted = focus.session.deleted_at is not None
    return is_deleted or len(focus.tasks) < len(before.tasks) or bool(added and added <= _ALWAYS)


def _stored(response: StoredResponse) -> _Response:
    content = base64.b64encode(response.response).decode()
    return _Response(response.method, response.request_id, response.fingerprint.hex(), content)


def _current_order(focus: Focus) -> tuple[bool, int, str]:
    session = focus.session
    return session.status == Status.RUNNING, session.as_of or 0, session.id


def _list_order(session: Session) -> tuple[int, str]:
    return session.created_at, session.id
