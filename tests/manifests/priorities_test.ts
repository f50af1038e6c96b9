// Which pods a node that runs short of room sends away first.
import assert from "node:assert/strict";
import type { Manifest } from "../../lib/core/object.ts";
import { renderedFleet } from "../support/rendered_fixture.ts";

/** Names of workloads by the priority of their pods, the highest first; upstream's own classes left out. */
function ranks(objects: Manifest[]): string[][] {
  const values = new Map(
    objects.filter(({ kind }) => kind === "PriorityClass")
      .map(({ metadata, value }) => [metadata.name, value as number]),
  );
  const pods = objects.flatMap(({ kind, metadata, spec }): [string, number][] => {
    const pod = kind === "Prometheus" || kind === "Alertmanager" ? spec : spec?.template?.spec;
    if (!pod || kind === "Job") return [];
    const name = pod.priorityClassName ?? "";
    assert.ok(name === "" || values.has(name), `${metadata.name}: no class ${name} is made`);
    return [[metadata.name, values.get(name) ?? 0]];
  });
  const byValue = Map.groupBy(pods, ([, value]) => value);
  return [...byValue].sort(([a], [b]) => b - a).map(([, those]) =>
    those.map(([name]) => name).sort()
  );
}

Deno.test("P12: what tells people goes last, then what holds data, then what collects it", async () => {
  const rendered = await renderedFleet();
  for (const { cluster, objects } of rendered.filter(({ step }) => step === "20-prometheus")) {
    const own = rendered.filter((one) => one.cluster === cluster).flatMap((one) => one.objects);
    const [first, second, third, rest, ...others] = ranks(own);
    const central = cluster.role === "central";
    assert.deepEqual(first, [
      "kube-prometheus-stack-alertmanager",
      ...central ? ["thanos-query", "thanos-ruler"] : [],
    ]);
    assert.deepEqual(second, [
      "kube-prometheus-stack-prometheus",
      "opensearch",
      ...central ? ["thanos-store"] : [],
    ]);
    assert.deepEqual(third, [
      "fluent-bit",
      "fluent-bit-events",
      "kube-prometheus-stack-prometheus-node-exporter",
    ]);
    assert.ok(rest!.includes("kube-prometheus-stack-grafana"), String(rest));
    assert.deepEqual(others, []);
    assert.ok(objects.some(({ kind }) => kind === "PriorityClass"), "its step makes the classes");
  }
});
