// The login of Grafana's admin, whose password it reads from the Secret only when it makes its database.
import type { ClusterProxy } from "../../../lib/core/check.ts";
import { type Cluster, text } from "../../../lib/core/cluster.ts";
import { DeployError, ExitCode } from "../../../lib/core/error.ts";
import { kubectl } from "../../../lib/kube/kubectl.ts";
import { KubectlError } from "../../../lib/kube/kubectl_error.ts";
import { openProxy } from "../../../lib/probe/http.ts";

/** The Grafana of the cluster itself. */
export const GRAFANA = {
  namespace: "monitoring",
  name: "kube-prometheus-stack-grafana",
  port: "http-web",
};
const LOGS = `kubectl -n ${GRAFANA.namespace} logs deployment/${GRAFANA.name}`;

/** Logs the admin in, by a session: the API server takes the header Authorization for itself. */
export async function logIn(proxy: ClusterProxy, cluster: Cluster) {
  const response = await proxy.fetch(GRAFANA, "/login", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ user: "admin", password: text(cluster, "GRAFANA_ADMIN_PASSWORD") }),
  });
  const cookie = response.headers.getSetCookie().map((one) => one.split(";")[0]).join("; ");
  return { status: response.status, words: (await response.text()).slice(0, 300), cookie };
}

/** Makes the configured password the admin's; true when it had to be changed. */
export async function ensureAdminPassword(cluster: Cluster): Promise<boolean> {
  if (await accepted(cluster)) return false;
  const command = "grafana cli --homepath /usr/share/grafana admin reset-admin-password";
  const where = await kubectl(
    ["exec", "-i", `deployment/${GRAFANA.name}`, "--namespace", GRAFANA.namespace, "--"]
      .concat(command.split(" "), "--password-from-stdin"),
    { cluster, input: text(cluster, "GRAFANA_ADMIN_PASSWORD") },
  ).then(() => "the reset went through, but the login is still refused", (error) => {
    if (error instanceof KubectlError) return error.where;
    throw error;
  });
  if (await accepted(cluster)) return true;
  throw new DeployError(`Cannot set the password of Grafana's admin on ${cluster.id}`, {
    exitCode: ExitCode.service,
    where,
    fix: "run again (its database may be in use for a moment), or in five minutes: " +
      `for so long Grafana locks a user after five wrong logins; ${LOGS}`,
  });
}

async function accepted(cluster: Cluster): Promise<boolean> {
  await using proxy = await openProxy(cluster);
  const { status, words } = await logIn(proxy, cluster);
  if (status === 200 || status === 401) return status === 200;
  throw new DeployError(`Cannot ask Grafana of ${cluster.id} for a login`, {
    exitCode: ExitCode.notReady,
    where: `HTTP ${status}: ${words}`,
    fix: LOGS,
  });
}
