-- Included by other scripts. admit(key, limit, window_ms, cost, now_ms) -> allowed, previous, current
--
-- The sliding window counter: weighted = previous * (1 - elapsed/window) + current + cost, rejected
-- when it exceeds the limit; a rejected request is not counted. One hash holds both windows.
-- cost 0 only looks. O(1).
local function admit(key, limit, window_ms, cost, now_ms)
  local index = math.floor(now_ms / window_ms)
  local held = redis.call('HMGET', key, 'w', 'c', 'p')
  local seen = tonumber(held[1]) or -1
  local current, previous = 0, 0
  if seen == index then
    current, previous = tonumber(held[2]) or 0, tonumber(held[3]) or 0
  elseif seen == index - 1 then
    previous = tonumber(held[2]) or 0
  end
  local elapsed = now_ms - index * window_ms
  local weighted = previous * (window_ms - elapsed) / window_ms + current
  if weighted + math.max(cost, 1) > limit then
    return 0, previous, current
  end
  if cost > 0 then
    current = current + cost
    if seen == index then
      redis.call('HINCRBY', key, 'c', cost)
    else
      -- Two windows from now: to the end of the next one and no less, whenever this one began.
      redis.call('HSET', key, 'w', index, 'c', current, 'p', previous)
      redis.call('PEXPIRE', key, 2 * window_ms)
    end
  end
  return 1, previous, current
end

local function clock_ms(override)
  if override ~= '' then
    return tonumber(override)
  end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
