-- open_queue(q): the queue and its one group exist. The group begins at 0, so that no ticket from before is missed.
--
-- KEYS  1 queue
-- ARGV  1 group
-- ANSWERS  'done'
-- IDEMPOTENT: a group that exists is left as it is.
redis.call('XDEL', KEYS[1], '0-1') -- a no-op delete first: the script may then write at maxmemory
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
if type(made) == 'table' and made.err and not string.find(made.err, 'BUSYGROUP', 1, true) then
  return redis.error_reply(made.err)
end
return 'done'
