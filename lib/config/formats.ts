// Formats of settings that a pattern cannot tell (`format` in env/schema.json).

/** Each says whether a text is one. Patterns beside them say which characters it may hold. */
export const FORMATS: Record<string, (text: string) => boolean> = {
  host: (text) => isHost(text.replace(/:\d+$/, ""), portIn(text)),
  url: isUrl,
  cron: (text) => text === "never" || isCron(text),
};

function portIn(text: string): string {
  return /:(\d+)$/.exec(text)?.[1] ?? "443";
}

/** A name or a decimal address that every reader takes for the same one: no octal, hex or short forms. */
function isHost(host: string, port: string): boolean {
  const url = `http://${host}:${port}`;
  const name = host.toLowerCase();
  if (!URL.canParse(url) || new URL(url).hostname !== name) return false;
  // Nobody can be reached at "this host", multicast, reserved and broadcast addresses.
  if (/^\d+(\.\d+){3}$/.test(name)) return !/^(0|22[4-9]|23\d|2[45]\d)\./.test(name);
  return name.length <= 253 &&
    name.split(".").every((label) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/.test(label));
}

function isUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { hostname, port } = new URL(text);
  const [, host, written] =
    /^https?:\/\/(?:[^/?#]*@)?(\[[^\]]+\]|[^:/?#]+)(?::([^/?#]*))?/.exec(text) ??
      [];
  if (host === undefined || written !== undefined && !/^[1-9]\d*$/.test(written)) return false;
  return hostname.startsWith("[") || isHost(host, port || "443");
}

const MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/** Ranges of the fields of a cron line: minute, hour, day, month, day of the week. */
const CRON: [first: number, last: number, names?: string[]][] = [
  [0, 59],
  [0, 23],
  [1, 31],
  [1, 12, MONTHS],
  [0, 6, DAYS],
];

function isCron(text: string): boolean {
  const fields = text.split(" ");
  return fields.length === CRON.length && fields.every(isCronField) && someDayExists(fields);
}

function isCronField(field: string, index: number): boolean {
  const [first, last, names] = CRON[index]!;
  const value = (word: string) => {
    const named = names?.indexOf(word.toUpperCase()) ?? -1;
    return named >= 0 ? named + first : /^\d{1,2}$/.test(word) ? Number(word) : NaN;
  };
  return field.split(",").every((item) => {
    const [range, step, ...more] = item.split("/");
    if (more.length > 0 || step !== undefined && !/^[1-9]\d?$/.test(step)) return false;
    if (range === "*" || range === "?") return true;
    const ends = range!.split("-").map(value);
    return ends.length <= 2 && ends.every((end) => end >= first && end <= last) &&
      ends[0]! <= ends.at(-1)!;
  });
}

/** The 31st of a month of 30 days never comes; with a day of the week given too, either will do. */
function someDayExists([, , day, month, weekday]: string[]): boolean {
  if (/^[*?]/.test(day!) || !/^[*?]/.test(weekday!) || !/^[\d,]+$/.test(`${day},${month}`)) {
    return true;
  }
  const longest = (name: string) =>
    [4, 6, 9, 11].includes(Number(name)) ? 30 : name === "2" ? 29 : 31;
  return Math.min(...day!.split(",").map(Number)) <= Math.max(...month!.split(",").map(longest));
}
