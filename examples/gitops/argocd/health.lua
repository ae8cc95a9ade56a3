-- What Argo CD shows for a MemoryStack; without it a resource counts as healthy as soon as it exists.
-- Argo CD gives its scripts no string library: reasons are looked up, not taken apart.

local waiting = {
  WaitingForPerson = true,
  WaitingNoControlArm = true,
  WaitingNoTraffic = true,
  WaitingPaused = true,
}

local function condition(kind)
  if obj.status ~= nil and obj.status.conditions ~= nil then
    for _, found in ipairs(obj.status.conditions) do
      if found.type == kind then
        return found
      end
    end
  end
  return {status = "", reason = "", message = ""}
end

local function health(status, message)
  return {status = status, message = message}
end

if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return health("Progressing", "the operator has not seen this version yet")
end

local ready = condition("Ready")
local busy = condition("Reconciling")
local stalled = condition("Stalled")
local rollout = condition("RolloutHealthy")

if stalled.status == "True" then
  return health("Degraded", stalled.message)
end
if rollout.status == "False" then
  -- The stack serves; what git asks for does not.
  return health("Degraded", rollout.message)
end
if ready.status == "True" and waiting[ready.reason] then
  return health("Suspended", obj.status.message or ready.message)
end
if busy.status == "True" then
  return health("Progressing", busy.message)
end
if ready.status == "True" then
  return health("Healthy", obj.status.message or ready.message)
end
return health("Progressing", ready.message)
