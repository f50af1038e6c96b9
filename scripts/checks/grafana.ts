// Checks of Grafana: people can log in, and its data sources answer.
import { readJson } from "../../lib/probe/http.ts";
import type { Findings, Subject } from "../../lib/core/check.ts";
import { GRAFANA, logIn } from "../components/prometheus/login.ts";

const LOGS = "kubectl -n monitoring logs deploy/kube-prometheus-stack-grafana";

/** Its database works, and admin's password is the one of the settings. */
export async function login({ cluster, proxy }: Subject): Promise<Findings> {
  const { database } = await readJson<{ database: string }>(proxy, GRAFANA, "/api/health");
  const { status, words } = await logIn(proxy, cluster);
  return [
    database !== "ok" && {
      what: `Grafana's database is ${database}`,
      cause: "its volume is full, or was mounted twice",
      fix: `${LOGS} | grep -i database`,
    },
    status === 401 && {
      what: "Grafana refuses admin with GRAFANA_ADMIN_PASSWORD",
      cause: "Grafana reads the password only when it makes its database",
      fix: "kubectl -n monitoring exec -i deploy/kube-prometheus-stack-grafana -- " +
        "grafana cli admin reset-admin-password --password-from-stdin",
    },
    status !== 200 && status !== 401 && {
      what: `Grafana answers a login with ${status}: ${words}`,
      cause: "it starts still, or too many logins failed (wait five minutes)",
      fix: LOGS,
    },
  ];
}

/** Dashboards are there, and every data source of type prometheus answers Grafana's own test. */
export async function dashboards({ cluster, proxy }: Subject): Promise<Findings> {
  type DataSource = { uid: string; name: string; type: string };
  const { status, cookie } = await logIn(proxy, cluster);
  if (status !== 200) {
    const what = `Grafana's data sources cannot be looked at: ${status} of /login`;
    return { what, fix: "see the check Grafana login" };
  }
  const headers = { cookie };
  const all = await readJson<DataSource[]>(proxy, GRAFANA, "/api/datasources", { headers });
  const found = await readJson<unknown[]>(proxy, GRAFANA, "/api/search?type=dash-db", { headers });
  const sources = all.filter(({ type }) => type === "prometheus");
  const answers = sources.map(async ({ uid, name }): Promise<Findings> => {
    const health = `/api/datasources/uid/${uid}/health`;
    const response = await proxy.fetch(GRAFANA, health, { headers });
    const words = (await response.text()).slice(0, 300);
    return !response.ok && {
      what: `Grafana's data source ${name} does not answer: ${words}`,
      cause: "the Service it names has no ready pod",
      fix: "kubectl -n monitoring get pods,endpointslices",
    };
  });
  return [
    found.length === 0 && {
      what: "Grafana has no dashboards",
      cause: "the folder of the provider is empty, or two dashboards share a uid or title",
      fix: `${LOGS} | grep -i provision`,
    },
    sources.length === 0 && {
      what: "Grafana has no data source of type prometheus",
      cause: "its provisioning file is not mounted or not valid",
      fix: `${LOGS} | grep -i datasource`,
    },
    await Promise.all(answers),
  ];
}
