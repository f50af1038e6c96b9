import assert from "node:assert/strict";
import { DeployError } from "../../../lib/core/error.ts";
import { refuseDuplicates } from "../../../lib/render/render.ts";
import type { Manifest } from "../../../lib/core/object.ts";

function deployment(container: Record<string, unknown>): Manifest {
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "d", namespace: "n" },
    spec: { template: { spec: { containers: [{ name: "c", ...container }] } } },
  };
}

function refusal(object: Manifest): string[] {
  try {
    refuseDuplicates([object]);
    return [];
  } catch (error) {
    assert.ok(error instanceof DeployError);
    assert.equal(error.exitCode, 2);
    return error.where;
  }
}

const PATH = "Deployment/n/d  spec.template.spec.containers[c]";

Deno.test("A37: refuseDuplicates() names container and key of what server-side apply would refuse", () => {
  const env = [{ name: "A", value: "1" }, { name: "B" }, { name: "A", value: "2" }];
  assert.deepEqual(refusal(deployment({ env })), [`${PATH}.env: A twice`]);
  const ports = [{ containerPort: 80 }, { containerPort: 80, protocol: "TCP", name: "web" }];
  assert.deepEqual(refusal(deployment({ ports })), [`${PATH}.ports: 80/TCP twice`]);
  const mounts = [{ name: "a", mountPath: "/x" }, { name: "b", mountPath: "/x" }];
  assert.deepEqual(refusal(deployment({ volumeMounts: mounts })), [
    `${PATH}.volumeMounts: /x twice`,
  ]);
});

Deno.test("refuseDuplicates() lets one port number pass for two protocols, and lists of other things", () => {
  const ports = [{ containerPort: 53, protocol: "UDP" }, { containerPort: 53, protocol: "TCP" }];
  assert.deepEqual(refusal(deployment({ ports, args: ["--x", "--x"] })), []);
});
