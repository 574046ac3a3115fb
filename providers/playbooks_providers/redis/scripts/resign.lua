-- resign(nonce): gives the lease back, if it is mine.
--
-- KEYS  1 leader
-- ARGV  1 nonce
-- ANSWERS  'done'
-- IDEMPOTENT because the nonce is compared.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 'done'
