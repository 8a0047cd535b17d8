-- Store a filled entry only while the expected token still stands in its key (a lease of this
-- filler, or the very value that is being filled anew). A tombstone, an eviction, an emptied server
-- or another filler's lease refuses it.
-- KEYS: 1 entry.  ARGV: 1 expected token, 2 new value, or '' to give the lease back, 3 ttl ms.
-- Returns 1 stored, 0 refused. O(1) plus the value's length.
if redis.call('GETRANGE', KEYS[1], 64, 79) ~= ARGV[1] then
  return 0
end
if ARGV[2] == '' then
  if redis.call('GETRANGE', KEYS[1], 0, 0) == 'L' then
    redis.call('DEL', KEYS[1])
  end
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', tonumber(ARGV[3]))
end
return 1
