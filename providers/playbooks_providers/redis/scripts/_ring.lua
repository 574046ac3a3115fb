-- A capped queue may have something to read: one of those that wait for its bell is woken. A ring that nobody hears costs
-- a while, since nobody waits for long; one is kept for whoever comes next, and no more.
local function ring(cap, bell)
  if redis.call('EXISTS', cap) == 1 and redis.call('LLEN', bell) == 0 then
    redis.call('RPUSH', bell, '')
  end
end
