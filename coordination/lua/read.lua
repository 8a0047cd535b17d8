-- include sliding_window.lua
-- One cached read: rate limit, generations and entry in one round trip.
-- KEYS: 1 limiter hash, 2 entry, 3.. generations (the first is cache:gen:all, at most two).
-- ARGV: 1 limit (0: unlimited), 2 window ms, 3 cost, 4 now ms or '', 5 fresh opaque token (16 bytes),
--       6 ttl ms of a generation that no stored entry has recorded yet, 7 fill lease ms,
--       8 warm lease ms (0: never take it).
-- Returns {allowed, previous, current, now ms, state, stamp, token, entry, warm}:
--   state 0 limited, 1 entry served, 2 caller holds the fill lease `token`, 3 another fills (`token`
--   is its lease). `warm` is 1 for the one caller that should have an entry past its soft expiry
--   filled anew.
-- An entry whose stamp is not made of the current generations is void. O(1) plus the entry's length.
--
-- Entry layout, offsets from 0: kind (0), generations (1-50), warm at, ms (51-63), token (64-79),
-- fresh until, ms (80-92), payload (93-). Kinds: V value, N not found, L fill lease, T tombstone.
local now_ms = clock_ms(ARGV[4])
local allowed, previous, current = 1, 0, 0
local limit = tonumber(ARGV[1])
if limit > 0 then
  allowed, previous, current =
    admit(KEYS[1], limit, tonumber(ARGV[2]), tonumber(ARGV[3]), now_ms)
  if allowed == 0 then
    return { 0, previous, current, now_ms, 0, '', '', '', 0 }
  end
end

local none = string.rep('-', 25)
local generation_ttl_ms = tonumber(ARGV[6])
local stamps = { none, none }
for i = 3, #KEYS do
  local generation = redis.call('GET', KEYS[i])
  if not generation then
    local time = redis.call('TIME')
    generation = string.format('%010d%06d-%s', time[1], time[2], string.sub(ARGV[5], 1, 8))
    redis.call('SET', KEYS[i], generation, 'PX', generation_ttl_ms)
  end
  stamps[i - 2] = generation
end
local stamp = stamps[1] .. stamps[2]

local entry = redis.call('GET', KEYS[2])
local kind = entry and string.sub(entry, 1, 1)
-- A tombstone may carry the current generation: cache:gen:all can be replaced together with it.
if entry and kind ~= 'T' and string.sub(entry, 2, 51) == stamp then
  local token = string.sub(entry, 65, 80)
  if kind == 'L' then
    return { 1, previous, current, now_ms, 3, stamp, token, '', 0 }
  end
  local warm = 0
  local warm_lease_ms = tonumber(ARGV[8])
  if warm_lease_ms > 0 and now_ms >= tonumber(string.sub(entry, 52, 64)) then
    redis.call('SETRANGE', KEYS[2], 51, string.format('%013.0f', now_ms + warm_lease_ms))
    warm = 1
  end
  return { 1, previous, current, now_ms, 1, stamp, token, entry, warm }
end

redis.call('SET', KEYS[2], 'L' .. stamp .. string.rep('0', 13) .. ARGV[5] .. string.rep('0', 13),
  'PX', tonumber(ARGV[7]))
return { 1, previous, current, now_ms, 2, stamp, ARGV[5], '', 0 }
