-- KEYS: session, listed, ends, due. ARGV: id, bucket, for how long it is remembered.
local has = read(KEYS[1])
local remembered = 0
if kind(has) == ENDED or kind(has) == FENCE then
    remembered = redis.call('PTTL', KEYS[1])
end
-- First what a full server does: then it does the rest, which is little.
for at = 2, 4 do
    redis.call('ZREM', KEYS[at], ARGV[2] .. ARGV[1])
    if is_row(has) then redis.call('ZREM', KEYS[at], bucket(has) .. ARGV[1]) end
end
if tonumber(ARGV[3]) > 0 then
    if remembered < tonumber(ARGV[3]) then remembered = ARGV[3] end
    redis.call('SET', KEYS[1], ENDED, 'PX', remembered)
elseif remembered == 0 then
    redis.call('DEL', KEYS[1])
end
return 1
