// Times as the people of a site read them, and cron lines: which there are, how often they come, and as UTC has them.

/** Ranges of the fields of a cron line: minute, hour, day, month, day of the week. */
const FIELDS: [first: number, last: number, names?: string[]][] = [
  [0, 59],
  [0, 23],
  [1, 31],
  [1, 12, "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split(" ")],
  [0, 6, "SUN MON TUE WED THU FRI SAT".split(" ")],
];

const LONGEST = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/** Whether a text is a cron line of five fields whose day exists. */
export function isCron(text: string): boolean {
  const fields = text.split(" ");
  if (fields.length !== FIELDS.length) return false;
  const values = fields.map(valuesOf);
  if (!values.every((one) => one !== undefined)) return false;
  const [, , days, months] = values as [number[], number[], number[], number[], number[]];
  // With a day of the week given too, either will do.
  return !/^[*?]/.test(fields[4]!) ||
    Math.min(...days) <= Math.max(...months.map((month) => LONGEST[month - 1]!));
}

/** What a field stands for, in order; undefined when it is none. */
function valuesOf(field: string, index: number): number[] | undefined {
  const [first, last, names] = FIELDS[index]!;
  const value = (word: string) => {
    const named = names?.indexOf(word.toUpperCase()) ?? -1;
    return named >= 0 ? named + first : /^\d{1,2}$/.test(word) ? Number(word) : NaN;
  };
  const found = new Set<number>();
  for (const item of field.split(",")) {
    const [range, step = "1", ...more] = item.split("/");
    const ends = isFree(range!) ? [first, last] : range!.split("-").map(value);
    const [from, to = item.includes("/") ? last : from] = ends as [number, number?];
    if (more.length > 0 || ends.length > 2 || !/^[1-9]\d?$/.test(step)) return undefined;
    if (!(from >= first && from <= to! && to! <= last)) return undefined;
    for (let one = from; one <= to!; one += Number(step)) found.add(one);
  }
  return [...found].sort((a, b) => a - b);
}

function isFree(field: string): boolean {
  return field === "*" || field === "?";
}

/** Days between two runs of a cron line at most, by the coarsest field that it limits. */
export function daysBetween(cron: string): number {
  const [day, month, weekday] = cron.split(" ").slice(2).map((field) => !isFree(field));
  if (month) return 366;
  if (day) return 31;
  return weekday ? 7 : 1;
}

/** The line for a program that knows UTC alone, by the winter of the zone; undefined where UTC cannot say it. */
export function cronInUtc(cron: string, zone: string, now: Date): string | undefined {
  const first = { year: now.getUTCFullYear(), day: 1, timeZone: zone };
  const [january, july] = [1, 7].map((month) => Temporal.ZonedDateTime.from({ ...first, month }));
  const shift = Math.min(january!.offsetNanoseconds, july!.offsetNanoseconds) / 60e9;
  if (shift === 0 || !isCron(cron)) return cron;
  const [minute = "", hour = "", day = "", month = "", weekday = ""] = cron.split(" ");
  const times = valuesOf(hour, 1)!.flatMap((hour) =>
    valuesOf(minute, 0)!.map((minute) => hour * 60 + minute - shift)
  );
  const within = times.map((time) => (time + 2 * 1440) % 1440);
  const minutes = new Set(within.map((time) => time % 60));
  const hours = new Set(within.map((time) => Math.floor(time / 60)));
  if (minutes.size * hours.size !== times.length) return undefined; // no product of hours and minutes
  const [move = 0, ...others] = new Set(times.map((time) => Math.floor(time / 1440)));
  const isDated = !isFree(day) || !isFree(month), isDaily = !isDated && isFree(weekday);
  if (!isDaily && (others.length > 0 || move !== 0 && isDated)) return undefined;
  const moved = valuesOf(weekday, 4)!.map((one) => (one + move + 7) % 7);
  const weekdays = isFree(weekday) ? weekday : listed(moved);
  return [listed(minutes), listed(hours), day, month, weekdays].join(" ");
}

function listed(numbers: Iterable<number>): string {
  return [...numbers].sort((a, b) => a - b).join(",");
}

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
