-- poke(session, agent): there is something for an agent that this session runs.
--
-- KEYS  1 pokes
-- ARGV  1 agent  2 time to live in ms
-- ANSWERS  'done'
-- Harmless when repeated, and when lost: whoever waits looks again after a while.
redis.call('XDEL', KEYS[1], '0-1') -- a no-op delete first: the script may then write at maxmemory
redis.call('XADD', KEYS[1], 'MAXLEN', '~', 1000, '*', 'a', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 'done'
