-- enqueue(tickets): puts tickets into one queue.
-- uses: ring
--
-- KEYS  1 queue  2 cap  3 bell
-- ARGV  agent, fence, agent, fence, ...
-- ANSWERS  how many
-- Harmless when repeated: a second copy of a ticket is refused when taken.
redis.call('XDEL', KEYS[1], '0-1') -- a no-op delete first: the script may then write at maxmemory
for i = 1, #ARGV, 2 do
  redis.call('XADD', KEYS[1], '*', 'agent', ARGV[i], 'fence', ARGV[i + 1])
end
ring(KEYS[2], KEYS[3])
return #ARGV / 2
