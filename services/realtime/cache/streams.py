"""One Redis stream per user. Scripts make the operations of concurrent replicas atomic.

`realtime:stream:<user>`    the changes of the last minutes; expires when no more are added
`realtime:head:<resource>`  the latest version of a resource that was added, and the events that carried it
`realtime:cut:<user>`       last position that was dropped from a stream to bound its size
`realtime:birth`            hash: the run ID of the Redis that holds the streams, and since when they are complete
`realtime:wake:<replica>`   interrupts the blocking read of a replica

Fields of an entry: `c`, the change, absent where it was too large to be kept; `s`, bytes of the stream up to and with
this entry, counted since the stream began; `k`, the last position that was dropped when it was added.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

from mesh.runtime.errors import DependencyUnavailable
from mesh.runtime.redis_memory import USED_SHARE
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

_LEVELS = (
    (0.50, 4 * 1024 * 1024, 600),
    (0.65, 1024 * 1024, 120),
    (0.75, 128 * 1024, 60),
    (0.85, 16 * 1024, 20),
    (9.99, 0, 10),
)
"""Up to which share of Redis's memory in use a stream keeps how many bytes, and how many seconds the latest version of
a resource is known. Kafka redelivers within seconds of a restart. With 0 bytes changes are only told to be lost."""
_ENTRY_BYTES = 128
"""What an entry costs beside its change."""
_SCRIPT_BYTES, _SCRIPT_CHANGES = 256 * 1024, 100
"""Most that one run of the script adds, a larger change alone: nothing else runs in Redis meanwhile."""

_PUBLISH = f"""{USED_SHARE}
local retention = ARGV[1]
local time = redis.call('TIME')
local oldest = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) - retention)
local share, largest, known_seconds = used_share(), 0, 0
for _, level in ipairs({{{", ".join(f"{{{share},{size},{seconds}}}" for share, size, seconds in _LEVELS)}}}) do
    largest, known_seconds = level[2], level[3]
    if share <= level[1] then break end
end

local function field(entry, name)
    for index = 1, #entry[2], 2 do
        if entry[2][index] == name then return entry[2][index + 1] end
    end
end
local function cost(entry)
    return #(field(entry, 'c') or '') + {_ENTRY_BYTES}
end

local function trim(stream, size, most)
    local lost
    while size > most do
        local dropped, entries = 0, redis.call('XRANGE', stream, '-', '+', 'COUNT', 16)
        if #entries == 0 then break end
        for _, entry in ipairs(entries) do
            if size <= most then break end
            size, lost, dropped = size - cost(entry), entry[1], dropped + 1
        end
        redis.call('XTRIM', stream, 'MAXLEN', '=', redis.call('XLEN', stream) - dropped)
    end
    return lost
end

local function add(stream, cut, change)
    local total, size = 0, 0
    local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
    if newest then
        local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
        total = tonumber(field(newest, 's') or 0)
        size = total - (field(first, 's') or 0) + cost(first)
    end
    local kept = #change + {_ENTRY_BYTES} <= largest
    local more = (kept and #change or 0) + {_ENTRY_BYTES}
    local lost = size + more > largest and trim(stream, size, largest / 2 - more)
    local fields = {{'s', string.format('%.0f', total + more)}}
    if kept then table.insert(fields, 'c') table.insert(fields, change) end
    if lost then
        table.insert(fields, 'k') table.insert(fields, lost)
        redis.call('SET', cut, lost, 'PX', retention)
    end
    redis.call('XADD', stream, '*', unpack(fields))
    redis.call('PEXPIRE', stream, retention)
end

local added = 0
for index = 1, #KEYS / 3 do
    local stream, head, cut = KEYS[index * 3 - 2], KEYS[index * 3 - 1], KEYS[index * 3]
    local version, event, change = ARGV[index * 3 - 1], ARGV[index * 3], ARGV[index * 3 + 1]
    local known, events, new = redis.call('GET', head), event, true
    if known then
        local latest = string.sub(known, 1, 30)
        new = version > latest or (version == latest and not string.find(known, event, 31, true))
        if version == latest then events = string.sub(known, 32) .. ' ' .. event end
    end
    if new then
        redis.call('XTRIM', stream, 'MINID', '~', oldest)
        add(stream, cut, change)
        redis.call('SET', head, version .. ' ' .. events, 'EX', known_seconds)
        added = added + 1
    end
end
return added
"""
"""Adds changes, each once, and never after a later version of the same resource: for as long as the latest version is
known, 600 s after it was added, and less the fuller Redis is, down to 10 s (`_LEVELS`). An epoch has 10 digits and a
version 20, so that both together compare as text.

It drops before it adds: Redis lets a script that has dropped something add to a full memory. So no change waits for
room; what there is no room for is told to be lost, first to those who have the most."""

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
        """Adds changes to their streams, in order; returns how many were new. Retry the whole batch when it fails.

        A failure leaves the first changes added, never later ones without them: the retry drops what is there.
        """
        added = 0
        for portion in _portions(publications):
            async with _deadline(_RESPONSE_SECONDS):
                try:
                    added += await self._add(portion)
                except NoScriptError:
                    await self._redis.script_load(_PUBLISH)
                    added += await self._add(portion)
        return added

    async def _add(self, publications: Sequence[Publication]) -> int:
        keys: list[str] = []
        values: list[str | bytes] = []
        for one in publications:
            keys += (_stream_key(one.user_id), f"{PREFIX}head:{one.resource}", _cut_key(one.user_id))
            values += (f"{one.epoch:010d}{one.version:020d}", one.event_id, one.change)
        # evalsha, because a Script of redis-py would load it by itself
        adding: Any = self._redis.evalsha(self._publish.sha, len(keys), *keys, str(self._retention_ms), *values)
        return int(await adding)

    async def read_after(self, user_id: str, after: Position | None, *, limit: int = READ_LIMIT) -> Page:
        """The entries after a position; with None only the current end of the stream."""
        cursor = "" if after is None else str(after)
        async with _deadline(_RESPONSE_SECONDS):
            lost, tail, entries = await self._read(
                keys=[_stream_key(user_id), _BIRTH, _cut_key(user_id)], args=[cursor, self._retention_ms, limit]
            )
        return Page(bool(lost), Position.read(tail.decode()), [_entry(*entry) for entry in entries])

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
                user_id = name.decode().removeprefix(_STREAM)
                arrived[user_id] = list(_with_losses(entries, positions[user_id]))
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


def _entry(entry_id: bytes, fields: Sequence[bytes]) -> Entry:
    return Entry(Position.read(entry_id.decode()), dict(zip(fields[::2], fields[1::2], strict=True)).get(b"c", b""))


def _with_losses(entries: Iterable[tuple[bytes, Mapping[bytes, bytes]]], position: Position) -> Iterator[Entry]:
    """The entries after a position, and where some before one were dropped that were not read, an empty one."""
    for entry_id, fields in entries:
        if b"k" in fields and (lost := Position.read(fields[b"k"].decode())) > position:
            yield Entry(lost, b"")
        position = Position.read(entry_id.decode())
        yield Entry(position, fields.get(b"c", b""))


def _portions(publications: Sequence[Publication]) -> Iterator[Sequence[Publication]]:
    """The changes in the portions that one run of the script adds."""
    first, size = 0, 0
    for index, one in enumerate(publications):
        size += len(one.change)
        if index > first and (size > _SCRIPT_BYTES or index - first == _SCRIPT_CHANGES):
            yield publications[first:index]
            first, size = index, len(one.change)
    if first < len(publications):
        yield publications[first:]
