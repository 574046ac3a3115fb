-- stop(a, fence, session, status, why): the owner sets the agent aside. Its checkpoints are kept.
-- uses: mint, state
--
-- KEYS  1 meta  2 checkpoints  3 state
-- ARGV  1 fence  2 session  3 status (paused, blocked, quarantined)  4 why
-- ANSWERS  'done', 'unwanted' (to be paused, and no pause stands: nothing has changed) or 'gone'
-- A fence is minted, so that the owner that stopped it is refused like any other former owner; it opens nothing, because a
-- stopped agent is not taken. The reason goes to `state`: values of the hash stay below 64 bytes.
-- A pause that was ordered is done by it, whatever the status, and says why it is paused; a cancel stands, and nobody is
-- paused while it does: who gave it was told that it would be obeyed.
-- IDEMPOTENT because that status, stopped under this fence, answers 'done' and changes nothing.
redis.call('HDEL', KEYS[1], '') -- a no-op delete first: the script may then write at maxmemory
local known = redis.call('HMGET', KEYS[1], 'status', 'fence', 'session', 'stopped', 'order')
if known[1] == ARGV[3] and known[4] == ARGV[1] then
  return 'done'
end
if known[2] ~= ARGV[1] or known[1] ~= 'running' or known[3] ~= ARGV[2] then
  return 'gone'
end
local found, why = small(redis.call('GET', KEYS[3]) or ''), ARGV[4]
local pause = known[5] and string.sub(known[5], 1, 6) == 'pause:'
if ARGV[3] == 'paused' then
  if not pause then
    return 'unwanted'
  end
  why = cjson.decode(found.order).why
end
mint(KEYS[1], KEYS[2], ARGV[3])
if pause then
  found.order = nil
  redis.call('HDEL', KEYS[1], 'order')
  redis.call('HSET', KEYS[1], 'obeyed', known[5])
end
redis.call('SET', KEYS[3], fold('start', found.start or false, 'why', why, 'order', found.order or false))
redis.call('HDEL', KEYS[1], 'session', 'nonce', 'wake')
redis.call('HSET', KEYS[1], 'status', ARGV[3], 'stopped', ARGV[1])
return 'done'
