-- acknowledge(entries): the tickets are done with; they leave the pending list and the queue together.
-- uses: ring
--
-- KEYS  1 queue  2 cap  3 bell
-- ARGV  1 group  then entry ids
-- ANSWERS  how many were still pending
-- IDEMPOTENT: what is gone is gone.
local ids = {}
for i = 2, #ARGV do
  ids[#ids + 1] = ARGV[i]
end
redis.call('XDEL', KEYS[1], unpack(ids))
local done = redis.pcall('XACK', KEYS[1], ARGV[1], unpack(ids))
ring(KEYS[2], KEYS[3])
return type(done) == 'number' and done or 0
