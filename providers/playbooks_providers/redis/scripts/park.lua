-- park(a, fence, session, checkpoint, cursor, time): the owner lets the agent wait without an owner.
-- uses: mint, state, fold
--
-- KEYS  1 meta  2 checkpoints  3 state  4 inbox
-- ARGV  1 fence  2 session  3 id of the checkpoint that it waits at  4 place up to which its mail is in that
--       5 Unix time in ms when it wakes ('' for mail alone)
--       6 bytes of its stream from which on that is kept as it is (0: always)
-- ANSWERS  {'parked', fence, queue, time or ''}    its caller arms the timer
--          {'unread'}                              there is mail beyond the cursor, or an order: nothing has changed
--          {'not', id}                             its newest checkpoint is another one: nothing has changed
--          {'gone'}
-- What stays is one small hash and one string: the checkpoint and what it needs go from the stream into `state`, as those
-- of a failed agent do. But a script reads a large entry slowly (measured: 0.6 ms for 64 KB, 30 ms for 1 MB), and beside one
-- the 5 KB of a stream are little: a large stream stays, and nothing of it is read. A new fence, so that the former owner
-- is out whether a stream is left or not.
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
local from, choice = ARGV[3], ''
local wrote = string.match(from, '^%d+') == ARGV[1]
if wrote then -- under its fence: then nothing comes after it, and no choice is left
  local later = redis.call('XRANGE', KEYS[2], '(' .. from, '+', 'COUNT', 1)[1]
  if later or string.sub(from, -2) == '-0' then
    return {'not', later and later[1] or ''}
  end
else
  local _, before, written, chosen = newest(KEYS[2])
  if before ~= from or written then
    return {'not', before}
  end
  choice = chosen
end
local unread = string.format('%.0f', ARGV[4] + 1) .. '-0'
if known[6] or #redis.call('XRANGE', KEYS[4], unread, '+', 'COUNT', 1) > 0 then
  return {'unread'}
end
local bytes = redis.pcall('MEMORY', 'USAGE', KEYS[2])
local fence
if ARGV[6] == '0' or (type(bytes) == 'number' and bytes >= tonumber(ARGV[6])) then
  fence = wrote and mint_from(KEYS[1], KEYS[2], 'parked', from, '') or mint(KEYS[1], KEYS[2], 'parked')
else
  local entry = redis.call('XRANGE', KEYS[2], from, from)[1]
  if not entry then
    return {'not', ''}
  end
  local start = fields(redis.call('GET', KEYS[3]) or '', {start = true}).start
  local words = folded(KEYS[2], entry)
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
