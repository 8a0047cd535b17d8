-- include generations.lua
-- One generation, made where it is missing, and how long ago it was replaced by this server's clock.
-- KEYS: 1 generation.  ARGV: 1 fresh opaque token, 2 ttl ms of a new one.
-- Returns {generation, age ms}. O(1).
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local generation = generation_of(KEYS[1], ARGV[1], tonumber(ARGV[2]))
return { generation, math.max(0, now_ms - tonumber(string.sub(generation, 1, 13))) }
