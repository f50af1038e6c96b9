// The same objects by plain kubectl, by kapp where it is on PATH, and rendered by kustomize.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { $ } from "zx";
import { text } from "../../lib/core/cluster.ts";
import { DeployError } from "../../lib/core/error.ts";
import { asList, inWaves, type Manifest } from "../../lib/core/object.ts";
import { type Bench, measure, timed } from "./context.ts";
import { corpus, ownOf } from "./corpus.ts";
import { failed } from "./measure.ts";
import { watchMemory } from "./memory.ts";

interface Options {
  /** Exit codes besides 0 that are no failure. */
  codes?: number[];
  memory?: boolean;
}

/** Commands of another program on the central cluster, one after the other. */
async function theirs(
  bench: Bench,
  name: string,
  calls: string[][],
  { codes = [], memory = false }: Options = {},
): Promise<void> {
  const { servers, cluster } = bench;
  const mark = await servers.mark(cluster);
  await measure(bench, name, async () => {
    let peak = 0;
    const { seconds } = await timed(async () => {
      for (const words of calls) {
        const running = $({ quiet: true, nothrow: true })`exec ${words}`;
        const watched = memory ? watchMemory(running.pid!) : undefined;
        const { exitCode, stderr } = await running;
        peak = Math.max(peak, await watched?.() ?? 0);
        if (exitCode !== 0 && !codes.includes(exitCode!)) throw failed(name, stderr);
      }
    });
    const requests = await servers.requestsSince(mark, cluster);
    return { seconds, requests, ...(memory ? { tree: peak } : {}) };
  });
}

/** Writes the objects as a List where the programs read them. */
async function listed({ folder }: Bench, name: string, objects: Manifest[]): Promise<string> {
  const path = join(folder, `${name}.json`);
  await writeFile(path, asList(objects));
  return path;
}

/** kubectl: definitions, the wait for them, and the rest; then with nothing to do, and what is different. */
export async function plainKubectl(bench: Bench): Promise<void> {
  const { servers, cluster, objects, kubectl } = bench;
  const target = [
    `--kubeconfig=${servers.kubeconfig}`,
    `--context=${text(cluster, "KUBE_CONTEXT")}`,
  ];
  const [definitions, others] = inWaves(objects);
  const flags = ["--server-side", "--force-conflicts", "--field-manager=bench", "--filename"];
  const apply = (file: string) => [kubectl, ...target, "apply", ...flags, file];
  const wait = ["wait", "--for=condition=Established", "--timeout=120s", "crd", "--all"];
  const cold = [
    apply(await listed(bench, "definitions", definitions)),
    [kubectl, ...target, ...wait],
    apply(await listed(bench, "others", others)),
  ];
  const all = await listed(bench, "all", objects);
  await servers.start([cluster]);
  await theirs(bench, "kubectl cold", cold, { memory: true });
  await theirs(bench, "kubectl no-op", [apply(all)]);
  // diff ends with 1 when it has found something.
  const diff = [kubectl, ...target, "diff", ...flags, all];
  await theirs(bench, "kubectl diff", [diff], { codes: [1] });
}

/** kapp, which keeps a list of what it has deployed as we do; a failure of it is said, and ends its round. */
export async function kapp(bench: Bench): Promise<void> {
  try {
    if (bench.kapp) await kappCases(bench, bench.kapp);
  } catch (error) {
    if (!(error instanceof DeployError)) throw error;
    bench.report.warn(`${error.message}: ${error.where.join(" ")}`);
  }
}

/** The same cases as ours. */
async function kappCases(bench: Bench, kapp: string): Promise<void> {
  const { servers, cluster, objects } = bench;
  const target = [
    `--kubeconfig=${servers.kubeconfig}`,
    `--kubeconfig-context=${text(cluster, "KUBE_CONTEXT")}`,
  ];
  const app = ["--app=bench", "--namespace=kube-system", "--yes", "--wait=false", "--file"];
  const deploy = (file: string) => [kapp, "deploy", ...target, ...app, file];
  const all = await listed(bench, "all", objects);
  const changed = await listed(bench, "changed", await corpus(cluster, "2"));
  await servers.start([cluster]);
  await theirs(bench, "kapp cold", [deploy(all)], { memory: true });
  await theirs(bench, "kapp no-op", [deploy(all)]);
  await theirs(bench, "kapp plan", [[...deploy(changed), "--diff-run"]]);
  await theirs(bench, "kapp one field", [deploy(changed)]);
}

/** What kustomize takes for our own objects of three clusters: one base, and a folder of each with a label. */
export async function kustomize(bench: Bench): Promise<void> {
  const { fleet, folder, kubectl } = bench;
  const base = join(folder, "kustomize", "base");
  await mkdir(base, { recursive: true });
  const documents = (await ownOf(bench.cluster)).map((object) => JSON.stringify(object));
  await writeFile(join(base, "objects.yaml"), documents.join("\n---\n"));
  await writeFile(
    join(base, "kustomization.yaml"),
    JSON.stringify({ resources: ["objects.yaml"] }),
  );
  for (const { id } of fleet) {
    const overlay = join(folder, "kustomize", id);
    await mkdir(overlay, { recursive: true });
    const labels = [{ pairs: { cluster: id } }];
    const text = JSON.stringify({ resources: ["../base"], labels });
    await writeFile(join(overlay, "kustomization.yaml"), text);
  }
  await measure(bench, "kustomize 3", () =>
    timed(async () => {
      for (const { id } of fleet) {
        const built = await $({ quiet: true, nothrow: true })`
          exec ${kubectl} kustomize ${join(folder, "kustomize", id)}`;
        if (built.exitCode !== 0) throw failed("kustomize 3", built.stderr);
      }
    }));
}
