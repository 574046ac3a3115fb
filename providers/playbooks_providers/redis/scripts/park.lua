-- park(a, fence, session, checkpoint, cursor, time): the owner lets the agent wait without an owner.
-- uses: mint, state, fold
--
-- KEYS  1 meta  2 checkpoints  3 state  4 inbox
-- ARGV  1 fence  2 session  3 id of the checkpoint that it waits at  4 place up to which its mail is in that
--       5 Unix time in ms when it wakes ('' for mail alone)  6 '1' all its checkpoints are kept, as a stream
-- ANSWERS  {'parked', fence, queue, time or ''}    its caller arms the timer
--          {'unread'}                              there is mail beyond the cursor, or an order: nothing has changed
--          {'not', id}                             its newest checkpoint is another one: nothing has changed
--          {'gone'}
-- What stays is one small hash and one string: the checkpoint and what it needs go from the stream into `state`, as those
-- of a failed agent do. A new fence, so that the former owner is out whether a stream is left or not.
-- IDEMPOTENT because a waiting agent, under whatever fence, answers 'parked' and changes nothing: whoever asks has been its
-- owner and is not any more; the timer is armed again, in case it was not.
redis.call('HDEL', KEYS[1], '') -- a no-op delete first: the script may then write at maxmemory
local known = redis.call('HMGET', KEYS[1], 'status', 'fence', 'session', 'queue', 'wake', 'order')
if not (known[1] == 'running' and known[2] == ARGV[1] and known[3] == ARGV[2]) then
  if known[1] == 'waiting' then
    return {'parked', known[2], known[4], known[5] or ''}
  end
  return {'gone'}
end
local _, from, _, choice = newest(KEYS[2])
if from ~= ARGV[3] then
  return {'not', from}
end
local unread = string.format('%.0f', ARGV[4] + 1) .. '-0'
if known[6] or #redis.call('XRANGE', KEYS[4], unread, '+', 'COUNT', 1) > 0 then
  return {'unread'}
end
local fence
if ARGV[6] == '1' then
  fence = mint(KEYS[1], KEYS[2], 'parked')
else
  local start = fields(redis.call('GET', KEYS[3]) or '', {start = true}).start
  local words = folded(KEYS[2], redis.call('XRANGE', KEYS[2], from, from)[1])
  redis.call('SET', KEYS[3], fold('start', start or false, 'choice', choice ~= '' and choice) .. fold(unpack(words)))
  redis.call('UNLINK', KEYS[2])
  fence = next_fence(KEYS[1])
  redis.call('HSET', KEYS[1], 'fence', fence)
end
redis.call('UNLINK', KEYS[4])
redis.call('HDEL', KEYS[1], 'session', 'nonce', 'wake')
redis.call('HSET', KEYS[1], 'status', 'waiting', 'attempts', '0')
if ARGV[5] ~= '' then
  redis.call('HSET', KEYS[1], 'wake', ARGV[5])
end
return {'parked', fence, known[4], ARGV[5]}
