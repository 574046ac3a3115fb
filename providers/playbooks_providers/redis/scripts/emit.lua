-- emit(a, fence, session, events): what the owner's agent tells people.
--
-- KEYS  1 meta  2 events
-- ARGV  1 fence  2 session  3 how many to keep, about  then for each event: its number, its body
-- ANSWERS  'done' or 'gone'
-- An event's id is the fence and the owner's own count, so that the stream is in the order in which things were told.
-- IDEMPOTENT because numbers that are there already are passed over.
redis.call('HDEL', KEYS[1], '') -- a no-op delete first: the script may then write at maxmemory
local known = redis.call('HMGET', KEYS[1], 'status', 'fence', 'session')
if known[1] ~= 'running' or known[2] ~= ARGV[1] or known[3] ~= ARGV[2] then
  return 'gone'
end
local last, told = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1], 0
if last then
  local fence, number = string.match(last[1], '^(%d+)%-(%d+)$')
  if fence == ARGV[1] then
    told = tonumber(number)
  end
end
for i = 4, #ARGV, 2 do
  if tonumber(ARGV[i]) > told then
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], ARGV[1] .. '-' .. ARGV[i], 'e', ARGV[i + 1])
  end
end
return 'done'
