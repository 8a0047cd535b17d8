-- include entry.lua
-- What to do with one entry, for callers that have read its generations elsewhere.
-- KEYS: 1 entry.
-- ARGV: 1 stamp, 2 fresh opaque token (16 bytes), 3 fill lease ms, 4 warm lease ms (0: never take it).
-- Returns {now ms, state, token, entry, warm, settled ms} as entry.lua says; settled ms: how long ago
--   this key was last voided, -1 where nothing tells. O(1) plus the entry's length.
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local state, token, entry, warm, voided_ms = look(
  KEYS[1], ARGV[1], now_ms, ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), '')
local settled_ms = voided_ms > 0 and math.max(0, now_ms - voided_ms) or -1
return { now_ms, state, token, entry, warm, settled_ms }
