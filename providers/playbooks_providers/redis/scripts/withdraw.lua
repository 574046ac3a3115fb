-- withdraw(a, order): nobody wants a pause any more that its owner has not obeyed yet.
-- uses: state
--
-- KEYS  1 meta  2 state
-- ARGV  1 '<kind>:<id>'
-- ANSWERS  'done' or 'gone' (another order stands, or none; the agent is paused by now, or has ended)
-- Its owner may be about to obey: stop.lua then finds that no pause stands.
-- IDEMPOTENT because a name that was dealt with, of an agent that is not paused, answers 'done' and changes nothing.
redis.call('HDEL', KEYS[1], '') -- a no-op delete first: the script may then write at maxmemory
local known = redis.call('HMGET', KEYS[1], 'status', 'order', 'obeyed')
local status = known[1]
if not status or status == 'completed' or status == 'failed' or status == 'cancelled' then
  return 'gone'
end
if known[2] ~= ARGV[1] then
  return known[3] == ARGV[1] and status ~= 'paused' and 'done' or 'gone'
end
local text = redis.call('GET', KEYS[2]) or ''
local found, rest = small(text)
local kept = fold('start', found.start or false, 'why', found.why or false, 'choice', found.choice or false)
redis.call('SET', KEYS[2], kept .. string.sub(text, rest))
redis.call('HDEL', KEYS[1], 'order')
redis.call('HSET', KEYS[1], 'obeyed', ARGV[1])
return 'done'
