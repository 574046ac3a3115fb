-- take(a, fence, session, nonce) -> lock: the newest ticket opens the agent, once, to one session and nonce.
-- uses: mint, state
--
-- KEYS  1 meta  2 checkpoints  3 state
-- ARGV  1 fence  2 session  3 nonce
-- ANSWERS  {'taken', checkpoint to go on from or '', attempts, queue, start record, what a person has chosen or '', birth,
--           order or '', why its fence was minted ('' when its owner has written something)}
--          {'stale'}
-- Counts an attempt. IDEMPOTENT because session and nonce are compared: the same call again gets the same lock again.
redis.call('HDEL', KEYS[1], '') -- a no-op delete first: the script may then write at maxmemory
local known = redis.call('HMGET', KEYS[1], 'fence', 'status', 'session', 'nonce', 'attempts', 'queue', 'birth')
if known[1] ~= ARGV[1] then
  return {'stale'}
end
local attempts = tonumber(known[5])
if known[2] == 'ready' then
  attempts = attempts + 1
  redis.call('HSET', KEYS[1], 'status', 'running', 'session', ARGV[2], 'nonce', ARGV[3], 'attempts', attempts)
elseif not (known[2] == 'running' and known[3] == ARGV[2] and known[4] == ARGV[3]) then
  return {'stale'}
end
local _, from, _, choice, why = newest(KEYS[2])
local found = small(redis.call('GET', KEYS[3]) or '')
return {'taken', from, attempts, known[6], found.start or '', choice, known[7], found.order or '', why}
