-- delete(a): everything about an agent is forgotten but its fence and its birth, for a day.
--
-- KEYS  1 meta  2 checkpoints  3 state  4 inbox  5 events
-- ARGV  1 how long in ms
-- ANSWERS  {'done', fence of a timer or '', fence of a ticket or '', queue} or {'gone'}
--              its caller disarms the timer, and takes the ticket out of its queue
-- A writer that is still there is refused (NOMKSTREAM), every ticket is stale, and a new agent of this id gets a greater
-- fence, so that both stay so.
-- IDEMPOTENT: what has no status is deleted already.
local known = redis.call('HMGET', KEYS[1], 'status', 'fence', 'birth', 'wake', 'queue')
if not known[2] then
  return {'gone'}
end
if not known[1] then
  return {'done', '', '', ''}
end
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5])
redis.call('HSET', KEYS[1], 'fence', known[2], 'birth', known[3])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return {'done', known[4] and known[2] or '', known[1] == 'ready' and known[2] or '', known[5] or ''}
