-- open_session(session): it exists from now on, with no heartbeat yet.
--
-- KEYS  1 sessions
-- ARGV  1 session
-- ANSWERS  'done'
-- IDEMPOTENT: a session that exists keeps its count.
redis.call('ZREM', KEYS[1], '') -- a no-op delete first: the script may then write at maxmemory
redis.call('ZADD', KEYS[1], 'NX', 0, ARGV[1])
return 'done'
