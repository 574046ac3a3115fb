-- stop(a, fence, session, status, why): the owner sets the agent aside. Its checkpoints are kept.
-- uses: mint, state
--
-- KEYS  1 meta  2 checkpoints  3 state
-- ARGV  1 fence  2 session  3 status (paused, blocked, quarantined)  4 why
-- ANSWERS  'done' or 'gone'
-- A fence is minted, so that the owner that stopped it is refused like any other former owner; it opens nothing, because a
-- stopped agent is not taken. The reason goes to `state`: values of the hash stay below 64 bytes.
-- IDEMPOTENT because that status, stopped under this fence, answers 'done' and changes nothing.
redis.call('HDEL', KEYS[1], '') -- a no-op delete first: the script may then write at maxmemory
local known = redis.call('HMGET', KEYS[1], 'status', 'fence', 'session', 'stopped')
if known[1] == ARGV[3] and known[4] == ARGV[1] then
  return 'done'
end
if known[2] ~= ARGV[1] or known[1] ~= 'running' or known[3] ~= ARGV[2] then
  return 'gone'
end
mint(KEYS[1], KEYS[2], ARGV[3])
local start = fields(redis.call('GET', KEYS[3]) or '', {start = true}).start
redis.call('SET', KEYS[3], fold('start', start, 'why', ARGV[4]))
redis.call('HDEL', KEYS[1], 'session', 'nonce', 'wake')
redis.call('HSET', KEYS[1], 'status', ARGV[3], 'stopped', ARGV[1])
return 'done'
