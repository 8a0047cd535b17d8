-- include breaker.lua
-- Count how an attempt ended.
-- KEYS: 1 circuit.  ARGV: 1-8 see breaker.lua, 9 'success', 'fault' or 'release' (nothing was
-- learnt; only a trial needs it), 10 the attempt's epoch, 11 its trial's token or '', 12 cause.
-- A trial decides while its token stands, also after its lease if nobody else took it; whatever else
-- was begun in another epoch, or ends while the circuit is open, counts for nothing.
-- Returns what `answer` says. O(1).
local now = clock_us()
local circuit = load(KEYS[1], now)
local changed, opened = merge(circuit, now)
local transition = opened and 'open' or ''
local outcome = ARGV[9]
if ARGV[11] ~= '' then
  if circuit.trial == ARGV[11] then
    changed = true
    if outcome == 'success' then
      close(circuit, now)
      transition = 'closed'
    elseif outcome == 'fault' then
      circuit.failures, circuit.failed_at = circuit.failures + 1, now
      open(circuit, now, now, ARGV[12])
      transition = 'open'
    else
      circuit.trial, circuit.trial_until = '', 0
    end
  end
elseif circuit.state == 'closed' and circuit.epoch == ARGV[10] then
  if outcome == 'success' then
    circuit.failures, circuit.ok_at, changed = 0, now, true
  elseif outcome == 'fault' then
    circuit.failures, circuit.failed_at, changed = circuit.failures + 1, now, true
    if circuit.failures >= tonumber(ARGV[2]) then
      open(circuit, now, now, ARGV[12])
      transition = 'open'
    end
  end
end
if changed then
  save(KEYS[1], circuit)
end
return answer(circuit, now, 1, transition)
