-- trim(a, fence, oldest): its owner forgets checkpoints. Never the one to go on from, and never another's.
-- uses: mint
--
-- KEYS  1 meta  2 checkpoints
-- ARGV  1 fence  2 oldest id to keep
-- ANSWERS  'done' or 'gone'
-- IDEMPOTENT: what is forgotten stays so. The stream's last id, which is the fence, does not go back by trimming.
redis.call('HDEL', KEYS[1], '') -- a no-op delete first: the script may then write at maxmemory
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then
  return 'gone'
end
local _, from = newest(KEYS[2])
if from ~= '' then
  local reached = #redis.call('XRANGE', KEYS[2], ARGV[2], from, 'COUNT', 1) > 0
  redis.call('XTRIM', KEYS[2], 'MINID', '=', reached and ARGV[2] or from)
end
return 'done'
