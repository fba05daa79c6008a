-- KEYS: the form of all that is kept. ARGV: the one that is known here. The one that is there.
local has = redis.call('GET', KEYS[1])
if not has then
    redis.call('SET', KEYS[1], ARGV[1])
    has = ARGV[1]
end
return tonumber(has) or -1
