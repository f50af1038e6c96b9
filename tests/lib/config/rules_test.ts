// env/rules.json: every row holds what it says, and names settings that there are; and a rule beside it.
import assert from "node:assert/strict";
import rules from "../../../env/rules.json" with { type: "json" };
import { clusterProblems } from "../../../lib/config/rules.ts";
import { SETTINGS } from "../../../lib/config/schema.ts";
import type { Vars } from "../../../lib/core/cluster.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";

/** By the first words of its reason: settings that break a row, and such that are as near and fine. */
const CASES: Record<string, { broken: Vars; fine: Vars }> = {
  "the centre watches": {
    broken: { PAUSED: "rack move", PAUSED_UNTIL: "2099-12-31", CLUSTER_ROLE: "central" },
    fine: { PAUSED: "rack move", PAUSED_UNTIL: "2099-12-31" },
  },
  "the centre does not dial": {
    broken: { SIDECAR_ADDRESS: "vpn.lab:30901", CLUSTER_ROLE: "central" },
    fine: { SIDECAR_ADDRESS: "vpn.lab:30901" },
  },
  "two nodes lose": { broken: { OPENSEARCH_NODES: 2 }, fine: { OPENSEARCH_NODES: 12 } },
  "Longhorn makes": {
    broken: { STORAGE_CLASS: "longhorn-fast" },
    fine: { STORAGE_CLASS: "fast", STORAGE: "existing" },
  },
  "ingress-nginx has": { broken: { INGRESS: "nginx" }, fine: { INGRESS: "traefik" } },
  "programs replaced": { broken: { STAND_INS: "grafana" }, fine: { STAND_INS: "" } },
  "the default is public": {
    broken: { GRAFANA_ADMIN_PASSWORD: "prom-operator" },
    fine: { GRAFANA_ADMIN_PASSWORD: "prom-operator-2" },
  },
  "alerts are sent nowhere": {
    broken: { ALERT_WEBHOOK_URL: "" },
    fine: { ALERT_WEBHOOK_URL: "https://x" },
  },
};

const { vars, sources } = await fixtureCluster("197");

function found(change: Vars): { problems: string[]; warnings: string[] } {
  const about = { id: "197", file: "env/cluster-197.env", secretFile: "", warnings: [], sources };
  return clusterProblems({
    ...about,
    vars: { ...vars, ...change },
    bad: new Set(),
    missing: new Map(),
  });
}

for (const [list, told] of [["refused", "problems"], ["warned", "warnings"]] as const) {
  for (const { because } of rules[list]) {
    Deno.test(`env/rules.json, ${list}: ${because.slice(0, 60)}`, () => {
      const [, { broken, fine }] = Object.entries(CASES).find(([words]) =>
        because.startsWith(words)
      )!;
      const lines = (change: Vars) => found(change)[told].filter((line) => line.includes(because));
      assert.equal(lines(broken).length, 1);
      assert.deepEqual(lines(fine), []);
    });
  }
}

Deno.test("doors that answer on every node are not closed by ADMIN_CIDR", () => {
  const lines = (ADMIN_CIDR: string) =>
    found({ ADMIN_CIDR, NODE_NETWORKS: "10.2.0.0/24" }).problems
      .filter((line) => line.includes("doors that answer on every node"));
  assert.equal(lines("10.1.0.0/16").length, 1);
  assert.deepEqual(lines("10.1.0.0/16,0.0.0.0/0"), []);
});

Deno.test("env/rules.json names settings that there are, and the default that is public", () => {
  const names = [...rules.refused, ...rules.warned].flatMap(({ when }) => Object.keys(when))
    .concat(Object.keys(rules.unique), Object.keys(rules.equal));
  assert.deepEqual(names.filter((name) => !(name in SETTINGS)), []);
  assert.match(String(SETTINGS.GRAFANA_ADMIN_PASSWORD!.default), /^prom-operator$/);
});
