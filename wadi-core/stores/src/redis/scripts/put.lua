-- KEYS: session, listed, ends, due. ARGV: id, bucket, stamp, for how long, payload. 1 where it is stored.
local has = read(KEYS[1])
local under = string.sub(ARGV[3], 1, 16)
if kind(has) == FENCE then
    if before(under, fence(has)) then return 0 end
elseif is_row(has) then
    if before(ARGV[3], stamp(has)) then return 0 end
    if is_given_out(has) and before(under, given_out(has)) then return 0 end
elseif has ~= '' then
    return 0
end
local ends = digits(now + ARGV[4])
local nobody = '0' .. string.rep('\0', 16)
local row = 'R' .. ARGV[2] .. ARGV[3] .. nobody .. nobody .. digits(now) .. ends .. ARGV[5]
local member = ARGV[2] .. ARGV[1]
-- First what a full server refuses: then it refuses all of it.
redis.call('SET', KEYS[1], row)
if is_row(has) and bucket(has) ~= ARGV[2] then
    local old = bucket(has) .. ARGV[1]
    redis.call('ZREM', KEYS[2], old)
    redis.call('ZREM', KEYS[3], old)
    redis.call('ZREM', KEYS[4], old)
end
redis.call('ZADD', KEYS[2], 0, member)
redis.call('ZADD', KEYS[3], ends, member)
redis.call('ZREM', KEYS[4], member)
return 1
