// A bare API server for a test file: started by its import, ended after its last test.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Cluster } from "../../lib/core/cluster.ts";
import { kubectl, useKubectl } from "../../lib/kube/kubectl.ts";
import { type Manifest, OWNER } from "../../lib/core/object.ts";
import { ensureTools } from "../../scripts/tools/tool.ts";
import { Servers, TOOLS } from "../bench/server.ts";
import { fixtureCluster, servedAt } from "../support/cluster_fixture.ts";

// Test files may run side by side in one process.
export const folder = await mkdtemp(join(tmpdir(), "apiserver-"));
const tools = await ensureTools(TOOLS, { say: () => {} });
export const kubectlPath = tools.kubectl!;
useKubectl(kubectlPath);

export const servers = new Servers(folder, tools);

/** Our cluster on the server; `kubeconfig` leads there by another way. */
export async function clusterAt(kubeconfig: string): Promise<Cluster> {
  return servedAt(await fixtureCluster("196", { KUBECONFIG_FILE: kubeconfig }), "127.0.0.1");
}

export const cluster = await clusterAt(servers.kubeconfig);
await servers.start([cluster]);

Deno.test.afterAll(async () => {
  await servers.stop();
  await rm(folder, { recursive: true, force: true });
});

/** An object as it is, with the managers of its fields. */
export async function live(kind: string, name: string, namespace = "default"): Promise<Manifest> {
  const words = ["get", kind, name, "--namespace", namespace, "--show-managed-fields"];
  return JSON.parse(await kubectl([...words, "--output", "json"], { cluster }));
}

/** What a person types. */
export function typed(words: string[], input?: unknown): Promise<string> {
  return kubectl(words, { cluster, ...(input ? { input: JSON.stringify(input) } : {}) });
}

/** A definition of a kind, in these versions (the last is stored), that takes any field. */
export function definitionOf(kind: string, group: string, ...names: string[]): Manifest {
  const plural = `${kind.toLowerCase()}s`;
  const schema = {
    openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
  };
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: "Namespaced",
      names: { kind, plural },
      versions: names.map((name) => (
        { name, served: true, storage: name === names.at(-1), schema }
      )),
    },
  };
}

/** The object with our label, as every object of a step has it. */
export function ours(object: Manifest): Manifest {
  const labels = { ...object.metadata.labels, "app.kubernetes.io/managed-by": OWNER };
  return { ...object, metadata: { ...object.metadata, labels } };
}
