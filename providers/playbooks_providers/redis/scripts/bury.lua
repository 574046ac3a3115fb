-- bury(session, beats): removes a session whose count has not changed since it was looked at.
--
-- KEYS  1 sessions
-- ARGV  1 session  2 count ('' for its own supervisor: whatever it is)
-- ANSWERS  1 it is gone (now, or before), 0 it has beaten since
-- IDEMPOTENT: gone stays gone, ids are never used again.
local beats = redis.call('ZSCORE', KEYS[1], ARGV[1])
if beats and ARGV[2] ~= '' and tonumber(beats) ~= tonumber(ARGV[2]) then
  return 0
end
redis.call('ZREM', KEYS[1], ARGV[1])
return 1
