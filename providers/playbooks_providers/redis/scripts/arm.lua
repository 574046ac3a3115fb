-- arm(a, fence, ms): a timer fires for this agent under this fence.
--
-- KEYS  1 due
-- ARGV  member ('<agent>:<fence>'), Unix time in ms, member, ms, ...
-- ANSWERS  'done'
-- IDEMPOTENT: one member, one time. A timer whose fence is over fires into nothing.
redis.call('ZREM', KEYS[1], '') -- a no-op delete first: the script may then write at maxmemory
for i = 1, #ARGV, 2 do
  redis.call('ZADD', KEYS[1], ARGV[i + 1], ARGV[i])
end
return 'done'
