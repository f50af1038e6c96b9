// Checks of the doors: every Ingress from this machine, by host name on the NodePorts.
import { X509Certificate } from "node:crypto";
import { request } from "node:http";
import { isFor } from "../../lib/config/certificates.ts";
import type { Problem, Tell } from "../../lib/core/check.ts";
import { type Cluster, number, text } from "../../lib/core/cluster.ts";
import { shownCertificate } from "../../lib/io/tls.ts";
import { idOf, type Manifest } from "../../lib/core/object.ts";
import type { Subject } from "../../lib/core/check.ts";

const PATIENCE = 10_000;
/** The controller's own words for a program that is away. */
const AWAY = [502, 503, 504];

/** What came back for the front page of a host; `status` 0: nothing, and `body` says why. */
interface Answer {
  status: number;
  body: string;
}

/** Every host answers; one with basic auth lets nobody in without; the certificate is ours. */
export async function doors({ cluster, objects }: Subject, tell: Tell): Promise<Problem[]> {
  if (text(cluster, "INGRESS") === "existing") {
    tell("not looked at: INGRESS=existing");
    return [];
  }
  const stranger = await frontPage(`no-such-host.${text(cluster, "DOMAIN")}`, cluster);
  const ingresses = objects.filter(({ kind }) => kind === "Ingress");
  const hosts: string[] = ingresses.map(({ spec }) => spec.rules[0].host);
  const problems = ingresses.map(async (ingress, index) =>
    doorProblems(ingress, await frontPage(hosts[index]!, cluster), stranger, cluster)
  );
  return [...(await Promise.all(problems)).flat(), ...await certificateProblems(cluster, hosts)];
}

/** What is wrong with the answer of a host; `stranger` is the answer to a host that nobody serves. */
export function doorProblems(
  ingress: Manifest,
  answer: Answer,
  stranger: Answer,
  cluster: Cluster,
): Problem[] {
  const host: string = ingress.spec.rules[0].host;
  const { namespace, name } = ingress.metadata;
  const k = `kubectl --context ${text(cluster, "KUBE_CONTEXT")}`;
  const { status, body } = answer;
  const unknown = status === 404 && stranger.status === 404 && body === stranger.body;
  if (status === 0 || unknown || AWAY.includes(status)) {
    return [{
      what: status === 0 ? `${host} does not answer: ${body}` : `${host} gives ${status}`,
      cause: "the controller is down, has not read the Ingress, or the program behind it is away",
      fix: `${k} -n ingress-nginx get pods,services; ${k} -n ${namespace} describe ingress ${name}`,
    }];
  }
  if (!asksForLogin(ingress) || status === 401 || status === 403) return []; // 403: ADMIN_CIDR
  return [{
    what: `${host} lets people in without a login (${status})`,
    cause: `the controller does not honour the annotations of ${idOf(ingress)}`,
    fix: `close the door: ${k} -n ${namespace} delete ingress ${name}`,
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
async function certificateProblems(cluster: Cluster, hosts: string[]): Promise<Problem[]> {
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
