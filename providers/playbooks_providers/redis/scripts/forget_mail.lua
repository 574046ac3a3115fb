-- forget_mail(a, fence, place): its owner has the letters up to this place in a durable checkpoint.
--
-- KEYS  1 meta  2 inbox
-- ARGV  1 fence  2 place
-- ANSWERS  'done' or 'gone'
-- Fenced, because places begin anew when an agent is deleted and its id used again.
-- IDEMPOTENT: what is forgotten stays so. The places go on in the hash.
redis.call('HDEL', KEYS[1], '') -- a no-op delete first: a replica refuses it
if redis.call('HGET', KEYS[1], 'fence') ~= ARGV[1] then
  return 'gone'
end
redis.call('XTRIM', KEYS[2], 'MINID', '=', string.format('%.0f', ARGV[2] + 1) .. '-0')
return 'done'
