-- retract(agent, fence): takes a ticket that opens nothing any more out of its queue, if it waits there.
--
-- KEYS  1 queue
-- ARGV  1 group  2 agent  3 fence  4 how long before the fence, and 5 after it, a ticket is looked for, in ms
--       6 at most so many entries
-- ANSWERS  1 if it did, else 0
-- A fence is the time of its mint, and its ticket is enqueued at once: so it is found without reading the queue. In a crowd
-- it may not be, and stays until somebody reads it, and drops it. One that somebody has read is left to its reader.
-- IDEMPOTENT: what is gone is gone.
local function find(from, to)
  for _, entry in ipairs(redis.call('XRANGE', KEYS[1], from, to, 'COUNT', ARGV[6])) do
    if entry[2][2] == ARGV[2] and entry[2][4] == ARGV[3] then
      return entry[1]
    end
  end
end
local fence = tonumber(ARGV[3])
local function at(ms)
  return string.format('%.0f', math.max(0, fence + ms))
end
local entry = find(at(0), at(tonumber(ARGV[5]))) or find(at(-tonumber(ARGV[4])), at(-1))
if not entry then
  return 0
end
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], entry, entry, 1)
if #pending > 0 then
  return 0
end
return redis.call('XDEL', KEYS[1], entry)
