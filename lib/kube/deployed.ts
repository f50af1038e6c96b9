// Whether a step has been on a cluster, as that cluster tells: nobody waits for what never came.
import { type Cluster, text } from "../core/cluster.ts";
import { DeployError } from "../core/error.ts";
import { reading } from "./api.ts";
import { connect, contextServers } from "./target.ts";
import { holderOf } from "./lock.ts";
import { STEP_LABEL } from "../core/object.ts";

/** `running`: a deploy is there at this moment; `no access`: no context for it here; `unknown`: it cannot be asked. */
export interface Deployed {
  state: "deployed" | "running" | "not deployed" | "no access" | "unknown";
  reason?: string;
}

/** Whether a step was deployed to a cluster; never throws but for a bug. */
export async function deployedOn(cluster: Cluster, step: string): Promise<Deployed> {
  try {
    const context = text(cluster, "KUBE_CONTEXT");
    if (!(await contextServers(cluster)).has(context)) {
      return { state: "no access", reason: `no context ${context} in the kubeconfig` };
    }
    // A marker to write means that no deploy has been there.
    const { marker, lease } = await connect(cluster);
    if (holderOf(lease)) return { state: "running" };
    return { state: !marker && await hasRun(step, cluster) ? "deployed" : "not deployed" };
  } catch (error) {
    if (!(error instanceof DeployError)) throw error;
    return { state: "unknown", reason: [error.message, ...error.where].join("; ") };
  }
}

/** Whether a step has run on a cluster, by the Services of it that are there: removal leaves none. */
export async function hasRun(step: string, cluster: Cluster): Promise<boolean> {
  const labels = `${STEP_LABEL}=${step}`;
  return (await reading(cluster, (api) => api.get("services", { labels }))).length > 0;
}
