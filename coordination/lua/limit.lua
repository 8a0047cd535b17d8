-- include sliding_window.lua
-- One rate limit decision without a cached read.
-- KEYS: 1 limiter hash.  ARGV: 1 limit, 2 window ms, 3 cost, 4 now ms or '' for the server's clock.
-- Returns {allowed, previous count, current count, now ms}. O(1).
local now_ms = clock_ms(ARGV[4])
local allowed, previous, current =
  admit(KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), now_ms)
return { allowed, previous, current, now_ms }
