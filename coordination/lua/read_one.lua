-- Included by other scripts, after sliding_window.lua, entry.lua and generations.lua.

-- A generation, asked for once by all reads of a script. O(1).
local function seen_generation(key, token, ttl_ms, seen)
  local found = seen[key]
  if not found then
    found = generation_of(key, token, ttl_ms)
    seen[key] = found
  end
  return found
end

-- read_one(first, last, terms, stamping, token, known, now_ms, seen)
--   -> allowed, previous, current, now ms, state, stamp, token, entry, warm, settled ms
--
-- One cached read: the limiter's decision and one look at an entry.
-- KEYS from `first` to `last`: limiter hash, entry, generations (the first is cache:gen:all, at most
--   two), then those that are only watched.
-- terms: limit (0: unlimited), window_ms, cost, generation_ttl_ms (of a generation that no stored
--   entry has recorded yet), lease_ms (of a fill), warm_lease_ms (0: never take it).
-- stamping: how many generations make the stamp. token: fresh, opaque, 16 bytes. known: the token
--   of an entry that the caller has, or ''. seen: generations read so far, by key.
-- state: 0 limited, else as entry.lua says. settled ms, for state 2: how long ago anything named
-- here was last voided, 0 where something is missing. O(1) plus the entry's length.
local function read_one(first, last, terms, stamping, token, known, now_ms, seen)
  local allowed, previous, current = 1, 0, 0
  if terms.limit > 0 then
    allowed, previous, current =
      admit(KEYS[first], terms.limit, terms.window_ms, terms.cost, now_ms)
    if allowed == 0 then
      return 0, previous, current, now_ms, 0, '', '', '', 0, 0
    end
  end

  local ttl_ms = terms.generation_ttl_ms
  local everything = seen_generation(KEYS[first + 2], token, ttl_ms, seen)
  local own = '-------------------------'
  if stamping > 1 then
    own = seen_generation(KEYS[first + 3], token, ttl_ms, seen)
  end
  local stamp = everything .. own

  local state, held, entry, warm, youngest_ms = look(KEYS[first + 1], stamp, now_ms, token,
    terms.lease_ms, terms.warm_lease_ms, known)
  local settled_ms = 0
  if state == 2 then
    -- A generation begins with its time in microseconds.
    youngest_ms = math.max(youngest_ms, tonumber(string.sub(everything, 1, 13)),
      tonumber(string.sub(own, 1, 13)) or 0)
    for i = first + 2 + stamping, last do
      local watched = seen_generation(KEYS[i], token, ttl_ms, seen)
      youngest_ms = math.max(youngest_ms, tonumber(string.sub(watched, 1, 13)))
    end
    settled_ms = math.max(0, now_ms - youngest_ms)
  end
  return 1, previous, current, now_ms, state, stamp, held, entry, warm, settled_ms
end
