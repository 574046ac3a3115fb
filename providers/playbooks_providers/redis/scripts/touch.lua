-- touch(a): a write that changes nothing, for WAIT or WAITAOF to wait for.
--
-- KEYS  1 meta
-- ANSWERS  1; 0 when there is no such agent
-- Harmless when repeated. Why it is there: they wait for what their own connection has written. What other connections wrote before this one comes before it in
-- the stream to replicas and in the append-only file, so whoever has this has that.
redis.call('HDEL', KEYS[1], '') -- a no-op delete first: the script may then write at maxmemory
local fence = redis.call('HGET', KEYS[1], 'fence')
if not fence then
  return 0
end
redis.call('HSET', KEYS[1], 'fence', fence)
return 1
