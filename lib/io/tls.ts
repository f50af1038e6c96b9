// What a TLS server shows of itself, whoever has signed it; nothing is sent there.
import process from "node:process";
import { isIP } from "node:net";
import { connect, type PeerCertificate } from "node:tls";

/** The certificate that a server shows for `servername` (the host, unless an address); rejects after `seconds`. */
export function shownCertificate(
  host: string,
  port: number,
  { servername = isIP(host) ? "" : host, seconds = 5 } = {},
): Promise<PeerCertificate> {
  const { promise, resolve, reject } = Promise.withResolvers<PeerCertificate>();
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

/** A hint for a server of the site that gives no answer: Deno and kubectl ask a proxy, which seldom leads there. */
export function proxyHint(host: string): string[] {
  const names = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
  const name = names.find((name) => process.env[name]);
  return name ? [`${name} is set: unless ${host} is in NO_PROXY, the request went there`] : [];
}
