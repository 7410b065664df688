-- What every script begins with. Redis runs one script at a time, so that each is one step that nobody sees a part of.
--
-- KEYS: state (hash), entries (hash of records), order (sorted set, by bytes), expiries (sorted set, by instant), changes
-- (stream, `VERSION-0`). ARGV: the latest instant that the client has seen; the instant, where it does not come from here.
--
-- A record: `VERSION:WRITTEN:EXPIRES:LENGTH OF WRITER:`, the writer as bytes, the value. EXPIRES is 0 for never.
local S, E, O, X, C = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]

-- Numbers of Lua are exact up to 2^53, and written so only when asked.
local function int(n) return string.format('%.0f', n) end

local st = redis.call('HMGET', S, 'version', 'entries', 'bytes', 'change-bytes', 'clock', 'written')
local version, entries, bytes = tonumber(st[1]) or 0, tonumber(st[2]) or 0, tonumber(st[3]) or 0
local change_bytes, clock, written = tonumber(st[4]) or 0, tonumber(st[5]) or 0, st[6] == '1'

local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
now = math.max(now, clock, tonumber(ARGV[1]))

local function head(key)
  local record = redis.call('HGET', E, key)
  -- An empty one is what a write left that the server ended in the middle.
  if not record or record == '' then return nil end
  local v, w, x, n, at = string.match(record, '^(%d+):(%d+):(%d+):(%d+):()')
  at = at + tonumber(n)
  return { version = tonumber(v), expires = tonumber(x), size = #key + #record - at + 1, record = record, value = at }
end

local function is_over(h) return h.expires > 0 and h.expires <= now end

-- The first instant at which something is due; 0 for never. What scripts that write put there meanwhile is never.
local function due()
  local first = redis.call('ZRANGE', X, 0, 0, 'WITHSCORES')
  return first[2] and first[1] ~= '' and int(tonumber(first[2])) or '0'
end
