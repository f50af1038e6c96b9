// The wrong-cluster guard: context, server address and identity must all be the env file's. Then what has been there.
import { setTimeout } from "node:timers";
import { setTimeout as sleep } from "node:timers/promises";
import { type Cluster, text } from "../core/cluster.ts";
import { DeployError, ExitCode, refusalError, unreachableError } from "../core/error.ts";
import { proxyHint, shownCertificate } from "../io/tls.ts";
import { kubeconfigMark, kubectl, refuseOldKubectl } from "./kubectl.ts";
import { configMap, type Manifest, OWNER, STEP_LABEL } from "../core/object.ts";
import { reading } from "./api.ts";
import { isTransient } from "./kubectl_error.ts";
import { holderOf } from "./lock.ts";

/** Name of the ConfigMap in kube-system that keeps what is ours; older revisions, which named it, read kinds there. */
export const KEPT = `${OWNER}-kinds`;

/** A cluster that answers and is the right one, and what it keeps about us in kube-system. */
export interface Connection {
  cluster: Cluster;
  marker?: Manifest; // to be written: the cluster has none, or (adopted) that of another
  isNew?: boolean; // no deploy was ever there
  lease?: Manifest; // what lock.ts goes by
  kept?: Manifest; // what an Inventory goes by
}

/** Refuses (4) any cluster but the one that the env file means, exit 5 without answer; `adopt` takes a rebuilt VM. */
export async function connect(cluster: Cluster, { adopt = false } = {}): Promise<Connection> {
  const checking = checkServer(cluster);
  const looking = reached(checking, (signal) => look(cluster, signal));
  // Of two reasons to refuse, the wrong server is the better one.
  looking.catch(() => {});
  await checking;
  const { uid, marker, ...found } = await looking;
  const { id, role } = cluster, name = text(cluster, "CLUSTER_NAME");
  if (marker && (marker.id !== id || marker.name !== name)) {
    throw refusal(`this is ${marker.name}, refusing ${name}`, {
      where: `context ${text(cluster, "KUBE_CONTEXT")}: marker ConfigMap kube-system/${OWNER}`,
      fix: `correct KUBE_CONTEXT in env/cluster-${id}.env`,
    });
  }
  if (marker && marker.role !== role) {
    throw refusal(`${name} was deployed as ${marker.role}, refusing ${role}`, {
      where: `env/cluster-${id}.env  CLUSTER_ROLE`,
      fix: "a cluster keeps its role: give the new role to a new cluster",
    });
  }
  if (marker?.uid === uid) return { cluster, ...found };
  if (marker && !adopt) {
    throw refusal(`another cluster answers as ${name}`, {
      where: `kube-system UID ${uid}, deployed before to ${marker.uid}`,
      fix: `if the cluster was rebuilt on purpose: make cluster-${id} ARGS=--adopt`,
    });
  }
  const isNew = !marker && !found.kept && !found.lease;
  const wanted = configMap(OWNER, "kube-system", { id, name, role, uid });
  return { cluster, ...found, marker: wanted, isNew };
}

async function checkServer(cluster: Cluster): Promise<string> {
  const context = text(cluster, "KUBE_CONTEXT");
  const [servers] = await Promise.all([contextServers(cluster), refuseOldKubectl()]);
  const server = servers.get(context);
  if (server === undefined) {
    const known = [...servers.keys()].join(", ") || "none";
    const file = text(cluster, "KUBECONFIG_FILE") || "$KUBECONFIG or ~/.kube/config";
    throw refusal(`there is no context ${context}`, {
      where: `KUBE_CONTEXT of env/cluster-${cluster.id}.env; contexts in ${file}: ${known}`,
      fix: "add it to the kubeconfig (docs/host.md), or correct KUBE_CONTEXT or KUBECONFIG_FILE",
    });
  }
  refuseOtherServer(cluster, server);
  return server;
}

/** By {@link kubeconfigMark}: a fleet shares one file. */
const kubeconfigs = new Map<string, Promise<Map<string, string>>>();

/** Server addresses in the cluster's kubeconfig, by context; "" where a context has none. */
export async function contextServers(cluster: Cluster): Promise<Map<string, string>> {
  const mark = await kubeconfigMark(cluster);
  const found = kubeconfigs.getOrInsertComputed(mark, () => readServers(cluster));
  found.catch(() => kubeconfigs.delete(mark));
  return await found;
}

async function readServers(cluster: Cluster): Promise<Map<string, string>> {
  const { clusters, contexts }: {
    clusters?: { name: string; cluster: { server?: string } }[];
    contexts?: { name: string; context: { cluster: string } }[];
  } = JSON.parse(await kubectl(["config", "view", "-o", "json"], { cluster }));
  const servers = new Map(clusters?.map(({ name, cluster }) => [name, cluster.server]));
  return new Map(contexts?.map(({ name, context }) => [name, servers.get(context.cluster) ?? ""]));
}

/** Refuses (exit 4) a `server` of the cluster's context that is not at API_HOST, with its port where it has one. */
export function refuseOtherServer(cluster: Cluster, server: string): void {
  const { hostname, port, protocol } = new URL(URL.canParse(server) ? server : "none:");
  const [host, wanted] = text(cluster, "API_HOST").toLowerCase().split(":");
  const answers = port || (protocol === "http:" ? "80" : "443");
  if (hostname === host && (wanted === undefined || wanted === answers)) return;
  throw refusal(`context ${text(cluster, "KUBE_CONTEXT")} leads to another server`, {
    where: `expected ${text(cluster, "API_HOST")}, the kubeconfig says ${server || "nothing"}`,
    fix: `correct KUBE_CONTEXT or NODE_IP in env/cluster-${cluster.id}.env (or set API_HOST there)`,
  });
}

/** What tells this cluster from every other (the UID of kube-system), and all that we keep about it there. */
async function look(cluster: Cluster, signal: AbortSignal) {
  const names = ["namespace/kube-system", `configmap/${OWNER}`, `configmap/${KEPT}`];
  const flags = ["--namespace", "kube-system", "--ignore-not-found", "--output", "json"];
  const words = ["get", ...names, `lease/${OWNER}`, ...flags];
  const answer = await kubectl(words, { cluster, seconds: 9, once: true, signal });
  const items: Manifest[] = answer.trim() ? JSON.parse(answer).items : [];
  const found = (wanted: string) =>
    items.find(({ kind, metadata: { name } }) => `${kind}/${name}` === wanted);
  const system = found("Namespace/kube-system");
  if (!system) {
    throw unreachableError(`What answers for ${cluster.id} is no API server`, {
      where: `the server of context ${text(cluster, "KUBE_CONTEXT")} has no namespace kube-system`,
      fix: "look what listens there: a proxy in between (NO_PROXY), or another program's port",
    });
  }
  return {
    uid: system.metadata.uid,
    marker: found(`ConfigMap/${OWNER}`)?.data as Record<string, string> | undefined,
    kept: found(`ConfigMap/${KEPT}`),
    lease: found(`Lease/${OWNER}`),
  };
}

/** Seconds after which a server that has not answered is looked at, and in which it has to show itself then. */
const SLOW = 2, SIGN = 2.5;

/** Three tries in thirty seconds at most; one whose server makes no connection at all is given up after five. */
async function reached<T>(server: Promise<string>, call: (signal: AbortSignal) => Promise<T>) {
  const silence = new AbortController();
  const listen = async () => {
    if (await isSilent(await server)) silence.abort(`no answer within ${SLOW + SIGN} s`);
  };
  using _ = setTimeout(() => void listen().catch(() => {}), SLOW * 1000);
  for (let attempt = 1;; attempt++) {
    try {
      return await call(silence.signal);
    } catch (error) {
      if (!isTransient(error)) throw error;
      if (attempt === 3 || silence.signal.aborted) {
        const { message, where, fix } = error, tries = attempt === 1 ? "" : ` (${attempt} tries)`;
        const about = { exitCode: ExitCode.unreachable, where, fix, cause: error };
        throw new DeployError(`${message}${tries}`, about);
      }
      await sleep(1000);
    }
  }
}

/** Whether nothing that speaks TLS is at this address; behind a proxy, or without TLS, this cannot be told. */
async function isSilent(server: string): Promise<boolean> {
  const { protocol, hostname, port } = new URL(server);
  if (protocol !== "https:" || proxyHint(hostname).length > 0) return false;
  const host = hostname.replace(/^\[|\]$/g, "");
  return await shownCertificate(host, Number(port || 443), { seconds: SIGN })
    .then(() => false, (error) => /no answer within|UNREACH|no route/i.test(error.message));
}

function refusal(what: string, rest: { where: string; fix: string }): DeployError {
  return refusalError(`Refused: ${what}`, { ...rest });
}

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
