"""How full Redis is, for scripts that store less the fuller it is."""

USED_SHARE = """
local function used_share()
  local memory = redis.call('INFO', 'memory')
  local most = tonumber(string.match(memory, 'maxmemory:(%d+)'))
  return most > 0 and string.match(memory, 'used_memory:(%d+)') / most or 0
end
"""
"""Lua: the share of `maxmemory` that is in use; 0 without a limit. Costs about 0.05 ms."""
