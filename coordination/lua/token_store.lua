-- Keep a token unless a newer one is kept, and give the lock back if it is still the caller's.
-- KEYS: 1 token, 2 lock, 3 fence, 4 failure; all in one hash slot.
-- ARGV: 1 owner token or '', 2 fence, 3 expires at ms, 4 refresh at ms, 5 sealed text,
--       6 margin ms before the expiry, 7 now ms or '' for the server's clock.
-- Times are absolute, so a writer that was frozen meanwhile keeps nothing that has expired.
-- Returns 1 kept, 0 refused: a newer one is there, or its time is over. O(1).
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now_ms = ARGV[7] ~= '' and tonumber(ARGV[7]) or math.floor(now_us / 1000)

if ARGV[1] ~= '' and redis.call('GET', KEYS[2]) == ARGV[1] then
  redis.call('DEL', KEYS[2])
end
local fence = tonumber(ARGV[2])
local kept = redis.call('GETRANGE', KEYS[1], 0, 15)
if kept ~= '' and tonumber(kept) >= fence then
  return 0
end
local ttl_ms = tonumber(ARGV[3]) - tonumber(ARGV[6]) - now_ms
if ttl_ms <= 0 then
  return 0
end
local value = string.format('%016.0f%013.0f%013.0f', fence, ARGV[3], ARGV[4]) .. ARGV[5]
redis.call('SET', KEYS[1], value, 'PX', math.floor(ttl_ms))
redis.call('DEL', KEYS[4])
-- A token obtained while this server was away has a number that was not drawn here.
if tonumber(redis.call('GET', KEYS[3]) or '0') < fence then
  redis.call('SET', KEYS[3], string.format('%016.0f', fence))
end
return 1
