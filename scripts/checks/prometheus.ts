// Checks of Prometheus: what it scrapes and which rules it evaluates, against the rendered objects.
import { readJson } from "../../lib/probe/http.ts";
import {
  type Finding,
  type Findings,
  isStandIn,
  note,
  type Subject,
} from "../../lib/core/check.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { durationSeconds } from "../../lib/core/quantity.ts";
import { groupsOf, PROMETHEUS, type RuleGroup } from "./metrics.ts";

/** One of `data.activeTargets` of `/api/v1/targets`. */
export interface ScrapeTarget {
  scrapePool: string;
  scrapeUrl: string;
  health: "up" | "down" | "unknown";
  lastError: string;
  labels: Record<string, string>;
  /** `30s`; Prometheus spreads the first scrapes over it. */
  scrapeInterval: string;
  /** `10s`. */
  scrapeTimeout: string;
}

/**
 * Every monitor of ours has targets, and each of them answers once; a stand-in has no metrics to answer with. What
 * other people have Prometheus scrape is no more than a note.
 */
export async function targets({ cluster, objects, proxy }: Subject): Promise<Findings> {
  type Targets = { data: { activeTargets: ScrapeTarget[] } };
  const path = "/api/v1/targets?state=active";
  const { activeTargets: active } = (await readJson<Targets>(proxy, PROMETHEUS, path)).data;
  const rendered = await objects();
  const pools = poolsOf(rendered);
  const isOurs = ({ scrapePool }: ScrapeTarget) => pools.includes(scrapePool);
  const down = active.filter(({ health }) => health !== "up");
  const silent = new Set(
    down.filter((target) => !isOurs(target)).map(({ scrapePool }) => scrapePool),
  );
  const broken = down.filter((one) => isOurs(one) && !isStandIn(cluster, one.labels.job));
  return [
    broken.map((target) => ({
      what: `target ${target.labels.job} at ${target.scrapeUrl} is ${target.health}: ` +
        (target.lastError || "not scraped yet"),
      cause: causeOf(target.lastError),
      fix: `kubectl -n ${target.labels.namespace ?? "NAMESPACE"} get pods -o wide; ` +
        `look for the address in the url`,
      // By then it was scraped once more.
      patience: durationSeconds(target.scrapeInterval) + durationSeconds(target.scrapeTimeout) + 10,
    })),
    doubled(active.filter(isOurs), rendered),
    pools.filter((pool) => !active.some(({ scrapePool }) => scrapePool === pool)).map((pool) => ({
      what: `${pool} has no targets`,
      cause: "its selector or port name matches no Service, or the Service has no pod",
      fix: `kubectl describe ${pool.split("/").slice(0, 3).join(" ").replace(" ", " -n ")}`,
    })),
    silent.size > 0 && note(`not ours, and down: ${[...silent].join(", ")}`),
  ];
}

/** Targets that a monitor finds through more than one Service: each counts twice in every sum. */
function doubled(targets: ScrapeTarget[], objects: Manifest[]): Finding[] {
  const same = Map.groupBy(targets, ({ scrapePool, scrapeUrl }) => `${scrapePool} ${scrapeUrl}`);
  // One finding for all pods and endpoints of a job.
  const jobs = Map.groupBy(
    [...same.values()].filter(({ length }) => length > 1),
    ([target]) => `${target!.labels.namespace} ${target!.labels.job}`,
  );
  const ours = servicesOf(objects);
  return [...jobs.values()].map((groups) => {
    const { namespace = "NAMESPACE", job } = groups[0]![0]!.labels;
    const names = [...new Set(groups.flat().map(({ labels }) => labels.service ?? "(none)"))];
    const stray = names.filter((name) => !ours.has(`${namespace}/${name}`));
    return {
      what: `${groups.length} targets of ${job} are scraped more than once, through the Services ` +
        names.map((name) => `${namespace}/${name}`).join(" and "),
      cause: "a Service that another installation has left: it doubles all sums of these metrics",
      fix: `kubectl -n ${namespace} delete service ${stray.join(" ") || "NAME"}`,
    };
  });
}

/** Services of ours, as namespace/name: the rendered ones, and the one that the operator makes for the kubelets. */
function servicesOf(objects: Manifest[]): Set<string> {
  const made = /--kubelet-service=([^"\s]+)/.exec(JSON.stringify(objects))?.[1] ?? "";
  const rendered = objects.filter(({ kind }) => kind === "Service")
    .map(({ metadata: { namespace, name } }) => `${namespace}/${name}`);
  return new Set([made, ...rendered]);
}

function causeOf(error: string): string {
  if (/40[13]/.test(error)) {
    return "Prometheus lacks the right, or the kubelet wants webhook tokens";
  }
  if (/refused|no route|timeout|deadline/.test(error)) {
    return "the program does not listen there: pod down, bound to 127.0.0.1, or a NetworkPolicy";
  }
  if (/x509|tls/i.test(error)) return "the certificate does not fit the address or its CA";
  return "the program starts still, or answers no metrics";
}

/** Scrape pools that the operator makes of these monitors. */
export function poolsOf(objects: Manifest[]): string[] {
  return objects.flatMap(({ kind, metadata: { namespace, name }, spec }) => {
    if (kind === "ScrapeConfig") return [`scrapeConfig/${namespace}/${name}`];
    if (kind !== "ServiceMonitor") return [];
    return spec.endpoints.map((_: unknown, index: number) =>
      `serviceMonitor/${namespace}/${name}/${index}`
    );
  });
}

/** Every PrometheusRule of ours is loaded, and every rule of it evaluates; of others a note. */
export async function rules({ objects, proxy }: Subject): Promise<Findings> {
  const groups = await groupsOf(proxy, PROMETHEUS);
  const ours = (await objects()).filter(({ kind, spec }) =>
    kind === "PrometheusRule" && spec.groups.length > 0
  );
  const isOurs = (group: RuleGroup) => ours.some((object) => isOf(group, object));
  const others = failing(groups.filter((group) => !isOurs(group))).map(({ name }) => name);
  return [
    failingRules(groups.filter(isOurs), "make 20-prometheus"),
    ours.filter((object) => !groups.some((group) => isOf(group, object)))
      .map(({ metadata: { namespace, name } }) => ({
        what: `PrometheusRule ${namespace}/${name} is not loaded`,
        cause: "the operator rejects a rule with a wrong expression without telling the API",
        fix: "kubectl -n monitoring logs deploy/kube-prometheus-stack-operator | grep -i rule",
      })),
    others.length > 0 && note(`not ours, and failing: ${others.join(", ")}`),
  ];
}

/** The operator names the file after the object: monitoring-thanos-<uid>.yaml. */
function isOf({ file }: RuleGroup, { metadata: { namespace, name } }: Manifest): boolean {
  const [, of] = /([^/]*)-\w{8}(?:-\w{4}){3}-\w{12}\.yaml$/.exec(file) ?? [];
  return of === `${namespace}-${name}`;
}

function failing(groups: RuleGroup[]) {
  return groups.flatMap(({ name: group, rules }) =>
    rules.filter(({ health }) => health === "err").map((rule) => ({ ...rule, group }))
  );
}

/** Rules that cannot be evaluated; `make` puts a corrected one there. */
export function failingRules(groups: RuleGroup[], make: string): Finding[] {
  return failing(groups).map(({ name, group, lastError }) => ({
    what: `rule ${name} of group ${group} fails: ${lastError}`,
    cause: "its expression joins series that are not there once, or the query takes too long",
    fix: `correct its expression in manifests/, then ${make}`,
  }));
}
