// make status and make alerts over answers in the shape that Thanos Query gives them.
import { parser } from "@prometheus-io/lezer-promql";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { dirname } from "node:path";
import process from "node:process";
import { type Cluster, projectPath } from "../../lib/core/cluster.ts";
import type { DeployError } from "../../lib/core/error.ts";
import { OWNER } from "../../lib/core/object.ts";
import { columnsOf } from "../../lib/io/report.ts";
import { alarmOf, alarmPage, exitCodeOfAlarm } from "../../scripts/operate/alerts.ts";
import { exitCodeOfStatus, fleetStatus, type Health } from "../../scripts/operate/centre/status.ts";
import { atCentre, jsonOf, QUESTIONS } from "../../scripts/operate/centre/questions.ts";
import { statusPage } from "../../scripts/operate/status.ts";
import {
  centreWith,
  fleet,
  fleetOf,
  nameOf,
  NOW,
  partly,
  RULER,
  type Seen,
  sidecarLost,
  WELL,
  without,
} from "../support/centre.ts";
import {
  fakeKubectl,
  fakeProgram,
  FLEET_CONFIG,
  identityReply,
  listOf,
  PROXIES,
  type Reply,
  servingWhile,
} from "../support/fake_kubectl.ts";
import { schemaOf } from "../support/schema.ts";
import { promtoolAccepts } from "../manifests/promtool.ts";

const ALL = { clusters: fleet, paused: [], fleet };
const AT = new Date(NOW * 1000);

async function statusOf(one: Seen): Promise<Health> {
  const [, edge] = fleetOf(3) as [Cluster, Cluster];
  const [status] = await fleetStatus(centreWith({ "197": one }), [edge]);
  return status!;
}

Deno.test("fleetStatus() calls a cluster well only when all that is asked is known and as it should be", async () => {
  const status = await statusOf(WELL);
  assert.equal(status.state, "well");
  assert.deepEqual(
    [status.sampleAge, status.uploadAge, status.logAge, status.alerts, status.look],
    [12, 3600, 61, { critical: 0, warning: 0 }, ""],
  );
  assert.deepEqual(status.volume, { what: "monitoring/data", used: 0.61 });
});

Deno.test("fleetStatus() calls a cluster paused whatever is seen of it, and says why and until when", async () => {
  const pause = { reason: "rack move", until: "2026-12-04", end: Date.now() / 1000 + 60 };
  const [, edge] = fleetOf(3) as [Cluster, Cluster];
  const look = async (end: number, seen: Record<string, Seen>) => {
    const paused = { ...edge, pause: { ...pause, end } };
    const [{ state, look }] = await fleetStatus(centreWith(seen), [paused]) as [Health];
    return [state, look];
  };
  const told = ["paused", "until 2026-12-04: rack move"];
  assert.deepEqual(await look(pause.end, {}), told);
  assert.deepEqual(await look(pause.end, { "197": WELL }), told);
  assert.deepEqual(await look(Date.now() / 1000, {}), ["away", "make verify-197"]);
});

const ALERT = (severity: string): Seen["alerts"] => [["ThanosBlockUploadLagging", severity]];

const CASES: [what: string, change: Seen, state: Health["state"]][] = [
  ["an upload that nobody knows of", { upload: undefined }, "unknown"],
  ["a line that nobody knows of", { line: undefined }, "unknown"],
  ["volumes that nobody knows of", { used: undefined }, "unknown"],
  ["alerts that nobody can see", { isSilent: true }, "unknown"],
  ["an old upload", { upload: NOW - 8401 }, "warn"],
  ["no upload since its sidecar started", { upload: 0 }, "well"],
  ["an old line", { line: NOW - 901 }, "warn"],
  ["no line for hours", { line: 0 }, "warn"],
  ["a full volume", { used: 0.9 }, "warn"],
  ["a certificate that its kubelet renews", { days: 1 }, "well"],
  ["a certificate that nobody knows of", { days: undefined }, "well"],
  ["a warning", { alerts: ALERT("warning") }, "warn"],
  ["a critical alert", { alerts: ALERT("critical") }, "critical"],
  ["an alert of a severity of its own", { alerts: ALERT("page") }, "warn"],
  ["an alert without a severity", { alerts: ALERT("") }, "warn"],
  ["a signal", { alerts: [["InfoInhibitor", "none"], ["Watchdog", "page"]] }, "well"],
  ["an information", { alerts: ALERT("info") }, "well"],
  ["no sample", { sample: undefined, before: NOW - 2460 }, "away"],
];

for (const [what, change, state] of CASES) {
  Deno.test(`fleetStatus() calls a cluster with ${what} ${state}`, async () => {
    const status = await statusOf({ ...WELL, ...change });
    assert.equal(status.state, state);
    const command = change.alerts && state !== "well" ? "make alerts-197" : "make verify-197";
    assert.equal(status.look, state === "well" ? "" : command);
  });
}

Deno.test("fleetStatus() and alarmOf() hear the centre only with the heartbeat of its Ruler, an edge without", async () => {
  const seen: Record<string, Seen> = {
    "196": { ...WELL, ruler: "away" },
    "197": WELL,
    "198": WELL,
  };
  const found = await fleetStatus(centreWith(seen), fleet);
  assert.deepEqual(found.map(({ id, state, alerts }) => [id, state, alerts?.critical]), [
    ["196", "unknown", undefined],
    ["197", "well", 0],
    ["198", "well", 0],
  ]);
  assert.deepEqual((await alarmOf(centreWith(seen), ALL)).unseen, ["196"]);
});

Deno.test("fleetStatus() waits for no line where nobody reads any", async () => {
  const [, edge] = fleetOf(3) as [Cluster, Cluster];
  const cluster = { ...edge, vars: { ...edge.vars, STAND_INS: "fluent-bit" } };
  for (const line of [0, undefined]) {
    const [status] = await fleetStatus(centreWith({ "197": { ...WELL, line } }), [cluster]);
    assert.equal(status!.state, "well");
  }
});

Deno.test("fleetStatus() tells the certificate that ends first, and one of env/ that should be renewed before it", async () => {
  const [, edge] = fleetOf(3) as [Cluster, Cluster];
  const pem = (file: string) => readFile(projectPath(`tests/fixtures/${file}`), "utf8");
  const doorCertificate = { certificate: await pem("grpc-tls/197.crt"), key: "" };
  const centre = centreWith({ "197": { ...WELL, days: 2 } });
  const [first] = await fleetStatus(centre, [{ ...edge, doorCertificate }]);
  const ends = new Date((NOW + 2 * 86400) * 1000).toISOString();
  assert.deepEqual(first!.certificate, { whose: "of a kubelet", ends, soon: false });
  assert.equal(first!.state, "well");
  const [over] = await fleetStatus(centre, [
    { ...edge, doorCertificate, s3Ca: await pem("tls/test-only-expired.pem") },
  ]);
  assert.deepEqual(
    [over!.state, over!.certificate!.whose, over!.certificate!.soon],
    ["warn", "CA of the S3 (S3_CA_FILE)", true],
  );
  const [known] = await fleetStatus(centreWith({ "197": { ...WELL, days: undefined } }), [
    { ...edge, doorCertificate },
  ]);
  assert.match(known!.certificate!.ends, /^2126-/);
});

Deno.test("fleetStatus() asks the centre so often whatever the number of clusters", async () => {
  const counts = [3, 30].map(async (count) => {
    const asked: string[] = [], clusters = fleetOf(count);
    const seen = Object.fromEntries(clusters.map(({ id }) => [id, WELL]));
    await fleetStatus(centreWith({ ...seen, "197": {} }, asked), clusters);
    return asked.length;
  });
  assert.deepEqual(await Promise.all(counts), [7, 7]);
});

Deno.test("fleetStatus() calls none well where one of its questions has no answer or one without the Store, and fails where none has", async () => {
  const seen = { "196": WELL, "197": WELL, "198": WELL }, asked: string[] = [];
  await fleetStatus(centreWith(seen, asked), fleet);
  for (const lacking of [without, partly]) {
    for (const path of asked) {
      const found = await fleetStatus(lacking(path, centreWith(seen)), fleet);
      assert.deepEqual(new Set(found.map(({ state }) => state)), new Set(["unknown"]), path);
      assert.equal(exitCodeOfStatus(found), 11);
    }
  }
  const none = fleetStatus(without(undefined, centreWith(seen)), fleet);
  await assert.rejects(none, { exitCode: 8 });
});

Deno.test("fleetStatus() calls the others well where an edge is away and Query misses its sidecar, and an edge unknown of which a part is missing", async () => {
  const seen = (edge: Seen) => ({ "196": WELL, "197": WELL, "198": edge });
  const statesOf = async (edge: Seen, fleetNow = fleet) =>
    (await fleetStatus(partly(undefined, centreWith(seen(edge)), sidecarLost("198")), fleetNow))
      .map(({ id, state }) => `${id} ${state}`);
  assert.deepEqual(await statesOf({ isSilent: true }), ["198 away", "196 well", "197 well"]);
  assert.deepEqual(await statesOf(WELL), ["198 unknown", "196 well", "197 well"]);
  const pause = { reason: "rack move", until: "2026-12-04", end: Date.now() / 1000 + 60 };
  const paused = [...fleet.slice(0, 2), { ...fleet[2]!, pause }];
  assert.deepEqual(await statesOf({ isSilent: true }, paused), [
    "198 paused",
    "196 well",
    "197 well",
  ]);
});

Deno.test("fleetStatus() calls the others well where nobody tells when one that is away was last seen, and does not say never", async () => {
  const seen = { "196": WELL, "197": WELL, "198": { isSilent: true } }, asked: string[] = [];
  const [never] = await fleetStatus(centreWith(seen, asked), fleet);
  assert.equal(never!.sampleAge, "none");
  const last = asked.find((path) => path.includes("7d"));
  // Its newest samples are on its own disk: the centre says how long Query was in touch with it.
  const question = decodeURIComponent(last!.replaceAll("+", " "));
  assert.match(question, /up\{.*\bor .*grpc_connections\{.*cluster-198-edge/);
  for (const ask of [without(last, centreWith(seen)), partly(last, centreWith(seen))]) {
    const found = await fleetStatus(ask, fleet);
    assert.deepEqual(found.map(({ state }) => state), ["away", "well", "well"]);
    assert.equal(found[0]!.sampleAge, null);
  }
});

/** Thirty clusters, of which four are not well. */
async function thirty(): Promise<Health[]> {
  const clusters = fleetOf(30);
  const seen: Record<string, Seen> = Object.fromEntries(clusters.map(({ id }) => [id, WELL]));
  const lost: Seen["alerts"] = [["ClusterMetricsMissing", "critical", RULER]];
  seen["213"] = { before: NOW - 2460, upload: NOW - 10_860, alerts: lost, isSilent: true };
  seen["204"] = {
    ...WELL,
    upload: NOW - 9060,
    used: 0.914,
    alerts: Array(120).fill(["A", "critical"]),
  };
  seen["196"] = { ...WELL, alerts: [["B", "warning"], ["C", "critical", { edge: nameOf("205") }]] };
  seen["210"] = { ...WELL, line: undefined };
  return await fleetStatus(centreWith(seen), clusters);
}

Deno.test("statusPage() shows the worst first and folds those that are well, in 80 columns", async () => {
  const page = statusPage(await thirty(), { now: AT });
  const [first, title, ...lines] = page.split("\n");
  assert.match(
    first!,
    /^30 clusters: 1 away, 2 critical, 1 warn, 1 unknown, 25 well, at \d\d:\d\d:\d\d$/,
  );
  assert.equal(title, "cluster      state    seen  upload  logs  alerts  disk  cert  look here");
  assert.deepEqual(lines, [
    "213-edge     away     41m   3h01m   -     1c      -     -     make verify-213",
    "204-edge     crit     12s   2h31m   1m    99c     91%   300d  make alerts-204",
    "205-edge     crit     12s   1h00m   1m    1c      61%   300d  make alerts-205",
    "196-central  warn     12s   1h00m   1m    1w      61%   300d  make alerts-196",
    "210-edge     unknown  12s   1h00m   -     0       61%   300d  make verify-210",
    "25 more are well (ARGS=--all)",
  ]);
  for (const line of page.split("\n")) assert.ok(columnsOf(line) <= 80, line);
});

Deno.test("statusPage() folds no six, none with --all, and writes - and bounds for what is not seen", async () => {
  const six = fleetOf(6);
  const seen = Object.fromEntries(six.map(({ id }) => [id, WELL]));
  const all = await fleetStatus(centreWith(seen), six);
  assert.equal(statusPage(all, { now: AT }).split("\n").length, 2 + 6);
  assert.equal(statusPage(await thirty(), { all: true }).split("\n").length, 2 + 30);
  const [edge] = six.slice(1);
  const page = async (one: Seen) =>
    statusPage(await fleetStatus(centreWith({ "197": one }), [edge!]), { now: AT }).split("\n")[2];
  assert.equal(
    await page({ isSilent: true }),
    "197-edge  away   none  -       -     -       -     -     make verify-197",
  );
  assert.equal(
    await page({ ...WELL, upload: 0, line: 0, days: -1 }),
    "197-edge  warn   12s   none    >2h   0       61%   over  make verify-197",
  );
});

Deno.test("statusPage() cuts what is longer than 80 columns, letters of two columns too", async () => {
  const [well] = await fleetStatus(centreWith({ "196": WELL }), [fleetOf(1)[0]!]);
  for (const reason of ["rack move to the other room, ", "랙을 옮깁니다 "]) {
    const look = `until 2026-12-04: ${reason.repeat(9)}`;
    const [first, , line] = statusPage([{ ...well!, state: "paused", look }], { now: AT }).split(
      "\n",
    );
    assert.match(first!, /^1 cluster: 1 paused, at /);
    assert.match(line!, /until 2026-12-04: .*…$/);
    assert.ok(columnsOf(line!) <= 80 && columnsOf(line!) > 77, line);
  }
});

Deno.test("exitCodeOfStatus() is 11 unless all are well or paused", async () => {
  const well = await statusOf(WELL);
  assert.equal(exitCodeOfStatus([well, { ...well, state: "paused" }]), 0);
  for (const state of ["unknown", "warn", "critical", "away"] as const) {
    assert.equal(exitCodeOfStatus([well, { ...well, state }]), 11, state);
  }
});

Deno.test("make status ARGS=--json writes what its schema describes", async () => {
  const isValid = await schemaOf("status");
  const found = JSON.parse(jsonOf("status", { clusters: await thirty() }));
  const wrong = { ...found, clusters: [{ ...found.clusters[0], state: "fine" }] };
  assert.ok(isValid(found), JSON.stringify(isValid.errors));
  assert.equal(isValid(wrong), false);
});

/** A rule as Query gives it: its alerts lack the labels of its cluster. */
function rule(cluster: string, alertname: string, severity: string, more: Record<string, string>) {
  const alert = (activeAt: string, pod: string, state = "firing") => ({
    state,
    activeAt,
    labels: { alertname, severity, pod },
    annotations: {
      summary: `${pod} of ${alertname}`,
      runbook_url: `http://runbooks/#${alertname}`,
    },
  });
  const alerts = [
    alert(new Date((NOW - 600) * 1000).toISOString(), "young"),
    alert(new Date((NOW - 2460) * 1000).toISOString(), "old"),
    alert(new Date((NOW - 9999) * 1000).toISOString(), "waiting", "pending"),
  ];
  return { labels: { cluster, severity, ...more }, alerts };
}

Deno.test("alarmOf() tells each alert once with the oldest's words, whose it is, and where it is silenced", async () => {
  const seen: Record<string, Seen> = {
    "196": { alerts: [["C", "critical", { edge: nameOf("198") }], ["I", "info"]] },
    "197": { alerts: [["W", "warning"]] },
    "198": { alerts: [["M", "critical", RULER]], isSilent: true },
  };
  const rules = [
    rule(nameOf("197"), "W", "warning", {}),
    rule(nameOf("198"), "W", "warning", {}),
    rule(nameOf("198"), "M", "critical", RULER),
    { labels: {} },
  ];
  const asked: string[] = [];
  const alarm = await alarmOf(centreWith(seen, asked, rules), ALL);
  assert.match(asked[1]!, /rules\?type=alert&rule_name%5B%5D=C&rule_name%5B%5D=I&/);
  const silences = (id: string) =>
    `http://grafana.mkube-${id}.miribit.lab:30080/alerting/silences?alertmanager=Alertmanager`;
  assert.deepEqual(alarm.unseen, ["198"]);
  assert.deepEqual(alarm.firing.map(({ alert, cluster, silences }) => [alert, cluster, silences]), [
    ["C", "198", silences("196")],
    ["M", "198", silences("196")],
    ["W", "197", silences("197")],
    ["I", "196", silences("196")],
  ]);
  assert.deepEqual(alarmPage(alarm, NOW * 1000).split("\n"), [
    "198  critical  -    C",
    "198  critical  41m  M",
    "    old of M",
    "    http://runbooks/#M",
    "197  warning   41m  W",
    "    old of W",
    "    http://runbooks/#W",
    "196  info      -    I",
    "198  nobody sees its alerts, no heartbeat arrives: make verify-198",
    `silence those of 198, 196: ${silences("196")}`,
    `silence those of 197: ${silences("197")}`,
  ]);
  const isValid = await schemaOf("alerts");
  assert.ok(isValid(JSON.parse(jsonOf("alerts", alarm))), JSON.stringify(isValid.errors));
  const mute = without(asked.find((path) => path.includes("rules")), centreWith(seen, [], rules));
  assert.deepEqual(
    (await alarmOf(mute, ALL)).firing.map(({ alert, summary }) => [alert, summary]),
    [
      ["C", null],
      ["M", null],
      ["W", null],
      ["I", null],
    ],
  );
  const odd = { "197": { alerts: [["X", "page"], ["Y", ""]] } } satisfies Record<string, Seen>;
  const { firing } = await alarmOf(
    centreWith(odd, [], [rule(nameOf("197"), "X", "page", {})]),
    ALL,
  );
  assert.deepEqual(firing.map(({ alert, severity, summary }) => [alert, severity, summary]), [
    ["Y", "warning", null],
    ["X", "warning", "old of X"],
  ]);
  const lab = fleet.map((one) => ({ ...one, vars: { ...one.vars, STAND_INS: "grafana" } }));
  const own = "http://grafana.mkube-197.miribit.lab:30080/public/runbooks/logs.md#w";
  const served = rule(nameOf("197"), "W", "warning", {});
  for (const { annotations } of served.alerts) annotations.runbook_url = own;
  const page = async (fleet: Cluster[]) =>
    alarmPage(
      await alarmOf(centreWith({ "197": seen["197"]! }, [], [served]), {
        ...ALL,
        clusters: [fleet[1]!],
        fleet,
      }),
      NOW * 1000,
    ).split("\n").slice(2);
  assert.deepEqual(await page(fleet), [`    ${own}`, `silence those of 197: ${silences("197")}`]);
  assert.deepEqual(await page(lab), [
    "    docs/runbooks/logs.md#w",
    "silence those of 197: no page, grafana is a stand-in",
  ]);
  const one = await alarmOf(centreWith(seen, [], rules), { ...ALL, clusters: [fleet[1]!] });
  assert.deepEqual(one.firing.map(({ alert }) => alert), ["W"]);
});

Deno.test("alarmOf() tells what a paused edge sends that is reachable, and misses none that is not", async () => {
  const pause = { reason: "rack move", until: "2026-12-04", end: Date.now() / 1000 + 60 };
  const paused = [{ ...fleet[2]!, pause }];
  const choice = { fleet, clusters: fleet.slice(0, 2), paused };
  const alarm = (edge: Seen) =>
    alarmOf(centreWith({ "196": WELL, "197": WELL, "198": edge }), choice);
  const heard = await alarm({ alerts: ALERT("warning") });
  assert.deepEqual(heard.firing.map(({ cluster }) => cluster), ["198"]);
  assert.deepEqual([heard.unseen, heard.paused, exitCodeOfAlarm(heard)], [[], [], 11]);
  const away = await alarm({ isSilent: true });
  assert.deepEqual([away.unseen, away.paused, exitCodeOfAlarm(away)], [[], ["198"], 0]);
  assert.deepEqual(alarmPage(away).split("\n"), [
    "no alert fires",
    "198  nobody sees its alerts, no heartbeat arrives: it is paused",
  ]);
});

Deno.test("exitCodeOfAlarm() is 11 for a warning, a critical one, and a cluster that nobody sees", async () => {
  const quiet = Object.fromEntries(["196", "197", "198"].map((id) => [id, WELL]));
  const codeOf = async (change: Record<string, Seen>) =>
    exitCodeOfAlarm(await alarmOf(centreWith({ ...quiet, ...change }), ALL));
  assert.equal(await codeOf({}), 0);
  assert.equal(alarmPage({ firing: [], unseen: [], paused: [] }), "no alert fires");
  assert.equal(await codeOf({ "197": { alerts: ALERT("info") } }), 0);
  assert.equal(await codeOf({ "197": { alerts: ALERT("warning") } }), 11);
  assert.equal(await codeOf({ "197": { alerts: ALERT("critical") } }), 11);
  assert.equal(await codeOf({ "197": { alerts: ALERT("page") } }), 11);
  assert.equal(await codeOf({ "197": { alerts: [["Own", "none"]] } }), 0);
  assert.equal(await codeOf({ "197": { isSilent: true } }), 11);
});

Deno.test("atCentre() ends with 5 when the centre is away, and with 3 when its pods run nothing", async () => {
  const away = "Unable to connect to the server: dial tcp 192.168.101.196:8443: no route to host";
  await fakeKubectl([
    { on: "config view", stdout: FLEET_CONFIG },
    { on: "", stderr: away, code: 1 },
  ]);
  await assert.rejects(atCentre(fleet, () => Promise.resolve()), { exitCode: 5 });
  const simulated = fleet.map((one) => ({ ...one, vars: { ...one.vars, SIMULATED_NODES: true } }));
  await assert.rejects(atCentre(simulated, () => Promise.resolve()), {
    exitCode: 3,
    where: ["not shown here (simulated nodes)"],
  });
});

Deno.test("atCentre() ends with 5 when the centre answers and its Thanos Query does not", async () => {
  const calls = await fakeKubectl([
    { on: "config view", stdout: FLEET_CONFIG },
    identityReply("uid-196"),
    PROXIES,
  ]);
  const asking = atCentre(fleet, (ask) => fleetStatus(ask, fleet));
  const ended = assert.rejects(asking, (error: DeployError) => {
    assert.match(error.where.join("\n"), /of thanos-query\n503 no endpoints available/);
    assert.deepEqual([error.exitCode, error.fix], [5, "make verify-196"]);
    return true;
  });
  await servingWhile(ended, calls, () => new Response("no endpoints available", { status: 503 }));
});

/** What was written, in seconds before now, and by whom. */
function writtenBy(...writes: [manager: string, age: number][]): string {
  const [name, namespace] = ["one", "monitoring"];
  return listOf(...writes.map(([manager, age]) => {
    const time = new Date(Date.now() - age * 1000).toISOString();
    const managedFields = [{ manager, operation: "Apply", time }];
    return { kind: "ConfigMap", metadata: { name: name + age, namespace, managedFields } };
  }));
}

/** The three clusters of env/: 197 was deployed and changed since by a person, `edge` is what 198 says. */
function ownAnswers(...edge: Reply[]): Reply[] {
  const kinds = ["deployment.v1.apps", "secret.v1."];
  const known = (id: string, role: string) => ({
    ...identityReply(`uid-${id}`, { id, name: nameOf(id), role, uid: `uid-${id}` }, kinds),
    on: `mkube-${id} get namespace/kube-system`,
  });
  return [
    { on: "config view", stdout: FLEET_CONFIG },
    known("196", "central"),
    known("197", "edge"),
    { on: "mkube-196 get configmap.v1.,", stdout: writtenBy([OWNER, 90_000], [OWNER, 7300]) },
    { on: "mkube-197 get configmap.v1.,", stdout: writtenBy([OWNER, 90_000], ["k9s", 60]) },
    ...edge,
  ];
}

const THREE = { "196": WELL, "197": WELL, "198": WELL };
const GONE: Reply = {
  on: "mkube-198",
  stderr: "Unable to connect to the server: dial tcp 192.168.101.198:8443: no route to host",
  code: 1,
};

/** What is written to stderr meanwhile. */
async function toldBy(work: () => Promise<void>): Promise<string> {
  const { write } = process.stderr, lines: string[] = [];
  process.stderr.write = (line: string | Uint8Array) => lines.push(String(line)) > 0;
  await work().finally(() => process.stderr.write = write);
  return lines.join("");
}

Deno.test("fleetStatus() with deep asks each cluster once when a deploy last changed it, one that is away spoils no other and is not well", async () => {
  const calls = await fakeKubectl(ownAnswers(GONE)), begun = Date.now();
  let found: Health[] = [];
  const told = await toldBy(async () => {
    found = await fleetStatus(centreWith(THREE), fleet, true);
  });
  assert.ok(Date.now() - begun < 60_000);
  assert.deepEqual(found.map(({ id, state, look }) => [id, state, look]), [
    ["198", "unknown", "make verify-198"],
    ["196", "well", ""],
    ["197", "well", ""],
  ]);
  assert.equal(exitCodeOfStatus(found), 11);
  const cells = statusPage(found, { now: AT }).split("\n").slice(1).map((line) => line.split(/ +/));
  assert.deepEqual(cells.map((line) => line[8]), ["changed", "-", "2h01m", "25h"]);
  assert.match(
    told,
    /no answer about the last change of 198: Unable to connect .*no route to host/,
  );
  assert.equal(told.trim().split("\n").length, 1);
  const asked = (await calls()).map(({ args }) => args).filter((args) => /mkube-197/.test(args));
  // Whoever comes first reads the kubeconfig.
  assert.deepEqual(asked.flatMap((args) => / get (\S+)/.exec(args)?.[1] ?? []), [
    "namespace/kube-system",
    "configmap.v1.,deployment.v1.apps",
  ]);
});

Deno.test("fleetStatus() with deep asks no paused cluster, says never of a new one and why of a wrong one, and without it asks none", async () => {
  const wrong = { ...identityReply("u", { id: "9", name: "other", role: "edge", uid: "u" }) };
  const calls = await fakeKubectl(ownAnswers(
    { ...wrong, on: "mkube-198 get namespace/kube-system", times: 1 },
    { ...identityReply("uid-198"), on: "mkube-198 get namespace/kube-system" },
    { on: "mkube-198 get configmap.v1. ", stdout: listOf() },
  ));
  const edge = fleet[2]!;
  const changed = async (one: Cluster, deep: boolean) =>
    (await fleetStatus(centreWith(THREE), [one], deep)).map((one) => [one.state, one.changedAge]);
  assert.deepEqual(await changed(edge, false), [["well", undefined]]);
  const pause = { reason: "rack move", until: "2026-12-04", end: Date.now() / 1000 + 60 };
  assert.deepEqual(await changed({ ...edge, pause }, true), [["paused", null]]);
  assert.deepEqual(await calls(), []);
  const told = await toldBy(async () => {
    assert.deepEqual(await changed(edge, true), [["unknown", null]]);
  });
  assert.match(told, /last change of 198: Refused: this is other, refusing cluster-198-edge/);
  assert.deepEqual(await changed(edge, true), [["well", "none"]]);
});

Deno.test("statusPage() with the column of the last change has 80 columns at most, and cuts no command", async () => {
  const [well] = await fleetStatus(centreWith({ "196": WELL }), [fleetOf(1)[0]!]);
  const widest: Health = {
    ...well!,
    state: "unknown",
    sampleAge: 9 * 3600,
    uploadAge: 9 * 3600,
    logAge: 7100,
    alerts: { critical: 120, warning: 120 },
    volume: { what: "monitoring/data", used: 1 },
    look: "make verify-213",
  };
  const ages = [null, "none", 59, 9 * 3600, 400 * 86_400] as const;
  const page = statusPage(ages.map((changedAge) => ({ ...widest, changedAge })), { now: AT });
  const [title, ...lines] = page.split("\n").slice(1);
  assert.match(title!, / cert changed look here$/);
  assert.deepEqual(lines.map((line) => / (\S+) +make verify-213$/.exec(line)?.[1]), [
    "-",
    "never",
    "59s",
    "9h00m",
    "400d",
  ]);
  for (const line of page.split("\n")) assert.ok(columnsOf(line) <= 80, line);
  const isValid = await schemaOf("status");
  const written = (changedAge: unknown) =>
    JSON.parse(jsonOf("status", { clusters: [{ ...widest, changedAge }] }));
  for (const age of ages) assert.ok(isValid(written(age)), JSON.stringify(isValid.errors));
  assert.equal(isValid(written("never")), false);
});

/** What a server says of the kinds that it has, and of its ConfigMaps. */
const CONFIG_MAPS = {
  items: [{
    metadata: { name: "" },
    versions: [{
      version: "v1",
      resources: [{ resource: "configmaps", responseKind: { kind: "ConfigMap" }, verbs: ["list"] }],
    }],
  }],
};

Deno.test("make status ARGS=--deep asks the clusters, and without it the centre alone", async () => {
  for (const flags of [[], ["--deep"]]) {
    const { program, calls } = await fakeProgram([
      PROXIES,
      ...ownAnswers(GONE),
    ]);
    const query = centreWith(THREE);
    const environment = { ...process.env, KUBECONFIG_FILE: "tests/fixtures/kubeconfig" };
    const command = new Deno.Command(Deno.execPath(), {
      args: ["run", "--frozen", "--allow-all", "scripts/operate/status.ts", "all", "--json"]
        .concat(flags),
      cwd: projectPath("."),
      env: { ...environment, PATH: `${dirname(program)}:${process.env.PATH}` },
    });
    const read: string[] = [], written = JSON.parse(writtenBy([OWNER, 90_000], ["k9s", 60]));
    const { code, stdout, stderr } = await servingWhile(
      command.output(),
      calls,
      async ({ url }, context) => {
        const [, ofQuery] = url.split("/proxy");
        if (ofQuery) return Response.json(await query(ofQuery));
        read.push(context);
        if (context === "mkube-198") return new Response("no route to host", { status: 502 });
        return Response.json(url.includes("/configmaps") ? written : CONFIG_MAPS);
      },
    );
    const said = new TextDecoder().decode(stderr);
    const { clusters } = JSON.parse(new TextDecoder().decode(stdout));
    const ages = clusters.map(({ changedAge }: Health) => changedAge);
    assert.deepEqual([code, ages.length], [flags.length > 0 ? 11 : 0, 3], said);
    assert.equal(ages.filter((age: unknown) => age !== undefined).length, flags.length * 3);
    assert.deepEqual([...new Set(read)].sort(), flags.length > 0 ? ["mkube-196", "mkube-197"] : []);
  }
});

Deno.test("QUESTIONS are PromQL that finds what its name says", async () => {
  for (const expression of Object.values(QUESTIONS)) {
    parser.parse(expression).iterate({ enter: ({ type }) => assert.ok(!type.isError, expression) });
  }
  const docs = "opensearch_indices_docs_primary",
    block = "thanos_objstore_bucket_last_successful_upload_time";
  const used = "kubelet_volume_stats_used_bytes", capacity = "kubelet_volume_stats_capacity_bytes";
  const input_series = Object.entries({
    // Grows until the tenth minute.
    [`${docs}{cluster="a",index="logs-k8s-2026.11.30"}`]: "0+5x10 50x20",
    [`${docs}{cluster="a",index="logs-k8s-2026.11.29"}`]: "70x30",
    [`${docs}{cluster="b",index="logs-k8s-2026.11.29"}`]: "70x30",
    [`${docs}{cluster="b",index=".other"}`]: "0+5x30",
    // The sidecar of a starts anew.
    [`${block}{cluster="a",job="thanos-sidecar",instance="1"}`]: "600x10",
    [`${block}{cluster="a",job="thanos-sidecar",instance="2"}`]: "_x11 0x19",
    [`${block}{cluster="b",job="thanos-sidecar"}`]: "0x30",
    [`${used}{cluster="a",namespace="n",persistentvolumeclaim="p"}`]: "30x30",
    [`${capacity}{cluster="a",namespace="n",persistentvolumeclaim="p"}`]: "100x30",
    'node_filesystem_avail_bytes{cluster="a",instance="i",mountpoint="/",fstype="ext4"}': "20x30",
    'node_filesystem_size_bytes{cluster="a",instance="i",mountpoint="/",fstype="ext4"}': "100x30",
    'node_filesystem_avail_bytes{cluster="a",instance="i",mountpoint="/t",fstype="tmpfs"}': "1x30",
    'node_filesystem_size_bytes{cluster="a",instance="i",mountpoint="/t",fstype="tmpfs"}': "100x30",
    'kubelet_certificate_manager_client_ttl_seconds{cluster="a",node="1"}': "900x30",
    'kubelet_certificate_manager_client_ttl_seconds{cluster="a",node="2"}': "700x30",
    'kubelet_certificate_manager_client_ttl_seconds{cluster="b"}': Array(31).fill("Inf").join(" "),
    'up{cluster="a",job="x"}': "1x30",
    'up{cluster="cluster-197-edge",job="kube-prometheus-stack-prometheus"}': "1x9",
  }).map(([series, values]) => ({ series, values }));
  const wanted: Record<keyof typeof QUESTIONS, [labels: string, value: number][]> = {
    seen: [['{cluster="a"}', 1800]],
    upload: [['{cluster="a"}', 600], ['{cluster="b"}', 0]],
    logs: [['{cluster="a"}', 600], ['{cluster="b"}', 0]],
    disk: [['{cluster="a",instance="i",mountpoint="/"}', 0.8]],
    cert: [['{cluster="a"}', 2500]],
  };
  const found = (expr: string, samples: [labels: string, value: number][]) => ({
    expr,
    eval_time: "30m",
    exp_samples: samples.map(([labels, value]) => ({ labels, value })),
  });
  const asked: string[] = [];
  await fleetStatus(centreWith({}, asked), fleet);
  const before = new URL(asked.at(-1)!, "http://query").searchParams.get("query")!;
  const promql_expr_test = [
    ...Object.entries(wanted).map(([name, samples]) =>
      found(QUESTIONS[name as keyof typeof QUESTIONS], samples)
    ),
    found(before, [['{cluster="cluster-197-edge"}', 540]]),
  ];
  await promtoolAccepts(["test", "rules", "t.yaml"], [["t.yaml", {
    tests: [{ interval: "1m", input_series, promql_expr_test }],
  }]]);
});
