-- Checks REST requests against the contract, so that nothing of one is lost in silence: the transcoder drops fields of a
-- body that it does not know, null elements of lists, and parameters of a query without a value; it takes the last of two
-- fields of one name, lets a parameter override the path, and reads what is nearly JSON.
-- What passes here is well-formed, and each of its fields exists, once, with a value of its type; whether a number, an
-- instant or the name of an enum's value is a good one is left to the transcoder.
--
-- The tables come from envoy/rest_requests.py: by binding the fields of QUERIES and BODIES, and which bindings have OTHER_BODIES
-- than JSON; and the fields of other MESSAGES. Fields are found by both spellings of a name. A field has its `name` in
-- JSON, its `kind`, for a list the `most` elements that are read, and what it is a message `of`.

local byte, find, sub = string.byte, string.find, string.sub
local QUOTE, COMMA, COLON = 34, 44, 58
local BRACE, END_BRACE, BRACKET, END_BRACKET, N = 123, 125, 91, 93, 110
-- What may follow a backslash in a text.
local ESCAPED = {}
for at = 1, 9 do ESCAPED[byte('"\\/bfnrtu', at)] = true end
local KINDS = {text = "a text in double quotes", number = "a number", truth = "true or false", message = "an object"}

for _, fields in pairs(MESSAGES) do
  for _, field in pairs(fields) do field.fields = MESSAGES[field.of] end
end
for _, fields in pairs(BODIES) do
  for _, field in pairs(fields) do field.fields = MESSAGES[field.of] end
end

-- Names and indices that lead to what is being read. All requests share them: a refusal leaves its own behind.
local trail, depth = {}, 0

local function refuse(text, name)
  if name then depth = depth + 1; trail[depth] = name end
  local path = ""
  for level = 1, depth do
    local step = trail[level]
    if type(step) == "number" then path = path .. "[" .. step .. "]"
    else path = path .. (level > 1 and "." or "") .. step end
  end
  error({path = path, text = text}, 0)
end

-- The next character that is no blank, with its position.
local function skip(s, at)
  local code = byte(s, at)
  while code == 32 or code == 10 or code == 13 or code == 9 do
    at = at + 1
    code = byte(s, at)
  end
  return at, code
end

-- The first control character, and the first backslash, at or behind what was read before.
local control, escape

-- From the opening quote to behind the closing one.
local function text(s, at)
  if control < at then
    control = find(s, "%c", at) or #s + 1
    -- DEL may be in a text; the class without it is slower to look for.
    if byte(s, control) == 127 then control = find(s, "[%z\1-\31]", control) or #s + 1 end
  end
  local quote
  repeat
    at = at + 1
    if escape < at then escape = find(s, "\\", at, true) or #s + 1 end
    if not quote or quote < at then quote = find(s, '"', at, true) or refuse("has a text that does not end") end
    local known = escape > quote or ESCAPED[byte(s, escape + 1)]
    if not known then refuse("has a backslash that begins no escape of JSON") end
    at = escape + 1
  until quote < escape
  if control < quote then refuse("has a control character in a text: write it as an escape") end
  return quote + 1
end

local function number(s, at)
  local _, last = find(s, "^-?[1-9]%d*", at)
  if not last then _, last = find(s, "^-?0", at) end
  if not last then return nil end
  local _, fraction = find(s, "^%.%d+", last + 1)
  last = fraction or last
  local _, exponent = find(s, "^[eE][+-]?%d+", last + 1)
  return (exponent or last) + 1
end

local function shown(name)
  return name == "" and '""' or (sub(name, 1, 64):gsub("[^ -~]", "?"))
end

local object

local function single(s, at, code, field)
  local kind, behind = field.kind, nil
  if kind == "text" then behind = code == QUOTE and text(s, at)
  elseif kind == "number" then behind = number(s, at)
  elseif kind == "truth" then behind = (find(s, "^true", at) and at + 4) or (find(s, "^false", at) and at + 5)
  else behind = code == BRACE and object(s, at, field.fields) end
  return behind or refuse("must be " .. KINDS[kind])
end

local function list(s, at, field)
  local code
  at, code = skip(s, at + 1)
  if code == END_BRACKET then return at + 1 end
  depth = depth + 1
  local index = 0
  while true do
    trail[depth] = index
    if index == field.most then depth = depth - 1; refuse("has far more elements than a list of this name may have") end
    if code == N then refuse("must be " .. KINDS[field.kind] .. ", not null") end
    at, code = skip(s, single(s, at, code, field))
    if code == END_BRACKET then break end
    if code ~= COMMA then refuse("must be followed by a comma or the end of the list") end
    at, code = skip(s, at + 1)
    index = index + 1
  end
  depth = depth - 1
  return at + 1
end

local function value(s, at, code, field)
  if code == N and sub(s, at, at + 3) == "null" then return at + 4 end
  if not field.most then return single(s, at, code, field) end
  if code ~= BRACKET then refuse("must be a list") end
  return list(s, at, field)
end

object = function(s, at, fields, seen)
  local code
  at, code = skip(s, at + 1)
  if code == END_BRACE then return at + 1 end
  seen = seen or {}
  while true do
    if code ~= QUOTE then refuse("must have names in double quotes") end
    local behind = text(s, at)
    local name = sub(s, at + 1, behind - 2)
    local field = fields[name]
    if not field then refuse("is no field of this call", shown(name)) end
    depth = depth + 1
    trail[depth] = field.name
    if seen[field.name] then refuse("is given twice") end
    seen[field.name] = true
    at, code = skip(s, behind)
    if code ~= COLON then refuse("must be followed by a colon and a value") end
    at, code = skip(s, at + 1)
    at, code = skip(s, value(s, at, code, field))
    if code ~= COMMA and code ~= END_BRACE then refuse("must be followed by a comma or the end of the object") end
    depth = depth - 1
    if code == END_BRACE then return at + 1 end
    at, code = skip(s, at + 1)
  end
end

-- given: the fields that the query has.
local function body(s, fields, given)
  control, escape = 0, 0
  local at, code = skip(s, 1)
  if not code then return end
  if code ~= BRACE then refuse("must be a JSON object") end
  at, code = skip(s, object(s, at, fields, given))
  if code then refuse("must end with the object") end
end

local function query(s, fields)
  local seen = {}
  for piece in string.gmatch(s, "[^&]+") do
    local name = string.match(piece, "^[^=]*")
    local field = fields[name]
    if not field then refuse("is no parameter of this call", shown(name)) end
    if #name == #piece then refuse("must have a value behind the sign =", field.name) end
    if seen[field.name] and not field.most then refuse("is given twice", field.name) end
    seen[field.name] = true
  end
  return seen
end

local function request(handle, binding)
  depth = 0
  local path = handle:headers():get(":path")
  local mark = find(path, "?", 1, true)
  local given = mark and query(sub(path, mark + 1), QUERIES[binding])
  local content = not OTHER_BODIES[binding] and handle:body()
  if not content or content:length() == 0 then return end
  -- Another request may have been refused while this one waited for its body.
  depth = 0
  if not BODIES[binding] then refuse("must be empty: this call takes its fields from the path and the query") end
  body(content:getBytes(0, content:length()), BODIES[binding], given or nil)
end

function envoy_on_request(handle)
  local good, wrong = pcall(request, handle, handle:filterContext():get("binding"))
  if good then return end
  if type(wrong) ~= "table" then error(wrong, 0) end
  if wrong.path ~= "" then
    handle:streamInfo():dynamicMetadata():set("focusmesh.rest_requests", "field", wrong.path)
    handle:streamInfo():dynamicMetadata():set("focusmesh.rest_requests", "description", wrong.text)
  end
  local place = wrong.path == "" and "The body " or wrong.path .. " "
  handle:respond({[":status"] = "400"}, place .. wrong.text .. ".")
end
