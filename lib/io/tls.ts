// What a TLS server shows of itself, whoever has signed it; nothing is sent there.
import process from "node:process";
import { isIP } from "node:net";
import { connect, type PeerCertificate } from "node:tls";

/**
 * The certificate that a server shows; rejects when there is none within so many seconds. It is asked for by
 * `servername`, or the host unless that is an address.
 */
export function shownCertificate(
  host: string,
  port: number,
  { servername, seconds = 5 }: { servername?: string; seconds?: number } = {},
): Promise<PeerCertificate> {
  const { promise, resolve, reject } = Promise.withResolvers<PeerCertificate>();
  servername ??= isIP(host) ? "" : host;
  const socket = connect({ host, port, servername, rejectUnauthorized: false }, () => {
    resolve(socket.getPeerCertificate());
  });
  socket.setTimeout(seconds * 1000, () => {
    socket.destroy(new Error(`no answer within ${seconds} s`));
  });
  socket.on("error", reject);
  socket.on("close", () => reject(new Error("connection closed")));
  return promise.finally(() => socket.destroy());
}

/**
 * What may be said where a server of the site's own network gives no answer: Deno and kubectl follow the proxy
 * variables, and such a server is seldom behind one.
 */
export function proxyHint(host: string): string[] {
  const names = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
  const name = names.find((name) => process.env[name]);
  return name ? [`${name} is set: unless ${host} is in NO_PROXY, the request went there`] : [];
}
