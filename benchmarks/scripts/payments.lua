-- Whole payments for wrk: POST /validate, then POST /process with the id in the response.
-- wrk's Lua does not say which connection a request is for. A thread keeps the ids of its responses
-- and processes the oldest first, so each connection alternates between the two.
-- Arguments: the API key, and a word that makes keys and references unique among runs.

local threads = {}

function setup(thread)
   table.insert(threads, thread)
   thread:set("number", #threads)
end

function init(args)
   headers = { ["content-type"] = "application/json", ["x-api-key"] = args[1] }
   run = args[2] .. "t" .. number
   waiting, first, last, made = {}, 1, 0, 0
   payments, failed, first_failure = 0, 0, ""
end

function request()
   if first <= last then
      local id = waiting[first]
      waiting[first] = nil
      headers["idempotency-key"] = "process-" .. run .. "-" .. first
      first = first + 1
      return wrk.format("POST", "/process", headers, '{"transaction_id":"' .. id .. '"}')
   end
   made = made + 1
   headers["idempotency-key"] = "validate-" .. run .. "-" .. made
   local body = string.format(
      '{"amount":"%d.%02d","currency":"USD","customer_id":"customer-%d","payment_id":"order-%s-%d",'
         .. '"card":{"number":"4242424242424242","exp_month":12,"exp_year":2035,"cvc":"123"}}',
      1 + made % 9000, made % 100, made % 1000, run, made)
   return wrk.format("POST", "/validate", headers, body)
end

function response(status, _, body)
   if status == 200 and body:find('"processed"', 1, true) then
      payments = payments + 1
   elseif status == 200 and body:find('"validated"', 1, true) then
      last = last + 1
      waiting[last] = body:match('"transaction_id": ?"([^"]+)"')
   else
      failed = failed + 1
      if failed == 1 then
         first_failure = status .. " " .. body:sub(1, 300):gsub('[^%w ,.:_-]', "")
      end
   end
end

function done(summary)
   local total, errors, first = 0, summary.errors.connect + summary.errors.timeout
      + summary.errors.read + summary.errors.write, ""
   for _, thread in ipairs(threads) do
      total = total + thread:get("payments")
      errors = errors + thread:get("failed")
      if first == "" then first = thread:get("first_failure") end
   end
   print(string.format(
      'result {"payments":%d,"failed":%d,"seconds":%.6f,"first_failure":"%s"}',
      total, errors, summary.duration / 1000000, first))
end
