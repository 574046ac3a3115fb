-- Shared by the scripts that fold an agent's stream into its `state` and make the stream again (`-- uses: mint, state, fold`).
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

-- folded(checkpoints, newest) -> the names and values of the entry `newest` as `state` keeps it: what it needs first.
local function folded(checkpoints, newest)
  local words = {}
  local function keep(entry)
    local value = entry[2]
    for _, word in ipairs({'id', entry[1], 'h', value[2], 'd', value[4]}) do
      words[#words + 1] = word
    end
  end
  for _, id in ipairs(bases(newest[2][2])) do
    local base = redis.call('XRANGE', checkpoints, id, id)[1]
    if base then
      keep(base)
    end
  end
  keep(newest)
  return words
end

-- unfold(checkpoints, state) -> what a person has chosen (nil when nobody has, or nothing was folded). The stream of a
-- parked or failed agent is made again, and `state` keeps only the start record and an order. The mint must follow: its
-- id is greater than all that are put back, and keeps their writers out.
local function unfold(checkpoints, state)
  if redis.call('EXISTS', checkpoints) == 1 then
    return nil
  end
  local text = redis.call('GET', state) or ''
  local found = small(text)
  for _, entry in ipairs(kept(text)) do
    redis.call('XADD', checkpoints, entry.id, 'h', entry.h, 'd', entry.d, 'n', '')
  end
  redis.call('SET', state, fold('start', found.start or false, 'order', found.order or false))
  return found.choice
end
