"""One Redis stream per user. Scripts keep what several replicas do to it whole.

`realtime:stream:<user>`   the changes of the last minutes; expires when nothing comes any more
`realtime:head:<thing>`    the latest version of a thing that was added, and the events that had it
`realtime:cut:<user>`      where a stream begins that grew too long; entries before it are gone
`realtime:birth`           hash: the run of Redis that the streams come from, and since when they are whole
`realtime:wake:<replica>`  interrupts a replica's waiting
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, OutOfMemoryError

from mesh.runtime.errors import DependencyUnavailable
from services.realtime.model import Entry, Page, Position

PREFIX = "realtime:"
PAGE = 256
"""Entries that are read at once."""
FULL = 500
"""Entries of one stream that a tail takes at once. When there are as many, some before them may have been cut off."""
_STREAM = f"{PREFIX}stream:"
_BIRTH = f"{PREFIX}birth"
_ANSWER_SECONDS = 2.0
_WAKE_KEY_SECONDS = 3600
_REMEMBERED = 2
"""Retentions for which a thing's latest version is remembered: a message that comes again comes within seconds of the
restart that brought it back, and memory is what a Redis has least of."""

_LONGEST = 10_000
"""Entries of one user that are kept: about 4 MB. One user's flood must not fill the memory that all share."""

_PUBLISH = """
local version, event, retention = ARGV[1], ARGV[2], ARGV[4]
local known = redis.call('GET', KEYS[2])
local events = event
if known then
    local latest = string.sub(known, 1, 30)
    if version < latest then return 0 end
    if version == latest then
        if string.find(known, event, 31, true) then return 0 end
        events = string.sub(known, 32) .. ' ' .. event
    end
end
local time = redis.call('TIME')
local oldest = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) - retention)
redis.call('XADD', KEYS[1], 'MINID', '~', oldest, '*', 'c', ARGV[3])
redis.call('PEXPIRE', KEYS[1], retention)
local longest = tonumber(ARGV[6])
if redis.call('XLEN', KEYS[1]) > longest then
    local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', math.ceil(longest / 10))
    local cut = first[#first][1]
    redis.call('XTRIM', KEYS[1], 'MINID', '=', cut)
    redis.call('SET', KEYS[3], cut, 'PX', retention)
end
redis.call('SET', KEYS[2], version .. ' ' .. events, 'PX', ARGV[5])
return 1
"""
"""Adds a change once, and never behind a later version of the same resource. An epoch has 10 digits and a version 20:
both together compare as text."""

_READ = """
local function before(one, other)
    local a, b = string.match(one, '^(%d+)-(%d+)$')
    local c, d = string.match(other, '^(%d+)-(%d+)$')
    a, b, c, d = tonumber(a), tonumber(b), tonumber(c), tonumber(d)
    return a < c or (a == c and b < d)
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local birth = redis.call('HMGET', KEYS[2], 'run', 'since')
if birth[1] ~= run then
    local kept = string.find(redis.call('INFO', 'persistence'), 'aof_enabled:1', 1, true)
    if not birth[2] or not kept then birth[2] = string.format('%.0f', now - 1) end
    redis.call('HSET', KEYS[2], 'run', run, 'since', birth[2])
end
local tail = string.format('%.0f-0', now - 1)
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if newest and tonumber(string.match(newest[1], '^%d+')) >= now - 1 then tail = newest[1] end
if ARGV[1] == '' then return {0, tail, {}} end
local from = tonumber(string.match(ARGV[1], '^%d+'))
local ahead = math.max(now, tonumber(string.match(tail, '^%d+')))
if from < now - ARGV[2] or from < tonumber(birth[2]) or from > ahead then return {1, tail, {}} end
local cut = redis.call('GET', KEYS[3])
if cut and before(ARGV[1], cut) then return {1, tail, {}} end
return {0, tail, redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[3])}
"""
"""What follows a cursor, when nothing of it can be gone: it is younger than the retention, than the place where a long
stream was cut, and than the loss of Redis's memory. A Redis that keeps an append-only file remembers over a restart;
any other run begins anew."""


class Publication(NamedTuple):
    """A change to add to its owner's stream."""

    user_id: str
    thing: str
    """The aggregate, with the service that owns it."""
    epoch: int
    version: int
    event_id: str
    change: bytes


class Streams:
    """The streams of all users. Methods raise DependencyUnavailable, or what redis-py raises, while Redis is away."""

    def __init__(self, redis: "Redis", *, retention_seconds: int) -> None:
        """redis: from `client`."""
        self._redis = redis
        self._retention_ms = retention_seconds * 1000
        self._publish = redis.register_script(_PUBLISH)
        self._read = redis.register_script(_READ)

    async def publish(self, publications: Sequence[Publication]) -> int:
        """Adds changes to their streams, in order; returns how many were new. When it fails, do all again."""
        async with _in_time(_ANSWER_SECONDS):
            try:
                try:
                    return await self._add(publications)
                except NoScriptError:
                    await self._redis.script_load(_PUBLISH)
                    return await self._add(publications)
            except OutOfMemoryError:
                # It passes as streams expire; nothing is wrong with what was to be added.
                raise DependencyUnavailable("memory of redis") from None

    async def _add(self, publications: Sequence[Publication]) -> int:
        # All or nothing: a batch whose beginning failed and whose rest did not would leave versions behind for good.
        async with self._redis.pipeline(transaction=True) as pipe:
            for one in publications:
                # By its digest, not as a Script: that would ask before every batch whether Redis knows it.
                pipe.evalsha(
                    self._publish.sha,
                    3,
                    *(_stream_key(one.user_id), f"{PREFIX}head:{one.thing}", _cut_key(one.user_id)),
                    *(f"{one.epoch:010d}{one.version:020d}", one.event_id, one.change),
                    *(self._retention_ms, self._retention_ms * _REMEMBERED, _LONGEST),
                )
            return sum(await pipe.execute())

    async def read_after(self, user_id: str, after: Position | None, *, limit: int = PAGE) -> Page:
        """What follows a position; with None only where the stream is now."""
        cursor = "" if after is None else str(after)
        async with _in_time(_ANSWER_SECONDS):
            lost, tail, entries = await self._read(
                keys=[_stream_key(user_id), _BIRTH, _cut_key(user_id)], args=[cursor, self._retention_ms, limit]
            )
        return Page(bool(lost), Position.read(tail.decode()), [_entry(place, change) for place, (_, change) in entries])

    async def wake(self, tail: "Tail") -> None:
        """Ends a tail's waiting, because it has more to wait for."""
        async with _in_time(_ANSWER_SECONDS), self._redis.pipeline(transaction=False) as pipe:
            pipe.xadd(tail.wake_key, {"w": b""}, maxlen=1)
            pipe.expire(tail.wake_key, _WAKE_KEY_SECONDS)
            await pipe.execute()

    async def ping(self) -> None:
        """Asks for a sign of life."""
        async with _in_time(_ANSWER_SECONDS):
            await self._redis.ping()

    async def close(self) -> None:
        """Gives the connections back."""
        await self._redis.aclose()


class Tail:
    """One connection that waits for whatever comes next in many streams."""

    def __init__(self, redis: "Redis") -> None:
        """redis: from `client` with no retries: what was missed while it was away must be asked for."""
        self._redis = redis
        self.wake_key = f"{PREFIX}wake:{uuid.uuid4()}"
        self._woken: bytes | str = "0-0"

    async def next(self, positions: Mapping[str, Position], *, wait_ms: int) -> tuple[int, dict[str, list[Entry]]]:
        """New entries by user, and a moment of Redis's clock, in milliseconds: what comes later is not older."""
        names: dict[Any, Any] = {self.wake_key: self._woken}
        names.update((_stream_key(user_id), str(place)) for user_id, place in positions.items())
        async with _in_time(_ANSWER_SECONDS + wait_ms / 1000), self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.xread(names, count=FULL, block=wait_ms)
            (seconds, microseconds), found = await pipe.execute()
        arrived: dict[str, list[Entry]] = {}
        for name, entries in found or ():
            if name.decode() == self.wake_key:
                self._woken = entries[-1][0]
            else:
                arrived[name.decode().removeprefix(_STREAM)] = [
                    _entry(place, fields[b"c"]) for place, fields in entries
                ]
        return seconds * 1000 + microseconds // 1000, arrived

    async def reset(self) -> None:
        """Begins with a new connection."""
        self._woken = "0-0"
        await self._redis.connection_pool.disconnect(inuse_connections=True)

    async def close(self) -> None:
        """Gives the connection back."""
        await self._redis.aclose()


def client(url: str, *, retries: int) -> "Redis":
    """A client whose answers are bytes.

    It has no socket timeout: redis-py would put asyncio.wait_for around every command, which in Python 3.11 swallows a
    cancellation that comes with the answer.
    """
    made: Redis = Redis.from_url(url, socket_connect_timeout=1, socket_timeout=None, retry=Retry(NoBackoff(), retries))
    return made


@asynccontextmanager
async def _in_time(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise DependencyUnavailable("redis") from None


def _stream_key(user_id: str) -> str:
    return _STREAM + user_id


def _cut_key(user_id: str) -> str:
    return f"{PREFIX}cut:{user_id}"


def _entry(place: bytes, change: bytes) -> Entry:
    return Entry(Position.read(place.decode()), change)
