-- Put one value at the head of a list of bounded length and life.
-- KEYS: 1 list.  ARGV: 1 value, 2 its most entries, 3 ttl ms.  Returns how many are left.
-- O(entries that fall off).
redis.call('LPUSH', KEYS[1], ARGV[1])
redis.call('LTRIM', KEYS[1], 0, tonumber(ARGV[2]) - 1)
redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[3]))
return redis.call('LLEN', KEYS[1])
