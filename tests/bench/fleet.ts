// Thirty API servers on one machine, one of them dead and one slow: what the others lose by that.
import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { request } from "node:https";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import type { Cluster } from "../../lib/core/cluster.ts";
import { sideBySide } from "../../lib/io/side_by_side.ts";
import { until } from "../../lib/io/wait.ts";
import { type Access, writeKubeconfig } from "../../scripts/demo/control_plane.ts";
import { freePorts, processesOf } from "../../scripts/demo/daemon.ts";
import { badLine } from "./badline.ts";
import { type Bench, measure } from "./context.ts";
import { failed } from "./measure.ts";
import { agentTo } from "./server.ts";
import { fleetOf, TROUBLED } from "./site.ts";

const CLUSTERS = 30;
/** Servers that start at once: each takes a core for some seconds. */
const STARTS = 3;
/** What a server does without that has a few of our objects to serve: a third of the time that its start takes. */
const UNUSED = [
  "ValidatingAdmissionPolicy",
  "ValidatingAdmissionWebhook",
  "MutatingAdmissionPolicy",
]
  .concat("MutatingAdmissionWebhook", "RuntimeClass", "StorageObjectInUseProtection")
  .concat("DefaultStorageClass", "DefaultIngressClass", "Priority", "ResourceQuota", "LimitRanger")
  .concat("ServiceAccount", "PodSecurity", "CertificateApproval", "CertificateSigning")
  .concat("CertificateSubjectRestriction", "ClusterTrustBundleAttest", "PodTopologyLabels")
  .concat("TaintNodesByCondition", "DefaultTolerationSeconds", "PersistentVolumeClaimResize");
/** Those that we need, and those that it does not start without. */
const SERVED = ["api/v1", "coordination.k8s.io/v1", "apiregistration.k8s.io/v1"]
  .concat("apiextensions.k8s.io/v1", "networking.k8s.io/v1", "discovery.k8s.io/v1");
const LEAN = [
  "--watch-cache=false",
  "--enable-priority-and-fairness=false",
  "--endpoint-reconciler-type=none",
  "--profiling=false",
  "--authorization-mode=AlwaysAllow",
  `--disable-admission-plugins=${UNUSED}`,
  `--runtime-config=api/all=false,${SERVED.map((name) => `${name}=true`)}`,
];
/** Runs of each kind, which take turns: the first of all makes the objects and is not counted. */
const RUNS = 5;

/** The clusters that are well beside one that is dead and one that is slow, and the same clusters alone. */
export async function troubledFleet(bench: Bench): Promise<void> {
  const { folder, servers, ours } = bench;
  const fleet = await fleetOf(CLUSTERS);
  const [first, ...others] = fleet as [Cluster, ...Cluster[]];
  await servers.start([first]);
  const access = await startBeside(bench, first, others);
  // The kernel answers for it, and nothing ever speaks.
  const dead = createServer((socket) => socket.resume()).listen(0, "127.0.0.1");
  await using _ = {
    [Symbol.asyncDispose]: () => new Promise<void>((done) => dead.close(() => done())),
  };
  await using line = await badLine(access.get(TROUBLED.slow)!, { latency: 200 });
  const addresses: Record<string, string> = {
    [TROUBLED.dead]: `https://127.0.0.1:${(dead.address() as AddressInfo).port}`,
    [TROUBLED.slow]: line.server,
  };
  const path = join(folder, "kubeconfig-fleet");
  await writeKubeconfig(
    path,
    fleet.map((cluster) => {
      const own = access.get(cluster.id)!;
      return [cluster, { ...own, server: addresses[cluster.id] ?? own.server }];
    }),
  );

  async function run(revision: string) {
    const env = { BENCH_KUBECONFIG: path };
    const sample = await ours.run(["fleet", String(CLUSTERS), revision], { env });
    const away = revision.endsWith("alone") ? "" : TROUBLED.dead;
    if (sample.away!.join() === away) return sample;
    throw failed(
      "fleet",
      `not deployed: ${sample.away!.join() || "none"}, expected ${away || "none"}`,
    );
  }
  await run("first");
  for (let index = 1; index <= RUNS; index++) {
    await measure(bench, "fleet alone", () => run(`${index} alone`));
    await measure(bench, "fleet beside", () => run(`${index}`));
  }
  await servers.stop();
}

/**
 * Starts a server for each of the clusters beside that of the first: the same program, certificates and etcd, with
 * a port and a prefix of its own. They end with it.
 */
async function startBeside(
  { folder, servers }: Bench,
  first: Cluster,
  others: Cluster[],
): Promise<Map<string, Access>> {
  const words = await commandOf(folder);
  const access = await servers.accessTo(first);
  const ports = await freePorts(others.length);
  const started = others.map(({ id }, index) => ({
    id,
    words: words.filter((word) => !/^--(audit|authorization|runtime-config)/.test(word))
      .map((word) => changed(word, id, ports[index]!)).concat(LEAN),
    access: { ...access, server: `https://127.0.0.1:${ports[index]}` },
  }));
  await sideBySide(started, STARTS, async ({ id, words, access }) => {
    const path = join(folder, `kube-apiserver-${id}.log`);
    const log = openSync(path, "w");
    const child = spawn(words[0]!, words.slice(1), { stdio: ["ignore", log, log], detached: true });
    child.unref();
    closeSync(log);
    await answers(id, access).catch(async (error) => {
      throw child.exitCode === null ? error : failed(id, await readFile(path, "utf8"));
    });
  });
  return new Map([[first.id, access], ...started.map(({ id, access }) => [id, access] as const)]);
}

/** Program and words of the only API server that runs below the folder. */
async function commandOf(folder: string): Promise<string[]> {
  for (const pid of await processesOf(folder)) {
    const words = (await readFile(`/proc/${pid}/cmdline`, "utf8")).split("\0").filter(Boolean);
    if (words.some((word) => word.startsWith("--etcd-prefix="))) return words;
  }
  throw failed("fleet", "there is no API server");
}

function changed(word: string, id: string, port: number): string {
  if (word.startsWith("--etcd-prefix=")) return `--etcd-prefix=/bench-${id}`;
  if (word.startsWith("--secure-port=")) return `--secure-port=${port}`;
  return word;
}

/** Waits until the server is ready, and has the namespaces that it makes for itself. */
async function answers(id: string, access: Access): Promise<void> {
  const agent = await agentTo(access, {});
  const code = (path: string) =>
    new Promise<number>((resolve) => {
      request(access.server + path, { agent }, (reply) => {
        resolve(reply.resume().statusCode!);
      }).on("error", () => resolve(0)).end();
    });
  await until(`the server of ${id}`, async () => {
    const paths = ["/readyz", "/api/v1/namespaces/kube-system", "/api/v1/namespaces/default"];
    const codes = await Promise.all(paths.map(code));
    return codes.every((code) => code === 200) ? [] : [`${codes}`];
  }, { seconds: 120, every: 0.5, say: () => {} });
  agent.destroy();
}
