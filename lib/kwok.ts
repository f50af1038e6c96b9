// A simulated cluster: a real control plane on the loopback interface whose node and pods only
// pretend (kwok).
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { parse, stringify } from "yaml";
import { $ } from "zx";
import { APPLY } from "./apply.ts";
import { type Cluster, text } from "./cluster.ts";
import { DeployError, ExitCode } from "./error.ts";
import { kubectl } from "./kubectl.ts";
import type { Manifest } from "./manifest.ts";

/** Where simulated clusters live, and the programs they are made of (absolute paths by name). */
export interface Playground {
  folder: string;
  tools: Record<string, string>;
}

/**
 * Creates the control plane of a cluster, or starts what has died of it; then it answers. One at a
 * time: kwokctl looks for free ports, and two of them find the same.
 */
export async function startControlPlane(
  playground: Playground,
  name: string,
): Promise<"created" | "running"> {
  const place = placeOf(playground, name);
  if (!existsSync(join(place, "kwok.yaml"))) {
    const config = join(playground.folder, "kwok.yaml");
    await mkdir(playground.folder, { recursive: true });
    await writeFile(config, stringify(configuration(playground.tools)));
    await kwokctl(
      playground,
      ["create", "cluster", "--name", name, "--config", config]
        .concat("--kubeconfig", "", "--wait", "90s"),
    );
    return "created";
  }
  await forgetDead(join(place, "pids"));
  await kwokctl(playground, ["start", "cluster", "--name", name, "--wait", "90s"]);
  return "running";
}

/** Ends and removes the control plane of a cluster; nothing happens when there is none. */
export async function deleteControlPlane(playground: Playground, name: string): Promise<void> {
  if (!existsSync(placeOf(playground, name))) return;
  await kwokctl(playground, ["delete", "cluster", "--name", name]);
}

/** Names of the control planes that are there, dead or alive. */
export async function controlPlanes({ folder }: Playground): Promise<string[]> {
  return await readdir(join(folder, "kwok", "clusters")).catch(() => []);
}

/** Address of the API server, and the paths of its CA and of an administrator's certificate. */
export interface Access {
  server: string;
  ca: string;
  certificate: string;
  key: string;
}

/** How to reach a control plane; the certificate serves 127.0.0.1, too. */
export async function accessTo(playground: Playground, name: string): Promise<Access> {
  const place = placeOf(playground, name);
  const { clusters } = parse(await readFile(join(place, "kubeconfig.yaml"), "utf8"));
  const pki = (file: string) => join(place, "pki", file);
  return {
    server: clusters[0].cluster.server,
    ca: pki("ca.crt"),
    certificate: pki("admin.crt"),
    key: pki("admin.key"),
  };
}

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
  await writeFile(path, stringify(config), { mode: 0o600 });
}

/** Volumes that the claims of a cluster can bind to. */
const VOLUMES = 16;

/**
 * The cluster's one node, with the address of its env file, its StorageClass (which the storage
 * system would make if it ran) and volumes of it.
 */
export async function furnish(cluster: Cluster): Promise<void> {
  const volumes = Array.from({ length: VOLUMES }, (_, index) => volume(cluster, index));
  const items = [node(cluster), storageClass(cluster), ...volumes];
  await kubectl([...APPLY, "-f", "-"], {
    cluster,
    input: JSON.stringify({ apiVersion: "v1", kind: "List", items }),
  });
}

function node(cluster: Cluster): Manifest {
  const name = text(cluster, "KUBE_CONTEXT");
  const capacity = { cpu: "16", memory: "64Gi", pods: "500", "ephemeral-storage": "500Gi" };
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: {
      name,
      annotations: { "kwok.x-k8s.io/node": "fake" },
      labels: {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "node-role.kubernetes.io/control-plane": "",
      },
    },
    status: {
      addresses: [
        { type: "InternalIP", address: text(cluster, "NODE_IP") },
        { type: "Hostname", address: name },
      ],
      capacity,
      allocatable: capacity,
    },
  };
}

function storageClass(cluster: Cluster): Manifest {
  return {
    apiVersion: "storage.k8s.io/v1",
    kind: "StorageClass",
    metadata: {
      name: text(cluster, "STORAGE_CLASS"),
      annotations: { "storageclass.kubernetes.io/is-default-class": "true" },
    },
    provisioner: "kubernetes.io/no-provisioner",
    volumeBindingMode: "Immediate",
  };
}

function volume(cluster: Cluster, index: number): Manifest {
  const name = `simulated-${index}`;
  return {
    apiVersion: "v1",
    kind: "PersistentVolume",
    metadata: { name },
    spec: {
      storageClassName: text(cluster, "STORAGE_CLASS"),
      capacity: { storage: "100Gi" },
      accessModes: ["ReadWriteOnce"],
      persistentVolumeReclaimPolicy: "Retain",
      hostPath: { path: `/simulated/${index}` },
    },
  };
}

function configuration(tools: Record<string, string>): unknown {
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
    },
  };
}

/** kwokctl takes a pid file for a living process; the dead ones have to go before a start. */
async function forgetDead(folder: string): Promise<void> {
  for (const file of await readdir(folder).catch(() => [])) {
    const pid = (await readFile(join(folder, file), "utf8")).trim();
    if (!existsSync(`/proc/${pid}`)) await rm(join(folder, file));
  }
}

async function kwokctl({ folder, tools }: Playground, args: string[]): Promise<void> {
  // Its own kubeconfig, so that it never touches the user's.
  const env = {
    ...process.env,
    KWOK_WORKDIR: join(folder, "kwok"),
    KUBECONFIG: join(folder, "kwok-kubeconfig"),
  };
  const result = await $({ quiet: true, nothrow: true, env })`${tools.kwokctl} ${args}`;
  if (result.exitCode === 0) return;
  throw new DeployError(`Cannot ${args[0]} the simulated cluster ${args[3]}`, {
    exitCode: ExitCode.prerequisite,
    where: result.stderr.trim().split("\n").slice(-5),
    fix: "make demo-down, then make demo",
  });
}

function placeOf({ folder }: Playground, name: string): string {
  return join(folder, "kwok", "clusters", name);
}
