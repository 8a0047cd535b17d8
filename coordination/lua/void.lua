-- Void product entries and whole generations at once, after the change they show has committed.
-- KEYS: 1..n product entries, then generations.
-- ARGV: 1 n, 2 tombstone ttl ms, 3 fresh opaque token (16 bytes), 4 generation ttl ms.
-- Returns one number per product: 1 when it held a value, that is, was in use. O(keys).
local products = tonumber(ARGV[1])
local time = redis.call('TIME')
local generation = string.format('%010d%06d-%s', time[1], time[2], string.sub(ARGV[3], 1, 8))
local held = {}
for i = 1, products do
  local kind = redis.call('GETRANGE', KEYS[i], 0, 0)
  held[i] = (kind == 'V' or kind == 'E') and 1 or 0
  redis.call('SET', KEYS[i], 'T' .. generation .. string.rep('-', 25), 'PX', tonumber(ARGV[2]))
end
for i = products + 1, #KEYS do
  redis.call('SET', KEYS[i], generation, 'PX', tonumber(ARGV[4]))
end
return held
