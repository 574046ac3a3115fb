-- order(a, kind, order): a person, or another agent, wants something of an agent whatever it does now.
-- uses: mint, state, fold
--
-- KEYS  1 meta  2 checkpoints  3 state
-- ARGV  1 'pause', 'cancel' or 'terminate'  2 '<kind>:<id>'  3 the order (JSON)  4 why
-- ANSWERS  {status, fence while ready or '', queue, session that runs it (or did, until it was to be terminated) or '', fence
--              of a timer or '', fence of an earlier ticket or ''}
--              its caller enqueues the ticket or pokes the session, disarms the timer, which would wake nobody, and takes the
--              earlier ticket, which opens nothing, out of its queue
--          {'gone'}    unknown or ended; a pause of one that was set aside otherwise; anything less than what stands
-- The order stands in `state`, its name in the hash, until its owner has obeyed (obeyed.lua; a pause: stop.lua, unless it is
-- withdrawn before). Cancel makes ready who has no owner to raise it in; terminate every one, under a new fence, so that its
-- owner is out. Pause of an agent that nobody runs is done here, under a new fence, so that no ticket opens it; if it was
-- parked, it stays folded.
-- IDEMPOTENT because the name of the order obeyed last is compared; one that stands is written again as it is.
redis.call('HDEL', KEYS[1], '') -- a no-op delete first: the script may then write at maxmemory
local known = redis.call('HMGET', KEYS[1], 'status', 'fence', 'session', 'queue', 'wake', 'order', 'obeyed')
local status, fence, timer, stale = known[1], known[2], '', ''
if not status or status == 'completed' or status == 'failed' or status == 'cancelled' then
  return {'gone'}
end
local function answer()
  return {status, status == 'ready' and fence or '', known[4], known[3] or '', timer, stale}
end
local function becomes(new)
  if known[5] then
    timer = known[2]
  end
  stale = known[1] == 'ready' and known[2] or ''
  status = new
  redis.call('HDEL', KEYS[1], 'wake', 'stopped')
  redis.call('HSET', KEYS[1], 'status', status, 'attempts', '0')
end
local function store(found, rest)
  local text = fold('start', found.start or false, 'why', found.why or false, 'order', found.order or false)
  redis.call('SET', KEYS[3], text .. fold('choice', found.choice or false) .. (rest or ''))
end
local function stand()
  local found = small(redis.call('GET', KEYS[3]) or '')
  store({start = found.start, order = ARGV[3]})
  redis.call('HSET', KEYS[1], 'order', ARGV[2])
end
if known[7] == ARGV[2] then
  return answer()
end
local stands = known[6] and string.match(known[6], '^%a+') or ''
if ARGV[1] == 'terminate' then
  if known[6] == ARGV[2] then
    return answer()
  end
  local choice = unfold(KEYS[2], KEYS[3])
  fence = mint(KEYS[1], KEYS[2], 'terminate', nil, choice)
  becomes('ready')
  redis.call('HDEL', KEYS[1], 'session', 'nonce')
  stand()
  return answer()
end
if stands == 'terminate' then
  return {'gone'}
end
if ARGV[1] == 'cancel' then
  if status ~= 'running' and status ~= 'ready' then
    local choice = unfold(KEYS[2], KEYS[3])
    fence = mint(KEYS[1], KEYS[2], 'cancel', nil, choice)
    becomes('ready')
  end
  stand()
  return answer()
end
if stands == 'cancel' then
  return {'gone'}
end
if status == 'running' then
  stand()
elseif status == 'ready' or status == 'waiting' then
  if redis.call('EXISTS', KEYS[2]) == 1 then
    fence = mint(KEYS[1], KEYS[2], 'pause')
  else
    fence = next_fence(KEYS[1])
    redis.call('HSET', KEYS[1], 'fence', fence)
  end
  becomes('paused')
  local text = redis.call('GET', KEYS[3]) or ''
  local found, rest = small(text)
  store({start = found.start, choice = found.choice, why = ARGV[4]}, string.sub(text, rest))
  redis.call('HDEL', KEYS[1], 'order')
  redis.call('HSET', KEYS[1], 'obeyed', ARGV[2])
elseif status ~= 'paused' then
  return {'gone'}
end
return answer()
