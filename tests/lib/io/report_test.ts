import assert from "node:assert/strict";
import { fixtureCluster } from "../../support/cluster_fixture.ts";
import { DeployError } from "../../../lib/core/error.ts";
import {
  columnsOf,
  exitCodeOf,
  masked,
  maskSecrets,
  paint,
  Report,
  table,
} from "../../../lib/io/report.ts";

function lines(prefix = ""): [Report, string[]] {
  const written: string[] = [];
  return [new Report(prefix, (line) => written.push(line)), written];
}

Deno.test("A72: Report masks a secret in every form it can take", () => {
  const value = 'p"a&s s/ö';
  maskSecrets([value]);
  const [report, written] = lines();
  report.say(`${value} ${btoa(String.fromCharCode(...new TextEncoder().encode(value)))}`);
  report.error(
    new DeployError("x", {
      exitCode: 1,
      where: encodeURIComponent(value),
      fix: JSON.stringify(value),
    }),
  );
  assert.ok(!/s s|ö|%22|cCJh/.test(written.join("")), written.join(""));
  assert.match(written.join(""), /\*\*\* \*\*\*/);
});

Deno.test("Report prefixes every line of a cluster, also of long errors", () => {
  const [report, written] = lines("196 | ");
  report.error(new DeployError("Cannot x", { exitCode: 2, where: "a\nb", fix: "make x" }));
  assert.ok(written.every((line) => line.startsWith("196 | ")));
  assert.equal(written.length, 4);
});

Deno.test("Report lists few changes by object and many by kind", () => {
  const [few, short] = lines();
  few.changes([{ id: "Service/n/a", action: "created" }, {
    id: "Service/n/b",
    action: "unchanged",
  }]);
  assert.deepEqual(short, ["    created    Service/n/a\n"]);
  const [many, long] = lines();
  many.changes(
    Array.from({ length: 20 }, (_, index) => ({ id: `Pod/n/${index}`, action: "created" })),
  );
  assert.deepEqual(long, ["    created    20 Pod\n"]);
});

Deno.test("table() counts the columns of a terminal: Korean letters take two, however they are made", () => {
  const rows = [["서버", "x"], ["서버".normalize("NFD"), "x"], ["ab", "x"], ["👍🏽é", "x"], [
    "ﾊﾝ｢",
    "x",
  ]];
  assert.deepEqual(rows.map(([word]) => columnsOf(word!)), [4, 4, 2, 3, 3]);
  assert.equal(table([["서버", "x"], ["ab", "x"]]), "서버  x\nab    x");
});

Deno.test("table() aligns columns", () => {
  assert.equal(table([["a", "bb"], ["ccc", "d"]]), "a    bb\nccc  d");
});

Deno.test("V7: Report.error() puts the context of the cluster into the fix", async () => {
  const lines: string[] = [];
  const error = new DeployError("Cannot x", { exitCode: 7, fix: "kubectl -n a get pods" });
  new Report("", (line) => lines.push(line)).error(error, await fixtureCluster("197"));
  assert.match(lines.join(""), /fix: kubectl --context mkube-197 -n a get pods/);
});

Deno.test("X1: masked() takes whole words only, in every form, whatever escape stands before them", () => {
  maskSecrets(["grafana-pw", "a&b<secret>"]);
  for (
    const text of [
      "grafana-pw",
      "admin:grafana-pw@host",
      "?password=grafana-pw&x",
      "x=%3Dgrafana-pw",
      '{"a":"\\ngrafana-pw\\n"}',
      "it is grafana-pw.",
      "'grafana-pw'",
      "Z3JhZmFuYS1wdw==",
      "a\\u0026b\\u003csecret\\u003e",
    ]
  ) assert.match(masked(text), /\*\*\*/, text);
  for (
    const text of ["my-grafana-pw", "grafana-pwd", "grafana-pw-2", "grafana-pw.svc", "x.grafana-pw"]
  ) {
    assert.equal(masked(text), text);
  }
});

Deno.test("paint() is for a terminal and FORCE_COLOR, and never for NO_COLOR; an empty one says nothing", () => {
  const isPainted = (NO_COLOR: string, FORCE_COLOR: string, isTTY?: boolean) =>
    paint("red", { isTTY }, { NO_COLOR, FORCE_COLOR })("x") === "\x1b[31mx\x1b[0m";
  assert.deepEqual([isPainted("", ""), isPainted("", "", true)], [false, true]);
  assert.deepEqual([isPainted("", "1"), isPainted("", "0")], [true, true]);
  assert.deepEqual([isPainted("1", "1"), isPainted("0", "", true)], [false, false]);
});

Deno.test("a full disk is no bug, whatever met it: exit 3 and the fix", async () => {
  const lines: string[] = [];
  const error = await Deno.writeTextFile("/dev/full", "x").catch((error) => error);
  new Report("", (line) => lines.push(line)).error(error);
  assert.equal(exitCodeOf(error), 3);
  assert.match(lines.join(""), /^Error {2}No space left on device.*\n {2}fix: make room there\n$/);
  assert.equal(exitCodeOf(new Error("x")), 1);
});

Deno.test("of a failure and that of tidying up after it the first says why", () => {
  const [first, second] = [7, 8].map((exitCode) =>
    new DeployError(`Cannot ${exitCode}`, { exitCode })
  );
  const error = new SuppressedError(second, first);
  const lines: string[] = [];
  new Report("", (line) => lines.push(line)).error(error);
  assert.equal(exitCodeOf(error), 7);
  assert.match(lines.join(""), /^Error {2}Cannot 7/);
});
