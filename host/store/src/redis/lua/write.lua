-- What every script that writes goes on with. ARGV: most entries, most bytes, changes kept, their bytes.
local max_entries, max_bytes = tonumber(ARGV[3]) or 0, tonumber(ARGV[4]) or 0
local max_changes, max_change_bytes = tonumber(ARGV[5]), tonumber(ARGV[6])
local bounds = redis.call('HMGET', S, 'max-changes', 'max-change-bytes')
-- The sweeper knows no configuration, and goes by what was asked for last.
max_changes, max_change_bytes = max_changes or tonumber(bounds[1]) or 10000, max_change_bytes or tonumber(bounds[2]) or 67108864
local changes, before = redis.call('XLEN', C), version

-- From the first step on no key of the bucket is without a member until the last: on a node of a cluster that gives the slot
-- away, touching one that has gone ends a script, with a part of it done. No entry has this name, and nobody sees it.
local holding = false
local function hold()
  if holding then return end
  holding = true
  redis.call('HSET', E, '', '')
  redis.call('ZADD', O, 0, '')
  redis.call('ZADD', X, '+inf', '')
end

local function record(kind, key, writer, value)
  version = version + 1
  changes = changes + 1
  change_bytes = change_bytes + #key + #value
  if kind ~= 'expire' then written = true end
  redis.call('XADD', C, int(version) .. '-0', 'kind', kind, 'key', key, 'writer', writer, 'value', value)
  for _ = 1, 256 do
    if changes <= 1 or (changes <= max_changes and change_bytes <= max_change_bytes) then break end
    local first = redis.call('XRANGE', C, '-', '+', 'COUNT', 1)[1]
    changes = changes - 1
    change_bytes = change_bytes - #first[2][4] - #first[2][8]
    redis.call('XTRIM', C, 'MAXLEN', changes)
  end
  return version
end

local function forget(key, h)
  if not h then return end
  hold()
  if h.expires > 0 then redis.call('ZREM', X, key) end
  entries = entries - 1
  bytes = bytes - h.size
end

local function keep(key, v, at, expires, writer, value)
  hold()
  redis.call('HSET', E, key, int(v) .. ':' .. int(at) .. ':' .. int(expires) .. ':' .. #writer .. ':' .. writer .. value)
  redis.call('ZADD', O, 0, key)
  if expires > 0 then redis.call('ZADD', X, int(expires), key) end
  entries = entries + 1
  bytes = bytes + #key + #value
end

local function put(key, h, expires, writer, value)
  forget(key, h)
  keep(key, version + 1, now, expires, writer, value)
  return record('set', key, writer, value)
end

local function remove(kind, key, h, writer)
  forget(key, h)
  redis.call('HDEL', E, key)
  redis.call('ZREM', O, key)
  return record(kind, key, writer, '')
end

-- What stands at a key. An entry whose time is over is swept by that.
local function held(key)
  local h = head(key)
  if h and is_over(h) then
    remove('expire', key, h, '')
    return nil
  end
  return h
end

-- Sweeps what is due, as far as one step does. How many were due.
local function settle()
  local keys = redis.call('ZRANGEBYSCORE', X, '-inf', int(now), 'LIMIT', 0, 256)
  for _, key in ipairs(keys) do
    hold()
    held(key)
    redis.call('ZREM', X, key)
  end
  return #keys
end

-- Whether the bucket may hold what comes for what goes. What is due holds no space against it.
local function fits(entries_in, bytes_in, entries_out, bytes_out)
  while true do
    local beyond = (entries_in > entries_out and entries - entries_out + entries_in > max_entries)
      or (bytes_in > bytes_out and bytes - bytes_out + bytes_in > max_bytes)
    if not beyond then return true end
    local usage = { 'full', int(now), int(entries), int(bytes) }
    if settle() == 0 then return false, usage end
  end
end

-- Writes the state where something changed, and wakes who waits.
local function finish(answer)
  if version ~= before then
    redis.call('HSET', S, 'version', int(version), 'entries', int(entries), 'bytes', int(bytes), 'change-bytes',
      int(change_bytes), 'clock', int(now), 'written', written and '1' or '0', 'max-changes', int(max_changes),
      'max-change-bytes', int(max_change_bytes))
    redis.call('PUBLISH', S, int(version))
  end
  if holding then
    redis.call('HDEL', E, '')
    redis.call('ZREM', O, '')
    redis.call('ZREM', X, '')
  end
  return answer
end

settle()
