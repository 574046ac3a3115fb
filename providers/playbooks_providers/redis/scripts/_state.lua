-- Shared by the scripts that read or fold `state` (`-- uses: state`). Its format is in state.py: netstrings, name and
-- value in turn, `start` first, `d` (the only big one) last.
--
-- fields(text, wanted) -> a table of the values; stops as soon as it has seen the names in `wanted` (a set) or the end.
local function fields(text, wanted)
  local found, at, missing = {}, 1, 0
  for _ in pairs(wanted) do
    missing = missing + 1
  end
  local function one()
    local colon = string.find(text, ':', at, true)
    local size = tonumber(string.sub(text, at, colon - 1))
    local first = colon + 1
    at = first + size + 1
    return first, first + size - 1
  end
  while missing > 0 and at <= #text do
    local first, last = one()
    local name = string.sub(text, first, last)
    first, last = one()
    if wanted[name] then
      found[name] = string.sub(text, first, last)
      missing = missing - 1
    end
  end
  return found
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
