// Whether the nodes have room for the pods of all steps beside those that are there already.
import { type Cluster, number, text } from "../../lib/core/cluster.ts";
import { kubectl } from "../../lib/kube/kubectl.ts";
import { idOf, type Manifest } from "../../lib/core/object.ts";
import { bytesOf, cores } from "../../lib/core/quantity.ts";
import { fail, type Finding, ok, type Subject, warn } from "../../lib/core/check.ts";
import { inGi } from "./disk.ts";

/** What the pods of one workload ask for, all of them together. */
export interface Demand {
  /** `monitoring/thanos-query`; its pods are called so, with something behind. */
  name: string;
  pods: number;
  cores: number;
  bytes: number;
}

/** What nodes can give to pods. */
export interface Room {
  nodes: number;
  pods: number;
  cores: number;
  bytes: number;
}

/** Share of the room from which on it is worth a word. */
const TIGHT = 0.9;

/** Requests of everything that the steps want, and of the pods of others, against the nodes. */
export async function room({ cluster, objects }: Subject): Promise<Finding> {
  const get = async (...words: string[]): Promise<Manifest[]> =>
    JSON.parse(await kubectl(["get", ...words, "-o", "json"], { cluster, seconds: 20 })).items;
  const running = "--field-selector=status.phase!=Succeeded,status.phase!=Failed";
  const [wantedObjects, nodes, pods] = await Promise.all([
    objects(),
    get("nodes"),
    get("pods", "--all-namespaces", running),
  ]);
  const there = roomOn(nodes);
  const wanted = demandsOf(wantedObjects, cluster, there);
  return judgeRoom(there, wanted, othersOf(pods, wanted));
}

/** The verdict, with a table per workload when there is little room. */
export function judgeRoom(room: Room, wanted: Demand[], others: Demand[]): Finding {
  const all = [...wanted, ...others];
  const sum = (field: "cores" | "bytes" | "pods") =>
    all.reduce((total, demand) => total + demand[field], 0);
  const parts = [
    {
      name: "cpu",
      asked: sum("cores"),
      there: room.cores,
      show: (value: number) => value.toFixed(1),
    },
    { name: "memory", asked: sum("bytes"), there: room.bytes, show: inGi },
    { name: "pods", asked: sum("pods"), there: room.pods, show: String },
  ];
  const seen = parts.map(({ name, asked, there, show }) =>
    `${name} ${show(asked)} of ${show(there)}`
  )
    .join(", ");
  const full = parts.filter(({ asked, there }) => asked > there);
  const tight = parts.filter(({ asked, there }) => asked > there * TIGHT);
  if (tight.length === 0) return ok(seen);
  const names = (full.length > 0 ? full : tight).map(({ name }) => name).join(" and ");
  const fix = `give the node more ${names}, or lower the *_REQUEST settings (env/README.md)`;
  const row = full.length > 0 ? fail(`too small: ${seen}`, fix) : warn(`tight: ${seen}`, fix);
  return { ...row, detail: [...lines(wanted, "asked by"), ...lines(others, "there already:")] };
}

function lines(demands: Demand[], whose: string): string[] {
  return [...demands].sort((a, b) => b.bytes - a.bytes).map(({ name, pods, cores, bytes }) =>
    `${cores.toFixed(2).padStart(6)} cpu ${inGi(bytes).padStart(8)}  ${whose} ${name}` +
    (pods > 1 ? ` (${pods} pods)` : "")
  );
}

/** What the nodes that take pods can give. */
export function roomOn(nodes: Manifest[]): Room {
  const open = nodes.filter(({ spec }) => !spec?.unschedulable);
  const sum = (read: (allocatable: Record<string, string>) => number) =>
    open.reduce((total, { status }) => total + read(status?.allocatable ?? {}), 0);
  return {
    nodes: open.length,
    pods: sum(({ pods }) => Number(pods ?? 0)),
    cores: sum(({ cpu }) => cores(cpu ?? "0")),
    bytes: sum(({ memory }) => bytesOf(memory ?? "0")),
  };
}

/** What the workloads of the steps ask for on so many nodes. */
export function demandsOf(objects: Manifest[], cluster: Cluster, room: Room): Demand[] {
  const reloader = reloaderOf(objects);
  const demands = objects.flatMap((object): Demand[] => {
    const { kind, metadata: { namespace, name }, spec } = object;
    const demand = (count: number, pod: unknown, called = name) => [
      times(count, { ...requestsOf(pod), name: `${namespace}/${called}` }),
    ];
    switch (kind) {
      case "Deployment":
      case "StatefulSet":
        return demand(spec.replicas ?? 1, spec.template.spec);
      case "DaemonSet":
        return demand(room.nodes, spec.template.spec);
      // The operator makes their pods: the program, its reloader and the sidecar of Thanos.
      case "Prometheus":
      case "Alertmanager": {
        const containers = [{ resources: spec.resources }, ...spec.containers ?? [], reloader];
        if (spec.thanos) containers.push({ resources: spec.thanos.resources });
        return demand(spec.replicas ?? 1, { containers }, `${kind.toLowerCase()}-${name}`);
      }
      default:
        return [];
    }
  });
  if (text(cluster, "STORAGE") !== "longhorn") return demands;
  // Made by its manager: one that runs the volumes of a node, and keeps its share of the CPU.
  const share = room.cores * number(cluster, "LONGHORN_ENGINE_CPU") / 100;
  return [...demands, {
    name: "longhorn-system/instance-manager",
    pods: room.nodes,
    cores: share,
    bytes: 0,
  }];
}

/** The reloader that the operator puts beside each program, as its arguments say. */
function reloaderOf(objects: Manifest[]): { resources: { requests: Record<string, string> } } {
  const text = JSON.stringify(objects.filter(({ kind }) => kind === "Deployment"));
  const of = (what: string) =>
    new RegExp(`--config-reloader-${what}-request=(\\w+)`).exec(text)?.[1] ?? "0";
  return { resources: { requests: { cpu: of("cpu"), memory: of("memory") } } };
}

/** Requests of running pods that none of the `wanted` workloads has made. */
export function othersOf(pods: Manifest[], wanted: Demand[]): Demand[] {
  return pods.filter((pod) => !wanted.some(({ name }) => idOf(pod).startsWith(`Pod/${name}-`)))
    .map(({ metadata: { namespace, name }, spec }) => (
      { ...requestsOf(spec), name: `${namespace}/${name}` }
    ));
}

function times(count: number, { name, pods, cores, bytes }: Demand): Demand {
  return { name, pods: pods * count, cores: cores * count, bytes: bytes * count };
}

/** Requests of a pod as the scheduler counts them: init containers run before the others. */
// deno-lint-ignore no-explicit-any
export function requestsOf(pod: any): Demand {
  const containers = [
    ...pod.containers ?? [],
    // deno-lint-ignore no-explicit-any
    ...(pod.initContainers ?? []).filter((one: any) => one.restartPolicy === "Always"),
  ];
  const request = (name: "cpu" | "memory", read: (text: string) => number) => {
    // deno-lint-ignore no-explicit-any
    const of = ({ resources }: any) =>
      read(resources?.requests?.[name] ?? resources?.limits?.[name] ?? "0");
    const first = Math.max(0, ...(pod.initContainers ?? []).map(of));
    // deno-lint-ignore no-explicit-any
    return Math.max(first, containers.reduce((sum: number, one: any) => sum + of(one), 0));
  };
  return { name: "", pods: 1, cores: request("cpu", cores), bytes: request("memory", bytesOf) };
}
