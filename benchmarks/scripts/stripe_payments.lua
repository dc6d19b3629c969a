-- Whole payments for wrk against a Stripe mock: create a payment intent, then confirm it.
-- As in payments.lua, a thread confirms its oldest intent before it creates another.
-- Arguments: the API key, a word that is not used here, and the payment method to pay with.

local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

function init(args)
   headers = {
      ["content-type"] = "application/x-www-form-urlencoded",
      ["authorization"] = "Bearer " .. args[1],
   }
   method = args[3]
   waiting, first, last, made = {}, 1, 0, 0
   payments, failed, first_failure = 0, 0, ""
end

function request()
   if first <= last then
      local id = waiting[first]
      waiting[first] = nil
      first = first + 1
      return wrk.format("POST", "/v1/payment_intents/" .. id .. "/confirm", headers, "")
   end
   made = made + 1
   local body = "amount=" .. 100 + made % 900000 .. "&currency=usd&payment_method=" .. method
   return wrk.format("POST", "/v1/payment_intents", headers, body)
end

function response(status, _, body)
   if status == 200 and body:find('"status": "succeeded",?\n}') then
      payments = payments + 1
   elseif status == 200 and body:find('"status": "requires_confirmation"', 1, true) then
      last = last + 1
      waiting[last] = body:match('"id": "(pi_[^"]+)"')
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
