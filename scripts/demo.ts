// demo: the three clusters of env/ on this machine, without any set-up. Real control planes with
// simulated nodes, a real prometheus-operator beside each, a real MinIO over TLS; then the same
// deploy that a site gets. Everything it keeps lies in .demo/; `down` removes it.
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { copyFile, mkdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { type Cluster, loadFleet, projectPath, text } from "../lib/cluster.ts";
import { command, deploy } from "../lib/command.ts";
import { isRunning, startDaemon, stopDaemons } from "../lib/daemon.ts";
import { DeployError, ExitCode } from "../lib/error.ts";
import { urlsOf } from "../lib/fleet.ts";
import {
  type Access,
  accessTo,
  controlPlanes,
  deleteControlPlane,
  furnish,
  type Playground,
  startControlPlane,
  writeKubeconfig,
} from "../lib/kwok.ts";
import { clusterFiles } from "../lib/layers.ts";
import { Report } from "../lib/report.ts";
import { ensureTools } from "../lib/tool.ts";
import { until } from "../lib/wait.ts";
import { STEPS } from "./fleet.ts";

const FOLDER = projectPath(".demo");
const TOOLS = ["kubectl", "kwokctl", "kwok", "etcd", "kube-apiserver", "kube-controller-manager"]
  .concat("kube-scheduler", "prometheus-operator", "minio");
const report = new Report();

/** Control planes, nodes, S3 and operators; running ones are left alone, dead ones repaired. */
async function startDemo(): Promise<void> {
  const tools = await timed("Tools", () => ensureTools(TOOLS, { say: (line) => report.say(line) }));
  const playground: Playground = { folder: FOLDER, tools };
  const names = (await clusterFiles(projectPath("env"))).ids.map(nameOf);
  await timed("Control planes", async () => {
    await mkdir(FOLDER, { recursive: true, mode: 0o700 });
    for (const name of names) await startControlPlane(playground, name);
  });
  const accesses = await Promise.all(names.map((name) => accessTo(playground, name)));
  await timed("S3", () => startMinio(tools.minio!, accesses[0]!));
  const fleet = await loadFleet();
  await writeKubeconfig(join(FOLDER, "kubeconfig"), fleet.map((one, i) => [one, accesses[i]!]));
  await timed("Nodes and operators", async () => {
    await Promise.all(fleet.map(furnish));
    await Promise.all(
      fleet.map((cluster, index) =>
        startOperator(cluster, tools["prometheus-operator"]!, accesses[index]!)
      ),
    );
  });
}

function nameOf(id: string): string {
  return `tmc-${id}`;
}

/** MinIO with the certificate of the first control plane: it is a server's, and for 127.0.0.1. */
async function startMinio(program: string, { ca, certificate, key }: Access): Promise<void> {
  const certificates = join(FOLDER, "minio-certs");
  await mkdir(certificates, { recursive: true, mode: 0o700 });
  await copyFile(certificate, join(certificates, "public.crt"));
  await copyFile(key, join(certificates, "private.key"));
  await copyFile(ca, join(FOLDER, "ca.crt"));
  await writeSecrets();
  const [first] = await loadFleet();
  const { host, port } = new URL(text(first!, "S3_ENDPOINT"));
  const command = [program, "server", "--quiet", "--address", host, "--console-address"]
    .concat("127.0.0.1:0", "--certs-dir", certificates, join(FOLDER, "minio"));
  if (!await isRunning(FOLDER, "minio")) await refuseTakenPort(Number(port));
  const started = await startDaemon(FOLDER, {
    name: "minio",
    command,
    environment: {
      MINIO_ROOT_USER: text(first!, "S3_ACCESS_KEY"),
      MINIO_ROOT_PASSWORD: text(first!, "S3_SECRET_KEY"),
      MINIO_BROWSER: "off",
      MINIO_UPDATE: "off",
    },
  });
  if (started) await waitForPort(Number(port));
}

/** Random secrets of this demo, mode 0600; kept while the demo lives. */
async function writeSecrets(): Promise<void> {
  const file = join(FOLDER, "secret.env");
  if (existsSync(file)) return;
  const password = random();
  const hash = createHash("sha1").update(password).digest("base64");
  const lines = [
    `# User admin, password ${password}, for Longhorn and OpenSearch`,
    `UI_BASIC_AUTH='admin:{SHA}${hash}'`,
    `S3_ACCESS_KEY=demo-${random()}`,
    `S3_SECRET_KEY=${random()}`,
    `GRAFANA_ADMIN_PASSWORD=${random()}`,
  ];
  await writeFile(file, lines.join("\n") + "\n", { mode: 0o600 });
}

function random(): string {
  return randomBytes(12).toString("hex");
}

/** Throws exit 3 when somebody else has the port; waits until our MinIO answers on it otherwise. */
async function waitForPort(port: number): Promise<void> {
  await until(`MinIO on port ${port}`, async () => {
    const connection = await Deno.connect({ hostname: "127.0.0.1", port }).catch(() => undefined);
    connection?.close();
    return connection ? [] : [`127.0.0.1:${port} does not answer; log: ${FOLDER}/minio.log`];
  }, { seconds: 60, every: 0.2 });
}

async function refuseTakenPort(port: number): Promise<void> {
  const free = await new Promise<boolean>((resolve) => {
    const server = createServer().once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
  if (free) return;
  throw new DeployError(`Cannot start MinIO: port ${port} is taken by another program`, {
    exitCode: ExitCode.prerequisite,
    fix: "end that program, or change S3_ENDPOINT in env/profiles/demo.env",
  });
}

// What the operator looks for at its start; without one of them it leaves out a controller.
const DEFINITIONS = ["alertmanagerconfigs", "alertmanagers", "podmonitors", "probes"]
  .concat("prometheusagents", "prometheuses", "prometheusrules", "scrapeconfigs")
  .concat("servicemonitors", "thanosrulers")
  .map((name) => `crd/${name}.monitoring.coreos.com`).join(" ");

/**
 * The operator as a process: its Deployment is a simulated pod here. Like a kubelet, it starts the
 * program when the definitions are there, and again when it ends.
 */
async function startOperator(cluster: Cluster, program: string, access: Access): Promise<void> {
  const context = text(cluster, "KUBE_CONTEXT");
  const kubectl = `kubectl --kubeconfig ${FOLDER}/kubeconfig --context ${context}`;
  const namespaces = ["prometheus", "alertmanager", "thanos-ruler"]
    .map((kind) => `--${kind}-instance-namespaces=monitoring`).join(" ");
  const script = `
    while sleep 1; do
      ${kubectl} wait --for=condition=Established --timeout=2s ${DEFINITIONS} >/dev/null 2>&1 &&
      ${program} --apiserver=${access.server} --ca-file=${access.ca} \
        --cert-file=${access.certificate} --key-file=${access.key} \
        --web.listen-address=127.0.0.1:0 --kubelet-service=kube-system/kubelet \
        --kubelet-endpoints=false --kubelet-endpointslice=true ${namespaces}
    done`;
  await startDaemon(FOLDER, {
    name: `prometheus-operator-${cluster.id}`,
    command: ["bash", "-c", script],
  });
}

/** Removes every process and file of the demo. */
async function stopDemo(): Promise<void> {
  await stopDaemons(FOLDER);
  if (existsSync(FOLDER)) {
    const tools = await ensureTools(["kwokctl"]);
    const playground = { folder: FOLDER, tools };
    const names = await controlPlanes(playground);
    await Promise.all(names.map((name) => deleteControlPlane(playground, name)));
    await rm(FOLDER, { recursive: true });
  }
  report.say("demo removed: no process of it runs, .demo/ is gone");
}

async function timed<T>(title: string, work: () => Promise<T>): Promise<T> {
  const started = performance.now();
  const result = await work();
  report.phase(title, (performance.now() - started) / 1000);
  return result;
}

async function up(): Promise<number> {
  const started = performance.now();
  report.heading("demo  three control planes on this machine");
  await startDemo();
  const code = await deploy(STEPS, ["all"]);
  report.say(`\ndemo: ${((performance.now() - started) / 1000).toFixed(0)}s in all`);
  if (code === ExitCode.done) await nextSteps();
  return code;
}

async function nextSteps(): Promise<void> {
  const [central] = (await loadFleet()).filter(({ role }) => role === "central");
  const urls = await urlsOf(STEPS, central!);
  report.say(`
look around  KUBECONFIG=.demo/kubeconfig kubectl --context mkube-196 get pods -A
             KUBECONFIG=.demo/kubeconfig kubectl --context mkube-197 -n monitoring get prometheus
again        make demo (0 changes)      plan  make plan PROFILE=demo      one step  make 30-thanos CLUSTER=197 PROFILE=demo
remove       make demo-down
real site    fill in env/common.env, env/cluster-196.env and env/secret.env, then: make plan-196, make cluster-196
             its doors: ${urls.join("  ")}`);
}

const VERBS: Record<string, () => Promise<number>> = {
  up,
  async down() {
    await stopDemo();
    return ExitCode.done;
  },
};

process.env.PROFILE = "demo";
await command("demo.ts up | down", {}, ([verb = "up"]) => {
  const run = VERBS[verb];
  if (run) return run();
  throw new DeployError(`Cannot ${verb} the demo: no such verb`, {
    exitCode: ExitCode.config,
    where: `known verbs: ${Object.keys(VERBS).join(", ")}`,
    fix: "make demo, or make demo-down",
  });
});
