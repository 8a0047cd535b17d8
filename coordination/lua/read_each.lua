-- include sliding_window.lua
-- include entry.lua
-- include generations.lua
-- include read_one.lua
-- Cached reads as by read.lua, of several who come at one moment and have the answer at hand.
-- KEYS: of each read in turn, as read_one.lua says.
-- ARGV: 1 limit, 2 window ms, 3 cost, 4 ttl ms of a new generation, 5 fill lease ms, 6 warm lease ms,
--       then of each read in turn: its fresh opaque token (16 bytes), the token of the entry that
--       the caller has, how many generations make its stamp, how many keys it has.
-- Returns {now ms, ...}, two elements for each read: its previous and its current count if what the
--   caller has may be sent, else -1 and the reply of read.lua, be it an error: one read that fails
--   fails alone, as if each had been asked for by itself, and no lease of another's is left behind.
--   O(number of reads) plus the lengths of entries returned.
local terms = {
  limit = tonumber(ARGV[1]),
  window_ms = tonumber(ARGV[2]),
  cost = tonumber(ARGV[3]),
  generation_ttl_ms = tonumber(ARGV[4]),
  lease_ms = tonumber(ARGV[5]),
  warm_lease_ms = tonumber(ARGV[6]),
}
local now_ms = clock_ms('')
local replies, seen = { now_ms }, {}
local first, filled = 1, 1
for i = 7, #ARGV, 4 do
  local number = tonumber(ARGV[i + 3])
  local ran, allowed, previous, current, _, state, stamp, token, entry, warm, settled_ms = pcall(
    read_one, first, first + number - 1, terms, tonumber(ARGV[i + 2]), ARGV[i], ARGV[i + 1],
    now_ms, seen)
  if not ran then
    replies[filled + 1] = -1
    -- A table since Redis 7, and text before.
    replies[filled + 2] = { err = type(allowed) == 'table' and allowed.err or tostring(allowed) }
  elseif state == 1 and entry == '' and warm == 0 then
    replies[filled + 1], replies[filled + 2] = previous, current
  else
    replies[filled + 1] = -1
    replies[filled + 2] =
      { allowed, previous, current, now_ms, state, stamp, token, entry, warm, settled_ms }
  end
  first, filled = first + number, filled + 2
end
return replies
