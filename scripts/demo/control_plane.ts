// Control planes of simulated clusters: real ones, on the loopback interface (kwokctl).
import { existsSync } from "node:fs";
import { mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { $ } from "zx";
import { replaceFile } from "../../lib/io/files.ts";
import { toYaml } from "../../lib/render/yaml.ts";
import { type Cluster, text } from "../../lib/core/cluster.ts";
import { endOf, freePorts, killProcessesOf, processesOf } from "./daemon.ts";
import { prerequisiteError } from "../../lib/core/error.ts";

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

/** Creates those of the control planes that do not run with all of their programs; throws exit 3. */
export async function startControlPlanes(playground: Playground, names: string[]): Promise<void> {
  await mkdir(join(playground.folder, "clusters"), { recursive: true, mode: 0o700 });
  // kwokctl would look for ports itself, and side by side find the same ones twice.
  const free = await freePorts(names.length * PORTS.length);
  await Promise.all(names.map(async (name) => {
    if (await isRunning(playground, name)) return;
    await create(playground, name, free.splice(-PORTS.length));
  }));
}

/** Whether it was created to the end, and none of its programs has ended since. */
async function isRunning(playground: Playground, name: string): Promise<boolean> {
  const alive = await processesOf(placeOf(playground, name));
  return existsSync(recordOf(playground, name)) && alive.length === componentsOf(playground).length;
}

async function create(playground: Playground, name: string, free: number[]): Promise<void> {
  const { folder, tools, auditPolicy } = playground;
  const place = placeOf(playground, name), config = join(folder, `${name}.yaml`);
  await killProcessesOf(place);
  await rm(place, { recursive: true, force: true });
  const ports = Object.fromEntries(PORTS.map((port, index) => [port, free[index]]));
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
  await kwokctl(playground, name, ["--config", config, "--kubeconfig", "", ...without]);
  // Last: without it the next run begins again.
  await replaceFile(recordOf(playground, name), (path) => writeFile(path, JSON.stringify(ports)));
}

function componentsOf({ auditPolicy }: Playground): string[] {
  return ["etcd", "kube-apiserver", ...(auditPolicy ? [] : CONTROLLERS)];
}

async function kwokctl(playground: Playground, name: string, flags: string[]): Promise<void> {
  const { folder, tools } = playground;
  // Started from the folder like all it starts, so that one search finds them.
  const program = join(folder, "kwokctl");
  await replaceFile(program, (path) => symlink(tools.kwokctl!, path));
  const { PATH, HOME } = process.env;
  // No KWOK_… of the user's shell, no ~/.kwok and no ~/.kube/config.
  const env = { PATH, HOME, KWOK_WORKDIR: folder, KUBECONFIG: join(folder, "no-kubeconfig") };
  // Not detached: a Ctrl-C ends it with us.
  const result = await $({ quiet: true, nothrow: true, detached: false, env })`
    exec ${program} create cluster --name ${name} ${flags} --wait 90s`;
  if (result.exitCode !== 0) {
    throw prerequisiteError(`Cannot create the simulated cluster ${name}`, {
      where: result.stderr.trim().split("\n").slice(-5),
      fix: "make demo-down, then make demo",
    });
  }
  // It ends well also when a component did not: a pid that is gone or only a log tells.
  const place = placeOf(playground, name), alive = await processesOf(place);
  for (const component of componentsOf(playground)) {
    const pid = await readFile(join(place, "pids", `${component}.pid`), "utf8").catch(() => "");
    if (alive.includes(Number(pid))) continue;
    throw prerequisiteError(`Cannot start ${component} of ${name}: it ended`, {
      where: await endOf(join(place, "logs", `${component}.log`)),
      fix: "correct what the log says, then run again; or: make demo-down, make demo",
    });
  }
}

/** The address of an API server, and paths of its CA and of an administrator's certificate, also one for 127.0.0.1. */
export async function accessTo(playground: Playground, name: string) {
  const pki = (file: string) => join(placeOf(playground, name), "pki", file);
  const { kubeApiserverPort } = JSON.parse(await readFile(recordOf(playground, name), "utf8"));
  const server = `https://127.0.0.1:${kubeApiserverPort}`;
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

function recordOf(playground: Playground, name: string): string {
  return join(placeOf(playground, name), "ports.json");
}
