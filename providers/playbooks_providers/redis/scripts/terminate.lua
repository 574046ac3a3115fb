-- terminate(a, why): the end, at once and by nobody's hand: no statement of the agent runs any more.
-- uses: mint, state
--
-- KEYS  1 meta  2 checkpoints  3 state  4 inbox  5 events
-- ARGV  1 why  2 retention in ms  3 place up to which its mail was looked through ('': nobody looks)
-- ANSWERS  {'done', fence of a timer or '', fence of a ticket or '', queue}, {'unread'} (there is mail beyond that place: nothing has
--              changed) or {'gone'}; its caller disarms the timer, and takes the ticket out of its queue
-- As finish.lua leaves a cancelled agent, but without a final entry, and under a new fence: its owner is refused, because
-- the stream is deleted, and every ticket is stale.
-- IDEMPOTENT because a cancelled agent answers 'done' and stays as it is.
redis.call('HDEL', KEYS[1], '') -- a no-op delete first: the script may then write at maxmemory
local known = redis.call('HMGET', KEYS[1], 'status', 'fence', 'wake', 'queue')
if known[1] == 'cancelled' then
  return {'done', '', '', ''}
end
if not known[1] or known[1] == 'completed' or known[1] == 'failed' then
  return {'gone'}
end
if ARGV[3] ~= '' and #redis.call('XRANGE', KEYS[4], string.format('%.0f', ARGV[3] + 1) .. '-0', '+', 'COUNT', 1) > 0 then
  return {'unread'}
end
local start = fields(redis.call('GET', KEYS[3]) or '', {start = true}).start
redis.call('UNLINK', KEYS[2], KEYS[4])
redis.call('SET', KEYS[3], fold('start', start or false, 'why', ARGV[1]))
redis.call('HDEL', KEYS[1], 'session', 'nonce', 'wake', 'order', 'stopped')
redis.call('HSET', KEYS[1], 'status', 'cancelled', 'fence', next_fence(KEYS[1]), 'attempts', '0')
local ends = string.format('%.0f', now_ms() + ARGV[2])
redis.call('PEXPIREAT', KEYS[1], ends)
redis.call('PEXPIREAT', KEYS[3], ends)
redis.call('PEXPIREAT', KEYS[5], ends)
return {'done', known[3] and known[2] or '', known[1] == 'ready' and known[2] or '', known[4]}
