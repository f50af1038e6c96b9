// Where people read the runbooks: Grafana serves a copy of them (dashboards.ts) unless RUNBOOK_URL says where else.
import { hiddenBy } from "../../../lib/core/check.ts";
import { type Cluster, text } from "../../../lib/core/cluster.ts";

/** How the place of a page of docs/runbooks begins; the folder itself where the Grafana to serve it is a stand-in. */
export function runbooksOf(cluster: Cluster): string {
  const pages = text(cluster, "RUNBOOK_URL");
  const isOfGrafana = new URL(pages).hostname === `grafana.${text(cluster, "DOMAIN")}`;
  return isOfGrafana && hiddenBy(cluster, "grafana") ? "docs/runbooks" : pages;
}

/** Where a person reads the runbook that an alert of the cluster links to. */
export function runbookAt(link: string, cluster: Cluster): string {
  return link.replace(text(cluster, "RUNBOOK_URL"), runbooksOf(cluster));
}
