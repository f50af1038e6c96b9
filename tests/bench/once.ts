// One measured command of make bench, in a process of its own. Its last line on stdout says what came of it.
import { readFile } from "node:fs/promises";
import process from "node:process";
import { chooseClusters } from "../../lib/config/cluster.ts";
import type { Cluster } from "../../lib/core/cluster.ts";
import { command } from "../../lib/cli/command.ts";
import { hashOf } from "../../lib/core/hash.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import { deployFleet } from "../../lib/deploy/fleet.ts";
import { owned } from "../../lib/apply/live.ts";
import { useKubectl } from "../../lib/kube/kubectl.ts";
import { kindsOf, type Manifest } from "../../lib/core/object.ts";
import { type ClusterPlan, pending, planFleet } from "../../lib/deploy/plan_fleet.ts";
import { type ClusterResult, hasFailed } from "../../lib/deploy/results.ts";
import type { Step } from "../../lib/deploy/step.ts";
import { print } from "../../lib/io/report.ts";
import { benchFleet, benchStep, corpus, ownOf, sameStep, smallStep } from "./corpus.ts";
import { ownPeak } from "./memory.ts";
import { fleetOf, TROUBLED } from "./site.ts";

/** What a command did. */
interface Outcome {
  /** Objects that it changed, or would change. */
  changed?: number;
  /** Hash of what the cluster has. */
  state?: string;
  /** Clusters that could not be deployed to. */
  away?: string[];
  /** Until those that are well were deployed; else the whole command counts. */
  seconds?: number;
}

/** The first word is a cluster (or `all`) or a number of clusters, the second a value of one object. */
type Verb = (which: string, revision?: string) => Promise<Outcome>;

const VERBS: Record<string, Verb> = {
  async deploy(which, revision) {
    return deployed(await deployFleet([benchStep(revision)], await clusters(which)));
  },
  async plan(which, revision) {
    return planned(await planFleet([benchStep(revision)], await clusters(which)));
  },
  /** So many clusters, each with what central has. */
  async "deploy-many"(count) {
    return deployed(await deployFleet([await centralStep()], await fleetOf(Number(count))));
  },
  async "plan-many"(count) {
    return planned(await planFleet([await centralStep()], await fleetOf(Number(count))));
  },
  /** So many clusters with a few objects; `revision` ends in `alone`: without those that are in trouble. */
  async fleet(count, revision = "") {
    const all = await fleetOf(Number(count));
    const well = all.filter(({ id }) => !Object.values(TROUBLED).includes(id));
    const ended = new Set<string>();
    let seconds = 0;
    const began = performance.now();
    const step = smallStep(revision, ({ id }) => {
      ended.add(id);
      if (well.every(({ id }) => ended.has(id))) seconds ||= (performance.now() - began) / 1000;
    });
    const results = await deployFleet([step], revision.endsWith("alone") ? well : all);
    const away = results.filter(hasFailed).map(({ cluster: { id } }) => id);
    const { changed } = deployed(results.filter((result) => !hasFailed(result)));
    return { seconds, changed, away };
  },
  /** What the cluster has of the corpus. */
  async state(which) {
    const [cluster] = await clusters(which);
    const live = await owned(cluster!, kindsOf(await corpus(cluster!)));
    return { state: hashOf([...live].sort().map(([id, object]) => [id, asWritten(object)])) };
  },
  /** Everything of our own for so many clusters. */
  async render(count) {
    for (const cluster of await fleetOf(Number(count))) await ownOf(cluster);
    return {};
  },
  /** The env files of so many clusters, checked against each other. */
  async check(count) {
    await fleetOf(Number(count));
    return {};
  },
};

function deployed(results: ClusterResult[]): Outcome {
  const steps = results.flatMap(({ steps }) => steps);
  for (const { error } of [...results, ...steps]) if (error) throw error;
  return { changed: steps.reduce((sum, { changed }) => sum + changed, 0) };
}

function planned(plans: ClusterPlan[]): Outcome {
  for (const { error } of plans) if (error) throw error;
  return { changed: plans.flatMap(({ entries }) => pending(entries)).length };
}

/** What the central cluster has, for any cluster. */
async function centralStep(): Promise<Step> {
  return sameStep(await readFile(process.env.BENCH_WANTED!, "utf8"));
}

async function clusters(which: string): Promise<Cluster[]> {
  const fleet = await benchFleet();
  return which === "all" ? fleet : chooseClusters(fleet, [which]);
}

/** An object without what the server makes up anew for each. */
function asWritten({ status: _, metadata: { labels, annotations }, spec, ...rest }: Manifest) {
  if (rest.kind !== "Service") return [labels, annotations, spec, rest];
  const { clusterIP: __, clusterIPs: ___, ports: ____, ...kept } = spec;
  return [labels, annotations, kept, rest];
}

await command("once.ts VERB WHICH [REVISION]", {}, async ([name = "", which = "all", revision]) => {
  const { BENCH_KUBECTL } = process.env;
  if (BENCH_KUBECTL) useKubectl(BENCH_KUBECTL);
  const verb = VERBS[name];
  if (!verb) throw new DeployError(`Cannot ${name}: no such verb`, { exitCode: ExitCode.config });
  const outcome = await verb(which, revision);
  print(JSON.stringify({ ...outcome, mebibytes: await ownPeak() }));
  return ExitCode.done;
});
