"""The script that writes everything of a guest."""

from mesh.runtime.redis_memory import USED_SHARE

_SPARED_SHARE, SPARING_BYTES = 0.5, 16 * 1024
"""When so much of Redis is in use, a guest with so many bytes may not add any: other guests need the rest."""
WRITE = f"""{USED_SHARE}
local version = redis.call('HGET', KEYS[1], 'version') or '0'
if version ~= ARGV[1] then return 0 end
if ARGV[6] == '1' and #ARGV[2] > {SPARING_BYTES} and #ARGV[2] > redis.call('HSTRLEN', KEYS[1], 'document') then
  if used_share() > {_SPARED_SHARE} then return -1 end
end
redis.call('HSET', KEYS[1], 'version', version + 1, 'document', ARGV[2])
redis.call('EXPIREAT', KEYS[1], ARGV[3])
if ARGV[4] == '' then
  redis.call('ZREM', KEYS[2], ARGV[5])
else
  redis.call('ZADD', KEYS[2], ARGV[4], ARGV[5])
end
return 1
"""
"""Returns 1; 0 when another write came first, -1 when there is no room for more of this guest."""
