-- include sliding_window.lua
-- One rate limit decision and one look at a key, in one round trip.
-- KEYS: 1 limiter hash, 2 the key to read.
-- ARGV: 1 limit, 2 window ms, 3 cost, 4 now ms or '' for the server's clock.
-- Returns {allowed, previous count, current count, now ms, value}; the value is false for a key
-- that holds nothing and for a rejected request. O(1).
local now_ms = clock_ms(ARGV[4])
local allowed, previous, current =
  admit(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), now_ms)
local value = allowed == 1 and redis.call('GET', KEYS[2])
return { allowed, previous, current, now_ms, value }
