// Plans of many clusters at once, for people, and what they come to.
import { setTimeout } from "node:timers";
import { planCentral } from "./fleet.ts";
import { hiddenBy } from "../core/check.ts";
import { type Cluster, text } from "../core/cluster.ts";
import { DeployError, ExitCode } from "../core/error.ts";
import { OWNER } from "../core/object.ts";
import type { Look, Resources } from "../core/resource.ts";
import { ageText } from "../core/quantity.ts";
import { FEW, shortList } from "../core/short_list.ts";
import { Inventory, type Powers, pruneCommand } from "../apply/inventory.ts";
import { keepWay } from "../kube/proxy.ts";
import { connect } from "../kube/target.ts";
import { CLUSTERS_AT_ONCE } from "../kube/turns.ts";
import { plan, type Planned } from "./plan.ts";
import { paint, print, Report, worstCode } from "../io/report.ts";
import { sideBySide } from "../io/side_by_side.ts";
import { desiredOf, type Step } from "./step.ts";

/** What a deploy would change on a cluster, or why that cannot be said. */
export interface ClusterPlan {
  cluster: Cluster;
  entries: Planned[];
  error?: unknown;
  told?: string[]; // only what the deploy of these clusters (ids) does there
}

/** Plans of all steps on all clusters side by side, and of what `central`, if it is none of them, would be told. */
export async function planFleet(
  steps: Step[],
  clusters: Cluster[],
  { central, ...powers }: { central?: Cluster } & Pick<Powers, "take"> = {},
): Promise<ClusterPlan[]> {
  const all = central ? [...clusters, central] : clusters;
  const plans = await sideBySide(all, CLUSTERS_AT_ONCE, async (cluster): Promise<ClusterPlan> => {
    const told = cluster === central ? clusters.map(({ id }) => id) : undefined;
    await using _way = keepWay(cluster);
    try {
      const entries = told
        ? await planCentral(steps, told, cluster, powers)
        : await planSteps(steps, new Inventory(await connect(cluster), powers), true);
      return { cluster, entries, told };
    } catch (error) {
      return { cluster, entries: [], error, told };
    }
  });
  return plans.filter(({ entries, error, told }) => !told || entries.length > 0 || error);
}

/** The plan of these steps, `all` that there are or some, on one cluster: of objects, then of resources. */
export async function planSteps(
  steps: Step[],
  inventory: Inventory,
  all = false,
): Promise<Planned[]> {
  const { cluster } = inventory;
  // The look goes on beside the rendering; its failure is for those who want it.
  inventory.live().catch(() => {});
  // Two steps may put the same, each when it has brought something about.
  const resources = new Set(
    steps.flatMap((step) => step.skips?.(cluster) ? [] : step.resources ?? []),
  );
  const parts = await Promise.all([
    desiredOf(steps, cluster).then((objects) => plan(inventory, objects, steps, all)),
    ...[...resources].map((some) => planResources(some, cluster)),
  ]);
  return parts.flat();
}

/** What a deploy would do to these resources, all looked at side by side. */
export async function planResources(resources: Resources, cluster: Cluster): Promise<Planned[]> {
  const wanted = resources.of(cluster);
  const seen = new Map<string, Look>();
  async function look(): Promise<Look> {
    await using opened = await resources.open?.(cluster, true);
    const way = opened ?? cluster;
    await Promise.all(wanted.map(async (resource) => {
      seen.set(resource.id, await resource.look(way).catch(unseen));
    }));
    return notLookedAt("");
  }
  const { promise: late, resolve } = Promise.withResolvers<Look>();
  using _ = setTimeout(resolve, 10_000, notLookedAt("no answer within 10 s"));
  const hidden = resources.live ? hiddenBy(cluster, resources.program) : undefined;
  const rest = hidden ? notLookedAt(hidden) : await Promise.race([look().catch(unseen), late]);
  return wanted.map(({ id }): Planned => {
    const { state, fields = [], mark = "" } = seen.get(id) ?? rest;
    return { id, action: AFTER_LOOK[state], fields, mark };
  });
}

const AFTER_LOOK = {
  "as wanted": "unchanged",
  missing: "create",
  differs: "update",
  "not looked at": "unseen",
} as const;

function notLookedAt(reason: string): Look {
  return { state: "not looked at", fields: [reason] };
}

function unseen(error: unknown): Look {
  if (!(error instanceof DeployError)) throw error;
  return notLookedAt([error.message, ...error.where].join("; "));
}

/** Writes plans to stdout, `short` without fields, and failures to stderr; many are folded but for `matrix`. */
export function printPlans(
  plans: ClusterPlan[],
  { matrix, short }: { matrix?: boolean; short?: boolean } = {},
): void {
  const each = matrix || plans.length <= FEW;
  for (const { cluster, error } of plans) {
    if (error) new Report(`${cluster.id} | `).error(error, cluster);
  }
  const { idle = [], busy = [] } = Object.groupBy(
    plans.filter(({ error }) => !error),
    ({ entries }) =>
      !each && entries.every(({ action }) => action === "unchanged") ? "idle" : "busy",
  );
  // The same work has another age on each of them.
  const bodyOf = ({ entries }: ClusterPlan, ids: string[] = []) =>
    bodyOfPlan(entries, ids, { short, aged: each });
  const alike = Map.groupBy(busy, (one) => (each ? headOf(one) : "") + bodyOf(one));
  for (const those of alike.values()) {
    const ids = those.map(({ cluster }) => cluster.id);
    print(those.map(headOf).join("") + bodyOf(those[0]!, ids));
  }
  const ids = idle.map(({ cluster }) => cluster.id);
  if (ids.length > 0) print(`nothing to do on ${ids.length}: ${ids.join(", ")}`);
}

function headOf({ cluster, told }: ClusterPlan): string {
  const part = told ? `  what the deploy of ${shortList(told)} does there, and no more` : "";
  return `${cluster.id}  ${text(cluster, "CLUSTER_NAME")}${part}\n`;
}

/** In what colour each is told, and how it is counted in the end: the first four always. */
const ACTIONS: Record<Planned["action"], [colour: Parameters<typeof paint>[0], counted: string]> = {
  create: ["green", "to create"],
  update: ["yellow", "to update"],
  delete: ["red", "no longer wanted"],
  unchanged: ["dim", "unchanged"],
  unseen: ["dim", "not looked at"],
  kept: ["dim", "no longer wanted and kept"],
  refused: ["red", "refused by the API server"],
  foreign: ["dim", "with fields of others, which stay"],
};

function bodyOfPlan(entries: Planned[], ids: string[], { short = false, aged = false }): string {
  const of = (wanted: Planned["action"]) => entries.filter(({ action }) => action === wanted);
  const line = (action: Planned["action"], ids: string, fields: string[], age = "") => {
    // No deploy deletes by itself.
    const word = action === "delete" ? "unwanted" : action.padEnd(8);
    const indented = fields.map((field) => field.replaceAll(/^/gm, " ".repeat(13)));
    return [`  ${paint(ACTIONS[action][0])(word)} ${ids}${age}`, ...short ? [] : indented];
  };
  const lines = [...pending(entries), ...of("kept")].flatMap(({ id, action, fields, last }) =>
    line(action, id, fields, aged && last ? ageOf(last) : "")
  );
  for (const [reason, ones] of Map.groupBy(of("unseen"), ({ fields }) => fields.join())) {
    lines.push(...line("unseen", ones.map(({ id }) => id).join(", "), [reason]));
  }
  const counts = Object.entries(ACTIONS).flatMap(([action, [, words]], index) => {
    const { length } = entries.filter((entry) => entry.action === action);
    if (length === 0 && index > 3) return [];
    const way = action === "delete" && length > 0 ? ` (only ${pruneCommand(...ids)} deletes)` : "";
    return [`${length} ${words}${way}`];
  });
  return [...lines, `  ${counts.join(", ")}\n`].join("\n");
}

function ageOf({ by, at }: NonNullable<Planned["last"]>): string {
  const age = ageText(Math.max(0, Date.now() - Date.parse(at)) / 1000);
  return paint("dim")(`  written ${age} ago by ${by === OWNER ? "a deploy" : by}`);
}

/** What a deploy would do something about, as far as it could be looked at. */
export function pending(entries: Planned[]): Planned[] {
  return entries.filter(({ action }) => !["unchanged", "kept", "unseen"].includes(action));
}

/** Exit code of plans: of the worst failure, 6 when the API server refuses an object, else 0. */
export function planCode(plans: ClusterPlan[]): number {
  const isRefused = plans.some(({ entries }) => entries.some(({ action }) => action === "refused"));
  const refusal = isRefused ? ExitCode.rejected : ExitCode.done;
  return Math.max(refusal, worstCode(plans.map(({ error }) => error)));
}

/** Exit code of a fleet that is as wanted (0), of one that is not (12), or of a failure. */
export function driftCode(plans: ClusterPlan[]): number {
  const isDrifted = plans.some(({ entries }) => pending(entries).length > 0);
  return planCode(plans) || (isDrifted ? ExitCode.drift : ExitCode.done);
}
