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
  await using proxy = await openProxy(cluster);
  const before = await logIn(proxy, cluster);
  const isRefused = before.status === 401;
  const said = isRefused ? await resetPassword(cluster) : [];
  const { status, words } = isRefused ? await logIn(proxy, cluster) : before;
  if (status === 200) return isRefused;
  throw new DeployError(
    `Cannot ${isRefused ? "set the password of" : "log in as"} Grafana's admin on ${cluster.id}`,
    {
      exitCode: status === 401 ? ExitCode.service : ExitCode.notReady,
      where: [`HTTP ${status}: ${words}`, ...said],
      fix: "run again (its database may be in use for a moment), or in five minutes: " +
        `for so long Grafana locks a user after five wrong logins; ${LOGS}`,
    },
  );
}

/** Gives what Grafana says where it cannot: nothing when all went well. */
async function resetPassword(cluster: Cluster): Promise<string[]> {
  const command = "grafana cli --homepath /usr/share/grafana admin reset-admin-password";
  const words = ["exec", "-i", `deployment/${GRAFANA.name}`, "--namespace", GRAFANA.namespace, "--"]
    .concat(command.split(" "), "--password-from-stdin");
  const input = text(cluster, "GRAFANA_ADMIN_PASSWORD");
  return await kubectl(words, { cluster, input }).then(() => [], (error) => {
    if (error instanceof KubectlError) return error.where;
    throw error;
  });
}
