-- Give the lock back if it is still the caller's, leaving word of why there is no token.
-- KEYS: 1 lock, 2 failure; in one hash slot.
-- ARGV: 1 owner token, 2 failure or '', 3 its life in ms. A failure is: until ms (13 digits), text.
-- Returns 1 when the lock was the caller's. O(1).
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
if ARGV[2] ~= '' then
  redis.call('SET', KEYS[2], ARGV[2], 'PX', tonumber(ARGV[3]))
end
return redis.call('DEL', KEYS[1])
