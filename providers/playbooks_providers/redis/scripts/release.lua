-- release(a, fence, session, delay) -> the next ticket: the owner hands the agent over, at once or after a delay.
-- uses: mint
--
-- KEYS  1 meta  2 checkpoints
-- ARGV  1 fence  2 session  3 why  4 delay in ms (0: none)  5 '1' blameless: the attempt is given back
-- ANSWERS  {'ready', fence, queue}                 its caller enqueues the ticket
--          {'waiting', fence, queue, due in ms}    its caller arms the timer
--          {'gone'}
-- A delayed agent waits under a fence of its own, so that its old owner is out at once. Attempts start over when the owner
-- has written anything.
-- IDEMPOTENT because the fence is compared: if it is no longer this owner's, the answer is the ticket of whoever made the
-- agent ready (enqueued twice is harmless), and nothing changes.
redis.call('HDEL', KEYS[1], '') -- a no-op delete first: the script may then write at maxmemory
local known = redis.call('HMGET', KEYS[1], 'status', 'fence', 'session', 'attempts', 'queue', 'wake')
if known[2] == ARGV[1] then
  if not (known[1] == 'running' and known[3] == ARGV[2]) then
    return {'gone'}
  end
  local _, _, written = newest(KEYS[2])
  local attempts = tonumber(known[4])
  if written then
    attempts = 0
  elseif ARGV[5] == '1' then
    attempts = math.max(0, attempts - 1)
  end
  local fence = mint(KEYS[1], KEYS[2], ARGV[3])
  redis.call('HDEL', KEYS[1], 'session', 'nonce', 'wake')
  local delay = tonumber(ARGV[4])
  if delay > 0 then
    local wake = string.format('%.0f', now_ms() + delay)
    redis.call('HSET', KEYS[1], 'status', 'waiting', 'attempts', attempts, 'wake', wake)
    return {'waiting', fence, known[5], wake}
  end
  redis.call('HSET', KEYS[1], 'status', 'ready', 'attempts', attempts)
  return {'ready', fence, known[5]}
end
if known[1] == 'ready' then
  return {'ready', known[2], known[5]}
end
if known[1] == 'waiting' and known[6] then
  return {'waiting', known[2], known[5], known[6]}
end
return {'gone'}
