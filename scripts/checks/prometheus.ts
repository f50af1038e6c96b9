// Checks of Prometheus: what it scrapes and which rules it evaluates, against the rendered objects.
import { readJson } from "../../lib/probe/http.ts";
import type { Finding, Subject } from "../../lib/core/check.ts";
import { list } from "../../lib/core/cluster.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { durationSeconds } from "../../lib/core/quantity.ts";

/** The Prometheus of the cluster itself. */
export const PROMETHEUS = {
  namespace: "monitoring",
  name: "kube-prometheus-stack-prometheus",
  port: 9090,
};

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

/** One of `data.groups` of `/api/v1/rules`. */
export interface RuleGroup {
  file: string;
  name: string;
  rules: { name: string; health: "ok" | "err" | "unknown"; lastError?: string }[];
}

/** Every monitor has targets, and every target answers; a stand-in has no metrics to answer with. */
export async function targets({ cluster, objects, proxy }: Subject): Promise<Finding[]> {
  const path = "/api/v1/targets?state=active";
  const { data } = await readJson<{ data: { activeTargets: ScrapeTarget[] } }>(
    await proxy(),
    PROMETHEUS,
    path,
  );
  return targetProblems(data.activeTargets, await objects(), list(cluster, "STAND_INS"));
}

/** Targets that do not answer, and monitors of the rendered objects that found none. */
export function targetProblems(
  active: ScrapeTarget[],
  objects: Manifest[],
  standIns: string[] = [],
): Finding[] {
  const isStandIn = ({ labels }: ScrapeTarget) =>
    standIns.some((program) => labels.job?.includes(program));
  const down = active.filter((target) => target.health !== "up" && !isStandIn(target)).map((
    target,
  ) => ({
    what: `target ${target.labels.job} at ${target.scrapeUrl} is ${target.health}: ` +
      (target.lastError || "not scraped yet"),
    cause: causeOf(target.lastError),
    fix: `kubectl -n ${target.labels.namespace ?? "NAMESPACE"} get pods -o wide; ` +
      `look for the address in the url`,
    // By then it was scraped once more.
    patience: durationSeconds(target.scrapeInterval) + durationSeconds(target.scrapeTimeout) + 10,
  }));
  const pools = new Set(active.map(({ scrapePool }) => scrapePool));
  const lost = poolsOf(objects).filter((pool) => !pools.has(pool)).map((pool) => ({
    what: `${pool} has no targets`,
    cause: "its selector or port name matches no Service, or the Service has no pod",
    fix: `kubectl describe ${pool.split("/").slice(0, 3).join(" ").replace(" ", " -n ")}`,
  }));
  return [...down, ...lost];
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

/** Every PrometheusRule is loaded, and every rule evaluates. */
export async function rules({ objects, proxy }: Subject): Promise<Finding[]> {
  const { data } = await readJson<{ data: { groups: RuleGroup[] } }>(
    await proxy(),
    PROMETHEUS,
    "/api/v1/rules",
  );
  return ruleProblems(data.groups, await objects());
}

/** Rules that fail, and PrometheusRules of the rendered objects that Prometheus does not have. */
export function ruleProblems(groups: RuleGroup[], objects: Manifest[]): Finding[] {
  const failing = groups.flatMap(({ name, rules }) =>
    rules.filter(({ health }) => health === "err").map((rule) => ({
      what: `rule ${rule.name} of group ${name} fails: ${rule.lastError}`,
      cause: "its expression joins series that are not there once, or the query takes too long",
      fix: "correct its expression in manifests/, then make 20-prometheus",
    }))
  );
  const lost = objects.filter(({ kind, metadata, spec }) =>
    kind === "PrometheusRule" && spec.groups.length > 0 &&
    // The operator names the file after the object: monitoring-thanos-<uid>.yaml.
    !groups.some(({ file }) => file.includes(`/${metadata.namespace}-${metadata.name}-`))
  ).map(({ metadata: { namespace, name } }) => ({
    what: `PrometheusRule ${namespace}/${name} is not loaded`,
    cause: "the operator rejects a rule with a wrong expression without telling the API",
    fix: "kubectl -n monitoring logs deploy/kube-prometheus-stack-operator | grep -i rule",
  }));
  return [...failing, ...lost];
}
