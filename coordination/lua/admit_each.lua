-- include sliding_window.lua
-- As admit.lua, for several who are counted against one limit and come at one moment: each by
-- itself, in their order, so that those admitted are the first of them.
-- KEYS: 1 limiter hash, 2.. the key to read for each.
-- ARGV: 1 limit, 2 window ms.
-- Returns {number admitted, previous count, current count before them, now ms, values}; a value for
-- each admitted one, false for a key that holds nothing. O(number of keys).
local now_ms = clock_ms('')
local limit, window_ms = tonumber(ARGV[1]), tonumber(ARGV[2])
local number = #KEYS - 1
local admitted = number
-- If all of them fit together, each would have been admitted.
local allowed, previous, current = admit(KEYS[1], limit, window_ms, number, now_ms)
if allowed == 0 then
  admitted = -1
  repeat
    admitted = admitted + 1
    allowed, previous, current = admit(KEYS[1], limit, window_ms, 1, now_ms)
  until allowed == 0
end
local values = {}
if admitted > 0 then
  values = redis.call('MGET', unpack(KEYS, 2, admitted + 1))
end
return { admitted, previous, current - admitted, now_ms, values }
