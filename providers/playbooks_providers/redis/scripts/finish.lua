-- finish(a, fence, session): the end. What stays is one small hash and one string, until the retention is over.
-- uses: mint, state
--
-- KEYS  1 meta  2 checkpoints  3 state
-- ARGV  1 fence  2 session  3 status  4 id of the final entry  5 its header (result or error)  6 retention in ms
-- ANSWERS  'done' or 'gone'
-- The stream is deleted: the fence stays in the hash, and NOMKSTREAM keeps a late writer from making a new one. A failed
-- agent keeps its newest checkpoint that holds state, and before it what that one needs to be opened, for a retry.
-- IDEMPOTENT because a final status with this fence answers 'done' and changes nothing.
--
-- bases(header) -> what an envelope header (32 bytes of MAC, then JSON) says that it needs, the whole one first. Not
-- verified here: whoever opens it does that.
local function bases(header)
  local read, said = pcall(cjson.decode, string.sub(header, 33))
  local ids = {}
  if not read or type(said) ~= 'table' or type(said.base) ~= 'table' or type(said.base.ids) ~= 'table' then
    return ids
  end
  local fence = string.format('%.0f', tonumber(said.fence) or 0)
  for _, told in ipairs(said.base.ids) do -- an id, a seq under the fence of the one before, or a run of such seqs
    local first, last = told, told
    if type(told) == 'string' then
      fence, first = string.match(told, '^(%d+)%-(%d+)$')
      last = first
    elseif type(told) == 'table' then
      first, last = told[1], told[2]
    end
    first, last = tonumber(first), tonumber(last)
    if not fence or not first or not last or last - first >= 1000 then
      return {}
    end
    for seq = first, last do
      ids[#ids + 1] = fence .. '-' .. string.format('%.0f', seq)
    end
  end
  return ids
end

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
local start = fields(redis.call('GET', KEYS[3]) or '', {start = true}).start
local out = {'start', start or false, 'final_id', ARGV[4], 'final', ARGV[5]}
local function keep(entry)
  local value = entry[2]
  for _, word in ipairs({'id', entry[1], 'h', value[2], 'd', value[4]}) do
    out[#out + 1] = word
  end
end
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
  if newest then
    for _, id in ipairs(bases(newest[2][2])) do
      local base = redis.call('XRANGE', KEYS[2], id, id)[1]
      if base then
        keep(base)
      end
    end
    keep(newest)
  end
end
redis.call('SET', KEYS[3], fold(unpack(out)))
redis.call('UNLINK', KEYS[2])
redis.call('HDEL', KEYS[1], 'session', 'nonce', 'wake')
redis.call('HSET', KEYS[1], 'status', ARGV[3])
local ends = string.format('%.0f', now_ms() + ARGV[6])
redis.call('PEXPIREAT', KEYS[1], ends)
redis.call('PEXPIREAT', KEYS[3], ends)
return 'done'
