-- deliver(a, sender, birth, number): one letter is accepted, once, behind all earlier ones of its sender.
-- uses: mint, state, fold
--
-- KEYS  1 meta  2 checkpoints  3 state  4 inbox
-- ARGV  1 sender's field (s:<sender>; '' for a letter that is `once`)  2 its birth  3 number  4 most letters in the inbox ('' for a pressing one)
--       5 birth of the receiver ('' whoever has the id)  6 sender  7 body  8 days for which silent senders are known
-- ANSWERS  {'fresh' or 'before', fence while ready or '', queue, session while running or '', fence of a timer or '',
--              its place, if it is fresh}
--              its caller enqueues the ticket or pokes the session, and disarms the timer, which would wake nobody
--          {'gap', the number that comes next}, {'full'}
--          {'gone'}    unknown, ended, or another birth; or a birth of the sender that is over
-- A waiting agent becomes ready. The letter's id is its place, the count of all that this agent has accepted, which the
-- hash keeps: the stream goes when the agent is parked.
-- A sender's field is <birth>-<number>-<day of its last letter>. When there are many, those that have been silent too long go:
-- looked through when their number has doubled, so that it costs little on the whole.
-- IDEMPOTENT because the number is compared before anything else: accepted before, it answers the ticket while the agent is
-- ready (whoever delivered it may not have enqueued it), and nothing changes.
redis.call('HDEL', KEYS[1], '') -- a no-op delete first: the script may then write at maxmemory
local known = redis.call('HMGET', KEYS[1], 'status', 'fence', 'session', 'queue', 'birth', 'wake', 'in', ARGV[1], 'many')
local status, fence = known[1], known[2]
if not status or (ARGV[5] ~= '' and ARGV[5] ~= known[5]) then
  return {'gone'}
end
local birth, last = string.match(ARGV[1] ~= '' and known[8] or '0-0', '^(%d+)%-(%d+)')
birth, last = tonumber(birth), tonumber(last)
if tonumber(ARGV[2]) < birth then
  return {'gone'}
elseif tonumber(ARGV[2]) > birth then
  last = 0
end
local function answer(what, timer, place)
  return {what, status == 'ready' and fence or '', known[4], status == 'running' and known[3] or '', timer or '', place}
end
if tonumber(ARGV[3]) <= last then
  return answer('before')
end
if status == 'completed' or status == 'failed' or status == 'cancelled' then
  return {'gone'}
end
local forgotten = known[9] and not known[8] -- perhaps: then any number is the next one
if tonumber(ARGV[3]) ~= last + 1 and not forgotten then
  return {'gap', last + 1}
end
if ARGV[4] ~= '' and redis.call('XLEN', KEYS[4]) >= tonumber(ARGV[4]) then
  return {'full'}
end
local place = string.format('%.0f', tonumber(known[7] or '0') + 1)
redis.call('XADD', KEYS[4], place .. '-0', 's', ARGV[6], 'b', ARGV[2], 'n', ARGV[3], 'd', ARGV[7])
redis.call('HSET', KEYS[1], 'in', place)
if ARGV[1] ~= '' then
  local today = math.floor(redis.call('TIME')[1] / 86400)
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. '-' .. ARGV[3] .. '-' .. string.format('%.0f', today))
  if not known[8] and redis.call('HLEN', KEYS[1]) > tonumber(known[9] or '500') then
    local all = redis.call('HGETALL', KEYS[1])
    for i = 1, #all, 2 do
      local day = string.sub(all[i], 1, 2) == 's:' and string.match(all[i + 1], '(%d+)$')
      if day and tonumber(day) < today - tonumber(ARGV[8]) - 1 then
        redis.call('HDEL', KEYS[1], all[i])
      end
    end
    redis.call('HSET', KEYS[1], 'many', math.max(500, 2 * redis.call('HLEN', KEYS[1])))
  end
end
if status == 'waiting' then
  local choice = unfold(KEYS[2], KEYS[3])
  local before = fence
  status, fence = 'ready', mint(KEYS[1], KEYS[2], 'it has mail', nil, choice)
  redis.call('HDEL', KEYS[1], 'wake')
  redis.call('HSET', KEYS[1], 'status', status)
  return answer('fresh', known[6] and before, place)
end
return answer('fresh', nil, place)
