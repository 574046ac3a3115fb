-- Shared by the transitions that make an agent ready; put in front of them by scripts.py (`-- uses: mint`).
--
-- newest(checkpoints) -> id of the top entry, id of the checkpoint to go on from ('' when there is none), whether the top
-- entry is one (the owner of the top's fence has written something), what a person has chosen ('' when nobody has), and why
-- the fence was minted ('' when its owner has written something).
-- An entry <fence>-0 is a mint's: it holds no state; its field `from` names the checkpoint to go on from, and `choice`,
-- when there is one, how (retry.lua). Both hold until an owner has written something.
local function newest(checkpoints)
  local top = redis.call('XREVRANGE', checkpoints, '+', '-', 'COUNT', 1)[1]
  if not top then
    return '', '', false, '', ''
  end
  if string.sub(top[1], -2) == '-0' then
    return top[1], top[2][4], false, top[2][6] or '', top[2][2]
  end
  return top[1], top[1], true, '', ''
end

-- now_ms() -> the server's clock, Unix time in ms.
local function now_ms()
  local now = redis.call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000)
end

-- next_fence(meta) -> the fence after the one in meta (a string). Who has no stream that it could be written to, as the
-- fence that Redis itself keeps, writes it to the hash alone: NOMKSTREAM keeps every earlier owner out.
local function next_fence(meta)
  local last = tonumber(redis.call('HGET', meta, 'fence') or '0')
  return string.format('%.0f', math.max(last + 1, now_ms()))
end

-- mint_from(meta, checkpoints, why, from, choice) -> the new fence, for who knows what to go on from: the entry of a mint is
-- written, and nothing is read (a top entry may hold megabytes, which a script reads slowly). XADD comes first: if it fails,
-- nothing has changed.
local function mint_from(meta, checkpoints, why, from, choice)
  local fence = next_fence(meta)
  if choice == '' then
    redis.call('XADD', checkpoints, fence .. '-0', 'why', why, 'from', from)
  else
    redis.call('XADD', checkpoints, fence .. '-0', 'why', why, 'from', from, 'choice', choice)
  end
  redis.call('HSET', meta, 'fence', fence)
  return fence
end

-- mint(meta, checkpoints, why) -> the new fence (a string). From here on Redis refuses every write of every earlier
-- owner, because their ids are smaller. The mint's entry before this one is removed, so that an agent that nobody can
-- run does not grow; the stream keeps its last id all the same.
-- `from` and `choice` are given by a person's retry, `choice` by who unfolds a parked agent; else they stay as they are.
local function mint(meta, checkpoints, why, from, choice)
  local top, before, written, chosen = newest(checkpoints)
  local fence = mint_from(meta, checkpoints, why, from or before, choice or chosen)
  if top ~= '' and not written then
    redis.call('XDEL', checkpoints, top)
  end
  return fence
end
