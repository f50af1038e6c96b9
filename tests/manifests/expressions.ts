// Every expression of our dashboards, as Prometheus or Thanos Query can be asked it.
import { parse } from "yaml";
import type { Cluster } from "../../lib/core/cluster.ts";
import { durationSeconds } from "../../lib/core/quantity.ts";
import { monitors, prometheus } from "../../scripts/20-prometheus.ts";
import { type Dashboard, ownDashboards } from "../../scripts/components/prometheus/dashboards.ts";

/** One query of one panel. */
export interface Expression {
  /** Uid of the dashboard. */
  dashboard: string;
  /** Title of the panel, `A/B` of several queries in it; `$name` for the one behind a variable. */
  panel: string;
  expr: string;
}

/** The expressions of the dashboards of a cluster's Grafana, without Grafana's variables. */
export async function expressions(cluster: Cluster): Promise<Expression[]> {
  const dashboards = await ownDashboards(cluster, monitors(cluster));
  return Object.values(dashboards).flatMap(expressionsOf);
}

/** The same of one dashboard, as Grafana has it. */
export function expressionsOf({ uid, panels, templating }: Dashboard): Expression[] {
  const asked = panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr, refId }) => ({
      dashboard: uid,
      panel: targets.length > 1 ? `${title}/${refId}` : title,
      expr: concrete(expr),
    }))
  );
  const chosen = templating.list.flatMap(({ name, query }) => {
    const text = typeof query === "string" ? query : (query as { query?: string })?.query ?? "";
    const series = /^label_values\((.+),\s*\w+\)$/.exec(text)?.[1];
    return series ? [{ dashboard: uid, panel: `$${name}`, expr: concrete(series) }] : [];
  });
  return [...asked, ...chosen];
}

const BUILT_IN: Record<string, string> = {
  __rate_interval: "5m",
  __interval: "1m",
  __range: "1h",
};

/** The expression with what Grafana would put in: times for its own variables, all for the others. */
export function concrete(expr: string): string {
  return expr.replace(/\$\{?([a-z_]\w*)(:\w+)?\}?/g, (_, name: string) => BUILT_IN[name] ?? ".*");
}

const NO_EVENTS = "shows events that a healthy system has none of";
const FIRST_BLOCK = "the first block is cut and uploaded two to four hours after the first start";
const ON_USE = "needs somebody who asks";
const NO_ISM = "the keeper sees nothing where the plugin index-management is a stand-in";
const NO_VOLUME_STATISTICS = "hostPath volumes have no statistics; Longhorn's have";

/** Expressions that may have no data on a healthy system, as `dashboard/panel`, and why. */
export const MAY_BE_EMPTY: Record<string, string> = {
  "clusters/Oldest last upload": FIRST_BLOCK,
  "clusters/Clusters/H": FIRST_BLOCK,
  "clusters/Firing alerts": NO_EVENTS,
  "clusters/Firing alerts over time": NO_EVENTS,
  "clusters/Fullest volumes": NO_VOLUME_STATISTICS,
  "clusters/Container restarts in three hours": NO_EVENTS,
  "cluster/Since last upload": FIRST_BLOCK,
  "cluster/Firing alerts": NO_EVENTS,
  "cluster/Fullest volumes": NO_VOLUME_STATISTICS,
  "cluster/Container restarts in three hours": NO_EVENTS,
  "thanos/Duration of range queries/A": ON_USE,
  "thanos/Duration of range queries/B": ON_USE,
  "thanos/Calls to endpoints that fail": NO_EVENTS,
  "thanos/Index cache hits": ON_USE,
  "thanos/Reads of the bucket listing/B": NO_EVENTS,
  "thanos/Alerts of the Ruler/A": NO_EVENTS,
  "thanos-uploads/Since last upload": FIRST_BLOCK,
  "thanos-uploads/S3 operations": "a sidecar asks S3 for nothing between two blocks",
  "thanos-uploads/S3 operations that fail": NO_EVENTS,
  "thanos-uploads/Bytes to and from S3": "without new blocks nothing is transferred",
  "opensearch/Log indices under the policy": NO_ISM,
  "opensearch/Failed in the last hour": NO_ISM,
  "opensearch/Oldest log index": "nobody writes logs where Fluent Bit is a stand-in",
  "opensearch/Newest snapshot": "no index is old enough for a snapshot before LOG_RETENTION",
  "longhorn/Oldest last backup": "the recurring job makes the first backup at night",
  "ingress/Requests by host": ON_USE,
  "ingress/Answers by status": ON_USE,
  "ingress/Slowest tenth by host": ON_USE,
};

/** A data source for PromQL as Grafana gets it. */
export interface Source {
  uid: string;
  /** What Grafana adds to every query. */
  params: Record<string, string>;
  /** Seconds of its shortest interval, and of the shortest window that it gives to a rate. */
  interval: number;
  shortest: number;
  /** Seconds between the samples that it insists on. */
  resolution: number;
}

/** The data sources of a cluster's Grafana. */
export async function sourcesOf(cluster: Cluster): Promise<Source[]> {
  const objects = await prometheus.objects(cluster);
  const { data } = objects.find(({ metadata }) => metadata.name === "grafana-datasources")!;
  const { datasources } = parse(data["datasources.yaml"]);
  // deno-lint-ignore no-explicit-any
  return datasources.filter(({ type }: any) => type === "prometheus").map((source: any) => {
    const { timeInterval, customQueryParameters = "" } = source.jsonData;
    const params = Object.fromEntries(new URLSearchParams(customQueryParameters));
    const asked = params.max_source_resolution ?? "0s";
    const interval = durationSeconds(timeInterval);
    return {
      uid: source.uid,
      params,
      interval,
      shortest: 4 * interval,
      // Without insisting it is a fifth of the step, and no window is shorter than a step.
      resolution: asked === "auto" ? 0 : durationSeconds(asked),
    };
  });
}
