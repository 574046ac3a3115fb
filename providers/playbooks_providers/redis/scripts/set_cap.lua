-- set_cap(queue, number): how many agents of it may be held at once; no number: as many as there is room for.
-- uses: ring
--
-- KEYS  1 cap  2 bell
-- ARGV  1 number or ''
-- ANSWERS  'done'
-- IDEMPOTENT.
redis.call('DEL', KEYS[2]) -- a delete first: the script may then write at maxmemory
if ARGV[1] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[1])
  ring(KEYS[1], KEYS[2])
end
return 'done'
