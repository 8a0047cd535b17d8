-- Included by other scripts. generation_of(key, token, ttl_ms) -> generation
--
-- The generation that stands there, or a new one: its time in microseconds (16 digits) and a random
-- part, so that none can ever be the same again. A new one lives for `ttl_ms`. O(1).
local function generation_of(key, token, ttl_ms)
  local generation = redis.call('GET', key)
  if not generation then
    local time = redis.call('TIME')
    generation = string.format('%010d%06d-%s', time[1], time[2], string.sub(token, 1, 8))
    redis.call('SET', key, generation, 'PX', ttl_ms)
  end
  return generation
end
