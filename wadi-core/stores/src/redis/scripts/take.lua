-- KEYS: session, listed, ends, due. ARGV: id, the tenure granted or nothing, which row was read and found whole
-- or nothing, for how long a fence stands. A row that was not read goes nowhere: it is told, and asked again.
-- With one that goes, its head: as it was, or as it is now where it stays.
local under, seen = ARGV[2], ARGV[3]
local has = read(KEYS[1])
if kind(has) == ENDED then return {'ended'} end
if has == '' or kind(has) == FENCE then
    if under ~= '' then
        if has ~= '' and before(under, fence(has)) then under = fence(has) end
        -- First what a full server does: then it does the rest, which is little.
        redis.call('DEL', KEYS[1])
        redis.call('SET', KEYS[1], FENCE .. under, 'PX', ARGV[4])
    end
    return {'nothing'}
end
if not is_row(has) then return {'damaged'} end
if under ~= '' and (before(under, tenure(has)) or is_given_out(has) and before(under, given_out(has))) then
    return {'superseded'}
end
if seen ~= stamp(has) .. put_at(has) then
    return {'row', has, redis.call('GETRANGE', KEYS[1], HEAD, -1)}
end
local member = bucket(has) .. ARGV[1]
-- First what a full server does, again.
redis.call('ZREM', KEYS[3], member)
redis.call('ZREM', KEYS[4], member)
if under == '' then
    redis.call('ZREM', KEYS[2], member)
    redis.call('DEL', KEYS[1])
else
    local earlier = given_before(has)
    if is_given_out(has) and before(epoch(given_out(has)), epoch(under)) then
        earlier = '1' .. given_out(has)
    end
    local given = '1' .. under .. earlier
    redis.call('SETRANGE', KEYS[1], 27, given)
    has = string.sub(has, 1, 27) .. given .. string.sub(has, 62)
end
return {'taken', has, now}
