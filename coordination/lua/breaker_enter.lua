-- include breaker.lua
-- May an attempt at calling this service begin? Once the circuit has been open for its time, one
-- caller at a time gets the trial, under a lease that ends by itself.
-- KEYS: 1 circuit.  ARGV: 1-8 see breaker.lua, 9 fresh token that names the trial, 10 its lease us.
-- Returns what `answer` says. Writes nothing for a closed circuit. O(1).
local now = clock_us()
local circuit = load(KEYS[1], now)
local changed, opened = merge(circuit, now)
local transition = opened and 'open' or ''
if circuit.state == 'closed' then
  if changed then
    save(KEYS[1], circuit)
  end
  return answer(circuit, now, 1, transition)
end

local trial_under_way = circuit.trial ~= '' and now < circuit.trial_until
if circuit.held == '1' or trial_under_way or now < circuit.due_at then
  if changed then
    save(KEYS[1], circuit)
  end
  return answer(circuit, now, 0, transition)
end
if circuit.trial == '' then
  transition = 'half-open'
end
circuit.trial, circuit.trial_until = ARGV[9], now + tonumber(ARGV[10])
save(KEYS[1], circuit)
return answer(circuit, now, 2, transition)
