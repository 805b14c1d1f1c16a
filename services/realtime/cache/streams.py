"""One Redis stream per user. Scripts make the operations of concurrent replicas atomic.

`realtime:stream:<user>`    the changes of the last minutes; expires when no more are added
`realtime:head:<resource>`  the latest version of a resource that was added, and the events that carried it
`realtime:size:<user>`      bytes of the changes that were added to a stream; some of them have expired
`realtime:cut:<user>`       first position left of a stream that was trimmed for its length or size
`realtime:birth`            hash: the run ID of the Redis that holds the streams, and since when they are complete
`realtime:wake:<replica>`   interrupts the blocking read of a replica
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, OutOfMemoryError

from mesh.runtime.errors import DependencyUnavailable
from services.realtime.model import Entry, Page, Position

PREFIX = "realtime:"
READ_LIMIT = 256
"""Entries per read."""
TAIL_LIMIT = 500
"""Most entries of one stream in one read of a tail. At this number, older ones may have been trimmed already."""
_STREAM = f"{PREFIX}stream:"
_BIRTH = f"{PREFIX}birth"
_RESPONSE_SECONDS = 2.0
_WAKE_KEY_SECONDS = 3600
_VERSION_RETENTIONS = 2
"""How long the latest version of a resource is stored, in retentions of the streams. Short, because Kafka redelivers
within seconds of a restart and memory is what Redis has least of."""

_LONGEST_STREAM = 10_000
"""Most entries of one user's stream, about 4 MB: the users share the memory of one Redis."""
_LARGEST_STREAM = 32 * 1024 * 1024
"""Most bytes of them: the change of a focus session can have 230 kB."""

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
local largest = tonumber(ARGV[7])
if redis.call('INCRBY', KEYS[4], #ARGV[3]) > largest then
    local entries, size, first = redis.call('XRANGE', KEYS[1], '-', '+'), 0, 1
    for _, entry in ipairs(entries) do size = size + #entry[2][2] end
    if size > largest then
        while size > largest / 2 and first < #entries do
            size, first = size - #entries[first][2][2], first + 1
        end
        redis.call('XTRIM', KEYS[1], 'MINID', '=', entries[first][1])
        redis.call('SET', KEYS[3], entries[first][1], 'PX', retention)
    end
    redis.call('SET', KEYS[4], size)
end
redis.call('PEXPIRE', KEYS[4], retention)
redis.call('SET', KEYS[2], version .. ' ' .. events, 'PX', ARGV[5])
return 1
"""
"""Adds a change once, and never after a later version of the same resource. An epoch has 10 digits and a version 20, so
that both together compare as text."""

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
"""Returns the entries after a cursor, unless some may be lost: when the cursor is older than the retention, than the
position at which the stream was trimmed, or than the last loss of Redis's memory. A restart loses the memory unless
Redis keeps an append-only file."""


class Publication(NamedTuple):
    """A change to add to its owner's stream."""

    user_id: str
    resource: str
    """`source:subject` of the event: the owning service and the resource's ID."""
    epoch: int
    version: int
    event_id: str
    change: bytes


class Streams:
    """The streams of all users. Methods raise DependencyUnavailable, or an error of redis-py, when Redis fails."""

    def __init__(self, redis: Redis, *, retention_seconds: int) -> None:
        """redis: from `client`."""
        self._redis = redis
        self._retention_ms = retention_seconds * 1000
        self._publish = redis.register_script(_PUBLISH)
        self._read = redis.register_script(_READ)

    async def publish(self, publications: Sequence[Publication]) -> int:
        """Adds changes to their streams, in order; returns how many were new. Retry the whole batch when it fails."""
        async with _deadline(_RESPONSE_SECONDS):
            try:
                try:
                    return await self._add(publications)
                except NoScriptError:
                    await self._redis.script_load(_PUBLISH)
                    return await self._add(publications)
            except OutOfMemoryError:
                # Temporary: memory is freed as streams expire. The changes themselves are valid.
                raise DependencyUnavailable("memory of redis") from None

    async def _add(self, publications: Sequence[Publication]) -> int:
        # Atomic: if only the end of a batch were added, its earlier versions would count as outdated on the retry.
        async with self._redis.pipeline(transaction=True) as pipe:
            for one in publications:
                # evalsha, because a Script in a pipeline asks Redis before every batch whether it is loaded.
                pipe.evalsha(
                    self._publish.sha,
                    4,
                    *(_stream_key(one.user_id), f"{PREFIX}head:{one.resource}", _cut_key(one.user_id)),
                    f"{PREFIX}size:{one.user_id}",
                    *(f"{one.epoch:010d}{one.version:020d}", one.event_id, one.change),
                    *(self._retention_ms, self._retention_ms * _VERSION_RETENTIONS),
                    *(_LONGEST_STREAM, _LARGEST_STREAM),
                )
            return sum(await pipe.execute())

    async def read_after(self, user_id: str, after: Position | None, *, limit: int = READ_LIMIT) -> Page:
        """The entries after a position; with None only the current end of the stream."""
        cursor = "" if after is None else str(after)
        async with _deadline(_RESPONSE_SECONDS):
            lost, tail, entries = await self._read(
                keys=[_stream_key(user_id), _BIRTH, _cut_key(user_id)], args=[cursor, self._retention_ms, limit]
            )
        return Page(
            bool(lost), Position.read(tail.decode()), [_entry(entry_id, change) for entry_id, (_, change) in entries]
        )

    async def wake(self, tail: "Tail") -> None:
        """Interrupts the blocking read of a tail, so that its next read includes a new stream."""
        async with _deadline(_RESPONSE_SECONDS), self._redis.pipeline(transaction=False) as pipe:
            pipe.xadd(tail.wake_key, {"w": b""}, maxlen=1)
            pipe.expire(tail.wake_key, _WAKE_KEY_SECONDS)
            await pipe.execute()

    async def ping(self) -> None:
        """Raises unless Redis responds."""
        async with _deadline(_RESPONSE_SECONDS):
            await cast(Awaitable[bool], self._redis.ping())  # redis-py types it for the synchronous client too

    async def close(self) -> None:
        """Closes the connections."""
        await self._redis.aclose()


class Tail:
    """One connection that reads new entries of many streams, and blocks until there are some."""

    def __init__(self, redis: Redis) -> None:
        """redis: from `client` without retries: after a lost connection the caller has to read what it missed."""
        self._redis = redis
        self.wake_key = f"{PREFIX}wake:{uuid.uuid4()}"
        self._woken: bytes | str = "0-0"

    async def next(self, positions: Mapping[str, Position], *, wait_ms: int) -> tuple[int, dict[str, list[Entry]]]:
        """New entries by user, and the time of the read, in milliseconds of Redis's clock: no later entry is older."""
        names: dict[Any, Any] = {self.wake_key: self._woken}
        names.update((_stream_key(user_id), str(position)) for user_id, position in positions.items())
        async with _deadline(_RESPONSE_SECONDS + wait_ms / 1000), self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.xread(names, count=TAIL_LIMIT, block=wait_ms)
            (seconds, microseconds), found = await pipe.execute()
        arrived: dict[str, list[Entry]] = {}
        for name, entries in found or ():
            if name.decode() == self.wake_key:
                self._woken = entries[-1][0]
            else:
                arrived[name.decode().removeprefix(_STREAM)] = [
                    _entry(entry_id, fields[b"c"]) for entry_id, fields in entries
                ]
        return seconds * 1000 + microseconds // 1000, arrived

    async def reset(self) -> None:
        """Drops the connection; the next read opens a new one."""
        self._woken = "0-0"
        await self._redis.connection_pool.disconnect(inuse_connections=True)

    async def close(self) -> None:
        """Closes the connection."""
        await self._redis.aclose()


def client(url: str, *, retries: int) -> Redis:
    """A client whose responses are bytes.

    It has no socket timeout: redis-py would wrap every command in asyncio.wait_for, which in Python 3.11 swallows a
    cancellation that arrives together with the response.
    """
    redis: Redis = Redis.from_url(url, socket_connect_timeout=1, socket_timeout=None, retry=Retry(NoBackoff(), retries))
    return redis


@asynccontextmanager
async def _deadline(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise DependencyUnavailable("redis") from None


def _stream_key(user_id: str) -> str:
    return _STREAM + user_id


def _cut_key(user_id: str) -> str:
    return f"{PREFIX}cut:{user_id}"


def _entry(entry_id: bytes, change: bytes) -> Entry:
    return Entry(Position.read(entry_id.decode()), change)
