-- Find a token that will do, or why there is none, or take the lock and draw a fencing number.
-- KEYS: 1 token, 2 lock, 3 fence, 4 failure; all in one hash slot.
-- ARGV: 1 owner token ('' only looks), 2 lock ms, 3 fence that a token must be above to do,
--       4 '1' when a token that is due for its refresh will not do, 5 margin ms before the expiry,
--       6 now ms or '' for the server's clock.
-- Token: fence (16 digits), expires at ms (13), refresh at ms (13), sealed text.
-- Failure: until ms (13), text.
-- Returns {state, now ms, text}: 'token' and the token | 'failed' and the failure | 'lock' and the
-- fencing number drawn | 'busy', another holds the lock | 'none', for those who only look. O(1).
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now_ms = ARGV[6] ~= '' and tonumber(ARGV[6]) or math.floor(now_us / 1000)

local kept = redis.call('GET', KEYS[1])
local kept_fence = 0
if kept then
  kept_fence = tonumber(string.sub(kept, 1, 16))
  local expires_ms = tonumber(string.sub(kept, 17, 29))
  local refresh_ms = tonumber(string.sub(kept, 30, 42))
  local due = ARGV[4] == '1' and now_ms >= refresh_ms
  if kept_fence > tonumber(ARGV[3]) and now_ms < expires_ms - tonumber(ARGV[5]) and not due then
    return { 'token', now_ms, kept }
  end
end

local failure = redis.call('GET', KEYS[4])
if failure and now_ms < tonumber(string.sub(failure, 1, 13)) then
  return { 'failed', now_ms, failure }
end
if ARGV[1] == '' then
  return { 'none', now_ms, '' }
end
if not redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', tonumber(ARGV[2])) then
  return { 'busy', now_ms, '' }
end
-- Above every number met so far, should a clock have been set back.
local last = tonumber(redis.call('GET', KEYS[3]) or '0')
local fence = math.max(now_us, last + 1, kept_fence + 1, tonumber(ARGV[3]) + 1)
local drawn = string.format('%016.0f', fence)
redis.call('SET', KEYS[3], drawn)
return { 'lock', now_ms, drawn }
