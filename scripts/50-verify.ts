// 50-verify: proves hop by hop that a cluster does what the other steps built, and leaves nothing behind.
import "./needs.ts";
import type { Inventory } from "../lib/apply/inventory.ts";
import { type Check, checksOf, type Subject } from "../lib/core/check.ts";
import { text } from "../lib/core/cluster.ts";
import { main } from "../lib/cli/deploy.ts";
import { durationSeconds } from "../lib/core/quantity.ts";
import { desiredOf, step } from "../lib/deploy/step.ts";
import { apiCertificate, clientCertificate } from "./checks/access.ts";
import { claims, existing, readyObjects, verifyBy } from "./checks/verify.ts";
import { STEPS } from "./steps.ts";

const AFTER = { when: "after", needs: "cluster" } as const;

/** Of the cluster as a whole; the steps bring their own. */
export function checksOfCluster(inventory: Inventory): Check[] {
  const objects = (subject: Subject) => existing(subject, inventory);
  const ready = (subject: Subject) => readyObjects(subject, inventory);
  return [
    { ...AFTER, name: "Objects", hop: "manifests -> API server", first: true, run: objects },
    { ...AFTER, name: "Readiness", hop: "controllers -> pods", run: ready },
    { ...AFTER, name: "Volume claims", hop: "pods -> volumes", run: claims },
    { ...AFTER, name: "Client certificate", hop: "kubectl -> API server", run: clientCertificate },
    { ...AFTER, name: "API server certificate", hop: "API server -> kubectl", run: apiCertificate },
  ];
}

export const verify = step({
  name: "50-verify",
  afterFleet: true,
  objects: () => Promise.resolve([]),
  async run(context) {
    const { cluster } = context;
    // Discovery takes its time after a deploy; a rate needs two scrapes, and an alert on it two evaluations more.
    const seconds = Math.max(180, 60 + 4 * durationSeconds(text(cluster, "SCRAPE_INTERVAL")));
    const deadline = Date.now() + seconds * 1000;
    const checks = checksOf(STEPS, cluster, "after", checksOfCluster(context.inventory));
    await verifyBy(checks, context, () => deadline, () => desiredOf(STEPS, cluster));
  },
});

if (import.meta.main) await main(verify);
