// Who has which field of an object: we, people, controllers, or a program that nobody knows.
import { type Cluster, text } from "../core/cluster.ts";
import { isFields, type Manifest, OWNED, OWNER } from "../core/object.ts";

/** A tree of fields by structured-merge-diff: `f:` a field, `k:` keys, `v:` value, `i:` place of an item, `.` itself. */
export interface Fields {
  [step: string]: Fields;
}

/** An entry of managedFields. */
export interface FieldManager {
  manager: string;
  operation: "Apply" | "Update";
  subresource?: string; // `status`, `scale`: written by another door, which is a controller's
  time?: string; // of its last write, as RFC 3339
  fieldsV1?: Fields;
}

/** A field that somebody else has and we do not. */
export interface ForeignField {
  path: string; // spec.template.spec.hostPID
  value: unknown;
  manager: string;
  time?: string;
  isTaken: boolean; // away, by a deploy
}

// kubectl, and the browsers and desktop programs that stand for a person; curl is one who types by hand.
const PEOPLE = /^(kubectl|k9s|Mozilla|Lens|OpenLens|node-fetch|headlamp|dashboard|curl)/i;

// By the names that they have by custom: what they add belongs there. The last is no program: the API server keeps
// under it what an object had before anybody signed his fields.
const CONTROLLERS = /^kube-|^kubelet|controller|operator|manager|provisioner|^before-first-apply$/i;

// As deployers sign the fields that they write; the label managed-by stays where people apply files of a Helm chart.
const DEPLOYERS =
  /^(argocd|cdk8s|flux|fleet|hashicorp|helm|kapp|kluctl|kustomize|pulumi|rancher|tanka|terraform|timoni)/i;

// Of people, without a word: a restart by hand, the mark to keep an object, and a label of the API server's.
const STAYING =
  /^(spec\.template\.)?metadata\.annotations\.(kubectl\.kubernetes\.io\/restartedAt|deploy\.miribit\.lab\/keep)$|^metadata\.labels\.kubernetes\.io\/metadata\.name$/;

// Cannot be taken away while the object is there: told, and left.
const FIXED: Record<string, RegExp> = {
  PersistentVolumeClaim: /^spec\./,
  Service: /^spec\.clusterIPs?/,
  ConfigMap: /^immutable$/,
  Secret: /^immutable$/,
};

/** What is at a step of a tree in a value. */
export function valueAt(value: unknown, step: string): unknown {
  if (step === ".") return value;
  const [kind, name] = [step.slice(0, 2), step.slice(2)];
  if (kind === "f:") return isFields(value) ? value[name] : undefined;
  const items = Array.isArray(value) ? value : [], wanted = JSON.parse(name);
  if (kind === "i:") return items[wanted];
  if (kind === "v:") return items.find((item) => item === wanted);
  const keys = Object.entries(wanted);
  // What an item lacks of them is a default, unless another one has it all.
  return items.find((item) => keys.every(([key, value]) => item?.[key] === value)) ??
    items.find((item) => keys.every(([key, value]) => [undefined, value].includes(item?.[key])));
}

/** The path to a step of the tree that is at `path`: `spec.ports[port=80,protocol=TCP]`. */
export function pathAt(path: string, step: string): string {
  if (step === ".") return path;
  const [kind, name] = [step.slice(0, 2), step.slice(2)];
  if (kind === "f:") return path ? `${path}.${name}` : name;
  if (kind !== "k:") return `${path}[${name}]`;
  return `${path}[${Object.entries(JSON.parse(name)).map((key) => key.join("=")).join()}]`;
}

export function isPerson(manager: string): boolean {
  return PEOPLE.test(manager);
}

/** Whether a deploy may take a field from that manager by force: a person, or what nobody has signed. */
export function mayBeTaken(manager: string): boolean {
  return isPerson(manager) || manager === "before-first-apply";
}

/** Why an object is left alone, and the two ways on; undefined where it may become ours. */
export function whyForeign(cluster: Cluster, object: Manifest): string[] | undefined {
  const deployer = entriesOf(object).find(({ manager, subresource }) =>
    !subresource && DEPLOYERS.test(manager)
  )?.manager;
  const { kind, metadata: { name, namespace } } = object;
  // Many may use a namespace.
  if (!deployer || kind === "Namespace") return undefined;
  const where = namespace ? ` --namespace ${namespace}` : "";
  return [
    `it is there already, and ${deployer} has it`,
    `remove it with ${deployer}; or hand it over: ` +
    `kubectl --context ${text(cluster, "KUBE_CONTEXT")} label ${kind.toLowerCase()} ${name}` +
    `${where} ${OWNED} --overwrite`,
  ];
}

/** What each manager has; nothing of an object that was listed without that. */
export function entriesOf({ metadata: { managedFields = [] } }: Manifest): FieldManager[] {
  return managedFields;
}

/** Who wrote last, but for controllers the status; not known where something was scaled, for that has no time. */
export function lastWriteOf(live: Manifest | undefined): { last?: { by: string; at: string } } {
  const writes = (live ? entriesOf(live) : [])
    .filter(({ manager, subresource }) => subresource !== "status" || isPerson(manager))
    .map(({ manager: by, time: at = "" }) => ({ by, at }));
  const last = writes.sort((a, b) => a.at.localeCompare(b.at)).at(-1);
  return last && writes.every(({ at }) => at) ? { last } : {};
}

function isOwn({ manager, operation, subresource }: FieldManager): boolean {
  return manager === OWNER && operation === "Apply" && !subresource;
}

/** What our applies have set; undefined for an object that somebody else has made. */
export function ownFields(live: Manifest): Fields | undefined {
  return entriesOf(live).find(isOwn)?.fieldsV1;
}

export function othersFields(live: Manifest): Fields[] {
  return entriesOf(live).flatMap((entry) => isOwn(entry) ? [] : entry.fieldsV1 ?? []);
}

/** Fields beside what is wanted, but for those of controllers; `takes` says whose are taken away. */
export function foreignFields(live: Manifest, wanted: Manifest, takes = isPerson): ForeignField[] {
  const ours = ownFields(live) ?? {};
  return entriesOf(live).filter(({ manager, subresource }) =>
    manager !== OWNER && !subresource && (takes(manager) || !CONTROLLERS.test(manager))
  ).flatMap(({ manager, time, fieldsV1 = {} }) =>
    leavesBeside(fieldsV1, ours, live, wanted, "")
      .filter(({ path }) => !STAYING.test(path))
      .map((leaf) => {
        const isTaken = takes(manager) && !FIXED[live.kind]?.test(leaf.path);
        return { ...leaf, manager, time, isTaken };
      })
  );
}

/** Fields of one tree that another one, and what is wanted, lack: each as its highest node. */
function leavesBeside(
  fields: Fields,
  others: Fields,
  live: unknown,
  wanted: unknown,
  at: string,
): { path: string; value: unknown }[] {
  return Object.entries(fields).flatMap(([step, below]) => {
    if (step === ".") return [];
    const value = valueAt(live, step), want = valueAt(wanted, step), path = pathAt(at, step);
    const other = others[step];
    const isWhole = Object.keys(below).every((step) => step === ".");
    // An item that we do not have is told as a whole.
    if (!isWhole && (other || want !== undefined || step.startsWith("f:"))) {
      return leavesBeside(below, other ?? {}, value, want, path);
    }
    // What is wanted is ours again after the next apply.
    return other || want !== undefined || value === undefined ? [] : [{ path, value }];
  });
}

/** The managers of an object of ours, with what people have written among our fields, but for what stays theirs. */
export function withPeoplesFields(live: Manifest, takes = isPerson): FieldManager[] {
  const entries = structuredClone(entriesOf(live)), own = entries.find(isOwn);
  // Made anew by somebody since it was looked at.
  if (!own?.fieldsV1) return entries;
  for (const entry of entries) {
    if (entry === own || entry.subresource || !takes(entry.manager)) continue;
    moveFields(entry.fieldsV1 ?? {}, own.fieldsV1, live.kind);
  }
  return entries.filter(({ fieldsV1 = {} }) => Object.keys(fieldsV1).length > 0);
}

function moveFields(from: Fields, to: Fields, kind: string, at = ""): void {
  for (const [step, below] of Object.entries(from)) {
    const path = pathAt(at, step), isLeaf = Object.keys(below).length === 0;
    if (isLeaf && step !== "." && (STAYING.test(path) || FIXED[kind]?.test(path))) continue;
    const there = to[step] ?? {};
    moveFields(below, there, kind, path);
    if (isLeaf || Object.keys(there).length > 0) to[step] = there;
    if (Object.keys(below).length === 0) delete from[step];
  }
}
