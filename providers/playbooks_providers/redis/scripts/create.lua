-- create(a, origin) -> ticket: an agent begins to exist, ready under its first fence, its start record stored.
-- uses: mint, state
--
-- KEYS  1 meta  2 checkpoints  3 state
-- ARGV  1 origin (hash of program, entry, arguments)  2 start record (JSON)  3 queue
-- ANSWERS  {'fresh', fence}             it was created now
--          {'same', fence or ''}        same origin before; its fence while it is ready
--          {'exists', status, start}    another origin has this id
-- IDEMPOTENT because the origin is compared: the same call again finds its own agent and gets its ticket again.
redis.call('HDEL', KEYS[1], '') -- a no-op delete first: the script may then write at maxmemory
local known = redis.call('HMGET', KEYS[1], 'status', 'fence', 'origin')
if known[1] then
  if known[3] == ARGV[1] then
    return {'same', known[1] == 'ready' and known[2] or ''}
  end
  return {'exists', known[1], fields(redis.call('GET', KEYS[3]) or '', {start = true}).start or ''}
end
redis.call('PERSIST', KEYS[1]) -- it may hold the fence of a deleted one of that id
local fence = mint(KEYS[1], KEYS[2], 'created')
redis.call('SET', KEYS[3], fold('start', ARGV[2]))
redis.call('HSET', KEYS[1], 'status', 'ready', 'birth', fence, 'attempts', '0', 'queue', ARGV[3], 'origin', ARGV[1])
return {'fresh', fence}
