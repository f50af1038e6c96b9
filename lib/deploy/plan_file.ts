// A plan that was looked at and approved, kept in a file: binding for the deploy that is given it.
import { constants, existsSync } from "node:fs";
import { access, readFile, realpath, stat, writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { type Cluster, text } from "../core/cluster.ts";
import { configError, messageOf, prerequisiteError, refusalError } from "../core/error.ts";
import { keyedHash } from "../core/hash.ts";
import { parsedJson } from "../core/object.ts";
import { replaceFile } from "../io/files.ts";
import { documentOf } from "../io/report.ts";
import type { Planned } from "./plan.ts";
import { type ClusterPlan, pending } from "./plan_fleet.ts";
import { pausedJson } from "./results.ts";

/** Another version is another format (docs/schema/plan.json). */
const FORMAT = "thanos-multi-cluster/plan/", VERSION = "v4";

interface PlanFile {
  made: string;
  clusters: { id: string; changes: Planned[] }[];
}

/** The plans for programs, as they are kept in a file. */
export function plansJson(plans: ClusterPlan[], paused: Cluster[] = []): string {
  const clusters = plans.map(({ cluster, entries, error }) => ({
    id: cluster.id,
    name: text(cluster, "CLUSTER_NAME"),
    changes: pendingSealed(cluster, entries),
    unchanged: entries.filter(({ action }) => action === "unchanged").length,
    unseen: entries.filter(({ action }) => action === "unseen")
      .map(({ id, fields }) => ({ id, reason: fields.join() })),
    error: error === undefined ? undefined : messageOf(error),
  }));
  const made = new Date().toISOString();
  return documentOf(`plan/${VERSION}`, { made, clusters, paused: pausedJson(paused) });
}

/** What is to be done. A Secret's mark, a hash of its values, is keyed: more people see a plan than may guess those. */
function pendingSealed(cluster: Cluster, entries: Planned[]): Planned[] {
  return pending(entries).map((entry) => {
    if (!entry.id.startsWith("Secret/")) return entry;
    return { ...entry, mark: keyedHash(text(cluster, "S3_SECRET_KEY"), entry.mark) };
  });
}

/** Refuses, before the minutes of planning, a path where a plan destroys something (4) or cannot be kept (3). */
export async function refuseOtherFile(path: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  const schema = found?.isFile() ? schemaOf(await readFile(path, "utf8").catch(() => "")) : "";
  const isEmpty = found?.isFile() && found.size === 0;
  if (found && !isEmpty && !schema.startsWith(FORMAT)) {
    const what = `Refused: "${path}" is no plan, and keeping one there would overwrite it`;
    throw refusalError(what, {
      where: found.isFile() ? `it holds ${found.size} bytes of something else` : "it is no file",
      fix: "name a new file, or one that make plan has written: PLAN=change.json",
    });
  }
  let folder = dirname(await realpath(path).catch(() => resolve(path)));
  while (!existsSync(folder)) folder = dirname(folder);
  const isFolder = (await stat(folder)).isDirectory();
  if (isFolder && await access(folder, constants.W_OK).then(() => true, () => false)) return;
  throw prerequisiteError(`Cannot keep a plan in "${path}"`, {
    where: `"${folder}" is no folder that can be written`,
    fix: "name a file in a folder of your own: PLAN=change.json",
  });
}

function schemaOf(text: string): string {
  return String(parsedJson(text)?.schema ?? "");
}

/** Keeps what the plans want changed, in a file that {@link refuseOtherFile} lets pass, and who was left out. */
export async function writePlan(
  path: string,
  plans: ClusterPlan[],
  paused: Cluster[],
): Promise<void> {
  await refuseOtherFile(path);
  const json = plansJson(plans, paused);
  // A link goes on leading to the plan.
  const file = await realpath(path).catch(() => path);
  await replaceFile(file, (temporary) => writeFile(temporary, `${json}\n`));
}

/** Reads a file of {@link writePlan}. @throws {DeployError} exit 2 for anything else. */
export async function readPlan(path: string): Promise<PlanFile> {
  const unusable = (where: string) =>
    configError(`Cannot use the plan "${path}"`, {
      where,
      fix: `make plan PLAN=${path} makes one`,
    });
  const text = await readFile(path, "utf8").catch((error) => {
    throw unusable(messageOf(error));
  });
  const schema = schemaOf(text);
  if (schema === FORMAT + VERSION) return JSON.parse(text);
  const isOther = schema.startsWith(FORMAT);
  const found = isOther ? `another revision made it, as ${schema}` : "it is no plan";
  throw unusable(`${found}; this one reads ${FORMAT}${VERSION}`);
}

/** Refuses (4) a cluster with something to do `now` that is not so in the plan: it has moved, or the manifests have. */
export function refuseMoved({ made, clusters }: PlanFile, cluster: Cluster, now: Planned[]): void {
  const approved = clusters.find(({ id }) => id === cluster.id)?.changes;
  if (!approved) {
    throw refusalError(`Refused: the plan does not speak of ${cluster.id}`, {
      where: `it speaks of ${clusters.map(({ id }) => id).join(", ")}`,
      fix: "make a plan of every cluster that is to be deployed",
    });
  }
  const line = ({ id, action, mark }: Planned) => JSON.stringify([id, action, mark]);
  const before = new Set(approved.map(line));
  // What was approved and is done by now stands for nothing: a run before may have stopped half way, and another
  // cluster may have made what they share, such as buckets.
  const moved = pendingSealed(cluster, now).filter((entry) => !before.has(line(entry)));
  if (moved.length === 0) return;
  const since = `the plan is of ${made}; since then another thing to do:`;
  throw refusalError(`Refused: ${cluster.id} is not as it was when the plan was made`, {
    where: [since, ...moved.map(({ id }) => id)],
    fix: "make the plan again, read it, then deploy with it",
  });
}
