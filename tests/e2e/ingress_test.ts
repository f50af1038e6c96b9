// The doors, as people use them: host names on the NodePorts, logins, source ranges, TLS, large pages,
// WebSockets. Ignored where the site has a controller of its own.
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash, randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "../../lib/core/cluster.ts";
import { kubectl } from "../../lib/kube/kubectl.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { typeMake } from "../support/make.ts";
import { check, edges, eventually, figure, fleet, kube, make } from "./site.ts";
import { login, visit } from "./visit.ts";
import { ownAddress } from "./webhook.ts";
import { applyTo } from "../support/inventory.ts";

const edge = edges[0]!;
const absent = text(edge, "INGRESS") === "existing";

for (const cluster of fleet) {
  check(`${cluster.id}: the doors without a login of their own ask for one`, async () => {
    assert.equal((await visit(cluster, "opensearch")).status, 401);
    assert.equal(
      (await visit(cluster, "opensearch", { headers: login("admin", "x") })).status,
      401,
    );
    assert.equal((await visit(cluster, "no-such-host")).status, 404);
    if (cluster.role === "central") {
      const { status, body } = await visit(cluster, "thanos", { path: "/api/v1/query?query=1" });
      assert.deepEqual([status, JSON.parse(body).status], [200, "success"]);
    }
  }, absent);
}

const PASSWORD = randomBytes(12).toString("hex");
const hash = createHash("sha1").update(PASSWORD).digest("base64");
const headers = login("visitor", PASSWORD);

check("a login is taken, five megabytes go in, and as many come out", async () => {
  await make(["40-logging", `CLUSTER=${edge.id}`], { UI_BASIC_AUTH: `visitor:{SHA}${hash}` });
  const index = `e2e-bulk-${Date.now()}`;
  await eventually(1, async () => {
    assert.equal((await visit(edge, "opensearch", { headers })).status, 200);
  });
  const document = JSON.stringify({ text: "x".repeat(10_000) });
  const body = `{"index":{}}\n${document}\n`.repeat(500);
  const bulk = await visit(edge, "opensearch", {
    method: "POST",
    path: `/${index}/_bulk?refresh=true`,
    headers: { ...headers, "content-type": "application/x-ndjson" },
    body,
  });
  try {
    assert.deepEqual([bulk.status, JSON.parse(bulk.body).errors], [200, false]);
    const page = await visit(edge, "opensearch", { path: `/${index}/_search?size=500`, headers });
    assert.ok(page.body.length > 5e6, `${page.body.length} characters came back`);
    figure("through the ingress, in and out", `${(body.length / 1e6).toFixed(1)} MB`);
  } finally {
    await visit(edge, "opensearch", { method: "DELETE", path: `/${index}`, headers });
  }
}, absent);

check("B54: ADMIN_CIDR shuts the doors without a login, and Grafana's stays open", async () => {
  const step = ["40-logging", `CLUSTER=${edge.id}`];
  const elsewhere = { ADMIN_CIDR: "10.255.255.0/24" };
  const { code, output } = await typeMake(step, elsewhere);
  if (/Traefik before 3.7/.test(output)) {
    // Refused, because the doors would stay open.
    assert.equal(code, 2, output);
  } else {
    assert.equal(code, 0, output);
    await eventually(1, async () => {
      assert.equal((await visit(edge, "opensearch", { headers })).status, 403);
    });
    assert.notEqual((await visit(edge, "grafana", { path: "/api/health" })).status, 403);
  }
  await make(step);
  await eventually(1, async () => {
    assert.equal((await visit(edge, "opensearch", { headers })).status, 401);
  });
}, absent);

check("INGRESS_TLS shows the site's certificate, and plain HTTP goes on", async () => {
  const folder = await mkdtemp(join(tmpdir(), "doors-"));
  const tls = { INGRESS_TLS: "true", INGRESS_TLS_DIR: folder };
  try {
    await make(["certificates"], tls);
    const again = await make(["certificates"], tls);
    assert.match(again.output, /^0 changes$/m);
    await make(["05-ingress", `CLUSTER=${edge.id}`], tls);
    const ca = await readFile(join(folder, "site-ca.crt"), "utf8");
    await eventually(1, async () => {
      assert.equal((await visit(edge, "opensearch", { ca })).status, 401);
      assert.equal((await visit(edge, "opensearch")).status, 401);
    });
    const second = await make(["05-ingress", `CLUSTER=${edge.id}`], tls);
    assert.match(second.output, /^0 changes in/m);
  } finally {
    await make(["05-ingress", `CLUSTER=${edge.id}`, "ARGS=--prune"]);
    await rm(folder, { recursive: true });
  }
  const left = await kubectl(["get", "secret", "-n", "ingress-nginx", "-o", "name"], {
    cluster: edge,
  });
  assert.doesNotMatch(left, /ingress-tls/);
}, absent);

check("a controller that is replaced loses no visit", async () => {
  const pods = async () => (await kube(edge, "pods", "-n", "ingress-nginx")).items.length;
  const lost: string[] = [], visits: Promise<void>[] = [];
  const visiting = setInterval(() => {
    const one = visit(edge, "opensearch").then(({ status }) => assert.equal(status, 401));
    visits.push(one.catch((error) => void lost.push(String(error))));
  }, 100);
  try {
    const words = ["-n", "ingress-nginx", "rollout"];
    await kubectl([...words, "restart", "deployment"], { cluster: edge });
    await kubectl([...words, "status", "deployment"], { cluster: edge });
    await eventually(2, async () => assert.equal(await pods(), 1));
  } finally {
    clearInterval(visiting);
  }
  await Promise.all(visits);
  figure("visits while the ingress controller is replaced", `${visits.length}`);
  assert.deepEqual(lost, []);
}, absent);

check("B55: a WebSocket is passed on, and the program sees the client's own address", async () => {
  const own = await ownAddress();
  const seen: (string | null)[] = [];
  const server = Deno.serve({ port: 0, onListen() {} }, (request) => {
    seen.push(request.headers.get("x-forwarded-for"));
    if (request.headers.get("upgrade") !== "websocket") return new Response("plain");
    const { socket, response } = Deno.upgradeWebSocket(request);
    socket.onmessage = ({ data }) => socket.send(`echo ${data}`);
    return response;
  });
  const port = server.addr.port;
  try {
    await applyTo(edge, echoObjects(own, port));
    await eventually(1, async () => {
      assert.equal((await visit(edge, "e2e-echo")).body, "plain");
    });
    assert.equal(seen.at(-1), own);
    assert.equal(await echoed("hello"), "echo hello");
  } finally {
    await kubectl(["delete", "namespace", ECHO, "--ignore-not-found"], { cluster: edge });
    await server.shutdown();
  }
}, absent);

/** What comes back over a WebSocket to the host `e2e-echo`; the client of Deno cannot name a host. */
function echoed(message: string): Promise<string> {
  const socket = connect({
    host: text(edge, "NODE_IP"),
    port: Number(text(edge, "HTTP_NODE_PORT")),
  });
  const lines = [
    "GET / HTTP/1.1",
    `Host: ${ECHO}.${text(edge, "DOMAIN")}`,
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
  ];
  // A client's frame is masked; a mask of zeros leaves the text as it is.
  const frame = Buffer.from([0x81, 0x80 | message.length, 0, 0, 0, 0, ...Buffer.from(message)]);
  socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  return new Promise((resolve, reject) => {
    let seen = "";
    socket.setTimeout(10_000, () => socket.destroy(new Error(`no frame came back: ${seen}`)));
    socket.on("error", reject);
    socket.on("data", (part) => {
      if (seen === "") socket.write(frame);
      seen += part.toString("latin1");
      const [, end] = /^HTTP\/1.1 101 [\s\S]*\r\n\r\n\x81[\s\S]([\s\S]+)$/.exec(seen) ?? [];
      if (!end) return;
      resolve(end);
      socket.destroy();
    });
  });
}

const ECHO = "e2e-echo";

/** A host name that leads to a port of this machine. */
function echoObjects(address: string, port: number): Manifest[] {
  const metadata = { name: ECHO, namespace: ECHO };
  return [
    { apiVersion: "v1", kind: "Namespace", metadata: { name: ECHO } },
    { apiVersion: "v1", kind: "Service", metadata, spec: { ports: [{ name: "http", port: 80 }] } },
    {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: { ...metadata, labels: { "kubernetes.io/service-name": ECHO } },
      addressType: "IPv4",
      endpoints: [{ addresses: [address], conditions: { ready: true } }],
      ports: [{ name: "http", port, protocol: "TCP" }],
    },
    {
      apiVersion: "networking.k8s.io/v1",
      kind: "Ingress",
      metadata,
      spec: {
        ingressClassName: "nginx",
        rules: [{
          host: `${ECHO}.${text(edge, "DOMAIN")}`,
          http: {
            paths: [{
              path: "/",
              pathType: "Prefix",
              backend: { service: { name: ECHO, port: { name: "http" } } },
            }],
          },
        }],
      },
    },
  ];
}
