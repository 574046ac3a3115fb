-- due(limit): the timers that have fired, by the server's clock. They stay until their agent's ticket is enqueued.
--
-- KEYS  1 due
-- ARGV  1 at most so many
-- ANSWERS  {member, ...}, the longest overdue first
-- Reads only.
local now = redis.call('TIME')
local ms = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000))
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ms, 'LIMIT', 0, ARGV[1])
