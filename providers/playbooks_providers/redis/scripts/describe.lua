-- describe(a): what a person may know about an agent, in one consistent read and without its payload.
-- uses: mint, state
--
-- KEYS  1 meta  2 checkpoints  3 state
-- ANSWERS  {} or {status, fence, session or '', attempts, start record, why or '', id of the newest entry or '', its header}
-- Reads only.
local known = redis.call('HMGET', KEYS[1], 'status', 'fence', 'session', 'attempts')
if not known[1] then
  return {}
end
local wanted = {start = true, why = true}
local final = known[1] == 'completed' or known[1] == 'failed' or known[1] == 'cancelled'
if final then
  wanted = {start = true, final_id = true, final = true}
end
local state = fields(redis.call('GET', KEYS[3]) or '', wanted)
local id, header = state.final_id or '', state.final or ''
if not final then
  local _, from = newest(KEYS[2])
  local entry = from ~= '' and redis.call('XRANGE', KEYS[2], from, from)[1]
  if entry then
    id, header = from, entry[2][2]
  end
end
return {known[1], known[2], known[3] or '', known[4], state.start or '', state.why or '', id, header}
