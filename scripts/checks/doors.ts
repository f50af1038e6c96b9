// Checks of the doors: names, NodePorts and the controller; after a deploy every Ingress by host name on the NodePorts.
import { X509Certificate } from "node:crypto";
import { lookup } from "node:dns/promises";
import { get } from "node:http";
import { text as textOf } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { pruneCommand } from "../../lib/apply/inventory.ts";
import { isFor } from "../../lib/config/certificates.ts";
import { fail, type Findings, note, ok, type Subject, warn } from "../../lib/core/check.ts";
import { type Cluster, number, text } from "../../lib/core/cluster.ts";
import { ExitCode } from "../../lib/core/error.ts";
import { idOf, isOurs, type Manifest, namespacedName } from "../../lib/core/object.ts";
import { shownCertificate } from "../../lib/io/tls.ts";
import { liveObjects, objectsEverywhere } from "../../lib/kube/api.ts";

const PATIENCE = 10_000;
const ANNOTATIONS = "nginx.ingress.kubernetes.io/";

/** What came back for the front page of a host; `status` 0: nothing, and `body` says why. */
type Answer = { status: number; body: string };

/** Every host answers; one with basic auth lets nobody in without; the certificate is ours. */
export async function doors({ cluster, objects }: Subject): Promise<Findings> {
  if (text(cluster, "INGRESS") === "existing") return note("not looked at: INGRESS=existing");
  const stranger = await frontPage(`no-such-host.${text(cluster, "DOMAIN")}`, cluster);
  const ingresses = (await objects()).filter(({ kind }) => kind === "Ingress");
  return await Promise.all([
    ...ingresses.map((ingress) => doorProblem(ingress, cluster, stranger)),
    certificateProblems(cluster, ingresses.map(({ spec }) => spec.rules[0].host)),
  ]);
}

/** `stranger` is the answer for a host that nobody serves. */
async function doorProblem(ingress: Manifest, cluster: Cluster, stranger: Answer) {
  const { metadata: { namespace, name, annotations }, spec: { rules: [{ host }] } } = ingress;
  const { status, body } = await frontPage(host, cluster);
  const unknown = status === 404 && stranger.status === 404 && body === stranger.body;
  // The last three are what the controller says of a program that is away.
  if (unknown || [0, 502, 503, 504].includes(status)) {
    return {
      what: status === 0 ? `${host} does not answer: ${body}` : `${host} gives ${status}`,
      cause: "the controller is down, has not read the Ingress, or the program behind it is away",
      fix: `kubectl -n ingress-nginx get all; kubectl -n ${namespace} describe ingress ${name}`,
    };
  }
  const login = annotations?.[`${ANNOTATIONS}auth-type`] === "basic";
  if (!login || status === 401 || status === 403) return undefined; // 403: ADMIN_CIDR
  return {
    what: `${host} lets people in without a login (${status})`,
    cause: `the controller does not honour the annotations of ${idOf(ingress)}`,
    fix: `close the door: kubectl -n ${namespace} delete ingress ${name}`,
  };
}

/** Not by fetch, which takes no header Host; nor by an agent: on a connection that it keeps, no time-out counts. */
function frontPage(host: string, cluster: Cluster): Promise<Answer> {
  const to = { host: text(cluster, "NODE_IP"), port: number(cluster, "HTTP_NODE_PORT") };
  const options = { ...to, headers: { host }, agent: false, timeout: PATIENCE };
  return new Promise<Answer>((resolve, reject) => {
    const call = get(options, (answer) => {
      resolve(textOf(answer).then((body) => ({ status: answer.statusCode ?? 0, body })));
    });
    call.on("timeout", () => call.destroy(new Error("no answer in 10 s")));
    call.on("error", reject);
  }).catch(({ message }) => ({ status: 0, body: message }));
}

async function certificateProblems(cluster: Cluster, hosts: string[]): Promise<Findings> {
  if (!cluster.doorCertificate) return undefined;
  const own = new X509Certificate(cluster.doorCertificate.certificate);
  const foreign = hosts.filter((host) => !isFor(own, host));
  const domain = text(cluster, "DOMAIN");
  const port = number(cluster, "HTTPS_NODE_PORT");
  const options = { servername: `grafana.${domain}`, seconds: PATIENCE / 1000 };
  const seen = await shownCertificate(text(cluster, "NODE_IP"), port, options)
    .then(({ fingerprint256 }) => fingerprint256, () => undefined);
  const again = `make 05-ingress CLUSTER=${cluster.id}`;
  return [
    foreign.length > 0 && {
      what: `the certificate of INGRESS_TLS_DIR is not for ${foreign.join(", ")}`,
      cause: "its subjectAltName lacks them: browsers warn of these doors",
      fix: `put one for *.${domain} there, then ${again}`,
    },
    seen !== own.fingerprint256 && {
      what: `port ${port} does not show the certificate of INGRESS_TLS_DIR`,
      cause: seen ? "the controller has not read it, or shows another" : "nothing there speaks TLS",
      fix: again,
    },
  ];
}

/** NodePorts of the steps that a Service of somebody else holds: a deploy would be refused (4). */
export async function ports({ cluster, objects }: Subject): Promise<Findings> {
  const services = await objectsEverywhere(cluster, "services");
  const wanted = (await objects()).filter(({ kind }) => kind === "Service").flatMap((service) =>
    nodePorts(service).map((port) => ({ port, id: namespacedName(service) }))
  );
  if (wanted.length === 0) return ok("the steps open none here");
  const taken = wanted.flatMap(({ port, id }) =>
    services.filter((live) => namespacedName(live) !== id && nodePorts(live).includes(port))
      .map((live) => `${port} by ${namespacedName(live)}`)
  );
  if (taken.length === 0) return ok(`${wanted.map(({ port }) => port).join(", ")} free or ours`);
  const fix =
    "delete that Service (kubectl -n NAMESPACE delete service NAME), or set HTTP_NODE_PORT, " +
    "HTTPS_NODE_PORT or SIDECAR_NODE_PORT to another port";
  return fail(`taken: ${taken.join(", ")}`, fix, ExitCode.refused);
}

function nodePorts({ spec }: Manifest): number[] {
  return (spec?.ports ?? []).flatMap(({ nodePort }: { nodePort?: number }) => nodePort ?? []);
}

/** Whether the controller with the name of ours is ours still (Minikube's addon, mostly); what a change of it needs. */
export async function controller({ cluster }: Subject): Promise<Findings> {
  const kind = text(cluster, "INGRESS");
  if (kind === "existing") return ok("INGRESS=existing: the cluster's own controller");
  const live = await liveObjects(cluster, "deployments.apps", "ingress-nginx");
  const [nginx, traefik] = ["ingress-nginx-controller", "traefik"].map((name) =>
    live.find(({ metadata }) => metadata.name === name)
  );
  // Only a client-side apply leaves this, and we make none: the addon was put over ours.
  const last = nginx?.metadata.annotations?.["kubectl.kubernetes.io/last-applied-configuration"];
  if (nginx && (!isOurs(nginx) || last !== undefined)) {
    const what = `${namespacedName(nginx)} is not ours${isOurs(nginx) ? " any more" : ""}`;
    return fail(what, "minikube addons disable ingress (or use what is there: INGRESS=existing)");
  }
  const [own, other] = kind === "traefik" ? [traefik, nginx] : [nginx, traefik];
  if (!other || !isOurs(other)) {
    return ok(`INGRESS=${kind}: ${own ? "ours runs" : "nothing in its way"}`);
  }
  const before = other.metadata.name, gone = pruneCommand(cluster.id);
  // Both serve this class, by the field or by the annotation that was there before it.
  const classOf = ({ metadata, spec }: Manifest) =>
    spec?.ingressClassName ?? metadata.annotations?.["kubernetes.io/ingress.class"];
  const foreign = (await objectsEverywhere(cluster, "ingresses.networking.k8s.io"))
    .filter((one) => !isOurs(one) && classOf(one) === "nginx");
  if (foreign.length === 0) {
    return note(`INGRESS=${kind} takes over class, ports and Ingresses of ${before}: ${gone}`);
  }
  const names = foreign.map(namespacedName).join(", ");
  const what = `INGRESS=${kind} takes over from ${before}, also Ingresses of others: ${names}`;
  return warn(what, `see whether ${kind} knows their annotations ${ANNOTATIONS}…, then ${gone}`);
}

async function systemLookup(host: string): Promise<string> {
  const late = sleep(5000).then(() => Promise.reject(new Error("no answer within 5 s")));
  return (await Promise.race([lookup(host, { family: 4 }), late])).address;
}

/** Whether every host of an Ingress leads to the node, seen from this machine. */
export async function names({ cluster, objects }: Subject, find = systemLookup): Promise<Findings> {
  const address = text(cluster, "NODE_IP");
  const rules = (await objects()).flatMap(({ kind, spec }) => kind === "Ingress" ? spec.rules : []);
  const hosts = new Set<string>(rules.map(({ host }) => host));
  const found = await Promise.all([...hosts].map(async (host) => (
    { host, at: await find(host).catch(() => undefined) }
  )));
  const astray = found.filter(({ at }) => at !== address);
  if (astray.length === 0) return ok(`${hosts.size} names lead to ${address}`);
  const unknown = astray.filter(({ at }) => at === undefined).length;
  const elsewhere = astray.filter(({ at }) => at).map(({ host, at }) => `${host} is ${at}`);
  const seen = unknown > 0 ? [`${unknown} of ${hosts.size} names unknown here`] : [];
  const line = `${address} ${astray.map(({ host }) => host).join(" ")}`;
  const domain = `*.${text(cluster, "DOMAIN")}`;
  const fix = `${domain} in DNS, or in /etc/hosts of everybody who looks: ${line}`;
  return warn([...seen, ...elsewhere].join(", "), fix);
}
