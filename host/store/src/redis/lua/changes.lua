-- A page of changes in the order of their versions. ARGV: prefix, after, limit, most bytes.
local prefix, after, limit, max = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
if after < version - redis.call('XLEN', C) or after > version then
  return { 'compacted', int(now), due(), int(version) }
end
local answer, size, count = { 'ok', int(now), due(), int(after) }, 0, 0
while true do
  -- A few at a time: each may be a mebibyte.
  local rows = redis.call('XRANGE', C, int(after + 1), '+', 'COUNT', 16)
  for _, row in ipairs(rows) do
    local v, f = tonumber(string.match(row[1], '^(%d+)')), row[2]
    if string.sub(f[4], 1, #prefix) == prefix then
      size = size + #f[4] + #f[8]
      if count == limit or (count > 0 and size > max) then return answer end
      count = count + 1
      answer[#answer + 1] = int(v)
      answer[#answer + 1] = f[2]
      answer[#answer + 1] = f[4]
      answer[#answer + 1] = f[6]
      answer[#answer + 1] = f[8]
    end
    after = v
    answer[4] = int(v)
  end
  if #rows < 16 then return answer end
end
