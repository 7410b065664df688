-- All operations or none. ARGV: the writer, then of each operation what, key, condition, version, time to live, value.
local writer, steps = ARGV[7], {}
local entries_in, bytes_in, entries_out, bytes_out = 0, 0, 0, 0
for i = 8, #ARGV, 6 do
  local what, key, when, at, ttl, value = ARGV[i], ARGV[i + 1], ARGV[i + 2], tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4]), ARGV[i + 5]
  local h = held(key)
  local holds = when == 'always' or (when == 'absent' and not h) or (when == 'present' and h)
    or (when == 'version' and h and h.version == at)
  if not holds then
    return finish({ 'conflict', int(now), key, h and h.record or '' })
  end
  steps[#steps + 1] = { what = what, key = key, h = h, ttl = ttl, value = value }
  if what ~= 'check' then
    if h then
      entries_out = entries_out + 1
      bytes_out = bytes_out + h.size
    end
    if what == 'set' then
      entries_in = entries_in + 1
      bytes_in = bytes_in + #key + #value
    end
  end
end

local fit, full = fits(entries_in, bytes_in, entries_out, bytes_out)
if not fit then return finish(full) end

local answer = { 'ok', int(now) }
for _, step in ipairs(steps) do
  local v = 0
  if step.what == 'set' then
    v = put(step.key, step.h, step.ttl > 0 and now + step.ttl or 0, writer, step.value)
  elseif step.what == 'delete' and step.h then
    v = remove('delete', step.key, step.h, writer)
  end
  answer[#answer + 1] = int(v)
end
return finish(answer)
