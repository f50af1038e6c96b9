// What a centre over many clusters runs with: the flags of its settings, the profile and docs/fleet.md.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { $ } from "zx";
import { projectPath } from "../../../lib/core/cluster.ts";
import { DeployError } from "../../../lib/core/error.ts";
import { SETTINGS } from "../../../lib/config/schema.ts";
import { thanos } from "../../../scripts/30-thanos.ts";
import { ensureTools } from "../../../scripts/tools/tool.ts";
import { fixtureCluster, fixtureFleet } from "../../support/cluster_fixture.ts";
import { renderedFleet } from "../../support/rendered_fixture.ts";
import { wordsOf } from "../../support/thanos.ts";

const programs = await ensureTools(["thanos"]).catch((error) => {
  if (!(error instanceof DeployError)) throw error;
});

/** Words of each program of the centre, by the first of them. */
async function wordsWith(environment: Record<string, string>): Promise<Map<string, string[]>> {
  return wordsOf(await thanos.objects(await fixtureCluster("196", environment)));
}

/** What the settings take from a program's words, and what they add. */
async function changes(program: string, environment: Record<string, string>) {
  const [before, after] = [await wordsWith({}), await wordsWith(environment)];
  const without = (all: string[], others: string[]) => all.filter((one) => !others.includes(one));
  const [old, now] = [before.get(program)!, after.get(program)!];
  return { gone: without(old, now), come: without(now, old) };
}

Deno.test("P10: 30-thanos limits what one request takes of Store, in the words of its setting", async () => {
  const limit = "--store.limits.request-series=";
  assert.ok((await wordsWith({})).get("store")!.includes(`${limit}1000000`));
  assert.deepEqual(await changes("store", { STORE_MAX_SERIES: "5" }), {
    gone: [`${limit}1000000`],
    come: [`${limit}5`],
  });
});

Deno.test("P10: 30-thanos has the Query Frontend keep labels only where a size is given", async () => {
  assert.ok(!(await wordsWith({})).get("query-frontend")!.join().includes("--labels."));
  assert.deepEqual(await changes("query-frontend", { QUERY_FRONTEND_LABEL_CACHE: "64MB" }), {
    gone: [],
    come: [
      "--labels.response-cache-config=type: IN-MEMORY\nconfig:\n  max_size: 64MB\n  validity: 5m",
    ],
  });
});

Deno.test("30-thanos: lazy headers and a second hand for the Compactor are flags of those who ask", async () => {
  assert.deepEqual(await changes("store", { STORE_LAZY_HEADERS: "true" }), {
    gone: [],
    come: [
      "--store.enable-index-header-lazy-reader",
      "--store.index-header-lazy-download-strategy=lazy",
    ],
  });
  assert.deepEqual(await changes("compact", { COMPACTOR_CONCURRENCY: "2" }), {
    gone: [],
    come: [
      "--compact.concurrency=2",
      "--compact.blocks-fetch-concurrency=2",
      "--downsample.concurrency=2",
    ],
  });
});

/** The lines of the profile. */
async function profile(): Promise<[name: string, value: string][]> {
  const text = await readFile(projectPath("env/profiles/fleet.env"), "utf8");
  return [...text.matchAll(/^(\w+)=(.*)$/gm)].map(([, name, value]) => [name!, value!]);
}

Deno.test("PROFILE=fleet loads and renders for every cluster, and docs/fleet.md has each of its lines", async () => {
  const page = await readFile(projectPath("docs/fleet.md"), "utf8");
  const lines = await profile();
  for (const cluster of await fixtureFleet({ PROFILE: "fleet" })) {
    for (const [name, value] of lines) {
      assert.equal(String(cluster.vars[name]), value);
      const fallback = SETTINGS[name]!.default;
      assert.notEqual(String(fallback), value, `${name} is the default`);
      const row = page.split("\n").find((line) => line.startsWith(`| \`${name}\``));
      const cells = row?.replaceAll("`", "").split("|").map((cell) => cell.trim()) ?? [];
      assert.deepEqual(cells.slice(2, 4), [fallback === "" ? "" : String(fallback), value], name);
    }
  }
  const [plain, rendered] = [await renderedFleet(), await renderedFleet({ PROFILE: "fleet" })];
  for (const [index, { cluster, step, objects }] of rendered.entries()) {
    // An edge restarts nothing.
    if (cluster.role === "edge") assert.deepEqual(objects, plain[index]!.objects, step);
  }
  const shards = rendered.flatMap(({ objects }) => objects)
    .find(({ kind, metadata }) => kind === "StatefulSet" && metadata.name === "thanos-store");
  assert.equal(shards?.spec.replicas, 2);
});

Deno.test({
  name:
    "Thanos takes every word that the centre gives it, by default and with all settings of a large fleet",
  ignore: programs === undefined,
  async fn() {
    const settings: Record<string, string>[] = [{}, {
      PROFILE: "fleet",
      STORE_LAZY_HEADERS: "true",
    }];
    for (const more of settings) {
      for (const [program, words] of await wordsWith(more)) {
        const { exitCode, stderr, stdout } = await $({ quiet: true, nothrow: true })`${
          programs!.thanos
        } ${words} --help`;
        assert.equal(exitCode, 0, `${program}: ${stderr}`);
        assert.match(stdout + stderr, /usage: thanos/i);
      }
    }
    const bad = await $({ quiet: true, nothrow: true })`${programs!.thanos} store --no-such --help`;
    assert.notEqual(bad.exitCode, 0);
  },
});
