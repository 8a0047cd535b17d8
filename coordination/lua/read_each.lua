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
local at, first = 7, 1

local function read_on()
  while at < #ARGV do
    local last = first + tonumber(ARGV[at + 3]) - 1
    local allowed, previous, current, _, state, stamp, token, entry, warm, settled_ms = read_one(
      first, last, terms, tonumber(ARGV[at + 2]), ARGV[at], ARGV[at + 1], now_ms, seen)
    local place = (at - 3) / 2
    if state == 1 and entry == '' and warm == 0 then
      replies[place], replies[place + 1] = previous, current
    else
      replies[place] = -1
      replies[place + 1] =
        { allowed, previous, current, now_ms, state, stamp, token, entry, warm, settled_ms }
    end
    at, first = at + 4, last + 1
  end
end

while at < #ARGV do
  local ran, fault = pcall(read_on)
  if not ran then
    replies[(at - 3) / 2] = -1
    -- A table since Redis 7, and text before.
    replies[(at - 1) / 2] = { err = type(fault) == 'table' and fault.err or tostring(fault) }
    at, first = at + 4, first + tonumber(ARGV[at + 3])
  end
end
return replies
