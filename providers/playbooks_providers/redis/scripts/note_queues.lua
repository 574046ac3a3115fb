-- note_queues(names): these queues are known, so that recovery finds them.
--
-- KEYS  1 queues
-- ARGV  names
-- ANSWERS  'done'
-- IDEMPOTENT: a set.
redis.call('SREM', KEYS[1], '') -- a no-op delete first: the script may then write at maxmemory
redis.call('SADD', KEYS[1], unpack(ARGV))
return 'done'
