-- Adds to a number. ARGV: the writer, the key, what to add, time to live.
local writer, key, ttl = ARGV[7], ARGV[8], tonumber(ARGV[10])
local h = held(key)
-- Numbers of 64 bits are the server's to add: those of Lua are not exact.
redis.call('HSET', S, 'sum', h and string.sub(h.record, h.value) or '0')
local sum = redis.pcall('HINCRBY', S, 'sum', ARGV[9])
local value = redis.call('HGET', S, 'sum')
redis.call('HDEL', S, 'sum')
if type(sum) == 'table' and sum.err then
  return finish({ string.find(sum.err, 'overflow') and 'overflow' or 'number', int(now) })
end
local fit, full = fits(1, #key + #value, h and 1 or 0, h and h.size or 0)
if not fit then return finish(full) end
local expires = ttl > 0 and now + ttl or (h and h.expires or 0)
local v = put(key, h, expires, writer, value)
return finish({ 'ok', int(now), value, int(v) })
