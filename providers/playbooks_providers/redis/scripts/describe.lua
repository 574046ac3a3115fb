-- describe(a): what a person may know about an agent, in one consistent read and without its payload.
-- uses: mint, state
--
-- KEYS  1 meta  2 checkpoints  3 state  4 inbox
-- ANSWERS  {} or {status, fence, session or '', attempts, start record, why or '', id of the newest entry or '', its header,
--           birth, letters in the inbox, wake or '', order or ''}
-- Reads only.
local known = redis.call('HMGET', KEYS[1], 'status', 'fence', 'session', 'attempts', 'birth', 'wake')
if not known[1] then
  return {}
end
local text = redis.call('GET', KEYS[3]) or ''
local found = small(text)
local id, header = found.final_id or '', found.final or ''
if not (known[1] == 'completed' or known[1] == 'failed' or known[1] == 'cancelled') then
  if redis.call('EXISTS', KEYS[2]) == 0 then
    id, header = last_kept(text)
  else
    local _, from = newest(KEYS[2])
    local entry = from ~= '' and redis.call('XRANGE', KEYS[2], from, from)[1]
    if entry then
      id, header = from, entry[2][2]
    end
  end
end
return {
  known[1], known[2], known[3] or '', known[4], found.start or '', found.why or '', id, header,
  known[5], redis.call('XLEN', KEYS[4]), known[6] or '', found.order or '',
}
