-- Puts entries as they are. ARGV: the bucket's version, then of each entry key, version, written, expires, writer, value.
if written then return finish({ 'written', int(now) }) end
local last, steps = tonumber(ARGV[7]), {}
local entries_in, bytes_in, entries_out, bytes_out = 0, 0, 0, 0
for i = 8, #ARGV, 6 do
  local key, expires, value = ARGV[i], tonumber(ARGV[i + 3]), ARGV[i + 5]
  if expires == 0 or expires > now then
    local h = held(key)
    steps[#steps + 1] = { i = i, h = h }
    entries_in = entries_in + 1
    bytes_in = bytes_in + #key + #value
    if h then
      entries_out = entries_out + 1
      bytes_out = bytes_out + h.size
    end
  end
end
local fit, full = fits(entries_in, bytes_in, entries_out, bytes_out)
if not fit then return finish(full) end
for _, step in ipairs(steps) do
  local key, v, at, expires = ARGV[step.i], tonumber(ARGV[step.i + 1]), tonumber(ARGV[step.i + 2]), tonumber(ARGV[step.i + 3])
  forget(key, step.h)
  keep(key, v, at, expires, ARGV[step.i + 4], ARGV[step.i + 5])
  last = math.max(last, v)
end
if last > version then
  -- Whoever watched another store goes on after that version: none of the changes up to it are here.
  redis.call('XTRIM', C, 'MAXLEN', 0)
  version, change_bytes = last, 0
elseif #steps > 0 then
  before = -1
end
return finish({ 'ok', int(now) })
