// A browser's way in: a host name on the NodePorts of a cluster's ingress, from this machine.
import { Buffer } from "node:buffer";
import { request as plain } from "node:http";
import { request as secure } from "node:https";
import { type Cluster, text } from "../../lib/core/cluster.ts";

export interface Visit {
  method?: string;
  path?: string;
  headers?: Record<string, string>;
  body?: string;
  /** PEM of the CA that signed the certificate: over HTTPS, and anything else is an error. */
  ca?: string;
}

export interface Page {
  status: number;
  body: string;
  headers: Record<string, string | string[] | undefined>;
}

/** Longest silence in seconds: a connection to a pod that ends at that moment may hang, and is tried again. */
const SILENCE = 20;

/** What a host of the cluster's domain (`grafana`) answers. */
export function visit(cluster: Cluster, name: string, options: Visit = {}): Promise<Page> {
  const { method = "GET", path = "/", headers = {}, body, ca } = options;
  const host = `${name}.${text(cluster, "DOMAIN")}`;
  const length = body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) };
  const address = {
    host: text(cluster, "NODE_IP"),
    port: text(cluster, ca ? "HTTPS_NODE_PORT" : "HTTP_NODE_PORT"),
    method,
    path,
    headers: { host, ...length, ...headers },
    timeout: SILENCE * 1000,
    agent: false, // a connection of its own
  };
  return new Promise((resolve, reject) => {
    const call = ca ? secure({ ...address, ca, servername: host }) : plain(address);
    call.on("response", async (answer) => {
      const text = await answer.setEncoding("utf8").reduce((all, part) => all + part, "");
      resolve({ status: answer.statusCode ?? 0, body: text, headers: answer.headers });
    });
    call.on("timeout", () => call.destroy(new Error(`${host}${path}: no answer in ${SILENCE} s`)));
    call.on("error", reject);
    call.end(body);
  });
}

/** The header of a login. */
export function login(user: string, password: string): Record<string, string> {
  return { authorization: `Basic ${btoa(`${user}:${password}`)}` };
}
