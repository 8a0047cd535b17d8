-- Take or renew a lease; the fencing number grows with every change of holder.
-- KEYS: 1 lease.  ARGV: 1 owner token, 2 ttl ms.
-- Value: '<owner token>:<fencing number>'. The number is the server's clock in microseconds at the
-- take-over, so it also grows across an emptied server.
-- Returns the fencing number as a string when the caller holds the lease, else ''. O(1).
local held = redis.call('GET', KEYS[1])
if held then
  local split = string.find(held, ':', 1, true)
  if string.sub(held, 1, split - 1) ~= ARGV[1] then
    return ''
  end
  redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[2]))
  return string.sub(held, split + 1)
end
local time = redis.call('TIME')
local fence = string.format('%010d%06d', time[1], time[2])
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. fence, 'PX', tonumber(ARGV[2]))
return fence
