// Our own rules, as rendered for the centre and an edge: promtool checks them and runs the cases of
// tests/manifests/alerts, and every alert has its section in docs/runbooks.
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "yaml";
import { readBundle } from "../../lib/render/bundle.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { durationSeconds } from "../../lib/core/quantity.ts";
import { fleetAlerts, fleetRules } from "../../scripts/components/thanos/fleet.ts";
import { adaptRules } from "../../scripts/components/prometheus/objects.ts";
import { fixtureCluster } from "../support/cluster_fixture.ts";
import { renderedFleet } from "../support/rendered_fixture.ts";
import { type Group, ownRules, promtoolAccepts, type Rule, rulesOf } from "./promtool.ts";

const root = new URL("../..", import.meta.url).pathname;
/** Series in promtool's notation, and when to look. */
interface Case {
  at: string;
  /** Between two values (1m), and two evaluations; the same for all cases of a rule. */
  every?: string;
  series?: Record<string, string>;
  /** Labels that tell the alert from others of its name. */
  labels?: Record<string, string>;
  /** Sum of a recorded metric; of alerts, how many fire. */
  value?: string;
}

/** Cases by alert or recorded metric. */
type Cases = Record<string, { fires: Case | Case[]; quiet: Case | Case[] }>;

const clusters = new Map([["196", await ownRules("196")], ["197", await ownRules("197")]]);

const own = [...clusters.values()].flatMap(rulesOf);

function nameOf({ alert, record }: Rule): string {
  return alert ?? record!;
}

async function allCases(): Promise<Cases> {
  const folder = join(root, "tests/manifests/alerts");
  const files = await readdir(folder);
  const texts = await Promise.all(files.map((file) => readFile(join(folder, file), "utf8")));
  // Everything is text: 0x5 is no hexadecimal number but five zeros.
  const parsed = texts.map((text) => parse(text, { merge: true, schema: "failsafe" }));
  return Object.assign({}, ...parsed);
}

const cases = await allCases();

function checks(files: Map<string, Group[]>): Promise<void> {
  const contents = [...files].map(([name, groups]): [string, unknown] => [
    `${name}.rules`,
    // The strategy is Thanos' own word, which promtool does not know.
    { groups: groups.map((group) => ({ ...group, partial_response_strategy: undefined })) },
  ]);
  const names = contents.map(([name]) => name);
  return promtoolAccepts(["check", "rules", "--lint=all", "--lint-fatal", ...names], contents);
}

/** Runs the cases of these rules. Each rule is alone in its file: hours pass quickly then. */
function firesAndKeepsQuiet(rules: Rule[]): Promise<void> {
  const names = [...new Set(rules.map(nameOf))].filter((name) => cases[name]);
  const contents = names.flatMap((name): [string, unknown][] => {
    const named = rules.filter((rule) => nameOf(rule) === name);
    return [
      [`${name}.rules`, { groups: [{ name, rules: named }] }],
      [`${name}.test`, {
        rule_files: [`${name}.rules`],
        evaluation_interval: [cases[name]!.fires].flat()[0]!.every ?? "1m",
        tests: promtoolTests(name, cases[name]!),
      }],
    ];
  });
  return promtoolAccepts(["test", "rules", ...names.map((name) => `${name}.test`)], contents);
}

/** Firing alerts are looked up as a metric, so that no text is repeated in a case. */
function promtoolTests(name: string, both: Cases[string]): unknown[] {
  return (["fires", "quiet"] as const).flatMap((kind) =>
    [both[kind]].flat().map(({ at, every = "1m", series = {}, labels = {}, value = "1" }) => {
      const wanted = { alertname: name, alertstate: "firing", ...labels };
      const selector = Object.entries(wanted).map(([key, text]) => `${key}="${text}"`).join(",");
      const recorded = own.some(({ record }) => record === name);
      return {
        name: `${name} ${kind}`,
        interval: every,
        input_series: Object.entries(series).map(([series, values]) => ({ series, values })),
        promql_expr_test: [{
          expr: recorded ? `sum(${name})` : `count(ALERTS{${selector}})`,
          eval_time: at,
          exp_samples: kind === "fires" ? [{ labels: "{}", value: Number(value) }] : [],
        }],
      };
    })
  );
}

for (const [id, files] of clusters) {
  Deno.test(`promtool accepts the own rules of ${id}`, () => checks(files));

  Deno.test(`every own rule of ${id} fires when it should, and only then`, () => {
    return firesAndKeepsQuiet(rulesOf(files));
  });
}

Deno.test("alerts about a paused cluster fire when its pause is over, without a deploy", async () => {
  const central = await fixtureCluster("196");
  const pause = { reason: "", until: "", end: 3600 };
  const fleet = central.fleet.map((peer) => ({ ...peer, pause }));
  const paused = { ...central, fleet };
  const groups = [
    ...fleetAlerts(paused).spec.groups,
    ...parse(fleetRules(paused).data["fleet.yaml"]).groups,
  ];
  const rules: Rule[] = groups.flatMap(({ rules }) => rules);
  const firing = (eval_time: string, value?: number) => ({
    expr: 'count(ALERTS{alertstate="firing"})',
    eval_time,
    exp_samples: value ? [{ labels: "{}", value }] : [],
  });
  const tests = [{
    interval: "1m",
    promql_expr_test: [firing("59m"), firing("71m", rules.length)],
  }];
  await promtoolAccepts(["test", "rules", "paused.test"], [
    ["paused.rules", { groups: [{ name: "paused", rules }] }],
    ["paused.test", { rule_files: ["paused.rules"], evaluation_interval: "1m", tests }],
  ]);
  assert.equal(rules.length, 8);
});

Deno.test("every own rule has a firing and a quiet case, and every case a rule", () => {
  assert.deepEqual(Object.keys(cases).sort(), [...new Set(own.map(nameOf))].sort());
  for (const [name, { fires, quiet }] of Object.entries(cases)) {
    assert.ok([fires].flat().length > 0 && [quiet].flat().length > 0, name);
    for (const { at } of [fires, quiet].flat()) assert.ok(at, name);
  }
});

Deno.test("every own alert links to its runbook under RUNBOOK_URL, and no section is left over", async () => {
  const url = "https://git.example/runbooks";
  const alerts = rulesOf(await ownRules("196", { RUNBOOK_URL: url })).filter(({ alert }) => alert);
  const links = new Set(alerts.map(({ alert, annotations }) => {
    assert.ok(annotations?.runbook_url, `${alert} has no runbook_url`);
    return annotations.runbook_url;
  }));
  const folder = join(root, "docs/runbooks");
  const sections = (await Promise.all((await readdir(folder)).map(async (file) => {
    const text = await readFile(join(folder, file), "utf8");
    return text.match(/^## .*$/gm)!.map((line) => `${url}/${file}#${line.slice(3).toLowerCase()}`);
  }))).flat();
  assert.deepEqual([...links].sort(), sections.sort());
  for (const { alert, annotations } of alerts) {
    assert.ok(annotations!.runbook_url!.endsWith(`#${alert!.toLowerCase()}`), alert);
  }
});

Deno.test("the alerts that the specification names are there, as it wants them", () => {
  const wanted = { ThanosCompactHalted: "5m", PrometheusTSDBWALCorrupted: undefined };
  for (const [name, wait] of Object.entries(wanted)) {
    const rule = own.find(({ alert }) => alert === name);
    assert.deepEqual([rule?.for, rule?.labels?.severity], [wait, "critical"], name);
  }
  assert.match(own.find(({ alert }) => alert === "ThanosQueryGrpcErrorRate")!.expr, /> 0\.01$/);
});

/** The topmost route of Alertmanager. */
function routing(objects: Manifest[]): { group_wait: string } {
  const secret = objects.find(({ kind, data }) => kind === "Secret" && data["alertmanager.yaml"])!;
  return parse(atob(secret.data["alertmanager.yaml"])).route;
}

Deno.test("a lost S3 is known within five minutes", async () => {
  const rule = own.find(({ alert }) => alert === "S3EndpointDown")!;
  const steps = (await renderedFleet()).filter(({ step }) => step === "20-prometheus");
  assert.ok(steps.length > 0);
  for (const { cluster, objects } of steps) {
    const { scrapeInterval, scrapeTimeout, evaluationInterval } = objects.find(({ kind }) =>
      kind === "Prometheus"
    )!.spec;
    // The scrape that fails, its time limit, two evaluations around `for`, Alertmanager's group_wait.
    const seconds = [
      scrapeInterval,
      scrapeTimeout,
      rule.for!,
      evaluationInterval,
      evaluationInterval,
      routing(objects).group_wait,
    ].map(durationSeconds).reduce((sum, one) => sum + one);
    assert.ok(seconds < 300, `${cluster.id}: ${seconds} s`);
  }
});

Deno.test("every label that an own alert speaks of can be there", () => {
  // What an aggregation or a comparison with on() leaves; absent() has only what its selector names.
  for (const { alert, expr, annotations = {} } of own) {
    if (!alert) continue;
    const text = JSON.stringify(annotations);
    const kept = /^(?:histogram_quantile\(0\.\d+, )?sum by \(([^)]*)\)|> on \(([^)]*)\)/.exec(expr);
    if (kept) {
      assert.deepEqual(missing(spokenLabels(text), (kept[1] ?? kept[2])!.split(", ")), [], alert);
    }
    // What stands inside a `with` is left out where the label is missing.
    const always = spokenLabels(
      text.replaceAll(/\{\{ with \$labels\.\w+ \}\}.*?\{\{ (?=else|end)/g, ""),
    );
    for (const [, selector = ""] of expr.matchAll(/\babsent\(\w+(?:\{([^}]*)\})?/g)) {
      const named = [...selector.matchAll(/(\w+)="/g)].map(([, label]) => label!);
      assert.deepEqual(missing(always, named), [], `${alert}: absent() of {${selector}}`);
    }
  }
});

function spokenLabels(text: string): string[] {
  return [...text.matchAll(/\$labels\.(\w+)/g)].map(([, label]) => label!);
}

function missing(wanted: string[], there: string[]): string[] {
  return wanted.filter((one) => !there.includes(one));
}

const mirror = Deno.env.get("UPSTREAM_MIRROR");

Deno.test({
  name:
    "R4: docs/alerts.md lists every default rule that is left out, and no other (needs UPSTREAM_MIRROR)",
  ignore: !mirror,
  async fn() {
    const bundle = await readBundle("kube-prometheus-rules");
    const kept = adaptRules(bundle, await fixtureCluster("196"));
    const groupsOf = (objects: Manifest[]) => objects.flatMap(({ spec }) => spec.groups as Group[]);
    const groups = new Set(groupsOf(kept).map(({ name }) => name));
    const alerts = new Set(groupsOf(kept).flatMap(({ rules }) => rules).map(nameOf));
    const gone = groupsOf(bundle).flatMap(({ name, rules }) =>
      groups.has(name) ? rules.map(nameOf).filter((rule) => !alerts.has(rule)) : [name]
    );
    const page = await readFile(join(root, "docs/alerts.md"), "utf8");
    const listed = [...page.matchAll(/^\| `([\w.-]+)` +\| \w.+\|$/gm)].map(([, name]) => name);
    assert.deepEqual([...new Set(gone)].sort(), listed.sort());
  },
});

Deno.test({
  name: "promtool accepts kube-prometheus' rules as adapted (needs UPSTREAM_MIRROR)",
  ignore: !mirror,
  async fn() {
    const bundle = await readBundle("kube-prometheus-rules");
    for (const scraped of ["false", "true"]) {
      const objects = adaptRules(
        bundle,
        await fixtureCluster("196", { CONTROL_PLANE_METRICS: scraped }),
      );
      const files = new Map(
        objects.map(({ metadata, spec }) => [metadata.name, spec.groups as Group[]]),
      );
      const names = rulesOf(files).map(nameOf);
      for (const name of ["KubePodCrashLooping", "KubeNodeNotReady", "Watchdog"]) {
        assert.ok(names.includes(name), name);
      }
      await checks(files);
    }
  },
});
