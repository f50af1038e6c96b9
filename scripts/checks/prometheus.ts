// Checks of Prometheus, what it scrapes and evaluates against the rendered objects, and of Grafana, which shows it.
import { type Findings, isStandIn, note, type Subject } from "../../lib/core/check.ts";
import { type Manifest, namespacedName } from "../../lib/core/object.ts";
import { durationSeconds } from "../../lib/core/quantity.ts";
import { readJson } from "../../lib/probe/http.ts";
import { GRAFANA, logIn } from "../components/prometheus/login.ts";
import { groupsOf, PROMETHEUS, type RuleGroup } from "./metrics.ts";

/** One of `data.activeTargets` of `/api/v1/targets`; times as `30s`. */
export interface ScrapeTarget {
  scrapePool: string;
  scrapeUrl: string;
  health: "up" | "down" | "unknown";
  lastError: string;
  labels: Record<string, string>;
  scrapeInterval: string;
  scrapeTimeout: string;
}

/** Every monitor of ours has targets, and each answers once, but stand-ins; what is other people's is a note. */
export async function targets({ cluster, objects, proxy }: Subject): Promise<Findings> {
  type Targets = { data: { activeTargets: ScrapeTarget[] } };
  const path = "/api/v1/targets?state=active";
  const { activeTargets: active } = (await readJson<Targets>(proxy, PROMETHEUS, path)).data;
  const rendered = await objects();
  const pools = poolsOf(rendered);
  const ours = active.filter(({ scrapePool }) => pools.includes(scrapePool));
  const down = active.filter(({ health }) => health !== "up");
  const broken = down.filter((one) => ours.includes(one) && !isStandIn(cluster, one.labels.job));
  const silent = new Set(down.map(({ scrapePool }) => scrapePool)).difference(new Set(pools));
  return [
    broken.map(({ labels, scrapeUrl, health, lastError, scrapeInterval, scrapeTimeout }) => ({
      what: `target ${labels.job} at ${scrapeUrl} is ${health}: ${lastError || "not scraped yet"}`,
      cause: causeOf(lastError),
      fix: `kubectl -n ${labels.namespace ?? "NAMESPACE"} get pods -o wide: the one at that url`,
      // By then it was scraped once more.
      patience: durationSeconds(scrapeInterval) + durationSeconds(scrapeTimeout) + 10,
    })),
    doubled(ours, rendered),
    pools.filter((pool) => !ours.some(({ scrapePool }) => scrapePool === pool)).map((pool) => ({
      what: `${pool} has no targets`,
      cause: "its selector or port name matches no Service, or the Service has no pod",
      fix: `kubectl describe ${pool.split("/").slice(0, 3).join(" ").replace(" ", " -n ")}`,
    })),
    silent.size > 0 && note(`not ours, and down: ${[...silent].join(", ")}`),
  ];
}

/** Jobs whose targets a monitor finds through more than one Service: each counts twice in every sum. */
function doubled(targets: ScrapeTarget[], objects: Manifest[]): Findings {
  const same = Map.groupBy(targets, ({ scrapePool, scrapeUrl }) => `${scrapePool} ${scrapeUrl}`);
  const jobs = Map.groupBy(
    [...same.values()].filter(({ length }) => length > 1),
    ([target]) => `${target!.labels.namespace} ${target!.labels.job}`,
  );
  // The operator makes one, for the kubelets.
  const ours = [/--kubelet-service=([^"\s]+)/.exec(JSON.stringify(objects))?.[1]]
    .concat(objects.filter(({ kind }) => kind === "Service").map(namespacedName));
  return [...jobs.values()].map((groups) => {
    const { namespace = "NAMESPACE", job } = groups[0]![0]!.labels;
    const names = [...new Set(groups.flat().map(({ labels }) => labels.service ?? "(none)"))];
    const stray = names.filter((name) => !ours.includes(`${namespace}/${name}`));
    return {
      what: `${groups.length} targets of ${job} are scraped more than once, through the Services ` +
        `${names.join(" and ")} of ${namespace}`,
      cause: "a Service that another installation has left: it doubles all sums of these metrics",
      fix: `kubectl -n ${namespace} delete service ${stray.join(" ") || "NAME"}`,
    };
  });
}

function causeOf(error: string): string {
  if (/40[13]/.test(error)) return "Prometheus lacks the right, or kubelet wants webhook tokens";
  if (/refused|no route|timeout|deadline/.test(error)) {
    return "the program does not listen there: pod down, bound to 127.0.0.1, or a NetworkPolicy";
  }
  if (/x509|tls/i.test(error)) return "the certificate does not fit the address or its CA";
  return "the program starts still, or answers no metrics";
}

/** Scrape pools that the operator makes of these monitors. */
export function poolsOf(objects: Manifest[]): string[] {
  return objects.flatMap((object) => {
    const { kind, spec } = object, name = namespacedName(object);
    if (kind === "ScrapeConfig") return [`scrapeConfig/${name}`];
    if (kind !== "ServiceMonitor") return [];
    return Object.keys(spec.endpoints).map((index) => `serviceMonitor/${name}/${index}`);
  });
}

/** Every PrometheusRule of ours is loaded, and every rule of it evaluates; of others a note. */
export async function rules({ objects, proxy }: Subject): Promise<Findings> {
  const groups = await groupsOf(proxy, PROMETHEUS);
  const wanted = (await objects()).filter(({ kind, spec }) =>
    kind === "PrometheusRule" && spec.groups.length > 0
  );
  const ours = groups.filter((group) => wanted.some((object) => isOf(group, object)));
  const theirs = groups.filter((group) => !ours.includes(group)).flatMap(failing);
  return [
    failingRules(ours, "make 20-prometheus"),
    wanted.filter((object) => !ours.some((group) => isOf(group, object)))
      .map((object) => ({
        what: `PrometheusRule ${namespacedName(object)} is not loaded`,
        cause: "the operator rejects a rule with a wrong expression without telling the API",
        fix: "kubectl -n monitoring logs deploy/kube-prometheus-stack-operator | grep -i rule",
      })),
    theirs.length > 0 &&
    note(`not ours, and failing: ${theirs.map(({ name }) => name).join(", ")}`),
  ];
}

/** The operator names the file after the object: monitoring-thanos-<uid>.yaml. */
function isOf({ file }: RuleGroup, object: Manifest): boolean {
  const [, of] = /([^/]*)-\w{8}(?:-\w{4}){3}-\w{12}\.yaml$/.exec(file) ?? [];
  return of === namespacedName(object).replace("/", "-");
}

function failing({ rules }: RuleGroup) {
  return rules.filter(({ health }) => health === "err");
}

/** Rules that cannot be evaluated; `make` puts a corrected one there. */
export function failingRules(groups: RuleGroup[], make: string): Findings {
  return groups.flatMap((group) =>
    failing(group).map(({ name, lastError }) => ({
      what: `rule ${name} of group ${group.name} fails: ${lastError}`,
      cause: "its expression joins series that are not there once, or the query takes too long",
      fix: `correct its expression in manifests/, then ${make}`,
    }))
  );
}

const GRAFANA_LOGS = "kubectl -n monitoring logs deploy/kube-prometheus-stack-grafana";

/** Its database works, and admin's password is the one of the settings. */
export async function login({ cluster, proxy }: Subject): Promise<Findings> {
  const { database } = await readJson<{ database: string }>(proxy, GRAFANA, "/api/health");
  const { status, words } = await logIn(proxy, cluster);
  return [
    database !== "ok" && {
      what: `Grafana's database is ${database}`,
      cause: "its volume is full, or was mounted twice",
      fix: `${GRAFANA_LOGS} | grep -i database`,
    },
    status === 401 && {
      what: "Grafana refuses admin with GRAFANA_ADMIN_PASSWORD",
      cause: "Grafana reads the password only when it makes its database",
      fix: `make 20-prometheus CLUSTER=${cluster.id}: it makes that password the admin's`,
    },
    status !== 200 && status !== 401 && {
      what: `Grafana answers a login with ${status}: ${words}`,
      cause: "it starts still, or too many logins failed (wait five minutes)",
      fix: GRAFANA_LOGS,
    },
  ];
}

/** Dashboards are there, and every data source of type prometheus answers Grafana's own test. */
export async function dashboards({ cluster, proxy }: Subject): Promise<Findings> {
  type DataSource = { uid: string; name: string; type: string };
  const { status, cookie } = await logIn(proxy, cluster);
  if (status !== 200) {
    const what = `Grafana's data sources cannot be looked at: ${status} of /login`;
    return { what, cause: "see the check Grafana login", fix: GRAFANA_LOGS };
  }
  const headers = { cookie };
  const all = await readJson<DataSource[]>(proxy, GRAFANA, "/api/datasources", { headers });
  const found = await readJson<unknown[]>(proxy, GRAFANA, "/api/search?type=dash-db", { headers });
  const sources = all.filter(({ type }) => type === "prometheus");
  const absent = Object.entries({ dashboards: found, "data source of type prometheus": sources })
    .filter(([, those]) => those.length === 0);
  const answers = sources.map(async ({ uid, name }): Promise<Findings> => {
    const answer = await proxy.fetch(GRAFANA, `/api/datasources/uid/${uid}/health`, { headers });
    const words = (await answer.text()).slice(0, 300);
    return !answer.ok && {
      what: `Grafana's data source ${name} does not answer: ${words}`,
      cause: "the Service it names has no ready pod",
      fix: "kubectl -n monitoring get pods,endpointslices",
    };
  });
  return [
    absent.map(([what]) => ({
      what: `Grafana has no ${what}`,
      cause: "its provisioning is not mounted or not valid, or dashboards share a uid or title",
      fix: `${GRAFANA_LOGS} | grep -iE 'provision|datasource'`,
    })),
    await Promise.all(answers),
  ];
}
