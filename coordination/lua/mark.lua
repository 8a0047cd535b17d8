-- Store many small values at once.
-- KEYS: 1.. what to set.  ARGV: 1 ttl ms, 2.. the value of each key, in their order.
-- Returns how many were set. O(number of keys).
local ttl_ms = tonumber(ARGV[1])
for i = 1, #KEYS do
  redis.call('SET', KEYS[i], ARGV[i + 1], 'PX', ttl_ms)
end
return #KEYS
