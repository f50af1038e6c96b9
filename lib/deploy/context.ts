// What the runbook of a step works with: phases that are timed, and the ways in which it changes a cluster.
import { apply, staleAmong } from "../apply/apply.ts";
import type { Inventory } from "../apply/inventory.ts";
import { waitReady } from "../apply/readiness.ts";
import { growVolumes } from "../apply/volumes.ts";
import { type CheckVerdict, hiddenBy } from "../core/check.ts";
import type { Cluster } from "../core/cluster.ts";
import type { Manifest } from "../core/object.ts";
import type { Resources } from "../core/resource.ts";
import type { Report } from "../io/report.ts";
import { putResources } from "./resources.ts";

/** What a step's runbook may use; what it changes is reported and counted. */
export interface StepContext {
  cluster: Cluster;
  inventory: Inventory;
  /** Bundles and own objects, signed as this step's. */
  objects: Manifest[];
  report: Report;
  /** A titled, timed phase. */
  phase<T>(title: string, work: () => Promise<T>): Promise<T>;
  /** A phase that needs running pods: not shown on simulated nodes, nor where STAND_INS names the `program` it needs. */
  live(title: string, work: () => Promise<void>, program?: string): Promise<void>;
  /** The same beside the steps that follow: when it fails none of them is begun any more. The lock outlives it. */
  beside(title: string, work: () => Promise<void>): Promise<void>;
  /** A phase that puts what of the step's resources is not as wanted. */
  put(resources: Resources): Promise<void>;
  /** Whether the run has nothing to change or to wait for here, as far as is known by now, and is going to verify it. */
  isIdle(): boolean;
  /** Counts what cannot be shown on this cluster. */
  notShown(title: string): void;
  /** Keeps what its checks have found for who reads the results. */
  found(checks: CheckVerdict[]): void;
  /** Grows volumes where the objects want it, and applies them. */
  apply(objects: Manifest[]): Promise<void>;
  /** Waits until the objects are ready; `minutes` at most (10). */
  ready(objects: Manifest[], minutes?: number): Promise<void>;
  /** A change that is none of an object or a resource. */
  changed(what: string): void;
}

/** How a step ended on one cluster. */
export interface StepResult {
  step: string;
  state: "ok" | "failed" | "skipped" | "not run";
  objects: number;
  /** Ids of the objects that the step wants there. */
  wanted: string[];
  changed: number;
  seconds: number;
  /** Phases that simulated nodes or stand-ins could not show. */
  notShown: string[];
  /** Of one that only looks. */
  checks?: CheckVerdict[];
  error?: unknown;
}

/** The context of a step, which counts in its `result`; `goesOn` gets what outlives it. `isSettled`: all is as wanted and ready, and verified next. */
export function contextOf(
  inventory: Inventory,
  objects: Manifest[],
  report: Report,
  result: StepResult,
  goesOn: (work: Promise<void>) => void,
  isSettled = false,
): StepContext {
  const { cluster } = inventory;
  async function phase<T>(title: string, work: () => Promise<T>): Promise<T> {
    const started = performance.now();
    report.now(`${result.step}  ${title}`);
    const value = await work();
    report.phase(title, (performance.now() - started) / 1000);
    return value;
  }
  function changed(what: string): void {
    report.say(`    changed    ${what}`);
    result.changed += 1;
  }
  const notShown = (title: string) => void result.notShown.push(title);
  async function live(title: string, work: () => Promise<void>, program?: string): Promise<void> {
    const reason = hiddenBy(cluster, program);
    if (!reason) return await phase(title, work);
    notShown(title);
    report.notShown(title, reason);
  }
  return {
    cluster,
    inventory,
    objects,
    report,
    phase,
    isIdle: () => isSettled && result.changed === 0,
    changed,
    notShown,
    live,
    found: (checks) => void (result.checks = checks),
    beside: (title, work) => Promise.resolve(goesOn(live(title, work))),
    async put(resources) {
      if (resources.of(cluster).length === 0) return;
      const work = () => putResources(resources, cluster, { warn: report.warn, changed });
      await (resources.live ? live : phase)(resources.title, work, resources.program);
    },
    async apply(objects) {
      const stale = await staleAmong(inventory, objects);
      if (stale.length === 0) return;
      for (const growth of await growVolumes(inventory, stale)) changed(growth);
      const changes = await apply(inventory, objects);
      report.changes(changes);
      result.changed += changes.filter(({ action }) => action !== "unchanged").length;
    },
    async ready(objects, minutes = 10) {
      await waitReady(inventory, objects, { seconds: minutes * 60, say: report.waiting });
    },
  };
}
