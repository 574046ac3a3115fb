-- forget(a): every checkpoint of an agent, for good. Its start record, its status and its fence stay.
-- uses: state
--
-- KEYS  1 checkpoints  2 state
-- ANSWERS  'done'
-- IDEMPOTENT. A writer that is still there is refused from now on (NOMKSTREAM).
redis.call('UNLINK', KEYS[1])
local state = redis.call('GET', KEYS[2])
if state then
  local kept = fields(state, {start = true, why = true})
  redis.call('SET', KEYS[2], fold('start', kept.start or false, 'why', kept.why or false), 'KEEPTTL')
end
return 'done'
