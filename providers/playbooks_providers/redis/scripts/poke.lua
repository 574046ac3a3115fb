-- poke(session, agent): there is something for an agent that this session runs.
--
-- KEYS  1 pokes
-- ARGV  1 time to live in ms  2... the entry, fields and values in turn
-- ANSWERS  'done'
-- Harmless when repeated, and when lost: whoever waits looks again after a while.
redis.call('XDEL', KEYS[1], '0-1') -- a no-op delete first: the script may then write at maxmemory
redis.call('XADD', KEYS[1], 'MAXLEN', '~', 1000, '*', unpack(ARGV, 2))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 'done'
