// 50-verify: proves hop by hop that a cluster does what the other steps built, and leaves nothing behind.
// Every check runs; one closing error names each failed hop, its likely cause and the fix.
import "./needs.ts";
import type { Check } from "../lib/core/check.ts";
import { type Cluster, text } from "../lib/core/cluster.ts";
import { main } from "../lib/cli/deploy.ts";
import { durationSeconds } from "../lib/core/quantity.ts";
import { checksOf, desiredOf, step } from "../lib/deploy/step.ts";
import { certificates } from "./checks/certificates.ts";
import { claims, existing, readyObjects } from "./checks/objects.ts";
import { runChecks } from "./checks/run.ts";
import { STEPS } from "./steps.ts";

/** Of the cluster as a whole; the steps bring their own. */
const CHECKS: Check[] = [
  { name: "Objects", hop: "manifests -> API server", live: false, run: existing },
  { name: "Readiness", hop: "controllers -> pods", live: false, run: readyObjects },
  { name: "Volume claims", hop: "pods -> volumes", live: false, run: claims },
  { name: "Certificates", hop: "clients -> S3, API server", live: false, run: certificates },
];

/**
 * Right after a deploy, discovery and first scrapes take their time: in ms, shared by all checks. A rate
 * needs two scrapes, and an alert on it two evaluations more.
 */
function patienceOf(cluster: Cluster): number {
  return Math.max(180, 60 + 4 * durationSeconds(text(cluster, "SCRAPE_INTERVAL"))) * 1000;
}

export const verify = step({
  name: "50-verify",
  afterFleet: true,
  objects: () => Promise.resolve([]),
  async run(context) {
    const checks = [...CHECKS, ...checksOf(STEPS, context.cluster)];
    const objects = await desiredOf(STEPS, context.cluster);
    const deadline = Date.now() + patienceOf(context.cluster);
    await runChecks(checks, context, { objects, until: () => deadline });
  },
});

if (import.meta.main) await main(verify);
