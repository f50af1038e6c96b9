// docs/departures.md: what it says of this project is what is rendered.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { number, projectPath, text } from "../../lib/core/cluster.ts";
import { durationSeconds } from "../../lib/core/quantity.ts";
import { fixtureCluster } from "../support/cluster_fixture.ts";
import { renderedFleet } from "../support/rendered_fixture.ts";

const page = await readFile(projectPath("docs/departures.md"), "utf8");
const rows = page.split("\n").filter((line) => line.startsWith("| ")).slice(2);
const central = await fixtureCluster("196");
const objects = (await renderedFleet()).filter(({ cluster }) => cluster.id === "196")
  .flatMap((one) => one.objects);

function find(kind: string, name: string) {
  const object = objects.find((one) => one.kind === kind && one.metadata.name === name);
  assert.ok(object, `${kind} ${name}`);
  return object;
}

Deno.test("U3: every departure says what, how it is here, and why", () => {
  assert.ok(rows.length >= 18);
  for (const row of rows) {
    const [, asked, here, why] = row.split("|").map((cell) => cell.trim());
    assert.ok(asked && here && why, row);
  }
});

Deno.test("U3: what takes a departure back is a setting, with a value that it may have", async () => {
  const wanted = [...page.matchAll(/\| `([A-Z][A-Z_0-9]+)=([^`]+)` +\|$/gm)];
  assert.ok(wanted.length >= 5);
  for (const [, name, value] of wanted) {
    const changed = await fixtureCluster("196", { [name!]: value! });
    assert.equal(String(changed.vars[name!]), value, name);
    assert.notEqual(String(central.vars[name!]), value, name);
  }
});

Deno.test("U3: the departures are what is rendered", async () => {
  const said = (words: string) => assert.ok(page.includes(words), words);
  const { resources } = find("Prometheus", "kube-prometheus-stack-prometheus").spec;
  assert.deepEqual(resources.limits, { cpu: "1", memory: "2Gi" });
  said(`${resources.requests.cpu} of CPU requested`);

  const days = ["LOG_RETENTION", "LOG_SNAPSHOT_RETENTION"]
    .map((name) => durationSeconds(text(central, name)) / 86_400);
  said(`for ${days[0]! + days[1]!} days: ${days[0]} in OpenSearch, ${days[1]} in S3`);

  for (const name of ["fluent-bit", "kube-prometheus-stack-prometheus-node-exporter"]) {
    assert.equal(find("DaemonSet", name).metadata.namespace, "node-agents");
  }
  const search = find("StatefulSet", "opensearch").spec.template.spec.containers[0].resources;
  said(`${search.requests.memory} requested, limit ${search.limits.memory}`);
  assert.equal(number(central, "LONGHORN_REPLICAS"), 2);

  const rules = JSON.stringify(objects.filter(({ kind }) => kind === "PrometheusRule"));
  for (const name of ["thanos_query_concurrent_queries", "PrometheusTSDBWALCorrupted"]) {
    assert.ok(rules.includes(name) && page.includes(name), name);
  }
  const query = find("Deployment", "thanos-query").spec.template.spec.containers[0].args.join(" ");
  assert.doesNotMatch(query, /--store=/);
  const sources = find("ConfigMap", "grafana-datasources").data["datasources.yaml"];
  assert.match(sources, /http:\/\/thanos-frontend:9090/);
  await assert.rejects(fixtureCluster("196", { PROMETHEUS_RETENTION: "1h" }), /1 problem/);
});
