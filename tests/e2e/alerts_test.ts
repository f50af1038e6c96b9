// Alerts arrive: of each Prometheus at its own Alertmanager, of the Ruler at the centre's, and from
// there at the webhook.
import assert from "node:assert/strict";
import { text } from "../../lib/core/cluster.ts";
import { ALERTMANAGER, central, check, eventually, figure, fleet, get, seconds } from "./site.ts";
import { arrived } from "./webhook.ts";

interface Alert {
  labels: Record<string, string>;
  generatorURL: string;
}

for (const cluster of fleet) {
  check(
    `${cluster.id}: an alert of its Prometheus arrives at its Alertmanager and the webhook`,
    async () => {
      const labels = { alertname: "Watchdog", cluster: text(cluster, "CLUSTER_NAME") };
      await eventually(5, async () => {
        const alerts = await get<Alert[]>(cluster, ALERTMANAGER, "/api/v2/alerts");
        assert.ok(alerts.some((alert) => has(alert, labels)), "Alertmanager has no Watchdog");
      });
      const took = await seconds(() => eventually(10, async () => void await arrived(labels)));
      figure(`${cluster.id}: waited for Watchdog at the webhook`, `${took.toFixed(0)} s`);
    },
  );
}

check("a global rule of the Ruler arrives at Alertmanager and the webhook", async () => {
  const labels = { alertname: "GlobalWatchdog", ruler_cluster: text(central, "CLUSTER_NAME") };
  await eventually(5, async () => {
    const alerts = await get<Alert[]>(central, ALERTMANAGER, "/api/v2/alerts");
    const found = alerts.find((alert) => has(alert, labels));
    assert.ok(found, "Alertmanager has no GlobalWatchdog");
    assert.match(found.generatorURL, new RegExp(`^http://thanos.${text(central, "DOMAIN")}:`));
  });
  await eventually(10, async () => void await arrived(labels));
});

function has(alert: Alert, labels: Record<string, string>): boolean {
  return Object.entries(labels).every(([name, value]) => alert.labels[name] === value);
}
