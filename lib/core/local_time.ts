// Times as the people of a site read them.

/** Gives a time as ISO 8601 to the millisecond with the zone's offset, or Z: `2026-11-29T12:00:00.000+09:00`. */
export function clockOf(timeZone: string): (time: Date) => string {
  const format = { timeZone, fractionalSecondDigits: 3 } as const;
  return (time) => time.toTemporalInstant().toString(format).replace("+00:00", "Z");
}

/** Seconds since 1970 when a day (`2026-12-04`) is over in a zone. */
export function endOfDay(day: string, timeZone: string): number {
  const next = Temporal.PlainDate.from(day).add({ days: 1 });
  return next.toZonedDateTime(timeZone).epochMilliseconds / 1000;
}
