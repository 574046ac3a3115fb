-- held(session): the tickets that a consumer has read and not acknowledged.
--
-- KEYS  1 queue
-- ARGV  1 group  2 consumer  3 first id to look at  4 at most so many
-- ANSWERS  {{entry id, agent, fence} or {entry id} (its entry is gone already), ...}
-- Reads only (and unlike XREADGROUP makes no consumer). A missing queue or group holds nothing.
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[3], '+', ARGV[4], ARGV[2])
if pending.err then
  return {}
end
local out = {}
for _, one in ipairs(pending) do
  local entry = redis.call('XRANGE', KEYS[1], one[1], one[1])[1]
  if entry then
    out[#out + 1] = {one[1], entry[2][2], entry[2][4]}
  else
    out[#out + 1] = {one[1]}
  end
end
return out
