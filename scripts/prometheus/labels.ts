// Labels of the objects of 20-prometheus that are built in code.

/** The six labels without managed-by, for an object of `name` at `version` (its image tag). */
export function metricsLabels(name: string, version: string): Record<string, string> {
  return {
    "app.kubernetes.io/name": name,
    "app.kubernetes.io/instance": "thanos",
    "app.kubernetes.io/component": name,
    "app.kubernetes.io/part-of": "metrics",
    "app.kubernetes.io/version": version,
  };
}
