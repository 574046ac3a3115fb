-- retry(a, fence, choice, read) -> its ticket: a person lets an agent go on that was set aside or has failed.
-- uses: mint, state, fold
--
-- KEYS  1 meta  2 checkpoints  3 state  4 inbox  5 events
-- ARGV  1 fence  2 choice: 'resume', 'accept-changed' (both from its newest checkpoint) or 'restart' (from its start record)
--       3 place up to which its mail was looked through ('': nobody looks)
-- ANSWERS  {'ready', fence, queue}                 its caller enqueues the ticket
--          {'waiting', fence, queue, due in ms}    it goes on already, and its owner has handed it over with a delay
--          {'unread'}                              there is mail beyond that place: nothing has changed
--          {'gone'}                                running, completed, cancelled, unknown
-- The choice stands in the mint's entry, so that every owner is told it until one has written a checkpoint. A failed agent,
-- and one that was paused while it was parked, gets the stream back that was folded into `state`; its keys lose their end.
-- Attempts start over. A restarted agent is another one under the same id: a new birth, no mail, no known senders, no order, no events.
-- IDEMPOTENT because the fence is compared: once it is another one, the answer is the ticket of whoever made the agent
-- ready, and nothing changes.
redis.call('HDEL', KEYS[1], '') -- a no-op delete first: the script may then write at maxmemory
local known = redis.call('HMGET', KEYS[1], 'status', 'fence', 'queue', 'wake')
if known[2] ~= ARGV[1] then
  if known[1] == 'ready' then
    return {'ready', known[2], known[3]}
  end
  if known[1] == 'waiting' and known[4] then
    return {'waiting', known[2], known[3], known[4]}
  end
  return {'gone'}
end
if not (known[1] == 'failed' or known[1] == 'paused' or known[1] == 'blocked' or known[1] == 'quarantined') then
  return {'gone'}
end
if ARGV[3] ~= '' and #redis.call('XRANGE', KEYS[4], string.format('%.0f', ARGV[3] + 1) .. '-0', '+', 'COUNT', 1) > 0 then
  return {'unread'}
end
unfold(KEYS[2], KEYS[3])
local from = ''
if ARGV[2] ~= 'restart' then
  local before = '+'
  while true do
    local entry = redis.call('XREVRANGE', KEYS[2], before, '-', 'COUNT', 1)[1]
    if not entry then
      break
    end
    if string.sub(entry[1], -2) ~= '-0' then
      from = entry[1]
      break
    end
    before = '(' .. entry[1]
  end
end
local fence = mint(KEYS[1], KEYS[2], 'retry', from, ARGV[2] == 'resume' and '' or ARGV[2])
local found = small(redis.call('GET', KEYS[3]) or '')
if ARGV[2] == 'restart' then
  found.order = nil
  redis.call('UNLINK', KEYS[4], KEYS[5])
  redis.call('HDEL', KEYS[1], 'order')
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if string.sub(field, 1, 2) == 's:' then
      redis.call('HDEL', KEYS[1], field)
    end
  end
  redis.call('HSET', KEYS[1], 'birth', fence)
end
redis.call('SET', KEYS[3], fold('start', found.start or false, 'order', found.order or false))
redis.call('PERSIST', KEYS[1])
redis.call('PERSIST', KEYS[4])
redis.call('PERSIST', KEYS[5])
redis.call('HDEL', KEYS[1], 'stopped')
redis.call('HSET', KEYS[1], 'status', 'ready', 'attempts', '0')
return {'ready', fence, known[3]}
