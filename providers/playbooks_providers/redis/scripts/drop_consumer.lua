-- drop_consumer(q, session): a session that is over leaves the group, if it holds nothing (XGROUP DELCONSUMER would
-- forget its pending tickets without a word).
--
-- KEYS  1 queue
-- ARGV  1 group  2 consumer
-- ANSWERS  'done', or 'holds' when it still has tickets
-- IDEMPOTENT. A missing queue or group is 'done'.
redis.call('XDEL', KEYS[1], '0-1')
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if pending.err then
  return 'done'
end
if #pending > 0 then
  return 'holds'
end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 'done'
