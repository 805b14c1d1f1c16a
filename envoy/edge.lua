-- Reads the headers of every request before anything else does: refuses what gRPC cannot read, and writes in one way what
-- may be written in several.

local ENCODINGS = {identity = true, deflate = true, gzip = true}

local function is_timeout(text)
  local digits = string.match(text, "^(%d+)[HMSmun]$")
  return digits and #digits <= 8
end

-- Why the request is refused, or nil.
local function refusal(headers)
  for name in pairs(headers) do
    -- Many servers take an underscore for a hyphen, and gRPC returns INTERNAL for the rest.
    if string.find(name, "[^a-z0-9.:-]") then
      return "The name of the header " .. name .. " may have letters, digits, hyphens and dots only."
    end
  end
  if string.find(headers:get(":authority") or "", ",", 1, true) then
    return "The request names more than one host."
  end
  local timeout, encoding = headers:get("grpc-timeout"), headers:get("grpc-encoding")
  if timeout and not is_timeout(timeout) then
    return "The header grpc-timeout cannot be read."
  end
  if encoding and not ENCODINGS[encoding] then
    return "The header grpc-encoding cannot be read."
  end
end

local function rewrite(headers)
  -- Parameters of a media type mean nothing here, and the filter of gRPC-Web knows none.
  local web = string.match(headers:get("content-type") or "", "^(application/grpc%-web[^; ]*) *;")
  if web then
    headers:replace("content-type", web)
    headers:replace("accept", string.match(headers:get("accept") or "", "^application/grpc%-web[^; ,]*") or web)
  end
  -- The filter that verifies tokens knows one way to write the scheme, and finds a subprotocol only as the last one.
  local token = string.match(headers:get("authorization") or "", "^[Bb][Ee][Aa][Rr][Ee][Rr][ \t]+(.*)$")
  if token then
    headers:replace("authorization", "Bearer " .. token)
  end
  local protocols = headers:get("sec-websocket-protocol") or ""
  local before, offered, after = string.match(protocols, "^(.-)(bearer%.[^, ]+) *,(.*)$")
  if offered then
    headers:replace("sec-websocket-protocol", before .. after .. ", " .. offered)
  end
  -- A deadline of gRPC's own; that of a REST call is its route's.
  if string.find(headers:get("content-type") or "", "application/grpc", 1, true) ~= 1 then
    headers:remove("grpc-timeout")
  end
end

-- For the access log, the span and responses.py.
local function note(call, key, text)
  call:streamInfo():dynamicMetadata():set("focusmesh.edge", key, text)
end

function envoy_on_request(call)
  local headers = call:headers()
  local traceparent = headers:get("x-caller-traceparent")
  if traceparent then
    note(call, "traceparent", traceparent)
    headers:remove("x-caller-traceparent")
  end
  local why = refusal(headers)
  if why then
    note(call, "refusal", why)
    call:respond({[":status"] = "400"}, why)
  else
    rewrite(headers)
  end
end
