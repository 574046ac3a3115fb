-- finish(a, fence, session): the end. What stays is one small hash and one string, until the retention is over.
-- uses: mint, state, fold
--
-- KEYS  1 meta  2 checkpoints  3 state  4 inbox  5 events
-- ARGV  1 fence  2 session  3 status  4 id of the final entry  5 its header (result or error)  6 retention in ms
--       7 place up to which its mail was looked through ('': nobody looks)
-- ANSWERS  'done', 'unread' (there is mail beyond that place: nothing has changed) or 'gone'
-- The stream is deleted: the fence stays in the hash, and NOMKSTREAM keeps a late writer from making a new one. A failed
-- agent keeps its newest checkpoint that holds state, before it what that one needs to be opened, and its unread mail, for
-- a retry.
-- IDEMPOTENT because a final status with this fence answers 'done' and changes nothing.
redis.call('HDEL', KEYS[1], '') -- a no-op delete first: the script may then write at maxmemory
local known = redis.call('HMGET', KEYS[1], 'status', 'fence', 'session')
if known[2] ~= ARGV[1] then
  return 'gone'
end
if known[1] == ARGV[3] then
  return 'done'
end
if known[1] ~= 'running' or known[3] ~= ARGV[2] then
  return 'gone'
end
if ARGV[7] ~= '' and #redis.call('XRANGE', KEYS[4], string.format('%.0f', ARGV[7] + 1) .. '-0', '+', 'COUNT', 1) > 0 then
  return 'unread'
end
local start = fields(redis.call('GET', KEYS[3]) or '', {start = true}).start
local out = {'start', start or false, 'final_id', ARGV[4], 'final', ARGV[5]}
if ARGV[3] == 'failed' then
  local before, newest = '+', nil
  while not newest do
    local entry = redis.call('XREVRANGE', KEYS[2], before, '-', 'COUNT', 1)[1]
    if not entry then
      break
    end
    if string.sub(entry[1], -2) ~= '-0' and entry[1] ~= ARGV[4] and entry[2][4] ~= '' then
      newest = entry
    end
    before = '(' .. entry[1]
  end
  for _, word in ipairs(newest and folded(KEYS[2], newest) or {}) do
    out[#out + 1] = word
  end
else
  redis.call('UNLINK', KEYS[4])
end
redis.call('SET', KEYS[3], fold(unpack(out)))
redis.call('UNLINK', KEYS[2])
redis.call('HDEL', KEYS[1], 'session', 'nonce', 'wake', 'order')
redis.call('HSET', KEYS[1], 'status', ARGV[3])
local ends = string.format('%.0f', now_ms() + ARGV[6])
for _, key in ipairs({KEYS[1], KEYS[3], KEYS[4], KEYS[5]}) do
  redis.call('PEXPIREAT', key, ends)
end
return 'done'
