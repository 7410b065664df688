-- The records at keys. ARGV: whether to answer with them or with `1`, most bytes, the keys.
local answer, size = { 'ok', int(now), due() }, 0
for i = 5, #ARGV do
  local h = head(ARGV[i])
  if h and not is_over(h) then
    size = size + h.size
    if size > tonumber(ARGV[4]) then return { 'large', int(now), due() } end
    answer[#answer + 1] = ARGV[3] == '1' and h.record or '1'
  else
    answer[#answer + 1] = ''
  end
end
return answer
