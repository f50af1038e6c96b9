// Whether the nodes have room for the pods of all steps beside those that are there already.
import { type Cluster, number, text } from "../../lib/core/cluster.ts";
import { conditionOf, objectsEverywhere } from "../../lib/kube/list.ts";
import { idOf, type Manifest } from "../../lib/core/object.ts";
import { bytesOf, cores } from "../../lib/core/quantity.ts";
import { fail, type Finding, ok, type Subject, warn } from "../../lib/core/check.ts";
import { takesPods } from "../components/longhorn/limits.ts";
import { inGi } from "./disk.ts";

type Amounts = { pods: number; cores: number; bytes: number };

/** What the pods of one workload (`monitoring/thanos-query`, as their names begin) ask for together. */
type Demand = Amounts & { name: string };

/** What nodes can give to pods. */
type Room = Amounts & { nodes: string[] };

/** Share of the room from which on it is worth a word. */
const TIGHT = 0.9;

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
    .map(({ metadata: { namespace, name }, spec }) => (
      { name: `${namespace}/${name}`, ...requestsOf(spec) }
    ));
  const part = (name: string, amount: keyof Amounts, show: (value: number) => string) => {
    const asked = [...wanted, ...others].reduce((sum, demand) => sum + demand[amount], 0);
    const there = room[amount];
    return { name, asked, there, told: `${name} ${show(asked)} of ${show(there)}` };
  };
  const parts = [
    part("cpu", "cores", (cores) => cores.toFixed(1)),
    part("memory", "bytes", inGi),
    part("pods", "pods", String),
  ];
  const seen = parts.map(({ told }) => told).join(", ");
  const full = parts.filter(({ asked, there }) => asked > there);
  const tight = parts.filter(({ asked, there }) => asked > there * TIGHT);
  if (tight.length === 0) return ok(seen);
  const names = (full.length > 0 ? full : tight).map(({ name }) => name).join(" and ");
  const fix = `give the node more ${names}, or lower the *_REQUEST settings (env/README.md)`;
  const row = full.length > 0 ? fail(`too small: ${seen}`, fix) : warn(`tight: ${seen}`, fix);
  return { ...row, detail: [...lines(wanted, "asked by"), ...lines(others, "there already:")] };
}

function lines(demands: Demand[], whose: string): string[] {
  return demands.toSorted((a, b) => b.bytes - a.bytes).map(({ name, pods, cores, bytes }) =>
    `${cores.toFixed(2).padStart(6)} cpu ${inGi(bytes).padStart(8)}  ${whose} ${name}` +
    (pods > 1 ? ` (${pods} pods)` : "")
  );
}

/** What the nodes that are ready and take pods can give. */
export function roomOn(nodes: Manifest[]): Room {
  const open = nodes.filter((node) =>
    takesPods(node) && conditionOf(node, "Ready")?.status === "True"
  );
  const sum = (read: (allocatable: Record<string, string>) => number) =>
    open.reduce((total, { status }) => total + read(status?.allocatable ?? {}), 0);
  return {
    nodes: open.map(({ metadata }) => metadata.name),
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
    const demand = (count: number, pod: Manifest["spec"], called = name) => {
      const { cores, bytes } = requestsOf(pod);
      const together = { pods: count, cores: cores * count, bytes: bytes * count };
      return [{ name: `${namespace}/${called}`, ...together }];
    };
    switch (kind) {
      case "Deployment":
      case "StatefulSet":
        return demand(spec.replicas ?? 1, spec.template.spec);
      case "DaemonSet":
        return demand(room.nodes.length, spec.template.spec);
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
  const name = "longhorn-system/instance-manager";
  return [...demands, { name, pods: room.nodes.length, cores: share, bytes: 0 }];
}

/** The reloader that the operator puts beside each program, as its arguments say. */
function reloaderOf(objects: Manifest[]): { resources: { requests: Record<string, string> } } {
  const text = JSON.stringify(objects.filter(({ kind }) => kind === "Deployment"));
  const of = (what: string) =>
    new RegExp(`--config-reloader-${what}-request=(\\w+)`).exec(text)?.[1] ?? "0";
  return { resources: { requests: { cpu: of("cpu"), memory: of("memory") } } };
}

interface Container {
  restartPolicy?: string;
  resources?: Partial<Record<"requests" | "limits", Partial<Record<"cpu" | "memory", string>>>>;
}

/** Requests of a pod as the scheduler counts them: init containers run before the others. */
export function requestsOf(
  { containers = [], initContainers = [] }: Partial<
    Record<"containers" | "initContainers", Container[]>
  >,
): Amounts {
  const beside = initContainers.filter(({ restartPolicy }) => restartPolicy === "Always");
  const request = (name: "cpu" | "memory", read: (text: string) => number) => {
    const of = ({ resources }: Container) =>
      read(resources?.requests?.[name] ?? resources?.limits?.[name] ?? "0");
    const sum = [...containers, ...beside].reduce((sum, one) => sum + of(one), 0);
    return Math.max(sum, ...initContainers.map(of));
  };
  return { pods: 1, cores: request("cpu", cores), bytes: request("memory", bytesOf) };
}
