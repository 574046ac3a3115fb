-- read_capped(lane, session): tickets of one lane, no more than the cap of its queue leaves room for.
-- uses: ring
--
-- KEYS  1 lane  2 cap  3 bell  then every lane of the queue
-- ARGV  1 group  2 consumer  3 at most so many
-- ANSWERS  {{entry id, {field, value, ...}}, ...}, now pending at the consumer
-- What is held is what is pending, in all lanes together; nothing else is counted, so nothing can be counted wrong.
-- Harmless when repeated: what an unheard answer gave is pending at the consumer, who looks there first.
redis.call('XDEL', KEYS[1], '0-1') -- a no-op delete first: the script may then write at maxmemory
local cap = redis.call('GET', KEYS[2])
local room = cap and tonumber(cap) or math.huge
for lane = 4, #KEYS do
  local groups = redis.pcall('XINFO', 'GROUPS', KEYS[lane])
  for _, facts in ipairs(groups.err and {} or groups) do
    local found = {}
    for place = 1, #facts, 2 do
      found[facts[place]] = facts[place + 1]
    end
    if found.name == ARGV[1] then
      room = room - found.pending
    end
  end
end
local most = math.min(room, tonumber(ARGV[3]))
if most <= 0 then
  return {}
end
local read = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', most, 'STREAMS', KEYS[1], '>')
local rows = read and read[1][2] or {}
if #rows == tonumber(ARGV[3]) and #rows < room then -- perhaps there is more, for another one
  ring(KEYS[2], KEYS[3])
end
return rows
