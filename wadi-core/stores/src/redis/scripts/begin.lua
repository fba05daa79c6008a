-- KEYS: the last number that was said. ARGV: what it is to be above, and the highest. 0 where there is none left,
-- nothing where what was said cannot be read.
local said = tonumber(redis.call('GET', KEYS[1]) or 0)
if said == nil then return false end
local number = math.max(said, tonumber(ARGV[1])) + 1
if number > tonumber(ARGV[2]) then return 0 end
-- First what a full server does: then it does the rest, which is little.
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], string.format('%.0f', number))
return number
