// Who has which field of an object: we, people, controllers, or a program that nobody knows.
import { type Manifest, OWNER } from "../core/object.ts";
import { type Fields, stepInto } from "./fields.ts";

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

/** A field that somebody else has and we do not. */
export interface ForeignField {
  /** `spec.template.spec.hostPID` */
  path: string;
  value: unknown;
  manager: string;
  time?: string;
  /** A deploy takes it away. */
  isTaken: boolean;
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

/**
 * Fields of people that stay without a word: a restart by hand, the mark by which a person keeps an object, and a
 * label that the API server gives.
 */
const STAYING =
  /^(spec\.template\.)?metadata\.annotations\.(kubectl\.kubernetes\.io\/restartedAt|deploy\.miribit\.lab\/keep)$|^metadata\.labels\.kubernetes\.io\/metadata\.name$/;

/** Fields that cannot be taken away while the object is there: told, and left. */
const FIXED: Record<string, RegExp> = {
  PersistentVolumeClaim: /^spec\./,
  Service: /^spec\.clusterIPs?/,
  ConfigMap: /^immutable$/,
  Secret: /^immutable$/,
};

/** Whether a person writes under that name. */
export function isPerson(manager: string): boolean {
  return PEOPLE.test(manager);
}

/** Whether a deploy may take a field from that manager by force: a person, or what nobody has signed. */
export function mayBeTaken(manager: string): boolean {
  return isPerson(manager) || manager === "before-first-apply";
}

/** What everybody has; none for an object that was listed without it. */
export function entriesOf({ metadata: { managedFields = [] } }: Manifest): FieldManager[] {
  return managedFields;
}

/**
 * Of its status controllers write all the time. The API server keeps no time of what was scaled: who wrote last is not
 * known then, as where somebody has removed a field (isUnsigned in fields.ts).
 */
export function lastWriteOf(live: Manifest | undefined): { last?: { by: string; at: string } } {
  const writes = (live ? entriesOf(live) : [])
    .filter(({ manager, subresource }) => subresource !== "status" || isPerson(manager))
    .map(({ manager: by, time: at = "" }) => ({ by, at }));
  const last = writes.sort((a, b) => a.at.localeCompare(b.at)).at(-1);
  return last && writes.every(({ at }) => at) ? { last } : {};
}

/** Whether it is what our applies have set. */
function isOwn({ manager, operation, subresource }: FieldManager): boolean {
  return manager === OWNER && operation === "Apply" && !subresource;
}

/** What our applies have set; undefined for an object that somebody else has made. */
export function ownFields(live: Manifest): Fields | undefined {
  return entriesOf(live).find(isOwn)?.fieldsV1;
}

/** What everybody else has set, a tree for each. */
export function othersFields(live: Manifest): Fields[] {
  return entriesOf(live).flatMap((entry) => isOwn(entry) ? [] : entry.fieldsV1 ?? []);
}

/**
 * Fields that somebody has written beside what is wanted, but for those of controllers and what stays; `takes`
 * says whose are taken away.
 */
export function foreignFields(
  live: Manifest,
  wanted: Manifest,
  takes: (manager: string) => boolean = isPerson,
): ForeignField[] {
  const ours = ownFields(live) ?? {};
  return entriesOf(live).filter(({ manager, subresource }) =>
    manager !== OWNER && !subresource && (takes(manager) || !CONTROLLERS.test(manager))
  ).flatMap(({ manager, time, fieldsV1 = {} }) =>
    leavesBeside(fieldsV1, ours, [live, wanted], "")
      .filter(({ path }) => !STAYING.test(path))
      .map((leaf) => {
        const isTaken = takes(manager) && !FIXED[live.kind]?.test(leaf.path);
        return { ...leaf, manager, time, isTaken };
      })
  );
}

/** Fields of one tree that another one, and what is wanted, lack: each as its highest node, with its value. */
function leavesBeside(
  fields: Fields,
  others: Fields,
  [value, wanted]: [live: unknown, wanted: unknown],
  path: string,
): { path: string; value: unknown }[] {
  return Object.entries(fields).flatMap(([key, below]) => {
    if (key === ".") return [];
    const [there, name] = stepInto(value, key, path), [want] = stepInto(wanted, key, path);
    const other = others[key];
    const isWhole = Object.keys(below).every((key) => key === ".");
    // An item that we do not have is told as a whole.
    if (!isWhole && (other || want !== undefined || key.startsWith("f:"))) {
      return leavesBeside(below, other ?? {}, [there, want], name);
    }
    // What is wanted is ours again after the next apply.
    return other || want !== undefined || there === undefined ? [] : [{ path: name, value: there }];
  });
}

/** The managers of an object, with what people have written among our fields, but for what stays theirs. */
export function withPeoplesFields(
  live: Manifest,
  takes: (manager: string) => boolean = isPerson,
): FieldManager[] {
  const entries = entriesOf(live);
  const people = entries.filter(({ manager, subresource }) => !subresource && takes(manager));
  const { kind } = live;
  const taken = people.map(({ fieldsV1 = {} }) => part(fieldsV1, false, kind));
  return entries.flatMap((entry) => {
    if (isOwn(entry)) return [{ ...entry, fieldsV1: taken.reduce(merged, entry.fieldsV1!) }];
    if (!people.includes(entry)) return [entry];
    const fieldsV1 = part(entry.fieldsV1 ?? {}, true, kind);
    return Object.keys(fieldsV1).length > 0 ? [{ ...entry, fieldsV1 }] : [];
  });
}

/** The fields that stay, or the others. */
function part(fields: Fields, staying: boolean, kind: string, path = ""): Fields {
  return Object.fromEntries(
    Object.entries(fields).flatMap(([key, below]): [string, Fields][] => {
      const name = stepInto(undefined, key, path)[1];
      if (key === "." || Object.keys(below).length === 0) {
        const stays = key !== "." && (STAYING.test(name) || FIXED[kind]?.test(name) === true);
        return stays === staying ? [[key, below]] : [];
      }
      const inside = part(below, staying, kind, name);
      return Object.keys(inside).length > 0 ? [[key, inside]] : [];
    }),
  );
}

function merged(a: Fields, b: Fields): Fields {
  const result = { ...a };
  for (const [name, below] of Object.entries(b)) result[name] = merged(result[name] ?? {}, below);
  return result;
}
