import assert from "node:assert/strict";
import { tellRetries } from "../../../lib/kube/kubectl_error.ts";
import { replicasOf } from "../../../scripts/components/longhorn/state.ts";
import { ways } from "../../support/ways.ts";

Deno.test("A32: replicasOf() waits for an API server that is away for half a minute", async () => {
  const nodes = { resource: "nodes", responseKind: { kind: "Node" }, verbs: ["list"] };
  const core = { metadata: { name: "" }, versions: [{ version: "v1", resources: [nodes] }] };
  let isAway = true;
  await using fake = await ways("", (path) => {
    if (isAway) return new Response("connection refused", { status: 502 });
    if (path === "/api") return Response.json({ items: [core] });
    return Response.json({ items: path === "/apis" ? [] : [{ spec: {} }] });
  });
  const { now } = Date;
  tellRetries(() => {
    isAway = false;
    Date.now = () => now() + 30_000;
  });
  try {
    assert.equal(await replicasOf(fake.cluster), 1);
  } finally {
    Date.now = now;
    tellRetries(() => {});
  }
});
