// The names that env files may set: env/schema.json as a validator, as hints, and as a list.
import { Ajv2020, type ErrorObject, type ValidateFunction } from "ajv/dist/2020.js";
import type { Vars } from "../core/cluster.ts";
import { amountOf, bytesOf, durationSeconds } from "../core/quantity.ts";
import schema from "../../env/schema.json" with { type: "json" };
import { isCron } from "../core/time.ts";

/** One property of env/schema.json, with what its kind (`$defs`) says. */
export interface Setting {
  kind?: string; // what several settings share; `title` says it in words
  title?: string;
  type: "string" | "integer" | "boolean";
  description: string;
  default?: string | number | boolean;
  examples?: (string | number | boolean)[];
  enum?: string[];
  pattern?: string;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  atLeast?: [value: string, because: string];
  atMost?: [value: string, because: string];
  writeOnly?: boolean;
}

/** Every setting by name, in the order of the schema. */
export const SETTINGS: Record<string, Setting> = Object.fromEntries(
  Object.entries(schema.properties as unknown as Record<string, Setting & { $ref?: string }>)
    .map(([name, { $ref, ...own }]) => {
      const kind = $ref?.slice("#/$defs/".length);
      const shared = kind && (schema.$defs as unknown as Record<string, Setting>)[kind];
      return [name, { ...shared, kind, ...own }];
    }),
);

/** True for a setting whose value must never be shown. */
export function isSecret(name: string): boolean {
  return SETTINGS[name]?.writeOnly === true;
}

// What a pattern cannot tell (`format` in env/schema.json); the patterns beside say which characters are allowed.
const FORMATS: Record<string, (text: string) => boolean> = {
  host: isHost,
  url: isUrl,
  cron: (text) => text === "never" || isCron(text),
  timezone: isTimeZone,
  day: (text) => new Date(text).toJSON()?.startsWith(text) ?? false,
};

/** HOST or HOST:PORT, with a name or address that every reader takes for the same one: no octal, hex or short forms. */
function isHost(text: string): boolean {
  const name = text.replace(/:\d+$/, "").toLowerCase();
  if (URL.parse(`http://${text}`)?.hostname !== name) return false;
  // Nobody can be reached at "this host", multicast, reserved and broadcast addresses.
  if (/^\d+(\.\d+){3}$/.test(name)) return !/^(0|22[4-9]|23\d|2[45]\d)\./.test(name);
  return name.length <= 253 &&
    name.split(".").every((label) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/.test(label));
}

function isUrl(text: string): boolean {
  const parts = /^https?:\/\/(?:[^/?#]*@)?(\[[^\]]+\]|[^:/?#]+)(?::([^/?#]*))?/.exec(text);
  if (!parts || !URL.canParse(text)) return false;
  const [, host, port = "443"] = parts as string[];
  return /^[1-9]\d*$/.test(port) && (host!.startsWith("[") || isHost(host!));
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

const OPTIONS = {
  coerceTypes: true,
  formats: FORMATS,
  // A test checks the schema itself: that and a smaller validator would cost a quarter of each command's start.
  validateSchema: false,
  code: { optimize: false },
};

// Only for what is given: those of all settings take a tenth of a second.
let ajv: Ajv2020 | undefined;
const judges = new Map<string, ValidateFunction>();

function judged(name: string, text: string): { value: Vars[string]; error?: ErrorObject } {
  ajv ??= new Ajv2020(OPTIONS).addVocabulary(["kind", "atLeast", "atMost"]);
  const form = { type: "object", properties: { value: SETTINGS[name] } };
  const judge = judges.getOrInsertComputed(name, () => ajv!.compile(form));
  const given = { value: text };
  judge(given);
  return { value: given.value, error: judge.errors?.[0] };
}

/** Checks texts against the schema; gives the right values with defaults, and a finding, without secrets, of any other. */
export function validate(texts: Record<string, string>) {
  const vars: Vars = {}, findings: { name: string; text: string; missing?: boolean }[] = [];
  for (const [name, setting] of Object.entries(SETTINGS)) {
    const text = texts[name];
    if (!text) {
      const state = `${name} is ${text === "" ? "empty, and empty means missing" : "missing"}`;
      const missing = schema.required.includes(name);
      if (missing) findings.push({ name, text: `${state}: ${setting.description}`, missing });
      // CI failed to pass it on; it must not become a public default.
      else if (text === "" && isSecret(name) && setting.default) {
        findings.push({ name, text: state });
      } else vars[name] = setting.default!;
      continue;
    }
    const { value, error } = judged(name, text);
    const problem = problemOf(name, text, error);
    if (problem) findings.push({ name, text: problem });
    else vars[name] = value;
  }
  return { vars, findings };
}

// Control, format and filler characters, and every blank but the common one: nobody sees them.
const HIDDEN = /[\p{C}\p{Default_Ignorable_Code_Point}\p{Zl}\p{Zp}\u2800]|(?! )\p{Zs}/u;

function hiddenIn(text: string): string | undefined {
  const [found] = HIDDEN.exec(text) ?? [];
  return found && `U+${found.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}`;
}

/** What makes a number of the setting's text, to compare amounts of its kind. */
export function measureOf({ kind = "" }: Setting): (text: string) => number {
  return { duration: durationSeconds, cpu: amountOf }[kind] ?? bytesOf;
}

function problemOf(name: string, text: string, error?: ErrorObject): string | undefined {
  const setting = SETTINGS[name]!, { type, atLeast, atMost } = setting;
  const hidden = hiddenIn(text), subject = subjectOf(name, text), measure = measureOf(setting);
  if (hidden) return `${subject}: holds a character that nobody sees (${hidden}): type it again`;
  // Programs disagree on whether 010 is eight, and the schema alone would take 1e3 and 0x10.
  if (error || type === "integer" && !/^(0|[1-9]\d*)$/.test(text)) {
    return `${subject}: expected ${expectation(setting, error)}`;
  }
  const isLess = atLeast && measure(text) < measure(atLeast[0]);
  if (isLess) return `${name} is ${text}: must be at least ${atLeast.join(", ")}`;
  const isMore = atMost && measure(text) > measure(atMost[0]);
  if (isMore) return `${name} is ${text}: must be at most ${atMost.join(", ")}`;
}

/** The setting and its text: without a secret, a login in an address, or what moves a terminal's cursor. */
function subjectOf(name: string, text: string): string {
  if (isSecret(name)) return `${name} (not shown)`;
  const shown = text.replace(/^(\w+:\/\/)?[^"]*:.*@/, "$1***@")
    .replace(new RegExp(HIDDEN, "gu"), (found) => `<${hiddenIn(found)}>`);
  return `${name} is "${shown}"`;
}

function expectation(setting: Setting, error?: ErrorObject): string {
  if (setting.enum) return `one of ${setting.enum.join(", ")}`;
  if (error?.keyword === "minLength") return `at least ${setting.minLength} characters`;
  if (error?.keyword === "maxLength") return `at most ${setting.maxLength} characters`;
  if (setting.type === "boolean") return "true or false";
  const example = setting.examples?.[0] ?? "";
  const kind = describeKind(setting);
  return kind
    ? `${kind}, such as ${example}`
    : `a value such as ${example} (${setting.description})`;
}

/** The kind of a setting's value in words; undefined where only its description says it. */
export function describeKind({ type, title, minimum, maximum }: Setting): string | undefined {
  if (type === "boolean") return "true or false";
  if (type === "integer") return `a whole number from ${minimum} to ${maximum}`;
  return title;
}
