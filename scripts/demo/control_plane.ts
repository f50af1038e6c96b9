// Control planes of simulated clusters: real ones, on the loopback interface (kwokctl).
import { mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { $ } from "zx";
import { replaceFile } from "../../lib/io/files.ts";
import { toYaml } from "../../lib/render/yaml.ts";
import { type Cluster, text } from "../../lib/core/cluster.ts";
import { endOf, freePorts, killProcessesOf, processesOf, refuseTaken } from "./daemon.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";

/** Where simulated clusters live, and the programs they are made of (absolute paths by name). */
export interface Playground {
  folder: string;
  tools: Record<string, string>;
  /** Only etcd and the API server, which writes every request into logs/audit.log as this policy (a file) says. */
  auditPolicy?: string;
}

/** Names of the programs that a {@link Playground} needs. */
export const PLAYGROUND_TOOLS = ["kubectl", "kwokctl", "kwok", "etcd", "kube-apiserver"]
  .concat("kube-controller-manager", "kube-scheduler");

const PORTS = ["etcdPeerPort", "etcdPort", "kubeApiserverPort", "kubeControllerManagerPort"]
  .concat("kubeSchedulerPort", "kwokControllerPort");
const CONTROLLERS = ["kube-controller-manager", "kube-scheduler", "kwok-controller"];

type Ports = Record<string, number>;

/** Creates control planes and starts what has died of them; name all, for ports of others count as free. Throws exit 3. */
export async function startControlPlanes(playground: Playground, names: string[]): Promise<void> {
  await mkdir(join(playground.folder, "clusters"), { recursive: true, mode: 0o700 });
  const kept = await Promise.all(names.map((name) => portsOf(playground, name)));
  // kwokctl would look for ports itself, and side by side find the same ones twice.
  const taken = kept.flatMap((ports = {}) => Object.values(ports));
  const free = await freePorts(names.length * PORTS.length - taken.length, taken);
  await Promise.all(names.map((name, index) => {
    const ports = kept[index];
    if (ports) return restart(playground, name, ports);
    return create(playground, name, Object.fromEntries(PORTS.map((port) => [port, free.pop()!])));
  }));
}

async function portsOf(playground: Playground, name: string): Promise<Ports | undefined> {
  const written = await readFile(recordOf(playground, name), "utf8").catch(() => undefined);
  return written === undefined ? undefined : JSON.parse(written);
}

async function create(playground: Playground, name: string, ports: Ports): Promise<void> {
  const { folder, tools, auditPolicy } = playground;
  const place = placeOf(playground, name), config = join(folder, `${name}.yaml`);
  await killProcessesOf(place);
  await rm(place, { recursive: true, force: true });
  const options = {
    runtime: "binary",
    // The default is every interface, and etcd asks nobody for a password.
    bindAddress: "127.0.0.1",
    kubeAuthorization: true,
    kubeAdmission: true,
    disableQPSLimits: true,
    etcdBinary: tools.etcd,
    kubeApiserverBinary: tools["kube-apiserver"],
    kubeControllerManagerBinary: tools["kube-controller-manager"],
    kubeSchedulerBinary: tools["kube-scheduler"],
    kwokControllerBinary: tools.kwok,
    kubectlBinary: tools.kubectl,
    ...(auditPolicy ? { kubeAuditPolicy: auditPolicy } : {}),
    ...ports,
  };
  const apiVersion = "config.kwok.x-k8s.io/v1alpha1";
  await writeFile(config, toYaml({ kind: "KwokctlConfiguration", apiVersion, options }));
  const without = auditPolicy ? ["--disable", CONTROLLERS.join(",")] : [];
  await kwokctl(playground, "create", name, ["--config", config, "--kubeconfig", "", ...without]);
  // Last: without it the next run begins again.
  await replaceFile(recordOf(playground, name), (path) => writeFile(path, JSON.stringify(ports)));
}

async function restart(playground: Playground, name: string, ports: Ports): Promise<void> {
  const place = placeOf(playground, name);
  const alive = await processesOf(place);
  if (alive.length === componentsOf(playground).length) return;
  const fix = "end that program, or: make demo-down, make demo";
  if (alive.length === 0) await refuseTaken(name, Object.values(ports), fix);
  // kwokctl takes any process with the pid that it once noted for its own.
  for (const name of await readdir(join(place, "pids")).catch(() => [])) {
    const file = join(place, "pids", name);
    if (!alive.includes(Number(await readFile(file, "utf8")))) await rm(file);
  }
  await kwokctl(playground, "start", name);
}

function componentsOf({ auditPolicy }: Playground): string[] {
  return ["etcd", "kube-apiserver", ...(auditPolicy ? [] : CONTROLLERS)];
}

async function kwokctl(playground: Playground, verb: string, name: string, flags: string[] = []) {
  const { folder, tools } = playground;
  // Started from the folder like all it starts, so that one search finds them.
  const program = join(folder, "kwokctl");
  await replaceFile(program, (path) => symlink(tools.kwokctl!, path));
  const { PATH, HOME } = process.env;
  // No KWOK_… of the user's shell, no ~/.kwok and no ~/.kube/config.
  const env = { PATH, HOME, KWOK_WORKDIR: folder, KUBECONFIG: join(folder, "no-kubeconfig") };
  // Not detached: a Ctrl-C ends it with us.
  const result = await $({ quiet: true, nothrow: true, detached: false, env })`
    exec ${program} ${verb} cluster --name ${name} ${flags} --wait 90s`;
  if (result.exitCode !== 0) {
    throw new DeployError(`Cannot ${verb} the simulated cluster ${name}`, {
      exitCode: ExitCode.prerequisite,
      where: result.stderr.trim().split("\n").slice(-5),
      fix: "make demo-down, then make demo",
    });
  }
  // It ends well also when a component did not: a pid that is gone or only a log tells.
  const place = placeOf(playground, name), alive = await processesOf(place);
  for (const component of componentsOf(playground)) {
    const pid = await readFile(join(place, "pids", `${component}.pid`), "utf8").catch(() => "");
    if (alive.includes(Number(pid))) continue;
    throw new DeployError(`Cannot start ${component} of ${name}: it ended`, {
      exitCode: ExitCode.prerequisite,
      where: await endOf(join(place, "logs", `${component}.log`)),
      fix: "correct what the log says, then run again; or: make demo-down, make demo",
    });
  }
}

/** The address of an API server, and paths of its CA and of an administrator's certificate, also one for 127.0.0.1. */
export async function accessTo(playground: Playground, name: string) {
  const pki = (file: string) => join(placeOf(playground, name), "pki", file);
  const server = `https://127.0.0.1:${(await portsOf(playground, name))!.kubeApiserverPort}`;
  return { server, ca: pki("ca.crt"), certificate: pki("admin.crt"), key: pki("admin.key") };
}

export type Access = Awaited<ReturnType<typeof accessTo>>;

/** Writes one kubeconfig with a context for each cluster, as its env file names it; mode 0600. */
export async function writeKubeconfig(
  path: string,
  accesses: (readonly [Cluster, Access])[],
): Promise<void> {
  const contexts = accesses.map(([cluster, { server, ca, certificate, key }]) => ({
    name: text(cluster, "KUBE_CONTEXT"),
    cluster: { server, "certificate-authority": ca },
    user: { "client-certificate": certificate, "client-key": key },
  }));
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: contexts.map(({ name, cluster }) => ({ name, cluster })),
    users: contexts.map(({ name, user }) => ({ name, user })),
    contexts: contexts.map(({ name }) => ({ name, context: { cluster: name, user: name } })),
  };
  // Others may be reading it.
  await replaceFile(path, (path) => writeFile(path, toYaml(config), { mode: 0o600 }));
}

function placeOf({ folder }: Playground, name: string): string {
  return join(folder, "clusters", name);
}

function recordOf({ folder }: Playground, name: string): string {
  return join(folder, `${name}.ports.json`);
}
