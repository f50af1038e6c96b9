// One measured command of make bench, in a process of its own. Its last line on stdout says what came of it.
import { cp, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import process from "node:process";
import { chooseClusters } from "../../lib/config/cluster.ts";
import { type Cluster, projectPath } from "../../lib/core/cluster.ts";
import { command } from "../../lib/cli/command.ts";
import { hashOf } from "../../lib/core/hash.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import { deployFleet } from "../../lib/deploy/fleet.ts";
import { owned } from "../../lib/apply/live.ts";
import { kindsOf } from "../../lib/kube/kinds.ts";
import { useKubectl } from "../../lib/kube/kubectl.ts";
import { type Manifest } from "../../lib/core/object.ts";
import { pending, planFleet } from "../../lib/deploy/plan_fleet.ts";
import { print } from "../../lib/io/report.ts";
import { benchFleet, benchStep, corpus, FOLDER, ownOf } from "./corpus.ts";
import { ownPeak } from "./memory.ts";

/** What a command did. */
interface Outcome {
  /** Objects that it changed, or would change. */
  changed?: number;
  /** Hash of what the cluster has. */
  state?: string;
}

/** The first word is a cluster (or `all`) or a number of clusters, the second a value of one object. */
type Verb = (which: string, revision?: string) => Promise<Outcome>;

const VERBS: Record<string, Verb> = {
  async deploy(which, revision) {
    const results = await deployFleet([benchStep(revision)], await clusters(which));
    const steps = results.flatMap(({ steps }) => steps);
    for (const error of results.map(({ error }) => error)) if (error) throw error;
    for (const { error } of steps) if (error) throw error;
    return { changed: steps.reduce((sum, { changed }) => sum + changed, 0) };
  },
  async plan(which, revision) {
    const plans = await planFleet([benchStep(revision)], await clusters(which));
    for (const { error } of plans) if (error) throw error;
    return { changed: plans.flatMap(({ entries }) => pending(entries)).length };
  },
  /** What the cluster has of the corpus. */
  async state(which) {
    const [cluster] = await clusters(which);
    const live = await owned(cluster!, kindsOf(await corpus(cluster!)));
    return { state: hashOf([...live].sort().map(([id, object]) => [id, asWritten(object)])) };
  },
  /** Everything of our own for so many clusters. */
  async render(count) {
    for (const cluster of await benchFleet(await site(Number(count)))) await ownOf(cluster);
    return {};
  },
  /** The env files of so many clusters, checked against each other. */
  async check(count) {
    await benchFleet(await site(Number(count)));
    return {};
  },
};

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

/** A project folder with the env files of one centre and edges, so many in all. */
async function site(count: number): Promise<string> {
  const root = projectPath(join(FOLDER, `site-${count}`)), env = join(root, "env");
  // No secret of the operator is copied.
  const filter = (path: string) => !/secret|kubeconfig|tls/.test(basename(path));
  await cp(projectPath("env"), env, { recursive: true, filter });
  const edge = await readFile(projectPath("env/cluster-197.env"), "utf8");
  for (let id = 200; id < 200 + count - 3; id++) {
    const text = edge.replaceAll("197", String(id));
    const address = text.replaceAll(`192.168.101.${id}`, `10.0.${id >> 8}.${id & 255}`);
    await writeFile(join(env, `cluster-${id}.env`), address);
  }
  return root;
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
