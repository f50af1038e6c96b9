// What a deploy would meet: this machine, the cluster, its nodes and the S3, one row for each thing with
// the fix for what is not well. Every thing is looked at, whatever the others say, and nothing is
// changed: the short pods that look at the nodes and at the S3 are removed again.
import "../needs.ts";
import { setInterval } from "node:timers";
import { type Cluster, flag, inContext, text } from "../../lib/core/cluster.ts";
import { clustersFor, command, tellWarnings } from "../../lib/cli/command.ts";
import { contextServers } from "../../lib/kube/target.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { print, Report } from "../../lib/io/report.ts";
import { desiredOf } from "../../lib/deploy/step.ts";
import { storageClasses } from "../../lib/kube/storage_class.ts";
import { STEPS } from "../steps.ts";
import { reachFromInside } from "../components/minio/inside.ts";
import { policyRow } from "../components/network/cni.ts";
import { ingressRow, nameRow, portRow } from "../checks/doors.ts";
import {
  cgroup,
  iscsi,
  mapsFiles,
  mounts,
  multipath,
  nodeClock,
  overNodes,
  SIMULATED,
  sysctls,
} from "../checks/node.ts";
import { type NodeFacts, nodeFacts } from "../checks/node_facts.ts";
import { roomRow } from "../checks/capacity.ts";
import {
  exitCodeOfRows,
  hidden,
  type Look,
  looked,
  ok,
  type Row,
  type Seen,
  tableOf,
} from "../../lib/probe/row.ts";
import { askBuckets, judgeBuckets, s3Clock } from "../checks/s3.ts";
import { judgeCertificates, rightsRow, targetRow, toolRow } from "../checks/access.ts";
import { judgeAddon, volumeRow } from "../checks/disk.ts";
import { apiCertificates, clientCertificates, s3Certificates } from "../checks/certificates.ts";

const UNSEEN = hidden("not looked at: see Context and address");

if (import.meta.main) {
  await command("preflight.ts CLUSTER... | all", {}, async (ids) => {
    const clusters = await clustersFor(ids);
    tellWarnings(clusters);
    const rows = await Promise.all(clusters.map(async (cluster) => {
      const report = new Report(clusters.length > 1 ? `${cluster.id} | ` : "");
      return await preflight(cluster, report);
    }));
    clusters.forEach((cluster, index) => {
      print(`${cluster.id}  ${text(cluster, "CLUSTER_NAME")}\n${tableOf(rows[index]!)}\n\n`);
    });
    return exitCodeOfRows(rows.flat());
  });
}

/**
 * Looks at everything at once; `report` is told what still takes its time. `wanted` gives the objects
 * of all steps.
 */
export async function preflight(
  cluster: Cluster,
  report: Report,
  wanted: (cluster: Cluster) => Manifest[] | Promise<Manifest[]> = wantedOn,
): Promise<Seen[]> {
  const looks = looksAt(cluster, report, once(async () => await wanted(cluster)));
  const open = new Set(looks.map(({ thing }) => thing));
  report.waiting(`looking at ${open.size} things of ${text(cluster, "CLUSTER_NAME")}`);
  const reminder = setInterval(() => {
    const more = open.size > 3 ? ` and ${open.size - 3} more` : "";
    report.waiting([...open].slice(0, 3).join(", ") + more);
  }, 5000);
  try {
    return await Promise.all(looks.map(async (look) => {
      const seen = await looked(look);
      open.delete(look.thing);
      return { ...seen, fix: seen.fix && inContext(cluster, seen.fix) };
    }));
  } finally {
    clearInterval(reminder);
  }
}

function looksAt(
  cluster: Cluster,
  report: Report,
  objects: () => Promise<Manifest[]>,
): Look[] {
  const target = once(() => targetRow(cluster));
  const say = (text: string) => report.waiting(text);
  const facts = once(() => nodeFacts(cluster, say));
  const buckets = once(() => askBuckets(cluster));

  /** Of the way to it: without a context there is none. */
  const onTheWay = (look: () => Promise<Row>) => async () => {
    const server = await contextServers(cluster).then(
      (servers) => servers.get(text(cluster, "KUBE_CONTEXT")),
      () => undefined,
    );
    return server ? await look() : UNSEEN;
  };
  /** Of the cluster: nothing is asked of one that is not meant, and of one that is away only once. */
  const inside = (look: () => Promise<Row>) => async () => {
    const reached = await target().then(() => true, () => false);
    return reached ? await look() : UNSEEN;
  };
  const onNodes = (judge: (facts: NodeFacts, cluster: Cluster) => Row, first = false) =>
    inside(async () => {
      if (flag(cluster, "SIMULATED_NODES")) return SIMULATED;
      const told = await facts().then(() => true, () => false);
      // Why they are not known is said once.
      if (!told && !first) return hidden("not looked at: see Kernel settings");
      return overNodes(judge, await facts(), cluster);
    });

  const things: Record<string, () => Promise<Row>> = {
    "Tools": () => toolRow(cluster),
    "Context and address": target,
    "Rights": inside(() => rightsRow(cluster)),
    "Client certificate": onTheWay(async () =>
      judgeCertificates(await clientCertificates(cluster))
    ),
    "API server certificate": onTheWay(async () =>
      judgeCertificates(await apiCertificates(cluster))
    ),
    "S3 certificates": async () => judgeCertificates(await s3Certificates(cluster)),
    "Room for pods": inside(async () => roomRow(cluster, await objects())),
    "Room for volumes": inside(async () => {
      const simulated = flag(cluster, "SIMULATED_NODES") && text(cluster, "STORAGE") === "longhorn";
      return simulated ? SIMULATED : volumeRow(cluster, await objects(), facts);
    }),
    "Default StorageClass": inside(async () =>
      judgeAddon(await storageClasses(cluster), text(cluster, "STORAGE_CLASS"))
    ),
    "Kernel settings": inside(async () => {
      const maps = mapsFiles(await objects());
      return await onNodes((facts) => sysctls(facts, { maps }), true)();
    }),
    "iSCSI": onNodes(iscsi),
    "Mount propagation": onNodes(mounts),
    "Multipath": onNodes(multipath),
    "cgroup": onNodes(cgroup),
    "Clock of the node": onNodes(nodeClock),
    "Clock of the S3": async () => s3Clock(await buckets().catch(() => [])),
    "S3 from here": async () => judgeBuckets(await buckets()),
    "S3 from inside": inside(async () => {
      if (flag(cluster, "SIMULATED_NODES")) return SIMULATED;
      // Its pod lists the buckets.
      if (!(await buckets()).every(({ there }) => there)) return hidden("00-minio has not run yet");
      await reachFromInside(cluster, say);
      return ok("pods list every bucket");
    }),
    "Names": async () => nameRow(cluster, await objects()),
    "NodePorts": inside(async () => portRow(cluster, await objects())),
    "Ingress controller": inside(() => ingressRow(cluster)),
    "NetworkPolicies": inside(() => policyRow(cluster)),
  };
  return Object.entries(things).map(([thing, look]) => ({ thing, look }));
}

async function wantedOn(cluster: Cluster): Promise<Manifest[]> {
  return await desiredOf(STEPS, cluster);
}

/** The same promise for everybody who asks. */
function once<T>(work: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | undefined;
  return () => result ??= work();
}
