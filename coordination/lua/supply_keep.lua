-- Keep a partner's answer, unless a later one stands. Leases are left alone.
-- KEYS: 1 hash of the answer, see supply_look.lua.
-- ARGV: 1 available, 2 as of us, 3 fresh ms, 4 stale ms (no lease is longer).
-- Returns 1 when it was kept, 0 when what stands is of a later moment. O(1).
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local held = redis.call('HMGET', KEYS[1], 'as_of', 'stale_until')
if held[1] and now_ms < tonumber(held[2]) and tonumber(held[1]) > tonumber(ARGV[2]) then
  return 0
end
redis.call('HSET', KEYS[1],
  'available', ARGV[1],
  'as_of', ARGV[2],
  'fresh_until', string.format('%.0f', now_ms + tonumber(ARGV[3])),
  'stale_until', string.format('%.0f', now_ms + tonumber(ARGV[4])))
redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[4]))
return 1
