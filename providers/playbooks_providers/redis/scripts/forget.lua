-- forget(a): every checkpoint of an agent, for good. Its start record, its status and its fence stay.
-- uses: state
--
-- KEYS  1 checkpoints  2 state
-- ANSWERS  'done'
-- IDEMPOTENT. A writer that is still there is refused from now on (NOMKSTREAM).
redis.call('UNLINK', KEYS[1])
local state = redis.call('GET', KEYS[2])
if state then
  local found = small(state)
  local text = fold('start', found.start or false, 'why', found.why or false, 'order', found.order or false)
  redis.call('SET', KEYS[2], text, 'KEEPTTL')
end
return 'done'
