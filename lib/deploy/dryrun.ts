// What the API server would make of objects, and which of them it would refuse: nothing is changed.
import type { Cluster } from "../core/cluster.ts";
import { ExitCode } from "../core/error.ts";
import { KubectlError } from "../kube/kubectl_error.ts";
import { idOf, type Manifest } from "../core/object.ts";
import { whyRefused } from "../apply/rejection.ts";
import { retried } from "../kube/retry.ts";
import { applyList, DRY_RUN, refusedOf } from "../apply/send.ts";

export interface DryRun {
  /** The objects as they would be, by id. */
  after: Map<string, Manifest>;
  /** By id, why an object would be refused. */
  refused: Map<string, string[]>;
}

/** Asks the API server; a refused object does not hide the others. */
export async function dryRun(cluster: Cluster, objects: Manifest[]): Promise<DryRun> {
  const refused = new Map<string, string[]>();
  if (objects.length === 0) return { after: new Map(), refused };
  try {
    return { after: await retried(() => applyList(cluster, objects, DRY_RUN)), refused };
  } catch (error) {
    if (!isRefusal(error)) throw error;
  }
  for (const object of await refusedOf(cluster, objects, DRY_RUN)) {
    await retried(() => applyList(cluster, [object], DRY_RUN)).catch((error) => {
      if (!isRefusal(error)) throw error;
      refused.set(idOf(object), whyRefused(cluster, object, error));
    });
  }
  const accepted = objects.filter((object) => !refused.has(idOf(object)));
  if (accepted.length === 0) return { after: new Map(), refused };
  return { after: await retried(() => applyList(cluster, accepted, DRY_RUN)), refused };
}

function isRefusal(error: unknown): error is KubectlError {
  return error instanceof KubectlError && error.exitCode === ExitCode.rejected && !error.transient;
}
