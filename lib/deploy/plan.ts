// What a deploy would do: live objects that are not as wanted against the API server's own dry run of the desired ones.
import { stateOf } from "../apply/apply.ts";
import { sizeOf, volumeGrowth, withTemplateSizes } from "../apply/volumes.ts";
import { HASH_LABEL, isOwnership, isUnsigned, withHash } from "../apply/diff.ts";
import { hashOf } from "../core/hash.ts";
import { changeLine, short } from "../core/resource.ts";
import { type Inventory, isKept } from "../apply/inventory.ts";
import { byId, DRY_RUN, goesWith, namedOf, rejectedOf, sendList } from "../apply/live.ts";
import { defines, idOf, inWaves, isDefinition, isObject, type Manifest } from "../core/object.ts";
import { ExitCode } from "../core/error.ts";
import { KubectlError } from "../kube/kubectl_error.ts";
import { type ForeignField, lastWriteOf, whyForeign } from "../apply/managers.ts";
import { applyOrTakeBack, whyRefused } from "../apply/rejection.ts";
import type { Step } from "./step.ts";

export interface Planned {
  id: string;
  /** `kept` is wanted no longer, `foreign` has what unknown programs have added: no deploy changes either. */
  action: "kept" | "create" | "update" | "delete" | "refused" | "foreign" | "unseen" | "unchanged";
  /** Of an update `spec.replicas: 1 -> 2` (never values of Secrets), else the reason. */
  fields: string[];
  /** Hash of what is wanted and of the live state that this speaks of; of an unchanged one "". */
  mark: string;
  /** Who has written to the live object last, and when (RFC 3339), where it tells; never of an unchanged one. */
  last?: { by: string; at: string };
}

/** What a deploy of these steps (`all` or some) would do. @throws {DeployError} exit 2 for volumes that cannot grow. */
export async function plan(
  inventory: Inventory,
  objects: Manifest[],
  steps: Pick<Step, "name" | "keeps">[] = [],
  all = false,
): Promise<Planned[]> {
  const { cluster } = inventory;
  const wanted = objects.map(withHash);
  const [{ live: own, others: notOurs, unserved }, growth, surplus] = await Promise.all([
    inventory.before(wanted),
    volumeGrowth(cluster, wanted),
    inventory.unwanted(steps.map(({ name }) => name), new Set(objects.map(idOf)), all),
  ]);
  const judged = (object: Manifest, live?: Manifest) => {
    const id = idOf(object), before = live ?? own.get(id) ?? notOurs.get(id);
    const foreign = notOurs.has(id) ? whyForeign(cluster, notOurs.get(id)!) : undefined;
    return { object, id, before, foreign, ...inventory.judge(before, object) };
  };
  const rows = new Map(wanted.map((object) => [object, judged(object)]));
  // What is in a namespace that is made first, or of a kind that is, cannot be tried, and is new itself.
  const firsts = inWaves(wanted)[0].filter((object) =>
    ["missing", "deleting"].includes(rows.get(object)!.state)
  );
  const isNew = (object: Manifest) => firsts.some((first) => goesWith(first, object));
  const stale = rows.values().filter(({ object, state }) =>
    !isNew(object) && !unserved.includes(object) && state !== "current"
  ).toArray();
  // Refused by the API server, and done by a deploy in another way: left out of the dry run.
  const outdated = byId(growth.outdated);
  const tried = stale.filter(({ foreign, state }) => !foreign && state !== "deleting")
    .map(({ object, id }) => {
      const set = outdated.get(id);
      return set ? withTemplateSizes(object, set) : object;
    });
  const redefined = stale.map(({ object }) => object).filter(isDefinition);
  const [definitions, answers] = await Promise.all([
    // With their whole content, which no list shows.
    namedOf(cluster, redefined),
    dryRun(inventory, tried),
  ]);
  for (const object of redefined) rows.set(object, judged(object, definitions.get(idOf(object))));
  const entries = rows.values().map((row): Planned => {
    const { object, id, before, foreign, state, astray, others } = row;
    if (isNew(object)) return { id, action: "create", fields: [], mark: hashOf([object]) };
    const answer = answers.get(id);
    const [refusal, after] = Array.isArray(answer) ? [answer] : [undefined, answer];
    const taken = others.filter(({ isTaken }) => isTaken).map(({ path }) => path);
    const lost = astray.filter(isUnsigned);
    const beside = others.map((other) => otherLine(object, other, inventory.takes(other.manager)));
    const unchanged: Planned = { id, action: "unchanged", fields: [], mark: "" };
    const told = (action: Planned["action"], fields: string[] = []): Planned => {
      // Only where there is something to tell: of all objects it is megabytes.
      const mark = hashOf([object, ...before ? [stateOf(before), ...taken] : []]);
      return { id, action, fields, mark, ...lost.length > 0 ? {} : lastWriteOf(before) };
    };
    if (state === "deleting") return told("create", [GOING]);
    const reasons = foreign ?? refusal;
    // Its own words alone, and no advice: it was tried with what people have added and with the definition that is
    // there; a deploy takes away, and defines, first.
    const definition = redefined.find((one) => defines(one, object));
    if (reasons?.length === 1 && !notOurs.has(id) && (taken.length > 0 || definition)) {
      const first = definition ? [`its ${definition.kind} is updated before`] : [];
      return told(before ? "update" : "create", [...astray, ...beside, ...first]);
    }
    if (reasons) return told("refused", reasons);
    if (!before) return told("create");
    if (!after) return beside.length > 0 ? told("foreign", beside) : unchanged;
    const set = outdated.has(id) ? withTemplateSizes(after, object) : after;
    const fields = [...differences(before, set), ...beside];
    const remarked = before.metadata.labels?.[HASH_LABEL] !== after.metadata.labels?.[HASH_LABEL];
    if (fields.length === 0 && remarked) fields.push(`metadata.labels: only ${HASH_LABEL}`);
    // The server has put back what somebody took away: the deploy makes it ours again.
    fields.push(...fields.length === 0 ? astray.filter(isOwnership) : lost);
    return fields.length === 0 ? unchanged : told("update", fields);
  });
  const gone = surplus.map(async (object): Promise<Planned> => {
    const step = steps.find(({ name }) => name === inventory.stepOf(object));
    const reason = isKept(object) ? "remove it by hand" : await step?.keeps?.(cluster);
    const action = reason === undefined ? "delete" : "kept", fields = reason ? [reason] : [];
    return { id: idOf(object), action, fields, mark: stateOf(object), ...lastWriteOf(object) };
  });
  const grown = growth.resizes.map(({ claim, size }): Planned => {
    const fields = [`spec.resources.requests.storage: "${sizeOf(claim)}" -> "${size}"`];
    return { id: idOf(claim), action: "update", fields, mark: hashOf([sizeOf(claim), size]) };
  });
  return [...entries, ...grown, ...await Promise.all(gone)];
}

const GOING = "it is being deleted: the deploy waits until it is gone, and makes it anew";

function otherLine({ kind }: Manifest, field: ForeignField, isTaker: boolean): string {
  const { path, value, manager, time, isTaken } = field;
  const shown = kind === "Secret" ? "(secret)" : short(value);
  const way = isTaker ? "" : ` (ARGS=--take=${manager} takes it away)`;
  const end = isTaken ? " -> (none)" : ` stays${way}`;
  return `${path}: ${shown}${end}, written by ${manager} at ${time}`;
}

const SERVER_FIELDS =
  /^(status|metadata\.(managedFields|resourceVersion|generation|uid|creationTimestamp|selfLink|labels\.deploy\.miribit\.lab\/hash))([.[]|$)/;

type Items = Record<string, unknown>;

/** Fields in which two versions of an object differ, as `path: old -> new`; `pair`: of two lists what belongs together. */
export function differences(
  before: Manifest,
  after: Manifest,
  pair: (old: Items, now: Items) => Items[] = (...both) => both,
): string[] {
  const hidden = before.kind === "Secret" ? /^(data|stringData)(\.|$)/ : undefined;
  const compare = (old: unknown, now: unknown, path: string): string[] => {
    if (old === now || SERVER_FIELDS.test(path)) return [];
    if (!isObject(old) || !isObject(now)) {
      return [hidden?.test(path) ? `${path}: changed` : changeLine(path, old, now)];
    }
    const [left, right] = pair(old, now);
    return Object.keys({ ...left, ...right }).flatMap((key) => {
      const below = Array.isArray(old) ? `${path}[${key}]` : path ? `${path}.${key}` : key;
      return compare(left![key], right![key], below);
    });
  };
  return compare(before, after, "");
}

/** What the API server makes of the objects, by id: as they would be, or why one would be refused. */
async function dryRun(
  inventory: Inventory,
  objects: Manifest[],
): Promise<Map<string, Manifest | string[]>> {
  if (objects.length === 0) return new Map();
  const { cluster } = inventory;
  try {
    return await sendList(cluster, objects, DRY_RUN);
  } catch (error) {
    if (!isRefusal(error)) throw error;
  }
  const rejected = await rejectedOf(cluster, objects, DRY_RUN);
  const alone = new Map<string, Manifest | string[]>();
  // Where kubectl's words do not tell which, each is asked alone.
  for (const object of rejected.length > 0 ? rejected : objects) {
    const id = idOf(object);
    try {
      const found = await applyOrTakeBack(inventory, object, DRY_RUN);
      alone.set(id, found.get(id)!);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      alone.set(id, whyRefused(cluster, object, error));
    }
  }
  const others = objects.filter((object) => !alone.has(idOf(object)));
  return new Map([...await dryRun(inventory, others), ...alone]);
}

function isRefusal(error: unknown): error is KubectlError {
  return error instanceof KubectlError && error.exitCode === ExitCode.rejected && !error.transient;
}
