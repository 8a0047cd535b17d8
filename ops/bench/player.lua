-- Plays a tape of ready requests: request after request, over again from its start.
-- Environment: BENCH_TAPE (the requests' bytes, joined), BENCH_LENGTHS (one length a line),
-- BENCH_PORTS (one port for each thread, joined by commas; empty: wrk's own URL).
-- Prints one line, "BENCH " and JSON, at the end. Cost of a request: one table look-up. There is no
-- response(): wrk counts statuses above 399 itself, and to look closer would slow down whom it asks.

local tape, place = {}, 0
local threads = {}

function setup(thread)
  table.insert(threads, thread)
  thread:set("number", #threads)
  local wanted = 0
  for port in os.getenv("BENCH_PORTS"):gmatch("%d+") do
    wanted = wanted + 1
    if wanted == #threads then
      thread.addr = wrk.lookup("127.0.0.1", port)[1]
    end
  end
  thread:set("step", math.max(wanted, 1))
end

function init(args)
  local file = assert(io.open(os.getenv("BENCH_TAPE"), "rb"))
  local bytes = file:read("*a")
  file:close()
  local at = 1
  for line in io.lines(os.getenv("BENCH_LENGTHS")) do
    local length = tonumber(line)
    tape[#tape + 1] = bytes:sub(at, at + length - 1)
    at = at + length
  end
  -- Threads take turns, so that no request is played twice before all were once.
  place = number - step
end

function request()
  place = place + step
  if place > #tape then
    place = place - #tape
  end
  return tape[place]
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'BENCH {"requests": %d, "duration_s": %.6f, "p50_ms": %.3f, "p95_ms": %.3f, "p99_ms": %.3f,'
      .. ' "connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(95) / 1e3, latency:percentile(99) / 1e3,
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
