// Control planes of simulated clusters: real ones, on the loopback interface (kwokctl).
import { existsSync } from "node:fs";
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

function componentsOf({ auditPolicy }: Playground): string[] {
  return ["etcd", "kube-apiserver", ...(auditPolicy ? [] : CONTROLLERS)];
}

/**
 * Creates control planes, starts what has died of them, and removes first what an interrupted run
 * left half made, all side by side; afterwards each answers. Give all names that there are: the ports
 * of one that is not named count as free while it starts.
 * @throws {DeployError} exit 3 when another program has one of their ports, or one does not start.
 */
export async function startControlPlanes(playground: Playground, names: string[]): Promise<void> {
  const places = join(playground.folder, "clusters");
  await mkdir(places, { recursive: true, mode: 0o700 });
  const kept: Record<string, Ports> = {};
  for (const name of names) {
    const ports = await portsOf(playground, name);
    if (ports) kept[name] = ports;
    else await deleteControlPlane(playground, name);
  }
  // kwokctl would look for ports itself, and side by side find the same ones twice.
  const taken = Object.values(kept).flatMap((ports) => Object.values(ports));
  const free = await freePorts((names.length - Object.keys(kept).length) * PORTS.length, taken);
  await Promise.all(names.map((name) => {
    if (kept[name]) return restart(playground, name, kept[name]);
    return create(playground, name, free.splice(0, PORTS.length));
  }));
}

type Ports = Record<string, number>;

/** Ports of a control plane that was created to its end. */
async function portsOf(playground: Playground, name: string): Promise<Ports | undefined> {
  const written = await readFile(recordOf(playground, name), "utf8").catch(() => undefined);
  return written === undefined ? undefined : JSON.parse(written);
}

async function create(playground: Playground, name: string, ports: number[]): Promise<void> {
  const named = Object.fromEntries(PORTS.map((port, index) => [port, ports[index]!]));
  const config = join(playground.folder, `${name}.yaml`);
  await writeFile(config, toYaml(configuration(playground, named)));
  const create = ["create", "cluster", "--name", name, "--config", config, "--kubeconfig", ""];
  const without = playground.auditPolicy ? ["--disable", CONTROLLERS.join(",")] : [];
  await kwokctl(playground, [...create, ...without, "--wait", "90s"]);
  await checkComponents(playground, name);
  // Last: without it the next run begins again.
  await replaceFile(recordOf(playground, name), (path) => writeFile(path, JSON.stringify(named)));
}

async function restart(playground: Playground, name: string, ports: Ports): Promise<void> {
  const place = placeOf(playground, name);
  const alive = await processesOf(place);
  if (alive.length === componentsOf(playground).length) return;
  if (alive.length === 0) {
    const fix = "end that program, or: make demo-down, make demo";
    await refuseTaken(name, Object.values(ports), fix);
  }
  // kwokctl takes any process with the pid that it once noted for its own.
  for (const file of await readdir(join(place, "pids")).catch(() => [])) {
    const pid = Number(await readFile(join(place, "pids", file), "utf8"));
    if (!alive.includes(pid)) await rm(join(place, "pids", file));
  }
  await kwokctl(playground, ["start", "cluster", "--name", name, "--wait", "90s"]);
  await checkComponents(playground, name);
}

/** kwokctl ends well also when a component did not: a pid that is gone or only a log tells. */
async function checkComponents(playground: Playground, name: string): Promise<void> {
  const place = placeOf(playground, name);
  const alive = await processesOf(place);
  for (const component of componentsOf(playground)) {
    const pid = await readFile(join(place, "pids", `${component}.pid`), "utf8").catch(() => "");
    if (alive.includes(Number(pid))) continue;
    const log = join(place, "logs", `${component}.log`);
    throw new DeployError(`Cannot start ${component} of ${name}: it ended`, {
      exitCode: ExitCode.prerequisite,
      where: await endOf(log),
      fix: "correct what the log says, then run again; or: make demo-down, make demo",
    });
  }
}

/** Ends and removes the control plane of a cluster, half made or whole. */
async function deleteControlPlane(playground: Playground, name: string): Promise<void> {
  const place = placeOf(playground, name);
  await rm(recordOf(playground, name), { force: true });
  await killProcessesOf(place);
  await rm(place, { recursive: true, force: true });
}

/**
 * How to reach a control plane: the address of its API server, and the paths of its CA and of an administrator's
 * certificate, which serves 127.0.0.1, too.
 */
export async function accessTo(playground: Playground, name: string) {
  const pki = (file: string) => join(placeOf(playground, name), "pki", file);
  const server = `https://127.0.0.1:${(await portsOf(playground, name))!.kubeApiserverPort}`;
  return { server, ca: pki("ca.crt"), certificate: pki("admin.crt"), key: pki("admin.key") };
}

/** The way to a control plane. */
export type Access = Awaited<ReturnType<typeof accessTo>>;

/** Writes one kubeconfig with a context for each cluster, as its env file names it; mode 0600. */
export async function writeKubeconfig(path: string, accesses: [Cluster, Access][]): Promise<void> {
  const named = <T>(entry: (access: Access, context: string) => T) =>
    accesses.map(([cluster, access]) => {
      const name = text(cluster, "KUBE_CONTEXT");
      return { name, ...entry(access, name) };
    });
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: named(({ server, ca }) => ({ cluster: { server, "certificate-authority": ca } })),
    users: named(({ certificate, key }) => ({
      user: { "client-certificate": certificate, "client-key": key },
    })),
    contexts: named((_, name) => ({ context: { cluster: name, user: name } })),
  };
  // Others may be reading it.
  await replaceFile(path, (path) => writeFile(path, toYaml(config), { mode: 0o600 }));
}

function configuration({ tools, auditPolicy }: Playground, ports: Ports): unknown {
  return {
    kind: "KwokctlConfiguration",
    apiVersion: "config.kwok.x-k8s.io/v1alpha1",
    options: {
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
    },
  };
}

async function kwokctl({ folder, tools }: Playground, args: string[]): Promise<void> {
  // Started from the folder like all it starts, so that one search finds them.
  const program = join(folder, "kwokctl");
  if (!existsSync(program)) await replaceFile(program, (path) => symlink(tools.kwokctl!, path));
  const { PATH, HOME } = process.env;
  // No KWOK_… of the user's shell, no ~/.kwok and no ~/.kube/config.
  const env = { PATH, HOME, KWOK_WORKDIR: folder, KUBECONFIG: join(folder, "no-kubeconfig") };
  // Not detached: a Ctrl-C ends it with us.
  const result = await $({ quiet: true, nothrow: true, detached: false, env })`
    exec ${program} ${args}`;
  if (result.exitCode === 0) return;
  throw new DeployError(`Cannot ${args[0]} the simulated cluster ${args[3]}`, {
    exitCode: ExitCode.prerequisite,
    where: result.stderr.trim().split("\n").slice(-5),
    fix: "make demo-down, then make demo",
  });
}

function placeOf({ folder }: Playground, name: string): string {
  return join(folder, "clusters", name);
}

function recordOf({ folder }: Playground, name: string): string {
  return join(folder, `${name}.ports.json`);
}
