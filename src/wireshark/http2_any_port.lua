-- capture2pcap: HTTP, and gRPC with it, on any TCP port. For Wireshark and tshark, 4.0 or later.
--
-- Wireshark looks for HTTP/2 only on ports that are mapped to it. This plugin recognizes a connection by the
-- client's preface, or by the shape of complete frames if the preface was not recorded, and passes it to
-- Wireshark's own dissector. Some ports belong to a protocol whose dissector accepts any bytes, so that no other
-- dissector is asked. On these ports, this plugin looks first, for HTTP/1 as well, and passes everything else to the
-- port's owner.
--
-- It uses no bit library, because those of Lua 5.2 and of 5.3 and later differ.

-- A second copy, for instance from `-X lua_script:`, finds the name taken and does nothing.
local is_new, http2_proto = pcall(Proto, "http2_any_port", "HTTP/2 on any port")
if not is_new then return end
local http1_proto = Proto("http1_any_port", "HTTP/1 on any port")
local owned_proto = Proto("http_owned_port", "HTTP on a port of another protocol")
if set_plugin_info then
  set_plugin_info({ version = "1.1", author = "capture2pcap", description = "HTTP on any TCP port" })
end

-- RFC 9113, section 3.4.
local PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
local HEADER = 9
local MAX_STREAM = 0x7fffffff
-- RFC 9113 allows 16 MiB. No client or server in use sends larger frames than this, in bytes.
local MAX_DATA, MAX_OTHER = 0x100000, 0x10000

-- All combinations of the flags.
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

-- The valid flags, stream and sizes (minimum, maximum) of each frame type.
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
    -- Even streams are server push, which clients no longer support.
    return false
  end
  if kind == 4 then
    -- An acknowledgement is empty; a setting takes six bytes.
    return size % 6 == 0 and (flag == 0 or size == 0)
  end
  -- An empty DATA frame is only sent to end its stream.
  return kind ~= 0 or size > 0 or flag == 1
end

-- Whether a segment consists of frames: one that ends with the segment, or several, the last of which may
-- continue in later segments.
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

local METHODS = {
  GET = true, HEAD = true, POST = true, PUT = true, DELETE = true, CONNECT = true, OPTIONS = true, TRACE = true,
  PATCH = true,
}
-- The maximum length of a request line that is examined. A longer target hides the version.
local MAX_LINE = 128

-- Whether a segment begins with the first line of an HTTP/1 request or response.
local function is_http1(tvb)
  local start = tvb:raw(0, math.min(tvb:len(), MAX_LINE))
  if start:find("^HTTP/1%.[01] %d%d%d") then return true end
  local line = start:match("^[^\r\n]*")
  local method, target = line:match("^(%u+) ([^%s]+)")
  if not METHODS[method] or not target then return false end
  return line:find(" HTTP/1%.[01]$") ~= nil or (#line == MAX_LINE and not line:find(" ", #method + 2, true))
end

-- Passes the connections of `proto` to Wireshark's dissector of that name. `known` holds the numbers of the packets
-- that were recognized. Wireshark dissects a packet again when it is displayed, and then also asks the connection's
-- dissector for the packets before the recognized one.
local function carrier(proto, name)
  local dissector, known = Dissector.get(name), {}
  local self = { proto = proto }
  function proto.init() known = {} end
  function self.knows(pinfo) return known[pinfo.number] end
  function self.dissect(tvb, pinfo, tree)
    if pinfo.visited then
      if not known[pinfo.number] then return 0 end
    else
      known[pinfo.number] = true
    end
    -- Wireshark subtracts one for each dissector on the way; at 0, none may request more bytes.
    if pinfo.can_desegment > 0 then pinfo.can_desegment = 2 end
    return dissector:call(tvb, pinfo, tree)
  end
  function proto.dissector(tvb, pinfo, tree) return self.dissect(tvb, pinfo, tree) end
  return self
end

local http2, http1 = carrier(http2_proto, "http2"), carrier(http1_proto, "http")

http2_proto:register_heuristic("tcp", function(tvb, pinfo, tree)
  if not is_http2(tvb) then return false end
  pinfo.conversation = http2.proto
  http2.dissect(tvb, pinfo, tree)
  return true
end)

-- The ports whose owners accept any bytes. Measured with tshark 4.0.17, using a connection with HTTP/2's preface to
-- each port: on these ports the heuristic was not asked. Other versions may differ by a few ports.
local GREEDY = {
  7, 13, { 19, 23 }, 25, 37, { 42, 43 }, 49, 53, 70, 79, 88, 102, { 110, 111 }, 119, 123, 139, 143, { 161, 162 },
  179, 210, 323, 389, 427, 445, 464, 500, { 512, 515 }, 524, { 547, 548 }, 554, 564, 587, 631, 639, 647, 674, 705,
  854, 862, 873, 925, 988, 1080, 1090, 1099, 1102, 1153, 1194, 1213, 1344, 1433, 1533, 1547, 1723, 1861, 1863,
  1883, 1935, 2099, 2123, 2126, 2152, 2234, 2240, 2269, { 2321, 2322 }, 2345, 2401, 2404, 2433, { 2501, 2502 },
  2571, 2575, 2600, 2812, { 2944, 2945 }, 3014, { 3016, 3019 }, { 3245, 3248 }, 3268, 3288, 3306, 3357, 3369,
  3452, 3478, 3632, 3671, 3724, 3804, 3860, 3863, 3868, 3918, 4002, 4155, 4189, 4223, 4342, 4420, 4551,
  { 4555, 4556 }, 4712, 4730, 4739, 4788, 4840, 4880, 5010, 5060, 5084, 5222, 5253, 5353, 5432, 5445,
  { 5500, 5501 }, 5534, 5672, 5683, 5701, { 5900, 5901 }, 5997, { 6000, 6063 }, 6068, 6084, 6121, 6160, 6346,
  6379, 6417, 6653, { 6667, 6668 }, { 6881, 6889 }, 7000, 7075, { 7171, 7172 }, 7236, { 7275, 7276 }, 7871, 7911,
  8009, 8023, 8074, 8085, 8554, 8567, 9009, 9092, 9300, 9418, { 9955, 9956 }, 10288, 11211, 13400, 14001, 15740,
  17500, { 17755, 17756 }, 19006, { 19042, 19043 }, 19506, 19543, 21064, 22222, 24800, 29418, 34980,
  { 44321, 44322 }, 44818, 48049, 48898, 57000,
}
local ports = DissectorTable.get("tcp.port")
local owners = {}

function owned_proto.dissector(tvb, pinfo, tree)
  for carrier, is_its in pairs({ [http2] = is_http2, [http1] = is_http1 }) do
    local found
    if pinfo.visited then found = carrier.knows(pinfo) else found = is_its(tvb) end
    if found then
      pinfo.conversation = carrier.proto
      return carrier.dissect(tvb, pinfo, tree)
    end
  end
  if pinfo.can_desegment > 0 then pinfo.can_desegment = 2 end
  return owners[pinfo.match]:call(tvb, pinfo, tree)
end

for _, range in ipairs(GREEDY) do
  local first, last = range, range
  if type(range) == "table" then first, last = range[1], range[2] end
  for port = first, last do
    local owner = ports:get_dissector(port)
    if owner then
      owners[port] = owner
      ports:add(port, owned_proto)
    end
  end
end
