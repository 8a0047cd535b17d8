-- Give a lease back if it is still the caller's.
-- KEYS: 1 lease.  ARGV: 1 owner token.  Returns 1 when it was. O(1).
local held = redis.call('GET', KEYS[1])
if held and string.sub(held, 1, #ARGV[1] + 1) == ARGV[1] .. ':' then
  return redis.call('DEL', KEYS[1])
end
return 0
