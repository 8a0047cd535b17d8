-- include sliding_window.lua
-- include entry.lua
-- include generations.lua
-- include read_one.lua
-- One cached read: rate limit, generations and entry in one round trip.
-- KEYS: 1 limiter hash, 2 entry, 3.. generations, as read_one.lua says.
-- ARGV: 1 limit (0: unlimited), 2 window ms, 3 cost, 4 now ms or '', 5 fresh opaque token (16 bytes),
--       6 ttl ms of a new generation, 7 fill lease ms, 8 warm lease ms (0: never take it), 9 how many
--       generations make the stamp, 10 token of an entry that the caller has, or ''.
-- Returns what read_one.lua does, as an array. O(1) plus the entry's length.
local terms = {
  limit = tonumber(ARGV[1]),
  window_ms = tonumber(ARGV[2]),
  cost = tonumber(ARGV[3]),
  generation_ttl_ms = tonumber(ARGV[6]),
  lease_ms = tonumber(ARGV[7]),
  warm_lease_ms = tonumber(ARGV[8]),
}
return {
  read_one(1, #KEYS, terms, tonumber(ARGV[9]), ARGV[5], ARGV[10], clock_ms(ARGV[4]), {}),
}
