-- obeyed(a, fence, order): the checkpoint of its owner is durable in which the order is done.
-- uses: state
--
-- KEYS  1 meta  2 state
-- ARGV  1 fence  2 '<kind>:<id>'
-- ANSWERS  'done' or 'gone'
-- IDEMPOTENT because the order's name is compared: a newer one stands.
redis.call('HDEL', KEYS[1], '') -- a no-op delete first: the script may then write at maxmemory
local known = redis.call('HMGET', KEYS[1], 'fence', 'order')
if known[1] ~= ARGV[1] or known[2] ~= ARGV[2] then
  return 'gone'
end
local start = fields(redis.call('GET', KEYS[2]) or '', {start = true}).start
redis.call('SET', KEYS[2], fold('start', start or false))
redis.call('HDEL', KEYS[1], 'order')
redis.call('HSET', KEYS[1], 'obeyed', ARGV[2])
return 'done'
