// docs/host.md says what a host must have: as much as the rendered pods and claims ask for.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { projectPath } from "../../lib/core/cluster.ts";
import { claimsOf, demandsOf } from "../../scripts/checks/room.ts";
import { type Rendered, renderedFleet } from "../support/rendered_fixture.ts";

/** One node whose cores count nothing, so that Longhorn's share of them is none. */
const NODE = { nodes: ["host"], pods: 0, cpu: 0, memory: 0 };

const GI = 2 ** 30;

/** The same with limits for requests, where there are any; also of the operator's reloader. */
function atLimits<T>(value: T): T {
  return JSON.parse(JSON.stringify(value, (_, one) => {
    if (typeof one === "string") {
      return one.replace(
        /^(--config-reloader-memory-)(request|limit)/,
        (_, flag, which) => flag + (which === "limit" ? "request" : "least"),
      );
    }
    return one?.requests && one.limits ? { requests: { ...one.requests, ...one.limits } } : one;
  }));
}

Deno.test("U4: docs/host.md gives the size of a host as the rendered objects do", async () => {
  const page = await readFile(projectPath("docs/host.md"), "utf8");
  const [small, large] = [await renderedFleet(), await renderedFleet({ PROFILE: "fleet" })];
  const rows: [rendered: Rendered[], id: string, role: string][] = [
    [small, "196", "centre"],
    [small, "197", "edge"],
    [large, "196", "centre, `PROFILE=fleet`"],
  ];
  for (const [rendered, id, role] of rows) {
    const own = rendered.filter(({ cluster }) => cluster.id === id);
    const objects = own.flatMap((one) => one.objects);
    const [demands, most] = [objects, atLimits(objects)].map((those) =>
      demandsOf(those, own[0]!.cluster, NODE)
    );
    const sum = (values: Iterable<number>) => [...values].reduce((all, one) => all + one, 0);
    const row = [
      role,
      sum(demands!.map(({ cpu }) => cpu)).toFixed(2),
      ...[demands, most].map((one) =>
        `${(sum(one!.map(({ memory }) => memory)) / GI).toFixed(1)} GiB`
      ),
      `${Math.round(sum(claimsOf(objects).values()) / GI)} GiB`,
    ];
    assert.ok(page.replaceAll(/ +/g, " ").includes(`| ${row.join(" | ")} |`), row.join(" | "));
  }
});
