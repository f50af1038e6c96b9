// The names that env files may set: env/schema.json as a validator, as hints, and as a list.
import { Ajv2020, type ErrorObject, type ValidateFunction } from "ajv/dist/2020.js";
import type { Vars } from "../core/cluster.ts";
import schema from "../../env/schema.json" with { type: "json" };

/** One property of env/schema.json. */
export interface Setting {
  type: "string" | "integer" | "boolean";
  description: string;
  default?: string | number | boolean;
  examples?: (string | number | boolean)[];
  enum?: string[];
  pattern?: string;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  writeOnly?: boolean;
}

/** Every setting by name, in the order of the schema. */
export const SETTINGS = schema.properties as unknown as Record<string, Setting>;

/** True for a setting that has no default and must be given. */
export function isRequired(name: string): boolean {
  return schema.required.includes(name);
}

/** True for a setting whose value must never be shown. */
export function isSecret(name: string): boolean {
  return SETTINGS[name]?.writeOnly === true;
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
  useDefaults: true,
  // The schema itself is a test's to check: that and a smaller validator would cost every command a
  // quarter of its start.
  validateSchema: false,
  code: { optimize: false },
};

// Not before it is needed: it takes tens of milliseconds.
let compiled: ValidateFunction | undefined;

/** Checks texts against the schema; gives typed values with defaults, and all findings at once. */
export function validate(texts: Record<string, string>): { vars: Vars; findings: Violation[] } {
  const given = Object.entries(texts).filter(([, value]) => value !== "");
  const vars: Vars = Object.fromEntries(given);
  compiled ??= new Ajv2020(OPTIONS).compile(schema);
  compiled(vars);
  const findings = new Map<string, Violation>();
  for (const error of compiled.errors ?? []) {
    const finding = findingOf(error, texts);
    // One bad value breaks several keywords; the first says it.
    if (!findings.has(finding.name)) findings.set(finding.name, finding);
  }
  for (const name of emptySecrets(texts)) {
    findings.set(name, { name, text: `${name} is empty, and empty means missing` });
  }
  return { vars, findings: [...findings.values()] };
}

/** An empty secret is one that CI failed to pass on; it must not become a public default. */
function emptySecrets(texts: Record<string, string>): string[] {
  return Object.keys(SETTINGS).filter((name) =>
    texts[name] === "" && isSecret(name) && (SETTINGS[name]!.default ?? "") !== ""
  );
}

function findingOf(error: ErrorObject, texts: Record<string, string>): Violation {
  if (error.keyword === "required") {
    const name = error.params.missingProperty;
    const state = name in texts ? "is empty, and empty means missing" : "is missing";
    return { name, text: `${name} ${state}: ${SETTINGS[name]!.description}`, missing: true };
  }
  const name = error.instancePath.slice(1);
  const setting = SETTINGS[name]!;
  const subject = isSecret(name) ? `${name} (not shown)` : `${name} is "${texts[name]}"`;
  return { name, text: `${subject}: expected ${expectation(setting, error)}` };
}

function expectation(setting: Setting, error: ErrorObject): string {
  if (setting.enum) return `one of ${setting.enum.join(", ")}`;
  if (setting.type === "boolean") return "true or false";
  if (error.keyword === "minLength") return `at least ${setting.minLength} characters`;
  const example = setting.examples?.[0] ?? "";
  const kind = describeKind(setting);
  if (kind) return `${kind}, such as ${example}`;
  return `a value such as ${example} (${setting.description})`;
}

/** The kind of a setting's value in words, or undefined when only its description says it. */
export function describeKind(
  { type, pattern = "", minimum, maximum }: Setting,
): string | undefined {
  if (type === "boolean") return "true or false";
  if (type === "integer") return `a whole number from ${minimum} to ${maximum}`;
  if (pattern.includes("(ms|s|m|h|d|w)")) return "a duration in ms, s, m, h, d or w";
  if (pattern.includes("(Ki|Mi|Gi|Ti)")) return "a size in Ki, Mi, Gi or Ti";
  if (pattern.includes("(KB|MB|GB|TB)")) return "a size in KB, MB, GB or TB";
  if (pattern.includes("/(3[0-2]")) return "networks in CIDR notation, with commas";
  if (pattern.includes("(25[0-5]|2[0-4]")) return "an IPv4 address";
  if (pattern.includes("m|[1-9][0-9]*(\\.")) return "an amount of CPU in cores or m";
}
