-- put_hash(key, ttl): writes the fields of one hash (a session's description, its programs, sources).
--
-- KEYS  1 hash
-- ARGV  1 time to live in seconds (0: none)  then field, value, ...
-- ANSWERS  'done'
-- IDEMPOTENT: the same values again.
redis.call('HDEL', KEYS[1], '') -- a no-op delete first: the script may then write at maxmemory
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
if ARGV[1] ~= '0' then
  redis.call('EXPIRE', KEYS[1], ARGV[1])
end
return 'done'
