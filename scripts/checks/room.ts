// Whether the nodes have room for the pods of all steps, beside those of others, and the disks for their volumes.
import { fail, type Finding, hidden, ok, type Subject, warn } from "../../lib/core/check.ts";
import { type Cluster, number, text } from "../../lib/core/cluster.ts";
import { idOf, type Manifest, namespacedName } from "../../lib/core/object.ts";
import { amountOf, bytesOf } from "../../lib/core/quantity.ts";
import { conditionOf, objectsEverywhere } from "../../lib/kube/api.ts";
import { storageClasses } from "../../lib/kube/storage_class.ts";
import { replicasFor, takesPods } from "../components/longhorn/state.ts";
import { factsOf, UNKNOWN_NODES } from "./node_facts.ts";

/** What the scheduler counts, and how an amount of it is read and shown. */
const READ = { cpu: amountOf, memory: bytesOf, pods: Number };
const SHOW = { cpu: (cores: number) => cores.toFixed(1), memory: inGi, pods: String };

type Resource = keyof typeof READ;
type Amounts = Record<Resource, number>;
/** What the pods of one workload (`monitoring/thanos-query`, as their names begin) ask for together. */
type Demand = Amounts & { name: string };
type Room = Amounts & { nodes: string[] };

/** Bytes as `12.5Gi`. */
export function inGi(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(1)}Gi`;
}

/** Requests of everything that the steps want, and of the pods of others, against the nodes. */
export async function room({ cluster, objects }: Subject): Promise<Finding> {
  const running = { fields: "status.phase!=Succeeded,status.phase!=Failed" };
  const pods = await objectsEverywhere(cluster, "pods", running);
  const room = roomOn(await objectsEverywhere(cluster, "nodes"));
  if (room.nodes.length === 0) {
    const fix = "kubectl get nodes; mend or uncordon one, or take its taint away";
    return fail("no node is ready and takes pods", fix);
  }
  const wanted = demandsOf(await objects(), cluster, room);
  const others = pods
    .filter(({ spec: { nodeName } }) => !nodeName || room.nodes.includes(nodeName))
    .filter((pod) => !wanted.some(({ name }) => idOf(pod).startsWith(`Pod/${name}-`)))
    .map((pod) => ({ name: namespacedName(pod), ...requestsOf(pod.spec) }));
  const parts = (["cpu", "memory", "pods"] as const).map((name) => {
    const asked = [...wanted, ...others].reduce((sum, demand) => sum + demand[name], 0);
    const told = `${name} ${SHOW[name](asked)} of ${SHOW[name](room[name])}`;
    return { name, share: asked / room[name], told };
  });
  const seen = parts.map(({ told }) => told).join(", ");
  const above = (limit: number) =>
    parts.filter(({ share }) => share > limit).map(({ name }) => name).join(" and ");
  const full = above(1), tight = above(0.9);
  if (!tight) return ok(seen);
  const fix = `give the node more ${full || tight}, or lower *_REQUEST settings (env/README.md)`;
  const row = full ? fail(`too small: ${seen}`, fix) : warn(`tight: ${seen}`, fix);
  return { ...row, detail: [...lines(wanted, "asked by"), ...lines(others, "there already:")] };
}

function lines(demands: Demand[], whose: string): string[] {
  return demands.toSorted((a, b) => b.memory - a.memory).map(({ name, pods, cpu, memory }) =>
    `${cpu.toFixed(2).padStart(6)} cpu ${inGi(memory).padStart(8)}  ${whose} ${name}` +
    (pods > 1 ? ` (${pods} pods)` : "")
  );
}

/** What the nodes that are ready and take pods can give. */
export function roomOn(all: Manifest[]): Room {
  const open = all.filter((node) =>
    takesPods(node) && conditionOf(node, "Ready")?.status === "True"
  );
  const sum = (name: Resource) =>
    open.reduce((sum, { status }) => sum + READ[name](status?.allocatable?.[name] ?? "0"), 0);
  const nodes = open.map(({ metadata }) => metadata.name);
  return { nodes, pods: sum("pods"), cpu: sum("cpu"), memory: sum("memory") };
}

/** What the workloads of the steps ask for on so many nodes. */
export function demandsOf(objects: Manifest[], cluster: Cluster, room: Room): Demand[] {
  const reloader = reloaderOf(objects);
  const demands = objects.flatMap(({ kind, metadata: { namespace, name }, spec }): Demand[] => {
    const isOperated = ["Prometheus", "Alertmanager"].includes(kind);
    if (!isOperated && !["Deployment", "StatefulSet", "DaemonSet"].includes(kind)) return [];
    // Of these the operator makes the pods: the program, its reloader and the sidecar of Thanos.
    const containers = [spec, reloader, spec.thanos ?? {}, ...spec.containers ?? []];
    const { cpu, memory } = requestsOf(isOperated ? { containers } : spec.template.spec);
    const pods = kind === "DaemonSet" ? room.nodes.length : spec.replicas ?? 1;
    const pod = isOperated ? `${kind.toLowerCase()}-${name}` : name;
    return [{ name: `${namespace}/${pod}`, pods, cpu: cpu * pods, memory: memory * pods }];
  });
  if (text(cluster, "STORAGE") !== "longhorn") return demands;
  // Made by its manager: one that runs the volumes of a node, and keeps its share of the CPU.
  const cpu = room.cpu * number(cluster, "LONGHORN_ENGINE_CPU") / 100;
  const name = "longhorn-system/instance-manager";
  return [...demands, { name, pods: room.nodes.length, cpu, memory: 0 }];
}

interface Container {
  restartPolicy?: string;
  resources?: Partial<Record<"requests" | "limits", Partial<Record<"cpu" | "memory", string>>>>;
}

type Containers = Partial<Record<"containers" | "initContainers", Container[]>>;

/** The reloader that the operator puts beside each program, as its arguments say. */
function reloaderOf(objects: Manifest[]): Container {
  const text = JSON.stringify(objects.filter(({ kind }) => kind === "Deployment"));
  const of = (what: string) =>
    new RegExp(`--config-reloader-${what}-request=(\\w+)`).exec(text)?.[1] ?? "0";
  return { resources: { requests: { cpu: of("cpu"), memory: of("memory") } } };
}

/** Requests of a pod as the scheduler counts them: init containers run before the others. */
export function requestsOf({ containers = [], initContainers = [] }: Containers): Amounts {
  const beside = initContainers.filter(({ restartPolicy }) => restartPolicy === "Always");
  const request = (name: "cpu" | "memory") => {
    const of = ({ resources }: Container) =>
      READ[name](resources?.requests?.[name] ?? resources?.limits?.[name] ?? "0");
    const sum = [...containers, ...beside].reduce((sum, one) => sum + of(one), 0);
    return Math.max(sum, ...initContainers.map(of));
  };
  return { pods: 1, cpu: request("cpu"), memory: request("memory") };
}

/** The claims of the steps and of others, against the class and (Longhorn) the disks. */
export async function disks(subject: Subject): Promise<Finding> {
  const { cluster } = subject;
  const claimed = claimsOf(await subject.objects());
  if (text(cluster, "STORAGE") !== "longhorn") return await ownClass(cluster, claimed);
  const facts = await factsOf(subject).catch(() => []);
  if (facts.length === 0) return hidden(UNKNOWN_NODES);
  const live = await objectsEverywhere(cluster, "persistentvolumeclaims");
  for (const claim of live) {
    if (claim.spec.storageClassName !== text(cluster, "STORAGE_CLASS")) continue;
    const id = namespacedName(claim), bytes = bytesOf(claim.spec.resources.requests.storage);
    claimed.set(id, Math.max(bytes, claimed.get(id) ?? 0));
  }
  const share = (setting: string) => number(cluster, setting) / 100;
  const copies = replicasFor(number(cluster, "LONGHORN_REPLICAS"), facts.length);
  const asked = Math.sumPrecise(claimed.values()) * copies;
  const size = Math.sumPrecise(facts.map(({ diskBytes }) => diskBytes));
  const free = Math.sumPrecise(facts.map(({ diskFreeBytes }) => diskFreeBytes));
  // Longhorn's own sum: it schedules nothing beyond (disk - reserved) x over-provisioning.
  const room = size * (1 - share("LONGHORN_RESERVED")) * share("LONGHORN_OVER_PROVISIONING");
  const least = number(cluster, "LONGHORN_MINIMAL_AVAILABLE");
  const path = text(cluster, "LONGHORN_DATA_PATH");
  const seen = `${claimed.size} claims x ${copies} = ${inGi(asked)}; ` +
    `${path} ${inGi(size)}, free ${inGi(free)}, Longhorn gives ${inGi(room)}`;
  const grow = `a larger disk at LONGHORN_DATA_PATH, or smaller *_STORAGE settings`;
  if (!(asked <= room)) return fail(`too small: ${seen}`, grow);
  // Longhorn takes no new replica on such a disk, and a full one stops what is there.
  if (free < size * least / 100) {
    return fail(`less than ${least} % free: ${seen}`, `free space below ${path}; or ${grow}`);
  }
  if (free < asked) return warn(`not all of it can be filled: ${seen}`, grow);
  return ok(seen);
}

/** Bytes of every claim that the objects lead to, by namespace and name. */
export function claimsOf(objects: Manifest[]): Map<string, number> {
  const claims = new Map<string, number>();
  for (const { kind, metadata: { namespace, name }, spec } of objects) {
    const add = (claim: string, { resources }: Manifest["spec"]) =>
      claims.set(`${namespace}/${claim}`, bytesOf(resources.requests.storage));
    if (kind === "PersistentVolumeClaim") add(name, spec);
    const templates = kind === "StatefulSet" ? spec.volumeClaimTemplates ?? [] : [];
    const operated = spec?.storage?.volumeClaimTemplate, set = `${kind.toLowerCase()}-${name}`;
    for (let index = 0; index < (spec?.replicas ?? 1); index++) {
      for (const { metadata, spec } of templates) add(`${metadata.name}-${name}-${index}`, spec);
      if (operated) add(`${set}-db-${set}-${index}`, operated.spec);
    }
  }
  return claims;
}

/** A class of the site's own: it has to be there. Its disks are its own business. */
async function ownClass(cluster: Cluster, claims: Map<string, number>): Promise<Finding> {
  const wanted = text(cluster, "STORAGE_CLASS");
  const classes = await storageClasses(cluster);
  const found = classes.find(({ metadata }) => metadata.name === wanted);
  const asked = `${claims.size} claims, ${inGi(Math.sumPrecise(claims.values()))}`;
  if (!found) {
    const names = classes.map(({ metadata }) => metadata.name).join(", ") || "none";
    const fix = "set STORAGE_CLASS to one of them, install its provisioner, or STORAGE=longhorn";
    return fail(`no class ${wanted} (there: ${names}) for ${asked}`, fix);
  }
  if (!found.allowVolumeExpansion) {
    const fix = "choose sizes that last, or a class with allowVolumeExpansion";
    return warn(`class ${wanted} (${found.provisioner}) cannot grow volumes; ${asked}`, fix);
  }
  return ok(`class ${wanted} (${found.provisioner}) for ${asked}`);
}
