// Checks of Grafana: people can log in, and its data sources answer.
import { readJson } from "../../lib/probe/http.ts";
import type { ClusterProxy, Finding, Subject } from "../../lib/core/check.ts";
import { type Cluster, text } from "../../lib/core/cluster.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";

const GRAFANA = { namespace: "monitoring", name: "kube-prometheus-stack-grafana", port: 80 };

/** Its database works, and admin's password is the one of the settings. */
export async function login({ cluster, proxy }: Subject): Promise<Finding[]> {
  const way = await proxy();
  const health = await readJson<{ database: string }>(way, GRAFANA, "/api/health");
  const { status, body } = await logIn(way, cluster);
  return loginProblems(health.database, status, body);
}

// The API server takes the header Authorization for itself, so a session it must be.
async function logIn(way: ClusterProxy, cluster: Cluster) {
  const response = await way.fetch(GRAFANA, "/login", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ user: "admin", password: text(cluster, "GRAFANA_ADMIN_PASSWORD") }),
  });
  const cookie = response.headers.getSetCookie().map((one) => one.split(";")[0]).join("; ");
  return { status: response.status, body: (await response.text()).slice(0, 300), cookie };
}

/** What is wrong with the database's state and the answer to a login. */
export function loginProblems(database: string, status: number, body: string): Finding[] {
  const problems: Finding[] = [];
  if (database !== "ok") {
    problems.push({
      what: `Grafana's database is ${database}`,
      cause: "its volume is full, or was mounted twice",
      fix: "kubectl -n monitoring logs deploy/kube-prometheus-stack-grafana | grep -i database",
    });
  }
  if (status === 401) {
    problems.push({
      what: "Grafana refuses admin with GRAFANA_ADMIN_PASSWORD",
      cause: "Grafana reads the password only when it makes its database",
      fix: "kubectl -n monitoring exec -i deploy/kube-prometheus-stack-grafana -- " +
        "grafana cli admin reset-admin-password --password-from-stdin",
    });
  } else if (status !== 200) {
    problems.push({
      what: `Grafana answers a login with ${status}: ${body}`,
      cause: "it starts still, or too many logins failed (wait five minutes)",
      fix: "kubectl -n monitoring logs deploy/kube-prometheus-stack-grafana",
    });
  }
  return problems;
}

/** One of `/api/datasources`. */
export interface DataSource {
  uid: string;
  name: string;
  type: string;
}

/** Dashboards are there, and every data source of type prometheus answers a query. */
export async function dashboards({ cluster, proxy }: Subject): Promise<Finding[]> {
  const way = await proxy();
  const { status, cookie } = await logIn(way, cluster);
  if (status !== 200) {
    throw new DeployError("Cannot look at Grafana's data sources: the login failed", {
      exitCode: ExitCode.service,
      where: `${status} of /login`,
      fix: "see the check Grafana login",
    });
  }
  const headers = { cookie };
  const sources = await readJson<DataSource[]>(way, GRAFANA, "/api/datasources", { headers });
  const found = await readJson<unknown[]>(way, GRAFANA, "/api/search?type=dash-db", { headers });
  const answers: DataSourceAnswer[] = [];
  for (const { uid, name } of sources.filter(({ type }) => type === "prometheus")) {
    const response = await way.fetch(GRAFANA, `/api/datasources/uid/${uid}/health`, { headers });
    answers.push({ name, ok: response.ok, text: (await response.text()).slice(0, 300) });
  }
  return dashboardProblems(found.length, answers);
}

/** What a data source answered to Grafana's own test. */
export interface DataSourceAnswer {
  name: string;
  ok: boolean;
  text: string;
}

/** Missing dashboards and data sources, and data sources that do not answer. */
export function dashboardProblems(dashboards: number, answers: DataSourceAnswer[]): Finding[] {
  const problems: Finding[] = [];
  if (dashboards === 0) {
    problems.push({
      what: "Grafana has no dashboards",
      cause: "the folder of the provider is empty, or two dashboards share a uid or title",
      fix: "kubectl -n monitoring logs deploy/kube-prometheus-stack-grafana | grep -i provision",
    });
  }
  if (answers.length === 0) {
    problems.push({
      what: "Grafana has no data source of type prometheus",
      cause: "its provisioning file is not mounted or not valid",
      fix: "kubectl -n monitoring logs deploy/kube-prometheus-stack-grafana | grep -i datasource",
    });
  }
  for (const { name, text } of answers.filter(({ ok }) => !ok)) {
    problems.push({
      what: `Grafana's data source ${name} does not answer: ${text}`,
      cause: "the Service it names has no ready pod",
      fix: "kubectl -n monitoring get pods,endpointslices",
    });
  }
  return problems;
}
