// demo: the three clusters of env/ on this machine: real control planes with simulated nodes, a prometheus-operator
// beside each, a MinIO over TLS; then the same deploy that a site gets. All of it lies in .demo/; `down` removes it.
import "../needs.ts";
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { namedOf, sendList } from "../../lib/apply/live.ts";
import { command } from "../../lib/cli/command.ts";
import { deploy, urlsOf } from "../../lib/cli/deploy.ts";
import { loadFleet } from "../../lib/config/cluster.ts";
import { clusterFiles } from "../../lib/config/files.ts";
import { type Cluster, projectPath, text } from "../../lib/core/cluster.ts";
import { ExitCode, refusalError } from "../../lib/core/error.ts";
import { idOf, type Manifest } from "../../lib/core/object.ts";
import { replaceFile } from "../../lib/io/files.ts";
import { Report } from "../../lib/io/report.ts";
import { targetArgs, useKubectl } from "../../lib/kube/kubectl.ts";
import { renderFile } from "../../lib/render/render.ts";
import { s3Of } from "../../lib/s3/client.ts";
import { prometheus } from "../20-prometheus.ts";
import { verify } from "../50-verify.ts";
import { PROGRAMS } from "../components/minio/buckets.ts";
import { STEPS } from "../steps.ts";
import { ensureTools } from "../tools/tool.ts";
import { accessTo, startControlPlanes, writeKubeconfig } from "./control_plane.ts";
import { type Access, PLAYGROUND_TOOLS } from "./control_plane.ts";
import { killProcessesOf, pidOf, refuseTaken, startDaemon, stopDaemons } from "./daemon.ts";

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
  await copyCertificates(accesses[0]!);
  await writeSecrets(join(FOLDER, "secret.env"));
  const fleet = await loadFleet();
  const reached = fleet.map((one, i) => [one, accesses[i]!] as const);
  await writeKubeconfig(join(FOLDER, "kubeconfig"), reached);
  await timed("S3, nodes and operators", () =>
    Promise.all([
      startMinio(tools.minio!, fleet[0]!),
      ...fleet.map(createNodes),
      ...reached.map(([cluster, access]) => startOperator(tools, cluster, access)),
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
  throw refusalError("Refused: the environment would lead the demo elsewhere", {
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

/** Writes a file of random secrets with mode 0600, unless it is there. */
export async function writeSecrets(file: string): Promise<void> {
  if (existsSync(file)) return;
  const random = () => randomBytes(12).toString("hex");
  const password = random();
  // The only form of an htpasswd line that needs no other program; ingress-nginx takes it.
  const hash = createHash("sha1").update(password).digest("base64");
  const lines = [
    `# User admin, password ${password}, for Longhorn and OpenSearch`,
    `UI_BASIC_AUTH='admin:{SHA}${hash}'`,
    ...["", ...PROGRAMS.map((program) => `${program}_`)].flatMap((program) => [
      `${program}S3_ACCESS_KEY=demo-${random()}`,
      `${program}S3_SECRET_KEY=${random()}`,
    ]),
    `GRAFANA_ADMIN_PASSWORD=${random()}`,
  ];
  await replaceFile(file, (path) => writeFile(path, lines.join("\n") + "\n", { mode: 0o600 }));
}

/** Gives MinIO a control plane's certificate, a server's for 127.0.0.1; once, for the S3 is that of all clusters. */
async function copyCertificates(access: Access): Promise<void> {
  const own = join(FOLDER, "minio-certs"), ca = join(FOLDER, "ca.crt");
  if (existsSync(ca)) return;
  await mkdir(own, { recursive: true, mode: 0o700 });
  await copyFile(access.certificate, join(own, "public.crt"));
  await copyFile(access.key, join(own, "private.key"));
  await copyFile(access.ca, ca);
}

/** Starts a MinIO with TLS on the port that the profile names. Throws exit 3 when another program has it. */
async function startMinio(program: string, cluster: Cluster): Promise<void> {
  const { host, port } = new URL(text(cluster, "S3_ENDPOINT"));
  const fix = "end that program, or change S3_ENDPOINT in env/profiles/demo.env";
  if (!await pidOf(FOLDER, "minio")) await refuseTaken("MinIO", Number(port), fix);
  await startDaemon(FOLDER, {
    name: "minio",
    command: [program, "server", "--quiet", "--address", host, "--console-address"]
      .concat("127.0.0.1:0", "--certs-dir", join(FOLDER, "minio-certs"), join(FOLDER, "minio")),
    environment: {
      MINIO_ROOT_USER: text(cluster, "S3_ACCESS_KEY"),
      MINIO_ROOT_PASSWORD: text(cluster, "S3_SECRET_KEY"),
      HOME: FOLDER, // it makes a folder .minio there, whatever its flags say
      MINIO_BROWSER: "off",
      MINIO_UPDATE: "off",
    },
    async ready() {
      using s3 = s3Of(cluster, { seconds: 2 });
      const about = { what: "ask for MinIO's health", action: "none" };
      return await s3.send({ method: "GET", bucket: "", path: "minio/health/ready", ...about })
        .then(({ status }) => status === 200, () => false);
    },
  });
}

const VOLUMES = 20; // more than the claims of a cluster

/** Makes the cluster's one node, its StorageClass, and volumes of it. */
async function createNodes(cluster: Cluster): Promise<void> {
  const items = Array.from({ length: VOLUMES }, (_, INDEX): Manifest[] => {
    const { items } = renderFile("demo/simulated.yaml", cluster, { INDEX });
    return INDEX === 0 ? items : items.slice(-1);
  }).flat();
  const there = await namedOf(cluster, items);
  if (there.size < items.length) await sendList(cluster, items);
}

const OPERATOR = "Deployment/monitoring/kube-prometheus-stack-operator";

/** Starts the operator, whose pod only pretends, with arguments and rights of its Deployment: they are tried too. */
async function startOperator(
  tools: Record<string, string>,
  cluster: Cluster,
  { server, ca, certificate, key }: Access,
): Promise<void> {
  const objects = await prometheus.objects(cluster);
  const { metadata, spec } = objects.find((object) => idOf(object) === OPERATOR)!;
  const { name, namespace } = metadata;
  const { containers, serviceAccountName } = spec.template.spec;
  const script = await readFile(projectPath("scripts/demo/kubelet.sh"), "utf8");
  await startDaemon(FOLDER, {
    name: `prometheus-operator-${cluster.id}`,
    command: [
      ...["sh", "-c", script, "kubelet", tools.kubectl!, name, namespace!, ...targetArgs(cluster)],
      tools["prometheus-operator"]!,
      `--apiserver=${server}`,
      `--ca-file=${ca}`,
      `--cert-file=${certificate}`,
      `--key-file=${key}`,
      `--as=system:serviceaccount:${namespace}:${serviceAccountName}`,
      "--web.listen-address=127.0.0.1:0",
      ...containers[0].args,
    ],
  });
}

if (import.meta.main) {
  process.env.PROFILE = "demo";
  await command("demo.ts up | down", {}, ([verb]) => verb === "down" ? down() : up());
}
