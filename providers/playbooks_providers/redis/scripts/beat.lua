-- beat(sessions): one heartbeat for each session that still exists. They count: no clock is in it.
--
-- KEYS  1 sessions
-- ARGV  session ids
-- ANSWERS  the refused ones: they were removed, and are never used again
-- More beats harm nobody, so it may be repeated.
redis.call('ZREM', KEYS[1], '') -- a no-op delete first: the script may then write at maxmemory
local refused = {}
for _, session in ipairs(ARGV) do
  if redis.call('ZSCORE', KEYS[1], session) then
    redis.call('ZINCRBY', KEYS[1], 1, session)
  else
    refused[#refused + 1] = session
  end
end
return refused
