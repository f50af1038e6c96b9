// The doors of a cluster: NodePorts that others hold, Minikube's own ingress, names that lead there.
import { lookup } from "node:dns/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { type Cluster, text } from "../../lib/core/cluster.ts";
import { ExitCode } from "../../lib/core/error.ts";
import { kubectl } from "../../lib/kube/kubectl.ts";
import { idOf, isOurs, type Manifest } from "../../lib/core/object.ts";
import { ok, type Row, stop, warn } from "../../lib/probe/row.ts";

/** NodePorts of the steps against the Services of the cluster. */
export async function portRow(cluster: Cluster, objects: Manifest[]): Promise<Row> {
  const words = ["get", "services", "--all-namespaces", "-o", "json"];
  const { items } = JSON.parse(await kubectl(words, { cluster, seconds: 15 }));
  return judgePorts(objects, items);
}

/** Stops (exit 4) for every NodePort that another Service holds. */
export function judgePorts(objects: Manifest[], services: Manifest[]): Row {
  const wanted = objects.filter(({ kind }) => kind === "Service").flatMap((service) =>
    nodePorts(service).map((port) => ({ port, id: idOf(service) }))
  );
  if (wanted.length === 0) return ok("the steps open none here");
  const taken = wanted.flatMap(({ port, id }) =>
    services.map((live) => ({ ...live, kind: "Service" }))
      .filter((live) => idOf(live) !== id && nodePorts(live).includes(port))
      .map(({ metadata }) => `${port} by ${metadata.namespace}/${metadata.name}`)
  );
  if (taken.length === 0) return ok(`${wanted.map(({ port }) => port).join(", ")} free or ours`);
  return stop(
    `taken: ${taken.join(", ")}`,
    "delete that Service (kubectl -n NAMESPACE delete service NAME), or set HTTP_NODE_PORT, " +
      "HTTPS_NODE_PORT or SIDECAR_NODE_PORT to another port",
    ExitCode.refused,
  );
}

function nodePorts({ spec }: Manifest): number[] {
  return (spec?.ports ?? []).flatMap(({ nodePort }: { nodePort?: number }) => nodePort ?? []);
}

/** A controller that is not ours under the names of ours: Minikube's addon, most of the time. */
export async function ingressRow(cluster: Cluster): Promise<Row> {
  const kind = text(cluster, "INGRESS");
  if (kind === "existing") return ok("INGRESS=existing: the cluster's own controller");
  const name = "ingress-nginx-controller";
  const words = ["get", "deployments.apps", name, "-n", "ingress-nginx", "--ignore-not-found"];
  const answer = await kubectl([...words, "-o", "json"], { cluster, seconds: 15 });
  return judgeIngress(kind, answer.trim() ? JSON.parse(answer) : undefined);
}

/** Stops for a Deployment with our controller's name that others made or have changed since. */
export function judgeIngress(kind: string, controller: Manifest | undefined): Row {
  if (!controller) return ok(`INGRESS=${kind}: nothing in its way`);
  const { annotations } = controller.metadata;
  const ours = isOurs(controller);
  // Only a client-side apply leaves this, and we make none: the addon was put over ours.
  const overwritten = "kubectl.kubernetes.io/last-applied-configuration" in (annotations ?? {});
  if (ours && !overwritten) return ok(`INGRESS=${kind}: ours runs`);
  return stop(
    `ingress-nginx/ingress-nginx-controller is not ours${ours ? " any more" : ""}`,
    "minikube addons disable ingress (or set INGRESS=existing to use what is there)",
  );
}

/** Finds the address of a name. */
type Lookup = (host: string) => Promise<string>;

const systemLookup: Lookup = async (host) => {
  const late = sleep(5000).then(() => Promise.reject(new Error("no answer within 5 s")));
  return (await Promise.race([lookup(host, { family: 4 }), late])).address;
};

/** Whether every host of an Ingress leads to the node, seen from this machine. */
export async function nameRow(
  cluster: Cluster,
  objects: Manifest[],
  find: Lookup = systemLookup,
): Promise<Row> {
  const address = text(cluster, "NODE_IP");
  const hosts = new Set<string>(
    objects.filter(({ kind }) => kind === "Ingress")
      .flatMap(({ spec }) => spec.rules.map(({ host }: { host: string }) => host)),
  );
  const found = await Promise.all([...hosts].map(async (host) => (
    { host, at: await find(host).catch(() => undefined) }
  )));
  const astray = found.filter(({ at }) => at !== address);
  if (astray.length === 0) return ok(`${hosts.size} names lead to ${address}`);
  const unknown = astray.filter(({ at }) => at === undefined).length;
  const elsewhere = astray.filter(({ at }) => at !== undefined)
    .map(({ host, at }) => `${host} is ${at}`);
  const seen = [
    ...(unknown ? [`${unknown} of ${hosts.size} names unknown here`] : []),
    ...elsewhere,
  ];
  return warn(
    seen.join(", "),
    `*.${text(cluster, "DOMAIN")} in DNS, or in /etc/hosts of everybody who looks: ` +
      `${address} ${astray.map(({ host }) => host).join(" ")}`,
  );
}
