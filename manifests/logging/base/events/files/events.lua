-- One document for each version of an event object.
function event(tag, time, record)
  local metadata, series = record.metadata, record.series
  record.id = metadata.uid .. "-" .. metadata.resourceVersion
  metadata.managedFields = nil
  -- When it was seen last. Of these two Fluent Bit knows nothing, and takes the time at which the object was made.
  local seen = series and series.lastObservedTime or not record.lastTimestamp and record.eventTime
  time = at(seen) or time
  -- Who writes an event names what time they like, and each day of it would be an index.
  if math.abs(time.sec - os.time()) > 7 * 86400 then time = at(metadata.creationTimestamp) or time end
  return 1, time, record
end

function at(text)
  local y, m, d, hour, min, sec, part =
    string.match(text or "", "^(%d+)-(%d+)-(%d+)T(%d+):(%d+):(%d+)%.?(%d*)Z$")
  local seconds = y and os.time({ year = y, month = m, day = d, hour = hour, min = min, sec = sec, isdst = false })
  return seconds and { sec = seconds, nsec = tonumber(string.sub(part .. "000000000", 1, 9)) }
end
