// Formats of settings that a pattern cannot tell (`format` in env/schema.json).
import { isCron } from "../core/cron.ts";

/** Each says whether a text is one. Patterns beside them say which characters it may hold. */
export const FORMATS: Record<string, (text: string) => boolean> = {
  host: (text) => isHost(text.replace(/:\d+$/, ""), portIn(text)),
  url: isUrl,
  cron: (text) => text === "never" || isCron(text),
  timezone: isTimeZone,
  day: (text) => new Date(text).toJSON()?.startsWith(text) ?? false,
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

/** Other programs take a name only in the letters of tzdata, which Intl does not mind. */
function isTimeZone(text: string): boolean {
  try {
    const { timeZone } = new Intl.DateTimeFormat("en", { timeZone: text }).resolvedOptions();
    // The letters of an older name of a zone are not known here, but no place is written in capitals.
    return timeZone === text ||
      timeZone.toLowerCase() !== text.toLowerCase() && !/^(?!Etc\/).*\/.*[A-Z]{3}/.test(text);
  } catch {
    return false;
  }
}
