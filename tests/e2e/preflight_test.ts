// The preflight finds a good site good, and tells what would stop a deploy.
import assert from "node:assert/strict";
import { kubectl } from "../../lib/kube/kubectl.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { typeMake } from "../support/make.ts";
import { nodeFacts } from "../../scripts/checks/node_facts.ts";
import { check, edges, figure, fleet, kube, make, seconds } from "./site.ts";
import { applyTo } from "../support/inventory.ts";

const edge = edges[0]!;

check("make preflight finds nothing that stops, and leaves no pod behind", async () => {
  const took = await seconds(() => make(["preflight"]));
  figure(`make preflight, ${fleet.length} clusters`, `${took.toFixed(0)} s`);
  for (const cluster of fleet) {
    const { items } = await kube(cluster, "jobs", "-n", "kube-system", "-l", RUN);
    assert.deepEqual(items, []);
  }
});

const RUN = "deploy.miribit.lab/preflight";

check("A54: make preflight with Longhorn names open-iscsi where the node has none", async () => {
  const facts = await nodeFacts(edge);
  const bare = facts.some(({ iscsiadm }) => !iscsiadm);
  const { code, output } = await typeMake([`preflight-${edge.id}`], {
    STORAGE: "longhorn",
    STORAGE_CLASS: "longhorn",
  });
  assert.equal(code, bare ? 3 : 0, output);
  if (bare) assert.match(output, /fail +iSCSI +no iscsiadm \(open-iscsi\).*\n +fix: .*install/);
});

const PORT = 31999;

check("A52: make preflight names the Service that holds a NodePort", async () => {
  const name = "preflight-e2e";
  const squatter: Manifest[] = [
    { apiVersion: "v1", kind: "Namespace", metadata: { name } },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "squatter", namespace: name },
      spec: {
        type: "NodePort",
        selector: { app: "none" },
        ports: [{ port: 80, protocol: "TCP", nodePort: PORT }],
      },
    },
  ];
  try {
    await applyTo(edge, squatter);
    const { code, output } = await typeMake([`preflight-${edge.id}`], {
      INGRESS: "nginx",
      HTTP_NODE_PORT: String(PORT),
    });
    assert.equal(code, 4, output);
    assert.match(output, new RegExp(`taken: ${PORT} by ${name}/squatter`));
  } finally {
    await kubectl(["delete", "namespace", name, "--ignore-not-found"], { cluster: edge });
  }
});
