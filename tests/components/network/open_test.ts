import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { parse } from "yaml";
import { SETTINGS } from "../../../lib/config/schema.ts";
import { openDoors } from "../../../lib/cli/deploy.ts";
import { STEPS } from "../../../scripts/steps.ts";
import { fixtureFleet } from "../../support/cluster_fixture.ts";
import { podOf } from "../../support/pod_security.ts";
import { renderedFleet } from "../../support/rendered_fixture.ts";

/** What is told of the fleet with these settings on top. */
async function told(
  settings: Record<string, string | number | boolean> = {},
): Promise<string> {
  const fleet = await fixtureFleet();
  return openDoors(fleet.map((cluster) => (
    {
      cluster: { ...cluster, vars: { ...cluster.vars, ...settings } },
      steps: STEPS,
    }
  )));
}

Deno.test("X7: what stands open is told in one short list, each with what closes it", async () => {
  const lines = (await told()).split("\n");
  assert.equal(lines.length, 9);
  assert.match(lines[0]!, /^open on +to whoever reaches it +closed by$/);
  const all = lines.join("\n");
  assert.match(all, /^196, 197, 198 +port 9100 of every node.* firewall/m);
  assert.match(all, /^197, 198 +port 30901: .* THANOS_GRPC_MTLS=true/m);
  assert.match(all, /^196 +the page of Thanos Query: .* THANOS_UI_AUTH=true/m);
});

for (
  const [setting, value, closed] of [
    ["THANOS_GRPC_MTLS", true, [/port 30901/]],
    ["THANOS_UI_AUTH", true, [/page of Thanos Query/]],
    ["ADMIN_CIDR", "10.1.0.0/16", [/page of Thanos Query/]],
    ["INGRESS_TLS", true, [/passwords/]],
    ["STORAGE", "existing", [/Longhorn/]],
    ["NETWORK_POLICIES", true, [
      /Prometheus/,
      /Thanos Query, Store/,
      /OpenSearch/,
      /port 30901/,
    ]],
  ] as const
) {
  Deno.test(`X7: ${setting}=${value} takes what it closes from the list, and nothing else`, async () => {
    const rows = (await told()).split("\n");
    // Columns are as wide as what is in them.
    const squeezed = (all: string[]) => all.map((row) => row.replace(/ {2,}/g, "  "));
    const left = rows.filter((row) => !closed.some((one) => one.test(row.split(/ {2,}/)[1]!)));
    assert.equal(left.length, rows.length - closed.length);
    assert.deepEqual(
      squeezed((await told({ [setting]: value })).split("\n")),
      squeezed(left),
    );
  });
}

Deno.test("P6: with several nodes a policy does not close the sidecar's door, and the list says so", async () => {
  const several = { NODE_NETWORKS: "192.168.101.0/29", NETWORK_POLICIES: true };
  assert.match(
    await told(several),
    /port 30901: every metric of the edge +THANOS_GRPC_MTLS=true$/m,
  );
  assert.doesNotMatch(await told({ ...several, THANOS_GRPC_MTLS: true }), /30901/);
});

Deno.test("X7: every port that our objects open on a node is told, and docs/doors.md has each row", async () => {
  const list = await told();
  const rendered = await renderedFleet();
  const ports = rendered.flatMap(({ objects }) => objects).flatMap((object) => {
    const containers: { ports?: { hostPort?: number }[] }[] = podOf(object)?.containers ?? [];
    return [
      ...(object.kind === "Service" ? object.spec.ports ?? [] : []).map((
        { nodePort }: { nodePort?: number },
      ) => nodePort),
      ...containers.flatMap(({ ports = [] }) => ports.map(({ hostPort }) => hostPort)),
    ].filter((port) => port !== undefined);
  });
  assert.deepEqual([...new Set(ports)].sort(), [30080, 30443, 30901, 9100]);
  for (const port of ports) assert.match(list, new RegExp(`\\b${port}\\b`));
  const docs = await readFile(
    new URL("../../../docs/doors.md", import.meta.url),
    "utf8",
  );
  for (const row of list.split("\n").slice(1)) {
    assert.ok(docs.includes(`| ${row.split(/ {2,}/)[1]} `), row);
  }
});

Deno.test("manifests/doors.yaml names settings and steps that there are", async () => {
  const path = new URL("../../../manifests/doors.yaml", import.meta.url);
  const { doors } = parse(await readFile(path, "utf8")).spec;
  for (const { step, when = {} } of doors) {
    assert.ok(STEPS.some(({ name, opens }) => name === step && opens), step);
    for (const name of Object.keys(when)) assert.ok(name in SETTINGS, name);
  }
});
