-- Store rebuildable bytes for a while.
-- KEYS: 1 key.  ARGV: 1 value, 2 ttl ms.  Returns nothing.  O(1).
redis.call('SET', KEYS[1], ARGV[1], 'PX', tonumber(ARGV[2]))
