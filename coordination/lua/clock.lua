-- The time by the server of a key. KEYS: 1 any.  Returns ms since 1970. O(1).
local time = redis.call('TIME')
return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
