-- lead(nonce, lease): takes or renews the leader's lease.
--
-- KEYS  1 leader
-- ARGV  1 nonce  2 lease in ms
-- ANSWERS  1 it is mine for that long from now, 0 another's
-- IDEMPOTENT because the nonce is compared.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1]) -- a delete first: the script may then write at maxmemory; the script is atomic
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
