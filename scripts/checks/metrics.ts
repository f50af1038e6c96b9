// Checks that are one question to Prometheus: it must have an answer.
import { readJson } from "../../lib/probe/http.ts";
import type { ClusterProxy, Finding, ServicePort, Subject } from "../../lib/core/check.ts";
import { PROMETHEUS } from "./prometheus.ts";

/** One series of an instant query. */
export interface Sample {
  metric: Record<string, string>;
  value: [time: number, value: string];
}

/** Asks a server with Prometheus' API for the value of an expression now. */
export async function ask(
  proxy: ClusterProxy,
  service: ServicePort,
  expression: string,
): Promise<Sample[]> {
  const path = `/api/v1/query?query=${encodeURIComponent(expression)}`;
  const { data } = await readJson<{ data: { result: Sample[] } }>(proxy, service, path);
  return data.result;
}

/** A check that fails with `problem` unless the expression has a value. */
function answered(expression: string, problem: Finding) {
  return async ({ proxy }: Subject): Promise<Finding[]> => {
    const samples = await ask(await proxy(), PROMETHEUS, expression);
    return samples.length > 0 ? [] : [problem];
  };
}

/** The sidecar looks for blocks and uploads them. A young one has none: that is no failure. */
export const uploads = answered(
  'sum(increase(thanos_shipper_dir_sync_failures_total{job="thanos-sidecar"}[5m])) == 0',
  {
    what: "the sidecar does not upload blocks to S3",
    cause: "S3 is away, its certificate is not trusted, or the key lacks s3:PutObject",
    fix: "kubectl -n monitoring logs prometheus-kube-prometheus-stack-prometheus-0 " +
      "-c thanos-sidecar | grep -i err",
  },
);

/** The Compactor works and has not halted (it stays Ready when it has). */
export const compactor = answered('max(thanos_compact_halted{job="thanos-compactor"}) == 0', {
  what: "the Compactor has halted, or Prometheus has no metrics of it",
  cause: "blocks overlap (two Prometheus with the same labels), or its volume is full",
  fix: "kubectl -n monitoring logs thanos-compactor-0 | grep -i halt; repair, then delete the pod",
});

/** No log line was given up. */
export const dropped = answered("sum(increase(fluentbit_output_dropped_records_total[5m])) == 0", {
  what: "Fluent Bit drops log lines, or Prometheus has no metrics of it",
  cause: "OpenSearch refuses them (mapping, disk), or the buffer on the node is full",
  fix: "kubectl -n node-agents logs ds/fluent-bit",
});

/** The health of OpenSearch arrives as a metric. */
export const indexed = answered('opensearch_cluster_health_status{color="green"} == 1', {
  what: "opensearch_cluster_health_status says no green",
  cause: "OpenSearch is not green, or its exporter does not reach it",
  fix: "kubectl -n logging get pods; look at the check OpenSearch above",
});
