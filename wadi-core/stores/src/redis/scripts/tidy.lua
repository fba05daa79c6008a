-- KEYS: session, listed, ends, due. ARGV: the entry of a session that is not there any more.
if redis.call('EXISTS', KEYS[1]) == 0 then
    for at = 2, 4 do redis.call('ZREM', KEYS[at], ARGV[1]) end
end
return 1
