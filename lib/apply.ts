// Desired state sent to the cluster as far as it is not there: one JSON List per wave, server-side apply,
// what changed.
import { setTimeout as sleep } from "node:timers/promises";
import type { Cluster } from "./cluster.ts";
import { hashed, hashOf, isCurrent } from "./current.ts";
import { DeployError, ExitCode } from "./error.ts";
import { byId, isUnserved, liveOf, lookAgain, noteApplied } from "./inventory.ts";
import { kubectl, KubectlError } from "./kubectl.ts";
import { asList, idOf, inWaves, type Manifest, OWNER } from "./manifest.ts";
import type { Change } from "./report.ts";
import { takeOver, wasAppliedByHand } from "./takeover.ts";
import { until } from "./wait.ts";
import { webhooksBehind } from "./webhook.ts";

export interface ApplyOptions {
  /** Told what is tried again or taken back. */
  say?: (text: string) => void;
}

/** How kubectl is told to apply: our manager, strict fields, everything on stdin. */
export const APPLY = ["apply", "--server-side", `--field-manager=${OWNER}`, "--validate=strict"];

/** Deadline of one List in seconds; CRDs take the server long. */
const LONG = 300;

/**
 * Applies the objects that are not there as wanted, definitions first, and tells what was changed. What
 * does not need a new definition goes on while the API server takes that in.
 */
export async function apply(
  cluster: Cluster,
  objects: Manifest[],
  { say = () => {} }: ApplyOptions = {},
): Promise<Change[]> {
  const [definitions, rest] = inWaves(objects.map(hashed));
  const defined = await applyWave(cluster, definitions, say);
  const changed = new Set(
    defined.filter(({ action }) => action !== "unchanged").map(({ id }) => id),
  );
  const crds = definitions.filter((object) =>
    object.kind === "CustomResourceDefinition" && changed.has(idOf(object))
  );
  const { custom = [], plain = [] } = Object.groupBy(
    rest,
    (object) => crds.some((crd) => defines(crd, object)) ? "custom" : "plain",
  );
  const [applied] = await Promise.all([
    applyWave(cluster, plain, say),
    crds.length > 0 ? established(cluster, crds) : undefined,
  ]);
  return [...defined, ...applied, ...await applyWave(cluster, custom, say)];
}

/** Whether an {@link apply} of the objects would have nothing to send. */
export async function isApplied(cluster: Cluster, objects: Manifest[]): Promise<boolean> {
  try {
    const live = await retried(() => liveOf(cluster, objects));
    return objects.map(hashed).every((object) => isCurrent(live.get(idOf(object)), object));
  } catch (error) {
    if (isUnserved(error)) return false;
    throw error;
  }
}

function defines({ spec }: Manifest, { apiVersion, kind }: Manifest): boolean {
  return spec?.names?.kind === kind && apiVersion.startsWith(`${spec.group}/`);
}

async function applyWave(
  cluster: Cluster,
  objects: Manifest[],
  say: (text: string) => void,
): Promise<Change[]> {
  if (objects.length === 0) return [];
  const before = await retried(() => liveOf(cluster, objects));
  const stale = objects.filter((object) => !isCurrent(before.get(idOf(object)), object));
  const after = stale.length > 0 ? await send(cluster, stale, say) : new Map<string, Manifest>();
  await noteApplied(cluster, after.values());
  const sent = new Set(stale);
  return objects.map((object) => {
    const id = idOf(object), old = before.get(id);
    if (!old) return { id, action: "created" };
    const same = !sent.has(object) || stateOf(old) === stateOf(after.get(id));
    return { id, action: same ? "unchanged" : "configured" };
  });
}

/** Sends the objects, and once more those that plain `kubectl apply` has had before. */
async function send(
  cluster: Cluster,
  objects: Manifest[],
  say: (text: string) => void,
): Promise<Map<string, Manifest>> {
  const after = await retried(() => applyList(cluster, objects), say)
    .catch((error) => refusedOnes(cluster, objects, error, say));
  const byHand = objects.filter((object) => wasAppliedByHand(after.get(idOf(object)) ?? object));
  if (byHand.length === 0) return after;
  for (const object of byHand) {
    say(`taking ${idOf(object)} over from a plain kubectl apply`);
    await takeOver(cluster, object);
  }
  return new Map([...after, ...await retried(() => applyList(cluster, byHand), say)]);
}

/**
 * A text that changes with what people write. Where there is a generation it counts and not the
 * resourceVersion, which controllers move when they write the status.
 */
export function stateOf(object?: Partial<Manifest>): string {
  const { resourceVersion, generation, labels, annotations } = object?.metadata ?? { name: "" };
  return generation ? hashOf([generation, labels, annotations]) : String(resourceVersion);
}

/** Applies a List and gives the objects after it (kubectl's own words do not tell what changed). */
export async function applyList(
  cluster: Cluster,
  objects: Manifest[],
  flags: string[] = [],
): Promise<Map<string, Manifest>> {
  const output = JSON.parse(
    await kubectl([...APPLY, ...flags, "-o", "json", "-f", "-"], {
      cluster,
      input: asList(objects),
      seconds: LONG,
    }),
  );
  // kubectl prints a List for several objects and the bare object for one.
  return byId(output.kind === "List" ? output.items : [output]);
}

/** Runs the call again while its failure is transient, for two minutes at most. */
export async function retried<T>(
  call: () => Promise<T>,
  say: (text: string) => void = () => {},
): Promise<T> {
  const deadline = Date.now() + 120_000;
  for (let pause = 1000;; pause = Math.min(pause * 2, 15_000)) {
    try {
      return await call();
    } catch (error) {
      const again = error instanceof KubectlError && error.transient;
      if (!again || Date.now() + pause > deadline) throw error;
      say(`trying again in ${pause / 1000} s: ${error.stderr.split("\n")[0]}`);
      await sleep(pause);
    }
  }
}

/**
 * After a refused List: the refused objects one by one, so that every refusal names its object.
 * Fields that a person changed with kubectl are taken back; other managers keep theirs and are
 * reported as a conflict.
 */
async function refusedOnes(
  cluster: Cluster,
  objects: Manifest[],
  cause: unknown,
  say: (text: string) => void,
): Promise<Map<string, Manifest>> {
  if (!(cause instanceof KubectlError) || cause.exitCode !== ExitCode.rejected) throw cause;
  const reasons = new Set<string>();
  let refused = 0;
  for (const object of await refusedOf(cluster, objects)) {
    try {
      // What the List has waited for need not be waited for again with each of them.
      await applyOne(cluster, object, say, cause.transient);
    } catch (error) {
      if (!(error instanceof KubectlError)) throw error;
      refused += 1;
      reasons.add(`${idOf(object)}: ${error.stderr}`);
      for (const webhook of await webhooksBehind(cluster, error.stderr)) reasons.add(webhook);
    }
  }
  lookAgain(cluster);
  if (reasons.size === 0) return await retried(() => liveOf(cluster, objects));
  throw new DeployError(
    `Cannot apply ${refused} of ${objects.length} objects on ${cluster.id}`,
    {
      exitCode: ExitCode.rejected,
      where: [...reasons],
      fix: "correct what the API server refused, then run again; the other objects are applied",
      cause,
    },
  );
}

/** kubectl applies what it can and names that, in order, but not always what was refused. */
async function refusedOf(cluster: Cluster, objects: Manifest[]): Promise<Manifest[]> {
  const output = await kubectl([...APPLY, "-f", "-"], {
    cluster,
    input: asList(objects),
    seconds: LONG,
  })
    .catch((error) => {
      if (error instanceof KubectlError) return error.stdout;
      throw error;
    });
  const applied = output.split("\n");
  return objects.filter(({ apiVersion, kind, metadata }) => {
    const group = apiVersion.includes("/") ? `.${apiVersion.split("/")[0]}` : "";
    const position = applied.indexOf(
      `${kind.toLowerCase()}${group}/${metadata.name} serverside-applied`,
    );
    if (position >= 0) applied.splice(0, position + 1);
    return position < 0;
  });
}

async function applyOne(
  cluster: Cluster,
  object: Manifest,
  say: (text: string) => void,
  waited: boolean,
) {
  const call = () => applyList(cluster, [object]);
  try {
    return await (waited ? call() : retried(call, say));
  } catch (error) {
    if (!(error instanceof KubectlError)) throw error;
    const conflicts = [...error.stderr.matchAll(/conflicts? with "([^"]+)"/g)].map(([, who]) =>
      who!
    );
    if (conflicts.length === 0 || !conflicts.every((who) => who.startsWith("kubectl"))) throw error;
    say(`taking ${idOf(object)} back from ${[...new Set(conflicts)].join(", ")}`);
    return await retried(() => applyList(cluster, [object], ["--force-conflicts"]), say);
  }
}

async function established(cluster: Cluster, crds: Manifest[]): Promise<void> {
  const names = crds.map(({ metadata }) => metadata.name);
  // A new CRD has no conditions at all, which a jsonpath filter takes for an error.
  const template = "{{range .items}}{{.metadata.name}}{{range .status.conditions}}" +
    '{{if eq .type "Established"}}\t{{.status}}{{end}}{{end}}\n{{end}}';
  await until("CRDs to be established", async () => {
    const output = await kubectl(
      ["get", "customresourcedefinitions", "-o", `go-template=${template}`],
      { cluster },
    );
    const ready = new Set(
      output.split("\n").filter((line) => line.endsWith("\tTrue")).map((line) =>
        line.split("\t")[0]
      ),
    );
    return names.filter((name) => !ready.has(name));
  }, { seconds: 120, every: 0.5 });
}
