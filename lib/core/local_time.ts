// Times as the people of a site read them.

/** Gives a time as ISO 8601 to the millisecond with the zone's offset, or Z: `2026-11-29T12:00:00.000+09:00`. */
export function clockOf(timeZone: string): (time: Date) => string {
  const format = { timeZone, fractionalSecondDigits: 3 } as const;
  return (time) => time.toTemporalInstant().toString(format).replace("+00:00", "Z");
}
