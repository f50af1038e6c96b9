// Where dashboards stand: what differs between the Grafana of the centre and that of an edge.
import { type Cluster, text } from "../../../lib/core/cluster.ts";

/** Where a cluster's Grafana stands, and where its data comes from (datasources.yaml of its role). */
export function placeOf(cluster: Cluster) {
  const central = cluster.role === "central", zone = text(cluster, "TIMEZONE");
  return {
    central,
    /** Uid; at the centre what shows a course of time can be asked of another one. */
    datasource: central ? "thanos" : "prometheus",
    /** How many clusters should be seen; `$fleet` in expressions. */
    clusters: expected(cluster),
    /** What dashboards show times in. */
    timezone: zone === "UTC" ? "browser" : zone,
  };
}

/** Where a dashboard will stand. */
export type PanelPlace = ReturnType<typeof placeOf>;

/** All of them, without those that are not there while they are paused. */
function expected({ fleet }: Cluster): number | string {
  const paused = fleet.flatMap(({ name, pause }) =>
    pause ? `label_replace(vector(time()) < ${pause.end}, "cluster", "${name}", "", "")` : []
  );
  if (paused.length === 0) return fleet.length;
  const away = `count((${paused.join(" or ")}) unless on (cluster) up)`;
  return `(${fleet.length} - (${away} or vector(0)))`;
}
