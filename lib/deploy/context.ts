// What the runbook of a step works with: phases that are timed, and the ways in which it changes a cluster.
import { apply, staleAmong } from "../apply/apply.ts";
import type { Inventory } from "../apply/inventory.ts";
import { waitReady } from "../apply/readiness.ts";
import { growVolumes } from "../apply/volumes.ts";
import { type CheckVerdict, hiddenBy } from "../core/check.ts";
import type { Cluster } from "../core/cluster.ts";
import type { Manifest } from "../core/object.ts";
import { ensure, type Resources } from "../core/resource.ts";
import type { Report } from "../io/report.ts";

/** How a step ended on one cluster. */
export interface StepResult {
  step: string;
  state: "ok" | "failed" | "skipped" | "not run";
  objects: number;
  changed: number;
  seconds: number;
  notShown: string[]; // phases that simulated nodes or stand-ins could not show
  checks?: CheckVerdict[]; // of one that only looks
  error?: unknown;
}

/** What a step's runbook may use. */
export type StepContext = ReturnType<typeof contextOf>;

/** What a step changes is told, and counted in its result; `goesOn` gets what outlives it. */
export function contextOf(
  inventory: Inventory,
  objects: Manifest[],
  report: Report,
  result: StepResult,
  goesOn: (work: Promise<void>) => void,
  isSettled = false,
) {
  const { cluster } = inventory;

  async function phase<T>(title: string, work: () => Promise<T>): Promise<T> {
    const started = performance.now();
    report.now(`${result.step}  ${title}`);
    const value = await work();
    report.phase(title, (performance.now() - started) / 1000);
    return value;
  }

  /** A phase that needs running pods: not shown on simulated nodes, nor where `program` is one of STAND_INS. */
  async function live(title: string, work: () => Promise<void>, program?: string): Promise<void> {
    const reason = hiddenBy(cluster, program);
    if (!reason) return await phase(title, work);
    result.notShown.push(title);
    report.notShown(title, reason);
  }

  /** A change that is none of an object or a resource. */
  function changed(what: string): void {
    report.say(`    changed    ${what}`);
    result.changed += 1;
  }

  return {
    cluster,
    inventory,
    objects,
    report,
    phase,
    /** Whether the run has, by now, nothing to change or to wait for here, and is going to verify it. */
    isIdle: (): boolean => isSettled && result.changed === 0,
    live,
    changed,
    notShown: (title: string): void => void result.notShown.push(title),
    /** As `live`, beside the steps that follow: when it fails none of them is begun any more. The lock outlives it. */
    beside(title: string, work: () => Promise<void>): Promise<void> {
      return Promise.resolve(goesOn(live(title, work)));
    },
    /** A phase that puts what of the step's resources is not as wanted. */
    async put(resources: Resources): Promise<void> {
      if (resources.of(cluster).length === 0) return;
      const work = () => putResources(resources, cluster, { warn: report.warn, changed });
      await (resources.live ? live : phase)(resources.title, work, resources.program);
    },
    /** Grows volumes where the objects want it, and applies them. */
    async apply(objects: Manifest[]): Promise<void> {
      const stale = await staleAmong(inventory, objects);
      if (stale.length === 0) return;
      for (const growth of await growVolumes(inventory, stale)) changed(growth);
      const changes = await apply(inventory, objects);
      report.changes(changes);
      result.changed += changes.filter(({ action }) => action !== "unchanged").length;
    },
    async ready(objects: Manifest[], minutes = 10): Promise<void> {
      await waitReady(inventory, objects, { seconds: minutes * 60, say: report.waiting });
    },
    /** Keeps what its checks have found for who reads the results. */
    found(checks: CheckVerdict[]): void {
      result.checks = checks;
    },
  };
}

/** Puts resources one after the other, as far as they are not as wanted; `warn` is told what is left as it is. */
export async function putResources(
  resources: Resources,
  cluster: Cluster,
  { warn, changed }: Record<"warn" | "changed", (text: string) => void>,
): Promise<void> {
  await using opened = await resources.open?.(cluster);
  const way = opened ?? cluster;
  const left = new Map<string, string[]>();
  for (const resource of resources.of(cluster)) {
    const { id } = resource;
    const { outcome, look: { state, fields = [] } } = await ensure(resource, way, warn);
    const why = fields.join("; ");
    if (state === "not looked at") left.set(why, [...left.get(why) ?? [], id]);
    else if (outcome !== "unchanged") changed(`${id} ${outcome}${why && `: ${why}`}`);
  }
  for (const [why, ids] of left) warn(`${why} (${ids.join(", ")})`);
}
