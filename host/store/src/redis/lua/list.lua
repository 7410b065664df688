-- A page of records in the order of their keys. ARGV: prefix, where to begin (texts of Lua compare by locale), limit, most
-- bytes.
local prefix, from, limit, max = ARGV[3], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local answer, size, count, last = { 'ok', int(now), due(), '' }, 0, 0, ''
while true do
  local keys = redis.call('ZRANGEBYLEX', O, from, '+', 'LIMIT', 0, limit + 1)
  for _, key in ipairs(keys) do
    if string.sub(key, 1, #prefix) ~= prefix then return answer end
    local h = head(key)
    if h and not is_over(h) then
      size = size + h.size
      if count == limit or (count > 0 and size > max) then
        answer[4] = last
        return answer
      end
      answer[#answer + 1] = key
      answer[#answer + 1] = h.record
      count, last = count + 1, key
    end
  end
  if #keys <= limit then return answer end
  from = '(' .. keys[#keys]
end
