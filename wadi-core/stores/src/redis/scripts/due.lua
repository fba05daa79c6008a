-- KEYS: ends, due. ARGV: how many at most. From the list by time into the one by bucket and id. How many, and now.
local over = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', digits(now), 'LIMIT', 0, ARGV[1])
if #over > 0 then
    local places = {}
    for at, member in ipairs(over) do
        places[2 * at - 1], places[2 * at] = 0, member
    end
    redis.call('ZREM', KEYS[1], unpack(over))
    redis.call('ZADD', KEYS[2], unpack(places))
end
return {#over, now}
