-- include breaker.lua
-- What an operator sees and does. The hand is kept with the state: who, what, why and when.
-- KEYS: 1 circuit.  ARGV: 1-8 see breaker.lua, 9 '' (only look), 'open' (held open, without trials,
-- until another hand), 'close', or 'reset' (forget everything else too), 10 who, 11 why.
-- Returns what `answer` says. O(1).
local now = clock_us()
local circuit = load(KEYS[1], now)
local action = ARGV[9]
if action == '' then
  return answer(circuit, now, 1, '')
end
local before = circuit.state
if action == 'open' then
  open(circuit, now, now, 'operator')
  circuit.held = '1'
else
  close(circuit, now)
  if action == 'reset' then
    circuit.failed_at, circuit.opened_at, circuit.cause = 0, 0, ''
  end
end
circuit.action, circuit.by, circuit.why, circuit.acted_at = action, ARGV[10], ARGV[11], now
save(KEYS[1], circuit)
return answer(circuit, now, 1, before ~= circuit.state and circuit.state or '')
