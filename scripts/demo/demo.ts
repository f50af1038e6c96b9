// demo: the three clusters of env/ on this machine: real control planes with simulated nodes, a prometheus-operator
// beside each, a MinIO over TLS; then the same deploy that a site gets. All of it lies in .demo/; `down` removes it.
import "../needs.ts";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { command } from "../../lib/cli/command.ts";
import { deploy } from "../../lib/cli/deploy.ts";
import { loadFleet } from "../../lib/config/cluster.ts";
import { clusterFiles } from "../../lib/config/files.ts";
import { type Cluster, projectPath } from "../../lib/core/cluster.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import { urlsOf } from "../../lib/cli/deploy.ts";
import { Report } from "../../lib/io/report.ts";
import { useKubectl } from "../../lib/kube/kubectl.ts";
import { verify } from "../50-verify.ts";
import { STEPS } from "../steps.ts";
import { ensureTools } from "../tools/tool.ts";
import {
  accessTo,
  PLAYGROUND_TOOLS,
  startControlPlanes,
  writeKubeconfig,
} from "./control_plane.ts";
import { killProcessesOf, stopDaemons } from "./daemon.ts";
import { copyCertificates, createNodes, startMinio, startOperator, writeSecrets } from "./site.ts";

const FOLDER = projectPath(".demo"), KWOK = join(FOLDER, "kwok");
const TOOLS = [...PLAYGROUND_TOOLS, "prometheus-operator", "minio"];
const report = new Report();

async function up(): Promise<number> {
  const started = performance.now();
  report.heading("demo  three control planes on this machine");
  refuseOverrides();
  const tools = await timed("Tools", () => ensureTools(TOOLS, { say: report.say }));
  useKubectl(tools.kubectl!);
  const playground = { folder: KWOK, tools };
  const names = (await clusterFiles(projectPath("env"))).ids.map((id) => `tmc-${id}`);
  await mkdir(FOLDER, { recursive: true, mode: 0o700 });
  await timed("Control planes", () => startControlPlanes(playground, names));

  // The profile names the files that are made here, so the fleet cannot be loaded before.
  const accesses = await Promise.all(names.map((name) => accessTo(playground, name)));
  await copyCertificates(FOLDER, accesses[0]!);
  await writeSecrets(join(FOLDER, "secret.env"));
  const fleet = await loadFleet();
  const reached = fleet.map((one, i) => [one, accesses[i]!] as const);
  await writeKubeconfig(join(FOLDER, "kubeconfig"), reached);
  await timed("S3, nodes and operators", () =>
    Promise.all([
      startMinio(FOLDER, tools.minio!, fleet[0]!),
      ...fleet.map(createNodes),
      ...reached.map(([cluster, access]) => startOperator(FOLDER, tools, cluster, access)),
    ]));

  const code = await deploy([...STEPS, verify], ["all"]);
  report.say(`\ndemo: ${((performance.now() - started) / 1000).toFixed(0)}s in all`);
  if (code === ExitCode.done) await tellNext(fleet.find(({ role }) => role === "central")!);
  return code;
}

// With one of these in the shell, the demo would go to a place that is not the demo.
const PROFILE_ONLY = ["KUBECONFIG_FILE", "SECRET_FILE", "API_HOST", "S3_ENDPOINT", "S3_CA_FILE"];

function refuseOverrides(): void {
  const set = PROFILE_ONLY.filter((name) => process.env[name]);
  if (set.length === 0) return;
  throw new DeployError("Refused: the environment would lead the demo elsewhere", {
    exitCode: ExitCode.refused,
    where: set.map((name) => `${name}=${process.env[name]}`),
    fix: `unset ${set.join(" ")}`,
  });
}

async function timed<T>(title: string, work: () => Promise<T>): Promise<T> {
  const started = performance.now();
  const result = await work();
  report.phase(title, (performance.now() - started) / 1000);
  return result;
}

async function tellNext(central: Cluster): Promise<void> {
  report.say(`
look around  KUBECONFIG=.demo/kubeconfig kubectl --context mkube-196 get pods -A
             KUBECONFIG=.demo/kubeconfig kubectl --context mkube-197 -n monitoring get prometheus
again        make demo (0 changes)      plan  make plan PROFILE=demo      one step  make 30-thanos CLUSTER=197 PROFILE=demo
remove       make demo-down
real site    fill in env/common.env, env/cluster-196.env and env/secret.env, then: make plan-196, make cluster-196
             its doors: ${(await urlsOf(STEPS, central)).join("  ")}`);
}

async function down(): Promise<void> {
  await stopDaemons(FOLDER);
  await killProcessesOf(KWOK); // those of the control planes, kwokctl included
  await rm(FOLDER, { recursive: true, force: true });
  report.say("demo removed: no process of it runs, .demo/ is gone");
}

process.env.PROFILE = "demo";
await command("demo.ts up | down", {}, ([verb]) => verb === "down" ? down() : up());
