-- Included by other scripts.
-- look(key, stamp, now_ms, token, lease_ms, warm_lease_ms, known)
--   -> state, token, entry, warm, voided_ms
--
-- What to do with one entry under the current generations (`stamp`):
--   state 1: it is served; `entry` is '' when its token is `known`, for then the caller has it.
--     `warm` is 1 for the one caller that should have an entry past its soft expiry filled anew.
--   state 2: the caller fills, and stores under `token`. `entry` is what may be served if that
--     fails, or ''. `voided_ms`: when this key was last voided, 0 where nothing tells.
--   state 3: another caller fills, under `token`. `entry` as for state 2.
-- A stamp that is not that of the current generations is void, and so is a kind not known here: it
-- is another release's. O(1) plus the entry's length.
--
-- Entry layout, offsets from 0: kind (0), generations (1-50), warm at, ms (51-63), token (64-79),
-- fresh until, ms (80-92), good until, ms (93-105), payload (106-). Kinds: V value, N not found,
-- L fill lease, T tombstone, and E for a value past its good time that someone fills anew until
-- `warm at`.
local function look(key, stamp, now_ms, token, lease_ms, warm_lease_ms, known)
  local head = redis.call('GETRANGE', key, 0, 105)
  local kind = string.sub(head, 1, 1)
  -- A tombstone may carry the current generation: cache:gen:all can be replaced together with it.
  if head ~= '' and string.find('VNLE', kind, 1, true) and string.sub(head, 2, 51) == stamp then
    local held = string.sub(head, 65, 80)
    if kind == 'L' then
      return 3, held, '', 0, 0
    end
    local warm_at = tonumber(string.sub(head, 52, 64))
    if now_ms < tonumber(string.sub(head, 94, 106)) then
      local warm = 0
      if warm_lease_ms > 0 and now_ms >= warm_at then
        redis.call('SETRANGE', key, 51, string.format('%013.0f', now_ms + warm_lease_ms))
        warm = 1
      end
      return 1, held, held == known and '' or redis.call('GET', key), warm, 0
    end
    if kind == 'E' and now_ms < warm_at then
      return 3, held, redis.call('GET', key), 0, 0
    end
    redis.call('SETRANGE', key, 0, 'E')
    redis.call('SETRANGE', key, 51, string.format('%013.0f', now_ms + lease_ms))
    return 2, held, redis.call('GET', key), 0, 0
  end
  redis.call('SET', key, 'L' .. stamp .. string.rep('0', 13) .. token .. string.rep('0', 26),
    'PX', lease_ms)
  return 2, token, '', 0, kind == 'T' and tonumber(string.sub(head, 2, 14)) or 0
end
