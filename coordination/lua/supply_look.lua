-- One look at a partner's last answer and, when it is not fresh, the right to see to a new one.
-- KEYS: 1 hash of the answer.
-- ARGV: 1 lease ms, 2 name of the lease: leases of different names do not exclude each other.
-- Returns {available, as of us, fresh, taken}: the first two are false without an answer within its
--   stale bound; taken is 1 when the lease is now the caller's, which it never is while the answer
--   is fresh. O(1).
-- Fields: available, as_of (us), fresh_until, stale_until (ms), and the end of each lease (ms).
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local held = redis.call('HMGET', KEYS[1],
  'available', 'as_of', 'fresh_until', 'stale_until', ARGV[2])
local available, as_of = held[1], held[2]
if not held[4] or now_ms >= tonumber(held[4]) then
  -- A lease may keep the key longer than the answer is good for.
  available, as_of = false, false
elseif now_ms < tonumber(held[3]) then
  return { available, as_of, 1, 0 }
end
if held[5] and now_ms < tonumber(held[5]) then
  return { available, as_of, 0, 0 }
end
local lease_ms = tonumber(ARGV[1])
redis.call('HSET', KEYS[1], ARGV[2], string.format('%.0f', now_ms + lease_ms))
if redis.call('PTTL', KEYS[1]) < lease_ms then
  redis.call('PEXPIRE', KEYS[1], lease_ms)
end
return { available, as_of, 0, 1 }
