-- fork(a, checkpoint) -> ticket: an agent begins to exist, ready under its first fence, to go on from a checkpoint.
-- uses: mint, state
--
-- KEYS  1 meta  2 checkpoints  3 state
-- ARGV  1 origin (with what it was forked from)  2 start record (JSON)  3 queue
--       4 id of the checkpoint, under a fence that is smaller than any other  5 its header  6 its payload
-- ANSWERS  as create.lua does
-- IDEMPOTENT because the origin is compared, as there.
redis.call('HDEL', KEYS[1], '') -- a no-op delete first: the script may then write at maxmemory
local known = redis.call('HMGET', KEYS[1], 'status', 'fence', 'origin')
if known[1] then
  if known[3] == ARGV[1] then
    return {'same', known[1] == 'ready' and known[2] or ''}
  end
  return {'exists', known[1], fields(redis.call('GET', KEYS[3]) or '', {start = true}).start or ''}
end
redis.call('PERSIST', KEYS[1]) -- it may hold the fence of a deleted one of that id
redis.call('XADD', KEYS[2], ARGV[4], 'h', ARGV[5], 'd', ARGV[6], 'n', '')
local fence = mint_from(KEYS[1], KEYS[2], 'forked', ARGV[4], '')
redis.call('SET', KEYS[3], fold('start', ARGV[2]))
redis.call('HSET', KEYS[1], 'status', 'ready', 'birth', fence, 'attempts', '0', 'queue', ARGV[3], 'origin', ARGV[1])
return {'fresh', fence}
