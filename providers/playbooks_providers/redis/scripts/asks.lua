-- asks(a, fence, whether): what its owner says of an agent, in the index of those that ask people something.
--
-- KEYS  1 asking
-- ARGV  1 agent  2 fence  3 '1' it asks, '0' it does not
-- ANSWERS  'done'
-- The fence is kept with it, so that a former owner, who may be late, takes nothing out.
-- IDEMPOTENT: said again, it is so.
redis.call('HDEL', KEYS[1], '') -- a no-op delete first: the script may then write at maxmemory
local known = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')
if known <= tonumber(ARGV[2]) then
  if ARGV[3] == '1' then
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
  else
    redis.call('HDEL', KEYS[1], ARGV[1])
  end
end
return 'done'
