-- reticket(a, fence) -> a new ticket: an agent is ready, but its ticket seems lost (sweep).
-- uses: mint
--
-- KEYS  1 meta  2 checkpoints
-- ARGV  1 fence
-- ANSWERS  {'ready', fence, queue}    its caller enqueues the ticket
--          {'gone'}                   it was taken, or woken, meanwhile
-- A new fence rather than a second copy: the sweep looks for a ticket near the time of its fence, so a copy enqueued late
-- would be missed, and copied, in every round. IDEMPOTENT as often as needed: an older ticket is refused when taken.
redis.call('HDEL', KEYS[1], '') -- a no-op delete first: the script may then write at maxmemory
local known = redis.call('HMGET', KEYS[1], 'status', 'fence', 'queue')
if known[1] ~= 'ready' or known[2] ~= ARGV[1] then
  return {'gone'}
end
return {'ready', mint(KEYS[1], KEYS[2], 'its ticket was lost'), known[3]}
