-- Included by other scripts: one service's circuit, a hash read into a table and written back.
--
-- Moments are the server's clock in microseconds, 0: never. Every transition gives the circuit a new
-- epoch (its own moment); what an attempt of an earlier epoch reports says nothing about this one.
-- A missing hash is a closed circuit without failures, of epoch 0.
--
-- The first arguments of every script that uses this:
-- ARGV: 1 now us or '' for the server's clock, 2 failures in a row that open, 3 open us, 4 ttl ms,
--   then what the caller knows from before (`merge`): 5 failures in a row, 6 moment of the last one,
--   7 moment of the last success, 8 moment of the opening. A negative moment is an age: it was noted
--   by the caller's own clock, while this server was away.
local TEXTS = { 'state', 'epoch', 'trial', 'cause', 'held', 'action', 'by', 'why' }
local NUMBERS =
  { 'failures', 'failed_at', 'ok_at', 'opened_at', 'due_at', 'trial_until', 'acted_at' }

local function clock_us()
  if ARGV[1] ~= '' then
    return tonumber(ARGV[1])
  end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local function whole(number)
  return string.format('%.0f', number)
end

local function load(key, now)
  local circuit = {}
  for i, text in ipairs(redis.call('HMGET', key, unpack(TEXTS))) do
    circuit[TEXTS[i]] = text or ''
  end
  for i, number in ipairs(redis.call('HMGET', key, unpack(NUMBERS))) do
    circuit[NUMBERS[i]] = tonumber(number) or 0
  end
  if circuit.state == '' then
    circuit.state, circuit.epoch = 'closed', '0'
  end
  -- A clock that was set back must not keep a circuit open for longer than it was meant to be.
  circuit.due_at = math.min(circuit.due_at, now + tonumber(ARGV[3]))
  return circuit
end

local function save(key, circuit)
  local fields = {}
  for _, name in ipairs(TEXTS) do
    fields[#fields + 1] = name
    fields[#fields + 1] = circuit[name]
  end
  for _, name in ipairs(NUMBERS) do
    fields[#fields + 1] = name
    fields[#fields + 1] = whole(circuit[name])
  end
  redis.call('HSET', key, unpack(fields))
  if circuit.held == '1' then
    redis.call('PERSIST', key) -- an operator's hold must not lapse by itself
  else
    redis.call('PEXPIRE', key, tonumber(ARGV[4]))
  end
end

local function open(circuit, now, opened_at, cause)
  circuit.state, circuit.epoch, circuit.cause = 'open', whole(now), cause
  circuit.opened_at, circuit.due_at = opened_at, opened_at + tonumber(ARGV[3])
  circuit.trial, circuit.trial_until, circuit.held = '', 0, ''
end

local function close(circuit, now)
  circuit.state, circuit.epoch, circuit.failures = 'closed', whole(now), 0
  circuit.ok_at, circuit.trial, circuit.trial_until, circuit.held = now, '', 0, ''
end

-- What the caller saw that this server does not know: it was away, or has lost what it held. What is
-- older than the circuit's last good news is void. Returns whether it changed anything, and whether
-- it opened the circuit.
local function merge(circuit, now)
  local function moment(index)
    local given = tonumber(ARGV[index])
    return given < 0 and now + given or given
  end
  local failures, failed_at, ok_at, opened_at = tonumber(ARGV[5]), moment(6), moment(7), moment(8)
  if circuit.state == 'open' then
    if circuit.held == '' and opened_at > circuit.opened_at then
      circuit.opened_at, circuit.due_at = opened_at, opened_at + tonumber(ARGV[3])
      return true, false
    end
    return false, false
  end
  local changed = false
  if ok_at > circuit.failed_at and ok_at > circuit.ok_at then
    circuit.failures, circuit.ok_at, changed = 0, ok_at, true
  end
  if failures > circuit.failures and failed_at > circuit.ok_at then
    circuit.failures, circuit.failed_at, changed = failures, failed_at, true
  end
  if opened_at > circuit.ok_at or circuit.failures >= tonumber(ARGV[2]) then
    open(circuit, now, opened_at > 0 and opened_at or now, 'seen while Redis was away')
    return true, true
  end
  return changed, false
end

-- {admitted (0 refused, 1 attempt, 2 trial), state, epoch, failures, last failure's moment, opening's
-- moment, us until the next trial may begin (-1: an operator holds it open), transition made by this
-- call or '', cause, operator's action, by, why, its moment, success's moment, now}
local function answer(circuit, now, admitted, transition)
  local state, wait = circuit.state, 0
  if state == 'open' then
    wait = math.max(0, circuit.due_at - now)
    if circuit.held == '1' then
      wait = -1
    elseif circuit.trial ~= '' and now < circuit.trial_until then
      state, wait = 'half-open', circuit.trial_until - now
    elseif wait == 0 then
      state = 'half-open'
    end
  end
  return { admitted, state, circuit.epoch, whole(circuit.failures), whole(circuit.failed_at),
    whole(circuit.opened_at), whole(wait), transition, circuit.cause, circuit.action, circuit.by,
    circuit.why, whole(circuit.acted_at), whole(circuit.ok_at), whole(now) }
end
