// The whole fleet through one entry: deploy, plan and verify, for one cluster, some or all.
import { choiceFor, command, deploy, DEPLOY_FLAGS } from "../lib/command.ts";
import { DeployError, ExitCode } from "../lib/error.ts";
import { planFleet, printPlans } from "../lib/fleet.ts";
import { minio } from "./00-minio.ts";
import { ingress } from "./05-ingress.ts";
import { longhorn } from "./10-longhorn.ts";
import { prometheus } from "./20-prometheus.ts";
import { thanos } from "./30-thanos.ts";
import { logging } from "./40-logging.ts";
import { verify } from "./50-verify.ts";

/** Every step, in the order in which a cluster is built. */
export const STEPS = [minio, ingress, longhorn, prometheus, thanos, logging, verify];

type Verb = (ids: string[], flags: Record<string, boolean | undefined>) => Promise<number>;

const VERBS: Record<string, Verb> = {
  deploy: (ids, flags) => deploy(STEPS, ids, flags),
  verify: (ids, flags) => deploy([verify], ids, flags),
  async plan(ids) {
    const { clusters, central } = await choiceFor(ids);
    return printPlans(await planFleet(STEPS, clusters, { central }));
  },
};

function verbOf(word = ""): Verb {
  const verb = VERBS[word];
  if (verb) return verb;
  throw new DeployError(word ? `Cannot ${word} the fleet: no such verb` : "Cannot guess the verb", {
    exitCode: ExitCode.config,
    where: `known verbs: ${Object.keys(VERBS).join(", ")}`,
    fix: "deno task fleet plan 196",
  });
}

if (import.meta.main) {
  const usage = `fleet.ts ${Object.keys(VERBS).join(" | ")} CLUSTER... | all`;
  await command(usage, DEPLOY_FLAGS, ([word, ...ids], flags) => verbOf(word)(ids, flags));
}
