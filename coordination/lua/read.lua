-- include sliding_window.lua
-- include entry.lua
-- include generations.lua
-- One cached read: rate limit, generations and entry in one round trip.
-- KEYS: 1 limiter hash, 2 entry, 3.. generations (the first is cache:gen:all, at most two), then
--       those that are only watched.
-- ARGV: 1 limit (0: unlimited), 2 window ms, 3 cost, 4 now ms or '', 5 fresh opaque token (16 bytes),
--       6 ttl ms of a generation that no stored entry has recorded yet, 7 fill lease ms,
--       8 warm lease ms (0: never take it), 9 how many generations make the stamp,
--       10 token of an entry that the caller has, or ''.
-- Returns {allowed, previous, current, now ms, state, stamp, token, entry, warm, settled ms}:
--   state 0 limited, else as entry.lua says; settled ms, for state 2: how long ago anything named
--   here was last voided, 0 where something is missing. O(1) plus the entry's length.
local now_ms = clock_ms(ARGV[4])
local allowed, previous, current = 1, 0, 0
local limit = tonumber(ARGV[1])
if limit > 0 then
  allowed, previous, current =
    admit(KEYS[1], limit, tonumber(ARGV[2]), tonumber(ARGV[3]), now_ms)
  if allowed == 0 then
    return { 0, previous, current, now_ms, 0, '', '', '', 0, 0 }
  end
end

local generation_ttl_ms = tonumber(ARGV[6])
local stamping = tonumber(ARGV[9])
local first = generation_of(KEYS[3], ARGV[5], generation_ttl_ms)
local second = stamping > 1 and generation_of(KEYS[4], ARGV[5], generation_ttl_ms)
  or '-------------------------'
local stamp = first .. second

local state, token, entry, warm, youngest_ms = look(
  KEYS[2], stamp, now_ms, ARGV[5], tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[10])
local settled_ms = 0
if state == 2 then
  -- A generation begins with its time in microseconds.
  youngest_ms = math.max(youngest_ms, tonumber(string.sub(first, 1, 13)),
    tonumber(string.sub(second, 1, 13)) or 0)
  for i = stamping + 3, #KEYS do
    local generation = generation_of(KEYS[i], ARGV[5], generation_ttl_ms)
    youngest_ms = math.max(youngest_ms, tonumber(string.sub(generation, 1, 13)))
  end
  settled_ms = math.max(0, now_ms - youngest_ms)
end
return { 1, previous, current, now_ms, state, stamp, token, entry, warm, settled_ms }
