-- capture2pcap: HTTP/2, and gRPC with it, on any TCP port. For Wireshark and tshark, 4.0 or later.
--
-- Wireshark looks for HTTP/2 only on ports that are mapped to it. This plugin recognises a connection by the
-- client's preface, or by the shape of whole frames where the preface was not recorded, and hands it to
-- Wireshark's own dissector. On a port that belongs to a protocol whose dissector accepts any bytes, that
-- dissector comes first; `-d tcp.port==N,http2` is still needed there.
--
-- It uses no bit library: Lua 5.2 has another one than 5.3 and 5.4.

local http2 = Dissector.get("http2")
-- A second copy, say of `-X lua_script:`, finds the name taken and leaves the work to the first.
local is_new, proto = pcall(Proto, "http2_any_port", "HTTP/2 on any port")
if not http2 or not is_new then return end
if set_plugin_info then
  set_plugin_info({ version = "1.0", author = "capture2pcap", description = "HTTP/2 on any TCP port" })
end

-- RFC 9113, section 3.4.
local PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
local HEADER = 9
local MAX_STREAM = 0x7fffffff
-- RFC 9113 allows 16 MiB. No client or server in use sends frames of more than this, in bytes.
local MAX_DATA, MAX_OTHER = 0x100000, 0x10000

-- All sums of some of the flags.
local function flags(...)
  local set = { [0] = true }
  for _, flag in ipairs({ ... }) do
    local sums = {}
    for sum in pairs(set) do sums[sum + flag] = true end
    for sum in pairs(sums) do set[sum] = true end
  end
  return set
end

local CONNECTION, STREAM, EITHER = 1, 2, 3

-- What a frame of each type may be: its flags, the stream that it is about, its least and its largest size.
local TYPES = {
  [0] = { flags(1, 8), STREAM, 0, MAX_DATA }, -- DATA
  [1] = { flags(1, 4, 8, 32), STREAM, 1, MAX_OTHER }, -- HEADERS
  [2] = { flags(), STREAM, 5, 5 }, -- PRIORITY
  [3] = { flags(), STREAM, 4, 4 }, -- RST_STREAM
  [4] = { flags(1), CONNECTION, 0, 384 }, -- SETTINGS
  [5] = { flags(4, 8), STREAM, 5, MAX_OTHER }, -- PUSH_PROMISE
  [6] = { flags(1), CONNECTION, 8, 8 }, -- PING
  [7] = { flags(), CONNECTION, 8, MAX_OTHER }, -- GOAWAY
  [8] = { flags(), EITHER, 4, 4 }, -- WINDOW_UPDATE
  [9] = { flags(4), STREAM, 1, MAX_OTHER }, -- CONTINUATION
  [16] = { flags(), CONNECTION, 4, MAX_OTHER }, -- PRIORITY_UPDATE (RFC 9218)
  [77] = { flags(4), EITHER, 1, MAX_OTHER }, -- METADATA (Envoy)
}

local function is_frame(size, kind, flag, stream)
  local allowed = TYPES[kind]
  if not allowed or not allowed[1][flag] or size < allowed[3] or size > allowed[4] then return false end
  if stream == 0 then
    if allowed[2] == STREAM then return false end
  elseif stream > MAX_STREAM or stream % 2 == 0 or allowed[2] == CONNECTION then
    -- Even streams are those of server push, which clients have given up.
    return false
  end
  if kind == 4 then
    -- An acknowledgement is empty; a setting takes six bytes.
    return size % 6 == 0 and (flag == 0 or size == 0)
  end
  -- An empty DATA frame ends its stream, or there is no reason to send it.
  return kind ~= 0 or size > 0 or flag == 1
end

-- Whether a segment consists of frames: one that ends where the segment does, or two and more, the last of which
-- may go on in later segments.
local function is_frames(tvb)
  local at, count, captured = 0, 0, tvb:len()
  while at + HEADER <= captured do
    local size, stream = tvb(at, 3):uint(), tvb(at + 5, 4):uint()
    if not is_frame(size, tvb(at + 3, 1):uint(), tvb(at + 4, 1):uint(), stream) then return false end
    at, count = at + HEADER + size, count + 1
  end
  return count >= 2 or at == tvb:reported_len()
end

local function is_http2(tvb)
  local length = tvb:len()
  if length < HEADER then return false end
  local start = math.min(length, #PREFACE)
  return tvb:raw(0, start) == PREFACE:sub(1, start) or is_frames(tvb)
end

-- The packets that were recognised, by their number. Wireshark dissects a packet again when it is looked at, and a
-- connection's dissector is then asked for the packets before the one that was recognised, too.
local recognised = {}
function proto.init() recognised = {} end

local function dissect(tvb, pinfo, tree)
  if pinfo.visited then
    if not recognised[pinfo.number] then return 0 end
  else
    recognised[pinfo.number] = true
  end
  -- Wireshark subtracts one for each dissector on the way, and at 0 none may ask for more bytes.
  if pinfo.can_desegment > 0 then pinfo.can_desegment = 2 end
  return http2:call(tvb, pinfo, tree)
end

function proto.dissector(tvb, pinfo, tree) return dissect(tvb, pinfo, tree) end

proto:register_heuristic("tcp", function(tvb, pinfo, tree)
  if not is_http2(tvb) then return false end
  pinfo.conversation = proto
  dissect(tvb, pinfo, tree)
  return true
end)
