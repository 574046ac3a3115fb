-- Shared by the scripts that read or fold `state` (`-- uses: state`). Its format is in state.py: netstrings, name and
-- value in turn, `start` first, `d` (the only big ones) last.
--
-- value_at(text, at) -> the netstring that begins there, and where the next one does.
local function value_at(text, at)
  local colon = string.find(text, ':', at, true)
  local last = colon + tonumber(string.sub(text, at, colon - 1))
  return string.sub(text, colon + 1, last), last + 2
end

-- fields(text, wanted) -> a table of the values; stops as soon as it has seen the names in `wanted` (a set) or the end.
local function fields(text, wanted)
  local found, at, missing, name, value = {}, 1, 0, nil, nil
  for _ in pairs(wanted) do
    missing = missing + 1
  end
  while missing > 0 and at <= #text do
    name, at = value_at(text, at)
    value, at = value_at(text, at)
    if wanted[name] then
      found[name] = value
      missing = missing - 1
    end
  end
  return found
end

-- small(text) -> a table of all values in front of the checkpoints, and where those begin.
local function small(text)
  local found, at = {}, 1
  while at <= #text do
    local name, after = value_at(text, at)
    if name == 'id' then
      break
    end
    found[name], at = value_at(text, after)
  end
  return found, at
end

-- last_kept(text) -> id and header of the newest checkpoint in it ('' when there is none), without copying payloads.
local function last_kept(text)
  local id, header, _, at = '', '', small(text)
  local name, value
  while at <= #text do
    name, at = value_at(text, at)
    if name == 'd' then
      local colon = string.find(text, ':', at, true)
      at = colon + tonumber(string.sub(text, at, colon - 1)) + 2
    else
      value, at = value_at(text, at)
      if name == 'id' then
        id = value
      else
        header = value
      end
    end
  end
  return id, header
end

-- kept(text) -> the checkpoints of a parked or failed agent, {id =, h =, d =} each, oldest first.
local function kept(text)
  local all, _, at = {}, small(text)
  local name, value
  while at <= #text do
    name, at = value_at(text, at)
    value, at = value_at(text, at)
    if name == 'id' then
      all[#all + 1] = {id = value}
    else
      all[#all][name] = value
    end
  end
  return all
end

-- fold(name, value, ...) -> the text; pairs whose value is false are left out.
local function fold(...)
  local out, given = {}, {...}
  for i = 1, #given, 2 do
    if given[i + 1] then
      out[#out + 1] = #given[i] .. ':' .. given[i] .. ',' .. #given[i + 1] .. ':' .. given[i + 1] .. ','
    end
  end
  return table.concat(out)
end
