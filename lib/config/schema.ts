// The names that env files may set: env/schema.json as a validator, as hints, and as a list.
import { Ajv2020, type ErrorObject, type ValidateFunction } from "ajv/dist/2020.js";
import type { Vars } from "../core/cluster.ts";
import { bytesOf, cores, durationSeconds } from "../core/quantity.ts";
import schema from "../../env/schema.json" with { type: "json" };
import { FORMATS } from "./formats.ts";

/** A value and the reason why there is none beyond it. */
type Bound = [value: string, because: string];

/** One property of env/schema.json, with what its kind (`$defs`) says. */
export interface Setting {
  /** Name of its kind, where several settings share one. */
  kind?: string;
  /** The kind in words. */
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
  atLeast?: Bound;
  atMost?: Bound;
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

/** True for the id of a key, which is kept with its secret but is none. */
export function isKeyId(name: string): boolean {
  return SETTINGS[name]?.kind === "access-key";
}

/** A value that does not fit its setting; the text never repeats a secret. */
export interface Violation {
  name: string;
  text: string;
  /** Nobody gave a required setting. */
  missing?: boolean;
}

const OPTIONS = {
  allErrors: true,
  coerceTypes: true,
  formats: FORMATS,
  // The schema itself is a test's to check: that and a smaller validator would cost every command a
  // quarter of its start.
  validateSchema: false,
  code: { optimize: false },
};

// Not before they are needed, and of the settings that are given alone: all of them take a tenth of a second.
let ajv: Ajv2020 | undefined;
const judges = new Map<string, ValidateFunction>();

/** What tells of every value that does not fit, and of every required setting that is not among them. */
function judgeOf(given: Vars): ValidateFunction {
  const own = Object.entries(SETTINGS).filter(([name]) => name in given);
  ajv ??= new Ajv2020(OPTIONS).addVocabulary(["kind", "atLeast", "atMost"]);
  const { type, required } = schema, properties = Object.fromEntries(own);
  return judges.getOrInsertComputed(
    Object.keys(properties).join(),
    () => ajv!.compile({ type, required, properties }),
  );
}

/** Checks texts against the schema; gives typed values with defaults, and all findings at once. */
export function validate(texts: Record<string, string>): { vars: Vars; findings: Violation[] } {
  const given: Vars = Object.fromEntries(Object.entries(texts).filter(([, value]) => value !== ""));
  const judge = judgeOf(given);
  const findings = new Map<string, Violation>();
  // One bad value breaks several rules; the first says it.
  const find = (finding: Violation) =>
    findings.get(finding.name) ?? findings.set(finding.name, finding);
  const written = Object.entries(texts);
  for (const [name, text] of written) {
    const strange = strangeness(SETTINGS[name]!, text);
    if (strange) find({ name, text: `${subjectOf(name, text)}: ${strange}` });
  }
  judge(given);
  for (const error of judge.errors ?? []) find(findingOf(error, texts));
  for (const [name, text] of written.filter(([name, text]) => text && !findings.has(name))) {
    const beyond = outOfBounds(SETTINGS[name]!, text);
    if (beyond) find({ name, text: `${name} is ${text}: ${beyond}` });
  }
  for (const [name, { default: value }] of Object.entries(SETTINGS)) {
    // An empty secret is one that CI failed to pass on; it must not become a public default.
    if (texts[name] !== "" || !isSecret(name) || !value) continue;
    find({ name, text: `${name} is empty, and empty means missing` });
  }
  // Last, so that an empty default need not fit its kind.
  for (const [name, { default: value }] of Object.entries(SETTINGS)) {
    if (value !== undefined) given[name] ??= value;
  }
  return { vars: given, findings: [...findings.values()] };
}

// Control, format and filler characters, and every blank but the common one: nobody sees them.
const HIDDEN = /[\p{C}\p{Default_Ignorable_Code_Point}\p{Zl}\p{Zp}\u2800]|(?! )\p{Zs}/u;

/** The first character of a text that nobody sees, as U+200B; undefined when there is none. */
function hiddenIn(text: string): string | undefined {
  const [found] = HIDDEN.exec(text) ?? [];
  return found && `U+${found.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}`;
}

/** Why a text is no value of any kind; undefined when it may be one. */
function strangeness(setting: Setting, text: string): string | undefined {
  const hidden = hiddenIn(text);
  if (hidden) return `holds a character that nobody sees (${hidden}): type it again`;
  // Programs disagree on whether 010 is eight, and the schema alone would take 1e3 and 0x10.
  if (setting.type === "integer" && text !== "" && !/^(0|[1-9]\d*)$/.test(text)) {
    return `expected ${expectation(setting)}`;
  }
}

/** What makes a number of the setting's text, to compare amounts of its kind. */
export function measureOf({ kind = "" }: Setting): (text: string) => number {
  return { duration: durationSeconds, cpu: cores }[kind] ?? bytesOf;
}

function outOfBounds(setting: Setting, text: string): string | undefined {
  const { atLeast, atMost } = setting, measure = measureOf(setting);
  if (atLeast && measure(text) < measure(atLeast[0])) {
    return `must be at least ${atLeast.join(", ")}`;
  }
  if (atMost && measure(text) > measure(atMost[0])) return `must be at most ${atMost.join(", ")}`;
}

function findingOf(error: ErrorObject, texts: Record<string, string>): Violation {
  if (error.keyword === "required") {
    const name = error.params.missingProperty;
    const state = name in texts ? "is empty, and empty means missing" : "is missing";
    return { name, text: `${name} ${state}: ${SETTINGS[name]!.description}`, missing: true };
  }
  const name = error.instancePath.slice(1);
  const text = `${subjectOf(name, texts[name]!)}: expected ${expectation(SETTINGS[name]!, error)}`;
  return { name, text };
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

/** The kind of a setting's value in words, or undefined when only its description says it. */
export function describeKind({ type, title, minimum, maximum }: Setting): string | undefined {
  if (type === "boolean") return "true or false";
  if (type === "integer") return `a whole number from ${minimum} to ${maximum}`;
  return title;
}
