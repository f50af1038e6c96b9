-- One document for each version of an event object.
function event(tag, time, record)
  local metadata = record.metadata
  record.id = metadata.uid .. "-" .. metadata.resourceVersion
  metadata.managedFields = nil
  -- When it was seen last. Of these two Fluent Bit knows nothing, and takes the time at which the object was made.
  local seen = record.series and record.series.lastObservedTime or record.eventTime
  local y, m, d, hour, min, sec, part =
    string.match(seen or "", "^(%d+)-(%d+)-(%d+)T(%d+):(%d+):(%d+)%.?(%d*)Z$")
  if y then
    time.sec = os.time({ year = y, month = m, day = d, hour = hour, min = min, sec = sec, isdst = false })
    time.nsec = tonumber(string.sub(part .. "000000000", 1, 9))
  end
  return 1, time, record
end
