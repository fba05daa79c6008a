-- What a session's key has, as `value.rs` says it, and what time it is. Before every other script.
local HEAD = 93
local ENDED, FENCE = 'E', 'F'
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

local function kind(head) return string.sub(head, 1, 1) end
local function bucket(head) return string.sub(head, 2, 3) end
local function stamp(head) return string.sub(head, 4, 27) end
local function tenure(head) return string.sub(head, 4, 19) end
local function is_given_out(head) return string.sub(head, 28, 28) == '1' end
local function given_out(head) return string.sub(head, 29, 44) end
-- Of an earlier epoch than the one that has it, with a sign before it whether there is one.
local function given_before(head) return string.sub(head, 45, 61) end
local function put_at(head) return string.sub(head, 62, 77) end
local function epoch(under) return string.sub(under, 1, 8) end
local function fence(head) return string.sub(head, 2, 17) end

-- What the key says of itself; '?' where it is not even bytes.
local function read(key)
    local head = redis.pcall('GETRANGE', key, 0, HEAD - 1)
    if type(head) ~= 'table' then return head end
    if string.find(head.err, 'WRONGTYPE', 1, true) then return '?' end
    error(head.err)
end

local function is_row(head)
    return kind(head) == 'R' and #head == HEAD
        and tonumber(put_at(head)) ~= nil and tonumber(string.sub(head, 78, 93)) ~= nil
end

-- Byte by byte: what Lua says of two strings depends on the server's language.
local function before(a, b)
    for at = 1, math.min(#a, #b) do
        local x, y = string.byte(a, at), string.byte(b, at)
        if x ~= y then return x < y end
    end
    return #a < #b
end

local function digits(micros) return string.format('%016.0f', micros) end
