// Who has which field of an object, as the API server keeps it in managedFields (the form is that of
// sigs.k8s.io/structured-merge-diff): f: a field, k: an item of a list by its keys, v: an item by its value.
import { amountOf } from "../core/quantity.ts";
import { isFields, type Manifest, OWNER } from "../core/object.ts";

/** What one manager has. */
export interface FieldManager {
  manager: string;
  operation: "Apply" | "Update";
  /** `status`, `scale`: written by another door, which is a controller's. */
  subresource?: string;
  /** When it wrote last, as RFC 3339. */
  time?: string;
  fieldsV1?: Fields;
}

export interface Fields {
  [name: string]: Fields;
}

/** A field that somebody else has and we do not. */
export interface ForeignField {
  /** `spec.template.spec.hostPID` */
  path: string;
  value: unknown;
  manager: string;
  time?: string;
}

/**
 * Programs by which people write, as the API server names them: what they wrote is taken away by a deploy.
 * kubectl, and the browsers and desktop programs that stand for a person; curl is one who types by hand.
 */
const PEOPLE = /^(kubectl|k9s|Mozilla|Lens|OpenLens|node-fetch|headlamp|dashboard|curl)/i;

/**
 * Programs whose work is on objects, by the names that they have by custom: what they add belongs there. The
 * last is no program: the API server keeps under it what an object had before anybody signed his fields.
 */
const CONTROLLERS = /^kube-|^kubelet|controller|operator|manager|provisioner|^before-first-apply$/i;

/** Fields of people that stay: a restart by hand, and the mark by which a person keeps an object. */
const STAYING =
  /^(spec\.template\.)?metadata\.annotations\.(kubectl\.kubernetes\.io\/restartedAt|deploy\.miribit\.lab\/keep)$/;

/** Whether a person writes under that name. */
export function isPerson(manager: string): boolean {
  return PEOPLE.test(manager);
}

/** What everybody has; none for an object that was listed without it. */
export function entriesOf({ metadata: { managedFields = [] } }: Manifest): FieldManager[] {
  return managedFields;
}

/** Whether it is what our applies have set. */
function isOwn({ manager, operation, subresource }: FieldManager): boolean {
  return manager === OWNER && operation === "Apply" && !subresource;
}

/** What our applies have set; undefined for an object that somebody else has made. */
export function ownFields(live: Manifest): Fields | undefined {
  return entriesOf(live).find(isOwn)?.fieldsV1;
}

/** Fields beside ours that somebody has written, but for those of controllers and what stays. */
export function foreignFields(live: Manifest): ForeignField[] {
  const ours = ownFields(live) ?? {};
  return entriesOf(live).filter(({ manager, subresource }) =>
    manager !== OWNER && !subresource && !CONTROLLERS.test(manager)
  ).flatMap(({ manager, time, fieldsV1 = {} }) =>
    leavesBeside(fieldsV1, ours, live, "")
      .filter(({ path }) => !STAYING.test(path))
      .map((leaf) => ({ ...leaf, manager, time }))
  );
}

/** Fields of one tree that another one lacks, each as its highest node, with their values in the object. */
function leavesBeside(
  fields: Fields,
  others: Fields,
  value: unknown,
  path: string,
): { path: string; value: unknown }[] {
  return Object.entries(fields).flatMap(([key, below]) => {
    if (key === ".") return [];
    const [there, name] = stepInto(value, key, path);
    const other = others[key];
    const isWhole = Object.keys(below).every((key) => key === ".");
    // An item that we do not have is told as a whole.
    if (!isWhole && (other || key.startsWith("f:"))) {
      return leavesBeside(below, other ?? {}, there, name);
    }
    return other ? [] : [{ path: name, value: there }];
  });
}

/** What is at a step of a tree in a value, and its path. */
function stepInto(value: unknown, key: string, path: string): [value: unknown, path: string] {
  if (key === ".") return [value, path];
  const [kind, rest] = [key.slice(0, 2), key.slice(2)];
  if (kind === "f:") return [isFields(value) ? value[rest] : undefined, join(path, rest)];
  const items = Array.isArray(value) ? value : [];
  if (kind === "i:") return [items[Number(rest)], `${path}[${rest}]`];
  const wanted = JSON.parse(rest);
  if (kind === "v:") return [items.find((item) => item === wanted), `${path}[${rest}]`];
  const keys = Object.entries(wanted);
  const shown = keys.map(([name, value]) => `${name}=${value}`).join(",");
  return [items.find((item) => isItem(item, keys)), `${path}[${shown}]`];
}

function join(path: string, name: string): string {
  return path ? `${path}.${name}` : name;
}

/** Whether an item of a list has these keys; those that it lacks are defaults. */
function isItem(item: unknown, keys: [string, unknown][]): boolean {
  return isFields(item) &&
    keys.every(([name, value]) => item[name] === undefined || item[name] === value);
}

/** Not among the fields that the API server keeps managers of. */
const UNTRACKED = new Set(["apiVersion", "kind", "status"]);
const UNTRACKED_METADATA = new Set(["name", "namespace", "creationTimestamp"]);

const LOST = "gone, or taken by another";

/** Whether a line of {@link astray} is about a field that is no longer ours. */
export function isLost(line: string): boolean {
  return line.endsWith(LOST);
}

/**
 * Paths in which our fields of the live object are not those of the wanted one: somebody has removed or taken
 * one, has written another value, or we had one that is not wanted.
 */
export function astray(wanted: Manifest, live: Manifest): string[] {
  const own = ownFields(live);
  if (!own) return ["made by somebody else"];
  const found: string[] = [];
  compare(wanted, own, live, "");
  return found;

  function compare(value: unknown, fields: Fields | undefined, there: unknown, path: string): void {
    // Of an empty list nothing is kept where its items have keys.
    if (value === undefined || value === null || (Array.isArray(value) && value.length === 0)) {
      return;
    }
    if (!fields) return void found.push(`${path}: ${LOST}`);
    const steps = Object.keys(fields).filter((key) => key !== ".");
    if (steps.length === 0) {
      // One value for the API server, though it may be a list or a map.
      if (isFields(value) || Array.isArray(value) || same(value, there, path)) return;
      return void found.push(`${path}: another value`);
    }
    const left = new Set(steps);
    for (const [key, item, name] of parts(value, steps, path)) {
      if (key) left.delete(key);
      const [inside] = key ? stepInto(there, key, path) : [];
      compare(item, key ? fields[key] : undefined, inside, name);
    }
    for (const key of left) found.push(`${stepInto(undefined, key, path)[1]}: not wanted any more`);
  }
}

/** The fields or items of a value: the step that leads to each, if there is one. */
function parts(
  value: unknown,
  steps: string[],
  path: string,
): [key: string | undefined, item: unknown, path: string][] {
  if (Array.isArray(value)) {
    return value.map((item, index) => {
      const key = steps.find((step) =>
        step.startsWith("k:")
          ? isItem(item, Object.entries(JSON.parse(step.slice(2))))
          : step === `v:${JSON.stringify(item)}` || step === `i:${index}`
      );
      return [key, item, key ? stepInto(undefined, key, path)[1] : `${path}[${index}]`];
    });
  }
  if (!isFields(value)) return [];
  const skipped = path === "" ? UNTRACKED : path === "metadata" ? UNTRACKED_METADATA : new Set();
  return Object.entries(value).filter(([name]) => !skipped.has(name)).map(([name, item]) => {
    const key = `f:${name}`;
    return [steps.includes(key) ? key : undefined, item, join(path, name)];
  });
}

/** Where the API server writes amounts in its own way. */
const AMOUNTS = /\.(requests|limits|hard|capacity)\.[^.]+$|\.(sizeLimit|divisor)$/;

function same(wanted: unknown, live: unknown, path: string): boolean {
  if (live === wanted || String(live) === String(wanted)) return true;
  return AMOUNTS.test(path) && amountOf(String(live)) === amountOf(String(wanted));
}

/** The managers of an object, with what people have written among our fields, but for what stays theirs. */
export function withPeoplesFields(live: Manifest): FieldManager[] {
  const entries = entriesOf(live);
  const people = entries.filter(({ manager, subresource }) => !subresource && isPerson(manager));
  const taken = people.map(({ fieldsV1 = {} }) => part(fieldsV1, false));
  return entries.flatMap((entry) => {
    if (isOwn(entry)) return [{ ...entry, fieldsV1: taken.reduce(merged, entry.fieldsV1!) }];
    if (!people.includes(entry)) return [entry];
    const fieldsV1 = part(entry.fieldsV1 ?? {}, true);
    return Object.keys(fieldsV1).length > 0 ? [{ ...entry, fieldsV1 }] : [];
  });
}

/** The fields that stay, or the others. */
function part(fields: Fields, staying: boolean, path = ""): Fields {
  return Object.fromEntries(
    Object.entries(fields).flatMap(([key, below]): [string, Fields][] => {
      const name = stepInto(undefined, key, path)[1];
      if (key === "." || Object.keys(below).length === 0) {
        return (key !== "." && STAYING.test(name)) === staying ? [[key, below]] : [];
      }
      const inside = part(below, staying, name);
      return Object.keys(inside).length > 0 ? [[key, inside]] : [];
    }),
  );
}

function merged(a: Fields, b: Fields): Fields {
  const result = { ...a };
  for (const [name, below] of Object.entries(b)) result[name] = merged(result[name] ?? {}, below);
  return result;
}
