-- Store a filled entry only while the expected token still stands in its key (a lease of this
-- filler, or the very value that is being filled anew). A tombstone, an eviction, an emptied server
-- or another filler's lease refuses it.
-- KEYS: 1 entry, 2.. the generations it recorded, which are renewed: only a stored entry gives them
-- a long life, or every made-up category would leave a key for hours.
-- ARGV: 1 expected token, 2 new value, or '' to give the lease back, 3 ttl ms, 4 generation ttl ms.
-- Returns 1 stored, 0 refused. O(1) plus the value's length.
if redis.call('GETRANGE', KEYS[1], 64, 79) ~= ARGV[1] then
  return 0
end
if ARGV[2] == '' then
  local kind = redis.call('GETRANGE', KEYS[1], 0, 0)
  if kind == 'L' then
    redis.call('DEL', KEYS[1])
  elseif kind == 'E' then
    redis.call('SETRANGE', KEYS[1], 51, string.rep('0', 13))
  end
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', tonumber(ARGV[3]))
  for i = 2, #KEYS do
    redis.call('PEXPIRE', KEYS[i], tonumber(ARGV[4]))
  end
end
return 1
