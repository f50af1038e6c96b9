// make report: what it says of made-up fleets, and that its page is one safe file.
import { parser } from "@prometheus-io/lezer-promql";
import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { projectPath } from "../../lib/core/cluster.ts";
import { maskSecrets } from "../../lib/io/report.ts";
import { type Ask, jsonOf, Questions } from "../../scripts/operate/centre/questions.ts";
import { daysLeft, WEEK, weekOf } from "../../scripts/operate/report/facts.ts";
import { lastIn, lookedAt, writeReport } from "../../scripts/operate/report.ts";
import { linked, markup } from "../../scripts/operate/report/html.ts";
import {
  exitCodeOfReport,
  type FleetReport,
  RUNBOOKS,
} from "../../scripts/operate/report/value.ts";
import { promtoolAccepts } from "../manifests/promtool.ts";
import {
  centreWith,
  fleetOf,
  NOW,
  partly,
  REFUSAL,
  type Seen,
  sidecarLost,
  STORE_LOST,
  STORES,
  WELL,
  without,
} from "../support/centre.ts";
import { mondayOf, pageOf, seenOf, weekFrom } from "../support/monday.ts";
import { schemaOf } from "../support/schema.ts";

const AT = "2027-01-08T08:00:00.000Z";

async function isReport(json: string): Promise<void> {
  const isValid = await schemaOf("report", { parts: ["status", "alerts"], strictTypes: false });
  assert.ok(isValid(JSON.parse(json)), JSON.stringify(isValid.errors));
  assert.equal(isValid({ ...JSON.parse(json), todo: [{}] }), false);
}

/** Cells of the table with this name, row by row, as text. */
function rowsOf(page: string, name: string): string[][] {
  const [, table = ""] = page.split(`aria-label="${name}"`);
  const rows = table.slice(0, table.indexOf("</table>")).split("<tr").slice(2);
  return rows.map((row) =>
    [...row.matchAll(/<td[^>]*>([^]*?)<\/td>/g)].map(([, cell]) => cell!.replace(/<[^>]*>/g, ""))
  );
}

Deno.test("the report of three and of thirty clusters is as its schema says, and one file under 500 KB that loads nothing", async () => {
  for (const count of [3, 30]) {
    const report = await mondayOf(seenOf(count));
    await isReport(jsonOf("report", report));
    const page = await pageOf(report);
    assert.ok(new TextEncoder().encode(page).length < 500_000, `${page.length}`);
    assert.match(page, /Content-Security-Policy" content="default-src &#39;none&#39;; style-src/);
    const rest = page.replace(/<a href="(#|http:\/\/grafana)[^"]*">/g, "");
    assert.doesNotMatch(rest, /https?:|\bsrc=|<link|<script|@import|url\(|<iframe|\bon\w+=/);
  }
});

Deno.test("reportOf() says the fleet in a sentence, and what to do with a command, the worst first", async () => {
  const report = await mondayOf(seenOf(30), { drift: [["196", 0], ["197", 12], ["199", 1]] });
  assert.equal(
    report.verdict,
    "25 of 30 clusters are well; 225 away, 197 critical, 205 with warnings, 204 partly unknown, " +
      "208 paused.",
  );
  assert.deepEqual(report.todo.map(({ what, command }) => [what, command]), [
    ["Away: 225", "make verify-225"],
    ["OpenSearchSnapshotStale: 197", "make alerts-197"],
    ["ThanosBlockUploadLagging: 197", "make alerts-197"],
    ["monitoring/opensearch-data-0 is full in 4 days: 197", "make plan-197"],
    ["Wrong: logs: 205", "make verify-205"],
    ["Not all is known: 204", "make verify-204"],
    ["Not as these settings say: 197, 199", "make plan CLUSTER=197,199"],
  ]);
  assert.deepEqual(report.clusters.find(({ state }) => state === "paused")!.wrong, []);
  const calm = await mondayOf({ "196": WELL, "197": WELL, "198": WELL });
  assert.deepEqual([calm.verdict, calm.todo], ["3 of 3 clusters are well.", []]);
  const folds = [...(await pageOf(calm)).matchAll(/<details id="(\w+)"( open)?>/g)];
  assert.deepEqual(folds.filter(([, , open]) => open).map(([, id]) => id), ["clusters"]);
});

Deno.test("reportPage() writes - for what nobody knows, and calls no such cluster well", async () => {
  const report = await mondayOf({
    "196": { isSilent: true, ruler: "away" },
    "197": { isSilent: true },
    "198": { isSilent: true },
  }, { drift: [] });
  assert.ok(report.clusters.every(({ state }) => state === "away"));
  const page = await pageOf(report);
  for (const [, state, seen, ...cells] of rowsOf(page, "Clusters")) {
    assert.deepEqual([state, seen], ["away", "none"]);
    const [look, drift, , ...unknown] = cells.reverse();
    assert.match(look!, /^make verify-\d+$/);
    assert.deepEqual([drift, ...unknown], Array(7).fill("-"));
  }
  assert.match(page, /<h2>Volumes<\/h2> <span>-<\/span>/);
  assert.doesNotMatch(page, /class="good|pill good/);
});

/** Questions about every cluster, without which none is well. */
const COLUMNS = ["seen", "upload", "logs", "disk", "cert", "alerts"];

/** What is not known where a question has no answer: a part of the report, or a column of its clusters. */
const UNKNOWN: Record<
  string,
  keyof FleetReport | keyof FleetReport["clusters"][number] | "nothing"
> = {
  seen: "sampleAge",
  "last seen": "sampleAge",
  upload: "uploadAge",
  logs: "logAge",
  disk: "volume",
  cert: "certificate",
  alerts: "alerts",
  snapshot: "snapshotAge",
  backup: "backupAge",
  volumes: "volumes",
  "alerts of the week": "fired",
  "what alerts mean": "firing",
  "what Query is in touch with": "nothing",
};

Deno.test("reportOf() loses no more than the part of which a question has no answer, and then says why, and nothing is well", async () => {
  const info: Seen = { ...WELL, alerts: [["Info", "info"]], snapshot: NOW - 7, backup: NOW - 8 };
  const calm = { "196": info, "197": { ...info, week: { data: weekFrom(0.1, 0.2) } }, "198": info };
  const found = new Set<string>();
  for (const seen of [calm, seenOf(3)]) {
    const asked: string[] = [];
    const way = (ask: Ask): Ask => (path) => (asked.push(path), ask(path));
    const whole = await mondayOf(seen, { way });
    assert.deepEqual(whole.unknown, []);
    assert.equal(exitCodeOfReport(whole), seen === calm ? 0 : 11);
    for (const path of asked) {
      const report = await mondayOf(seen, { way: (ask) => without(path, ask) });
      const [{ what, cluster, why }] = report.unknown as [FleetReport["unknown"][number]];
      assert.deepEqual([report.unknown.length, cluster, why], [1, "196", REFUSAL], path);
      found.add(what);
      const part = UNKNOWN[what]!;
      const restOf = (of: FleetReport) => ({
        clusters: of.clusters.map(({ state: _, look: __, wrong: ___, ...one }) => ({
          ...one,
          [part]: 0,
        }))
          .sort((one, other) => one.id.localeCompare(other.id)),
        // Whether there is one can be known without its kubelet.
        certificates: what === "cert" ? 0 : of.certificates,
        volumes: part === "volumes" || of.volumes,
        firing: what.includes("alerts") && part !== "fired" || of.firing,
        fired: part === "fired" || of.fired,
      });
      assert.deepEqual(restOf(report), restOf(whole), what);
      for (const one of report.clusters) {
        if (part in one && (what !== "last seen" || one.id === "198")) {
          assert.equal(one[part as keyof typeof one], null, what);
        }
      }
      if (part in report && part !== "firing") {
        assert.equal(report[part as keyof FleetReport], null, what);
      }
      const isStatus = COLUMNS.includes(what);
      assert.ok(!isStatus || report.clusters.every(({ state }) => state !== "well"), what);
      assert.ok(report.verdict.endsWith(`; no answer about ${what}.`), report.verdict);
      assert.equal(exitCodeOfReport(report), 11, what);
      const todo = report.todo.find((one) => one.what === `No answer about ${what}: 196`);
      assert.deepEqual([todo?.why, todo?.command], [REFUSAL, "make verify-196"]);
      const page = await pageOf(report);
      assert.ok(page.includes(`<h3>No answer about ${what}: 196</h3><p>${REFUSAL}</p>`), what);
      const note =
        { volumes: "Volumes", "alerts of the week": "Alerts", cert: "Certificates" }[what];
      if (note && !whole.certificates.some(({ soon }) => soon)) {
        assert.ok(page.includes(`<h2>${note}</h2> <span>-</span>`), what);
      }
      if (what === "alerts") {
        for (const row of rowsOf(page, "Alerts")) assert.equal(row.at(-1), "-");
      }
      await isReport(jsonOf("report", report));
      const { changed } = await mondayOf(seen, { previous: { ...report, at: AT } });
      assert.deepEqual(changed.filter((one) => !one.what.startsWith("Cluster")), [], what);
    }
    await assert.rejects(mondayOf(seen, { way: (ask) => without(undefined, ask) }), {
      exitCode: 8,
    });
  }
  assert.deepEqual([...found].sort(), Object.keys(UNKNOWN).sort());
  const bug = () => () => Promise.reject(new TypeError("a bug"));
  await assert.rejects(mondayOf(calm, { way: bug }), TypeError);
  const drift: [string, { error: unknown }][] = [["197", { error: new Error("no route to host") }]];
  const away = await mondayOf(calm, { drift });
  assert.deepEqual([away.clusters[1]!.drift, exitCodeOfReport(away)], [null, 11]);
  const { what, why, command } = away.todo[0]!;
  assert.deepEqual([what, why, command], [
    "No answer about drift: 197",
    "no route to host",
    "make plan-197",
  ]);
});

Deno.test("reportOf() says of an answer of which the Store had no part what is missing and why, and is not well for it", async () => {
  const info: Seen = { ...WELL, alerts: [["Info", "info"]] };
  const calm = { "196": info, "197": { ...info, week: { data: weekFrom(0.1, 0.2) } }, "198": info };
  const found = new Set<string>();
  for (const seen of [calm, seenOf(3)]) {
    const asked: string[] = [];
    const whole = await mondayOf(seen, { way: (ask) => (path) => (asked.push(path), ask(path)) });
    for (const path of asked) {
      const report = await mondayOf(seen, { way: (ask) => partly(path, ask) });
      const [{ what }] = report.unknown as [FleetReport["unknown"][number]];
      assert.deepEqual(report.unknown, [{ cluster: "196", what, why: STORE_LOST }], path);
      const of = what.replace(/^part of /, "");
      found.add(of);
      assert.deepEqual(
        [report.volumes, report.fired, report.firing, report.certificates],
        [whole.volumes, whole.fired, whole.firing, whole.certificates],
      );
      assert.equal(report.clusters.every(({ state }) => state !== "well"), COLUMNS.includes(of));
      assert.ok(report.verdict.endsWith(`; no answer about part of ${of}.`), report.verdict);
      assert.equal(exitCodeOfReport(report), 11, of);
      const page = await pageOf(report);
      assert.ok(page.includes(`<h3>No answer about part of ${of}: 196</h3><p>${STORE_LOST}</p>`));
      const part = { volumes: "Volumes", "alerts of the week": "Alerts", cert: "Certificates" }[of];
      const told = `, as far as known</span></summary>\n<p>Part of it is not known: ${STORE_LOST}`;
      assert.equal(page.includes(told), part !== undefined, of);
      if (part) assert.match(page, new RegExp(`<h2>${part}</h2> <span>.*, as far as known</span>`));
      await isReport(jsonOf("report", report));
    }
  }
  assert.deepEqual([...found].sort(), Object.keys(UNKNOWN).sort());
  const { todo } = await mondayOf(calm, { way: (ask) => partly(undefined, ask) });
  assert.deepEqual(todo.map(({ what, command }) => [what, command]), [
    [
      "No answer about part of seen, part of upload, part of logs and 9 more: 196",
      "make verify-196",
    ],
    ["Not all is known: 196, 197, 198", "make verify CLUSTER=196,197,198"],
  ]);
});

Deno.test("reportOf() misses the sidecar of an edge in an answer only where it should be there", async () => {
  const calm = { "196": WELL, "197": WELL, "198": WELL }, why = sidecarLost("198");
  const way = (ask: Ask): Ask => (path) =>
    partly(path.includes("longhorn") ? path : "", ask, why)(path);
  const report = await mondayOf(calm, { way });
  assert.deepEqual(report.unknown, [{ cluster: "198", what: "part of backup", why }]);
  assert.deepEqual([report.todo[0]!.command, exitCodeOfReport(report)], ["make verify-198", 11]);
  const all = (ask: Ask) => partly(undefined, ask, why);
  const away = await mondayOf({ ...calm, "198": { isSilent: true, before: NOW - 60 } }, {
    way: all,
  });
  assert.deepEqual([away.unknown, away.todo.map(({ what }) => what)], [[], ["Away: 198"]]);
  const paused = await mondayOf({ ...calm, "198": { isSilent: true } }, { way: all, paused: 2 });
  assert.deepEqual([paused.unknown, paused.todo, exitCodeOfReport(paused)], [[], [], 0]);
});

Deno.test("reportOf() knows only a part of the week where Query has lost the Store, of which it warns nobody", async () => {
  const way = (ask: Ask): Ask => async <T>(path: string) =>
    path === "/api/v1/stores" ? { data: { ...STORES, store: [] } as T } : await ask<T>(path);
  const report = await mondayOf({ "196": WELL, "197": WELL, "198": WELL }, { way });
  const why = "store: 0 of 1 shards connected";
  assert.deepEqual(report.unknown, [
    { cluster: "196", what: "part of volumes", why },
    { cluster: "196", what: "part of alerts of the week", why },
  ]);
  assert.ok(report.clusters.every(({ state }) => state === "well"));
  assert.deepEqual(report.todo.map(({ what }) => what), [
    "No answer about part of volumes, part of alerts of the week: 196",
  ]);
  assert.equal(exitCodeOfReport(report), 11);
  assert.equal((await pageOf(report)).split(`<p>Part of it is not known: ${why}</p>`).length, 3);
});

Deno.test("lookedAt() leaves out the drift of what is paused, though it is named, and of what lacks secrets, which the page says and is no trouble", async () => {
  const [well, bare, away] = fleetOf(3).map((one) => ({ ...one, missing: [] as string[] }));
  const pause = { reason: "rack move", until: "2027-01-20", end: Date.now() / 1000 + 60 };
  const clusters = [well!, { ...bare!, missing: ["S3_ACCESS_KEY"] }, { ...away!, pause }];
  const { planned, unasked } = lookedAt(clusters);
  assert.deepEqual([planned, unasked], [[well], ["197"]]);
  const seen = { "196": WELL, "197": WELL, "198": { isSilent: true } };
  const report = await mondayOf(seen, { drift: [["196", 0]], unasked, paused: 2 });
  assert.deepEqual([report.unknown, report.todo, exitCodeOfReport(report)], [[], [], 0]);
  assert.match(await pageOf(report), /<p>Drift is not looked at without the secrets: 197<\/p>/);
  assert.doesNotMatch(await pageOf({ ...report, unasked: [] }), /without the secrets/);
});

Deno.test("every red cell leads to a runbook, or to the part of the page that says more", async () => {
  const page = await pageOf(await mondayOf(seenOf(30)));
  const red = [...page.matchAll(/<td [^>]*class="(?:number)? ?bad">([^]*?)<\/td>/g)]
    .map(([, cell]) => cell!);
  assert.ok(red.length > 6);
  for (const cell of red) assert.match(cell, /^<a href="(http:.*\/public\/runbooks\/\w+\.md|#\w+)/);
  for (const place of Object.values(RUNBOOKS)) {
    const [file, anchor] = place.split("#") as [string, string?];
    const text = await readFile(projectPath(`docs/runbooks/${file}`), "utf8");
    assert.ok(!anchor || new RegExp(`^## ${anchor}$`, "im").test(text), place);
  }
});

Deno.test("markup`` escapes what others wrote, and links to pages only", async () => {
  const nasty = `"><img src=x onerror=alert(1)><script>alert('x')</script>&amp;`;
  const seen = seenOf(3);
  seen["197"] = { ...seen["197"], alerts: [[nasty, "warning"]], week: { [nasty]: weekFrom(0, 1) } };
  const page = await pageOf(await mondayOf(seen, { summary: nasty }));
  assert.doesNotMatch(page, /<img|<script|onerror=alert\(1\)>/);
  assert.ok(page.split("&#60;img src=x onerror=alert(1)&#62;").length > 4);
  assert.equal(markup`${[1, false, undefined, "<"]}`.text, "1&#60;");
  for (const to of ["javascript:alert(1)", "file:///etc", " http://x", "", null]) {
    assert.equal(linked("a", to), "a");
  }
});

Deno.test("no secret is in the page or its JSON, whichever way it is written there", async () => {
  const secret = `s3cr3t<&"'word`;
  maskSecrets([secret]);
  const report = await mondayOf(seenOf(3), { summary: `S3 refuses ${secret} today` });
  for (const text of [await pageOf(report), jsonOf("report", report)]) {
    assert.match(text, /S3 refuses \*\*\* today/);
    assert.doesNotMatch(text, /s3cr3t/);
  }
});

Deno.test("weekOf() asks so often whatever the number of clusters, and knows none that was not chosen", async () => {
  const asked: string[] = [], clusters = fleetOf(30), ask = centreWith(seenOf(30), asked);
  const week = await weekOf(new Questions(ask, clusters), clusters.slice(0, 2));
  assert.equal(asked.length, 5);
  const long = asked.filter((path) => path.includes("max_source_resolution=5m"));
  assert.deepEqual(long, asked.filter((path) => path.includes("7d")));
  assert.deepEqual([...new Set(week.volumes!.map(({ cluster }) => cluster))].sort(), [
    "196",
    "197",
  ]);
  assert.deepEqual(week.volumes![0]!.what, "monitoring/opensearch-data-0");
  assert.deepEqual(week.fired!.map(({ alert, hours }) => [alert, hours]), [
    ["KubePodCrashLooping", 121],
    ["OpenSearchSnapshotStale", 40.2],
  ]);
});

const PACES: [
  what: string,
  from: number,
  to: number,
  days: number,
  left: number | "none" | null,
][] = [
  ["grows", 0.3, 0.64, 7, 7],
  ["is full", 0.93, 1, 7, 0],
  ["hardly grows", 0.5, 0.501, 7, "none"],
  ["stays", 0.5, 0.5, 7, "none"],
  ["shrinks", 0.9, 0.8, 7, "none"],
  ["is a day old", 0.1, 0.6, 1, null],
];

for (const [what, from, to, days, left] of PACES) {
  Deno.test(`daysLeft() says ${left} of a volume that ${what}`, () => {
    assert.equal(daysLeft(weekFrom(from, to, days)), left);
  });
}

Deno.test("reportOf() tells what began, ended or is new since the last report, but no drift that one did not see", async () => {
  const before = await mondayOf(seenOf(3), { drift: [["196", 0], ["197", 0]] });
  const seen: Record<string, Seen> = { ...seenOf(3), "197": WELL };
  const now = { previous: { ...before, at: AT }, drift: [["196", 3]] as [string, number][] };
  const { since, changed } = await mondayOf(seen, now);
  assert.equal(since, AT);
  assert.deepEqual(changed.map(({ what, before, now }) => [what, before, now]), [
    ["Cluster 197", "critical", "well"],
    ["Drift of 196", "0", "3"],
    ["OpenSearchSnapshotStale on 197", "fires", null],
    ["ThanosBlockUploadLagging on 197", "fires", null],
  ]);
  assert.deepEqual((await mondayOf(seenOf(3))).changed, []);
});

Deno.test("writeReport() overwrites nothing, and lastIn() takes the newest report of the same words", async () => {
  const folder = await mkdtemp(join(tmpdir(), "report-"));
  try {
    assert.equal(await lastIn(join(folder, "none"), "all"), undefined);
    const report = await mondayOf(seenOf(3));
    const write = (at: string, of = "all") =>
      writeReport(folder, { ...report, of }, "http://runbooks", new Date(at));
    const path = await write(AT);
    assert.equal(path, join(folder, "fleet-2027-01-08T080000Z.html"));
    await write("2027-01-09T08:00:00Z", "197");
    await assert.rejects(write(AT), { exitCode: 4 });
    await writeFile(join(folder, "fleet-2027-01-10T080000Z.json"), "{");
    assert.equal((await lastIn(folder, "all"))!.at, AT);
    assert.equal((await lastIn(folder, "edges"))?.at, undefined);
    assert.equal((await readdir(folder)).length, 5);
    assert.match(await readFile(path, "utf8"), /^<!DOCTYPE html>[^]*<\/html>\n$/);
  } finally {
    await rm(folder, { recursive: true });
  }
});

Deno.test("WEEK is PromQL that finds what its names say", async () => {
  for (const expression of Object.values(WEEK)) {
    parser.parse(expression).iterate({ enter: ({ type }) => assert.ok(!type.isError, expression) });
  }
  const stats = "opensearch_snapshot_stats_latest_snapshot_timestamp_seconds";
  const input_series = Object.entries({
    // Two of one name are one; the other half of the time it only waits.
    'ALERTS{alertstate="firing",cluster="a",alertname="A",severity="warning",pod="1"}': "1x18 _x18",
    'ALERTS{alertstate="firing",cluster="a",alertname="A",severity="warning",pod="2"}': "1x6 _x30",
    'ALERTS{alertstate="pending",cluster="a",alertname="A",severity="warning",pod="1"}':
      "_x18 1x18",
    'ALERTS{alertstate="firing",cluster="a",alertname="Watchdog",severity="none"}': "1x36",
    [`${stats}{cluster="a",repository="opensearch-logs",node="1"}`]: "600x36",
    [`${stats}{cluster="a",repository="other"}`]: "900x36",
    'longhorn_chosen_volume_last_backup_at{cluster="a",volume="1"}': "700x36",
    'longhorn_chosen_volume_last_backup_at{cluster="a",volume="2"}': "300x36",
    'kubelet_volume_stats_used_bytes{cluster="a",namespace="n",persistentvolumeclaim="p"}': "30x36",
    'kubelet_volume_stats_capacity_bytes{cluster="a",namespace="n",persistentvolumeclaim="p"}':
      "100x36",
  }).map(([series, values]) => ({ series, values }));
  const found = (expr: string, labels: string, value: number) => ({
    expr,
    eval_time: "3h",
    exp_samples: [{ labels, value }],
  });
  const promql_expr_test = [
    // 19 looks of five minutes each.
    found(WEEK.hours, '{alertname="A",cluster="a",severity="warning"}', 19 / 12),
    found(WEEK.snapshots, '{cluster="a"}', 600),
    found(WEEK.backups, '{cluster="a"}', 300),
    found(
      `max_over_time(${WEEK.volumes})`,
      '{cluster="a",namespace="n",persistentvolumeclaim="p"}',
      0.3,
    ),
  ];
  await promtoolAccepts(["test", "rules", "t.yaml"], [["t.yaml", {
    tests: [{ interval: "5m", input_series, promql_expr_test }],
  }]]);
});
