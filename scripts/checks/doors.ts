// Checks of the doors: before a deploy names, NodePorts and the controller; after it every Ingress, from this
// machine, by host name on the NodePorts.
import { X509Certificate } from "node:crypto";
import { request } from "node:http";
import { isFor } from "../../lib/config/certificates.ts";
import { fail, type Finding, note, ok, type Subject, warn } from "../../lib/core/check.ts";
import { type Cluster, number, text } from "../../lib/core/cluster.ts";
import { shownCertificate } from "../../lib/io/tls.ts";
import { idOf, isOurs, type Manifest } from "../../lib/core/object.ts";
import { lookup } from "node:dns/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { ExitCode } from "../../lib/core/error.ts";
import { kubectl } from "../../lib/kube/kubectl.ts";

const PATIENCE = 10_000;
/** The controller's own words for a program that is away. */
const AWAY = [502, 503, 504];

/** What came back for the front page of a host; `status` 0: nothing, and `body` says why. */
interface Answer {
  status: number;
  body: string;
}

/** Every host answers; one with basic auth lets nobody in without; the certificate is ours. */
export async function doors({ cluster, objects }: Subject): Promise<Finding | Finding[]> {
  if (text(cluster, "INGRESS") === "existing") {
    return note("not looked at: INGRESS=existing");
  }
  const stranger = await frontPage(`no-such-host.${text(cluster, "DOMAIN")}`, cluster);
  const ingresses = (await objects()).filter(({ kind }) => kind === "Ingress");
  const hosts: string[] = ingresses.map(({ spec }) => spec.rules[0].host);
  const problems = ingresses.map(async (ingress, index) =>
    doorProblems(ingress, await frontPage(hosts[index]!, cluster), stranger)
  );
  return [...(await Promise.all(problems)).flat(), ...await certificateProblems(cluster, hosts)];
}

/** What is wrong with the answer of a host; `stranger` is the answer to a host that nobody serves. */
export function doorProblems(
  ingress: Manifest,
  answer: Answer,
  stranger: Answer,
): Finding[] {
  const host: string = ingress.spec.rules[0].host;
  const { namespace, name } = ingress.metadata;
  const { status, body } = answer;
  const unknown = status === 404 && stranger.status === 404 && body === stranger.body;
  if (status === 0 || unknown || AWAY.includes(status)) {
    return [{
      what: status === 0 ? `${host} does not answer: ${body}` : `${host} gives ${status}`,
      cause: "the controller is down, has not read the Ingress, or the program behind it is away",
      fix:
        `kubectl -n ingress-nginx get pods,services; kubectl -n ${namespace} describe ingress ${name}`,
    }];
  }
  if (!asksForLogin(ingress) || status === 401 || status === 403) return []; // 403: ADMIN_CIDR
  return [{
    what: `${host} lets people in without a login (${status})`,
    cause: `the controller does not honour the annotations of ${idOf(ingress)}`,
    fix: `close the door: kubectl -n ${namespace} delete ingress ${name}`,
  }];
}

function asksForLogin({ metadata }: Manifest): boolean {
  return metadata.annotations?.["nginx.ingress.kubernetes.io/auth-type"] === "basic";
}

function frontPage(host: string, cluster: Cluster): Promise<Answer> {
  return new Promise((resolve) => {
    const call = request({
      host: text(cluster, "NODE_IP"),
      port: number(cluster, "HTTP_NODE_PORT"),
      path: "/",
      headers: { host },
      timeout: PATIENCE,
    }, async (answer) => {
      const body = await answer.setEncoding("utf8").reduce((all, part) => all + part, "");
      resolve({ status: answer.statusCode ?? 0, body });
    });
    call.on("timeout", () => call.destroy(new Error("no answer in 10 s")));
    call.on("error", ({ message }) => resolve({ status: 0, body: message }));
    call.end();
  });
}

/** What is wrong with the certificate on HTTPS_NODE_PORT; only with INGRESS_TLS. */
async function certificateProblems(cluster: Cluster, hosts: string[]): Promise<Finding[]> {
  if (!cluster.doorCertificate) return [];
  const own = new X509Certificate(cluster.doorCertificate.certificate);
  const foreign = hosts.filter((host) => !isFor(own, host));
  const problems = foreign.length === 0 ? [] : [{
    what: `the certificate of INGRESS_TLS_DIR is not for ${foreign.join(", ")}`,
    cause: "its subjectAltName lacks them: browsers warn of these doors",
    fix: `put one for *.${
      text(cluster, "DOMAIN")
    } there, then make 05-ingress CLUSTER=${cluster.id}`,
  }];
  const seen = await fingerprintAt(cluster);
  if (seen === own.fingerprint256) return problems;
  return [...problems, {
    what: `port ${
      text(cluster, "HTTPS_NODE_PORT")
    } does not show the certificate of INGRESS_TLS_DIR`,
    cause: seen ? "the controller has not read it, or shows another" : "nothing there speaks TLS",
    fix: `make 05-ingress CLUSTER=${cluster.id}`,
  }];
}

/** Fingerprint of what a browser is shown; undefined when there is no TLS. */
async function fingerprintAt(cluster: Cluster): Promise<string | undefined> {
  const [host, port] = [text(cluster, "NODE_IP"), number(cluster, "HTTPS_NODE_PORT")];
  const servername = `grafana.${text(cluster, "DOMAIN")}`;
  const shown = shownCertificate(host, port, { servername, seconds: PATIENCE / 1000 });
  return await shown.then(({ fingerprint256 }) => fingerprint256, () => undefined);
}

/** NodePorts of the steps against the Services of the cluster. */
export async function ports({ cluster, objects }: Subject): Promise<Finding> {
  const words = ["get", "services", "--all-namespaces", "-o", "json"];
  const { items } = JSON.parse(await kubectl(words, { cluster, seconds: 15 }));
  return judgePorts(await objects(), items);
}

/** Stops (exit 4) for every NodePort that another Service holds. */
export function judgePorts(objects: Manifest[], services: Manifest[]): Finding {
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
  return fail(
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
export async function controller({ cluster }: Subject): Promise<Finding> {
  const kind = text(cluster, "INGRESS");
  if (kind === "existing") return ok("INGRESS=existing: the cluster's own controller");
  const name = "ingress-nginx-controller";
  const words = ["get", "deployments.apps", name, "-n", "ingress-nginx", "--ignore-not-found"];
  const answer = await kubectl([...words, "-o", "json"], { cluster, seconds: 15 });
  return judgeIngress(kind, answer.trim() ? JSON.parse(answer) : undefined);
}

/** Stops for a Deployment with our controller's name that others made or have changed since. */
export function judgeIngress(kind: string, controller: Manifest | undefined): Finding {
  if (!controller) return ok(`INGRESS=${kind}: nothing in its way`);
  const { annotations } = controller.metadata;
  const ours = isOurs(controller);
  // Only a client-side apply leaves this, and we make none: the addon was put over ours.
  const overwritten = "kubectl.kubernetes.io/last-applied-configuration" in (annotations ?? {});
  if (ours && !overwritten) return ok(`INGRESS=${kind}: ours runs`);
  return fail(
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
export async function names(
  { cluster, objects }: Subject,
  find: Lookup = systemLookup,
): Promise<Finding> {
  const address = text(cluster, "NODE_IP");
  const hosts = new Set<string>(
    (await objects()).filter(({ kind }) => kind === "Ingress")
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
