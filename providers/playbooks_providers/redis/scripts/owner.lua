-- owner(a, id): whose is the end of this history? Asked by the writer before an agent's first write on a connection, and
-- after a refused write.
--
-- KEYS  1 checkpoints  2 meta (only where WAIT or WAITAOF follows)
-- ARGV  1 the id about to be written (or refused)
-- ANSWERS  {id of the top entry or '', nonce of the entry with that id or ''}
-- Begins with a no-op delete so that a replica, whose answer may be old, refuses it. Changes nothing. With KEYS[2] it writes
-- what is there already, as touch.lua does and for the same reason: an entry that an earlier connection wrote is to be waited
-- for on this one.
redis.call('XDEL', KEYS[1], '0-1')
local fence = KEYS[2] and redis.call('HGET', KEYS[2], 'fence')
if fence then
  redis.call('HSET', KEYS[2], 'fence', fence)
end
local top = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local mine = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
return {top and top[1] or '', mine and mine[2][6] or ''}
