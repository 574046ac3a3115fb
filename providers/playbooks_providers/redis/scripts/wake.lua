-- wake(a, fence, session or timer) -> its ticket: an orphan, or an agent whose time has come, becomes ready.
-- uses: mint, state, fold
--
-- KEYS  1 meta  2 checkpoints  3 state
-- ARGV  1 fence  2 session that died ('' for the timer)  3 why
-- ANSWERS  {'ready', fence, queue}                 its caller enqueues the ticket, then removes what it woke it for
--          {'waiting', fence, queue, due in ms}    asked for a dead session: it waits for its timer, which may not be
--                                                  armed yet; its caller arms it (again)
--          {'gone'}                                finished, stopped, or another's by now
-- Attempts start over when the dead owner had written anything.
-- IDEMPOTENT because fence (and session) are compared, no clock is: the first call mints, every other one answers the
-- ticket while the agent is ready. Many may wake the same agent; one mints.
-- A ready agent whose very ticket a dead session had read is minted anew: that session may be frozen and not dead, and
-- would else open the ticket after it was acknowledged in its name. It would hold an agent that nobody finds.
redis.call('HDEL', KEYS[1], '') -- a no-op delete first: the script may then write at maxmemory
local known = redis.call('HMGET', KEYS[1], 'status', 'fence', 'session', 'attempts', 'queue', 'wake')
local status, timer = known[1], ARGV[2] == ''
local unopened = status == 'ready' and not timer and known[2] == ARGV[1]
if status == 'ready' and not unopened then
  return {'ready', known[2], known[5]}
end
if status == 'waiting' and not timer and known[6] then
  return {'waiting', known[2], known[5], known[6]}
end
local orphan = status == 'running' and not timer and known[2] == ARGV[1] and known[3] == ARGV[2]
local due = status == 'waiting' and timer and known[2] == ARGV[1]
if not (orphan or due or unopened) then
  return {'gone'}
end
local attempts = known[4]
if orphan then
  local _, _, written = newest(KEYS[2])
  if written then
    attempts = '0'
  end
end
local choice = due and unfold(KEYS[2], KEYS[3]) or nil
local fence = mint(KEYS[1], KEYS[2], ARGV[3], nil, choice)
redis.call('HDEL', KEYS[1], 'session', 'nonce', 'wake')
redis.call('HSET', KEYS[1], 'status', 'ready', 'attempts', attempts)
return {'ready', fence, known[5]}
