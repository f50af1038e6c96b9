// The three clusters of env/ with made-up secrets: what golden files and unit tests render.
import { chooseClusters, loadFleet } from "../../lib/config/cluster.ts";
import type { Cluster } from "../../lib/core/cluster.ts";

/** Made-up secrets; no test may find them in output or argv. The login's password is dummy-password. */
export const SECRETS = {
  S3_ACCESS_KEY: "dummy-access-key",
  S3_SECRET_KEY: "dummy-secret-key",
  GRAFANA_ADMIN_PASSWORD: "dummy-grafana-password",
  UI_BASIC_AUTH: "admin:{SHA}EXR+0qOQT4KTG69ZJEN3IlnqjcE=",
};

/** Files of env/ that only this operator has. */
const NO_FILES = {
  SECRET_FILE: "tests/fixtures/no-such-secret.env",
  IMAGE_PINS_FILE: "tests/fixtures/no-such-pins.json",
};

/** The fleet of env/ as an operator with these secrets has it, free of this shell's settings. */
export function fixtureFleet(environment: Record<string, string> = {}): Promise<Cluster[]> {
  return loadFleet({
    environment: { ...NO_FILES, ...SECRETS, ...environment },
  });
}

/** The cluster with its API server at this address, as its own env file would say. */
export function servedAt(cluster: Cluster, API_HOST: string): Cluster {
  return { ...cluster, vars: { ...cluster.vars, API_HOST } };
}

/** One cluster of {@link fixtureFleet}. */
export async function fixtureCluster(
  id: string,
  environment: Record<string, string> = {},
): Promise<Cluster> {
  return chooseClusters(await fixtureFleet(environment), [id])[0]!;
}

/** A fleet of so many clusters: the central one, and edges that differ by their id, 197 and up. */
export async function fleetOfSize(count: number): Promise<Cluster[]> {
  const [central, edge] = await fixtureFleet() as [Cluster, Cluster];
  const edges = Array.from({ length: count - 1 }, (_, index) => {
    const id = String(197 + index);
    const own = { CLUSTER_NAME: `cluster-${id}-edge`, KUBE_CONTEXT: `mkube-${id}` };
    return { ...edge, id, vars: { ...edge.vars, ...own } };
  });
  return [central, ...edges];
}
