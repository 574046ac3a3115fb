-- headers(a): the kept checkpoints, oldest first, without their payloads (one at a time: they may be big).
--
-- KEYS  1 checkpoints
-- ANSWERS  {id, header, id, header, ...}
-- Reads only.
local out, after = {}, '-'
while true do
  local entry = redis.call('XRANGE', KEYS[1], after, '+', 'COUNT', 1)[1]
  if not entry then
    return out
  end
  if string.sub(entry[1], -2) ~= '-0' then
    out[#out + 1] = entry[1]
    out[#out + 1] = entry[2][2]
  end
  after = '(' .. entry[1]
end
