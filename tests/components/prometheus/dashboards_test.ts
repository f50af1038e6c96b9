import { parser } from "@prometheus-io/lezer-promql";
import { Ajv2020 } from "ajv/dist/2020.js";
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "yaml";
import { readBundle } from "../../../lib/render/bundle.ts";
import { type Cluster, projectPath } from "../../../lib/core/cluster.ts";
import { DeployError } from "../../../lib/core/error.ts";
import { idOf, type Manifest } from "../../../lib/core/object.ts";
import { durationSeconds } from "../../../lib/core/quantity.ts";
import { monitors, prometheus } from "../../../scripts/20-prometheus.ts";
import {
  type Dashboard,
  type DashboardSource,
  expand,
  ownDashboards,
  packUpstream,
} from "../../../scripts/components/prometheus/dashboards.ts";
import type { Panel } from "../../../scripts/components/prometheus/panel.ts";
import { fixtureCluster, fixtureFleet } from "../../support/cluster_fixture.ts";
import { HELD, promtoolAccepts } from "../../manifests/promtool.ts";
import {
  concrete,
  expressions,
  expressionsOf,
  MAY_BE_EMPTY,
  sourcesOf,
} from "../../manifests/expressions.ts";

const fleet = await fixtureFleet();
const central = fleet.find(({ role }) => role === "central")!;
const edge = fleet.find(({ role }) => role === "edge")!;
const ROLES = [central, edge];

/** Where the grammar of PromQL breaks in a text, as `12: what stands there`; nothing when it holds. */
function brokenAt(expr: string): string[] {
  const broken: string[] = [];
  parser.parse(expr).iterate({
    enter: ({ type, from }) => {
      if (type.isError) broken.push(`${from}: ${expr.slice(from, from + 30) || "its end"}`);
    },
  });
  return broken;
}

/** The selectors of series in an expression whose only variables outside of strings are times. */
function selectors(expr: string): string[] {
  const timed = expr.replace(/\$__\w+/g, "5m");
  const found: string[] = [];
  parser.parse(timed).iterate({
    enter: ({ name, from, to }) => {
      if (name === "VectorSelector") found.push(timed.slice(from, to));
    },
  });
  return found;
}

/** `dashboard/panel` and panel of everything but titles of rows. */
function panelsOf(dashboards: Dashboard[]): [string, Panel][] {
  return dashboards.flatMap(({ uid, panels }) =>
    panels.filter(({ type }) => type !== "row")
      .map((panel) => [`${uid}/${panel.title}`, panel] as [string, Panel])
  );
}

async function ownOf(cluster: Cluster): Promise<Dashboard[]> {
  return Object.values(await ownDashboards(cluster, monitors(cluster)));
}

function repeated(names: string[]): string[] {
  return names.filter((name, index) => names.indexOf(name) !== index);
}

Deno.test("brokenAt() tells where an expression breaks", () => {
  assert.deepEqual(brokenAt('sum by (job) (rate(up{job="a"}[5m]))'), []);
  assert.deepEqual(brokenAt('sum(up{job="a"}'), ["15: its end"]);
  assert.notDeepEqual(brokenAt("up{job=a}"), []);
});

Deno.test("selectors() finds every series that is asked for", () => {
  const expr = 'sum(rate(a{x="1"}[$__rate_interval])) / b or c{}';
  assert.deepEqual(selectors(expr), ['a{x="1"}', "b", "c{}"]);
});

Deno.test("concrete() fills in times, and leaves groups of a regular expression", () => {
  assert.equal(
    concrete(
      'label_replace(rate(a{b=~"$b",c=~"${c:regex}"}[$__rate_interval]), "d", "$1", "", "")',
    ),
    'label_replace(rate(a{b=~".*",c=~".*"}[5m]), "d", "$1", "", "")',
  );
});

Deno.test("dashboards/*.yaml keep to scripts/components/prometheus/dashboard.schema.json", async () => {
  const schema = JSON.parse(
    await readFile(projectPath("scripts/components/prometheus/dashboard.schema.json"), "utf8"),
  );
  const fits = new Ajv2020({ allErrors: true, strict: false }).compile(schema);
  const manifests = projectPath("manifests");
  const files = (await readdir(manifests, { recursive: true }))
    .filter((name) => /\/dashboards\/[^/]+\.yaml$/.test(name));
  assert.ok(files.length >= 9);
  for (const file of files) {
    const good = fits(parse(await readFile(join(manifests, file), "utf8")));
    assert.ok(good, `${file}: ${JSON.stringify(fits.errors, null, 1)}`);
  }
  assert.ok(!fits({ title: "A", uid: "a-b", about: "without any rows", tilte: "A" }));
});

Deno.test("descriptions name settings that there are", async () => {
  const { properties } = JSON.parse(await readFile(projectPath("env/schema.json"), "utf8"));
  for (const cluster of ROLES) {
    const texts = panelsOf(await ownOf(cluster)).map(([, { description }]) => description);
    const named = [...texts.join(" ").matchAll(/\b[A-Z]+(?:_[A-Z]+)+\b/g)].map(([name]) => name);
    assert.ok(named.length > 5);
    assert.deepEqual(named.filter((name) => !(name in properties)), []);
  }
});

Deno.test("every expression of our dashboards is PromQL", async () => {
  for (const cluster of ROLES) {
    const found = await expressions(cluster);
    assert.ok(found.length > 50);
    const broken = found.flatMap(({ dashboard, panel, expr }) =>
      brokenAt(expr).map((where) => `${dashboard}/${panel}  ${where}  in ${expr}`)
    );
    assert.deepEqual(broken, []);
  }
});

/** Panels of the centre that mean all clusters, whatever is chosen. */
const OF_ALL_CLUSTERS = new Set([
  "clusters/Clusters missing", // compared with the number of env files
]);

Deno.test("every series of our dashboards is selected by the cluster chosen", async () => {
  for (const cluster of ROLES) {
    const loose = panelsOf(await ownOf(cluster))
      .filter(([name]) => !OF_ALL_CLUSTERS.has(name))
      .flatMap(([name, { targets = [] }]) =>
        targets.flatMap(({ expr }) => selectors(expr))
          .filter((selector) => !selector.includes('cluster=~"$cluster"'))
          .map((selector) => `${name}: ${selector}`)
      );
    assert.deepEqual(loose, []);
  }
});

Deno.test("the variable cluster lists clusters at the centre, and matches no label on an edge", async () => {
  for (const { templating: { list } } of await ownOf(central)) {
    const { name, type, multi, includeAll, allValue, definition } = list[0]!;
    assert.deepEqual(
      { name, type, multi, includeAll, allValue, definition },
      {
        name: "cluster",
        type: "query",
        multi: true,
        includeAll: true,
        allValue: ".*",
        definition: "label_values(up, cluster)",
      },
    );
  }
  for (const { templating: { list } } of await ownOf(edge)) {
    const { name, type, hide, query } = list[0]!;
    assert.deepEqual({ name, type, hide, query }, {
      name: "cluster",
      type: "constant",
      hide: 2,
      query: ".*",
    });
  }
});

Deno.test("uids and titles are unique, also next to upstream's", async () => {
  for (const cluster of ROLES) {
    const own = await ownOf(cluster);
    const all = [...own, ...await upstream(cluster)];
    assert.deepEqual(repeated(all.map(({ uid }) => uid)), []);
    assert.deepEqual(repeated(all.map(({ title }) => title.toLowerCase())), []);
    assert.deepEqual(repeated(panelsOf(own).map(([name]) => name)), []);
  }
});

Deno.test("every panel says what it shows, in which unit, from a data source of its role", async () => {
  for (const cluster of ROLES) {
    const file = projectPath(`manifests/prometheus/${cluster.role}/datasources.yaml`);
    const { data } = parse(await readFile(file, "utf8"));
    const { datasources } = parse(data["datasources.yaml"]);
    const known = datasources.map(({ uid }: { uid: string }) => uid);
    if (cluster === central) known.push("${datasource}");
    for (const [name, panel] of panelsOf(await ownOf(cluster))) {
      assert.ok(panel.title && panel.description, name);
      for (const { datasource } of [panel, ...panel.targets!]) {
        assert.ok(known.includes((datasource as { uid: string }).uid), name);
      }
      const { defaults, overrides } = panel.fieldConfig;
      const units: unknown[] = panel.type === "table"
        ? overrides.flatMap(({ properties }: { properties: { id: string }[] }) =>
          properties.filter(({ id }) => id === "unit")
        )
        : [defaults.unit];
      assert.equal(
        units.filter(Boolean).length,
        panel.type === "table" ? panel.targets!.length : 1,
      );
    }
  }
});

/** Windows of an expression in seconds, `$__rate_interval` left out. */
function windows(expr: string): number[] {
  return [...expr.matchAll(/\[([0-9][^\]:]*)/g)].map(([, time]) => durationSeconds(time!));
}

Deno.test("R2: a rate of any panel holds three samples in every data source it can be asked of", async () => {
  for (const cluster of ROLES) {
    const sources = await sourcesOf(cluster);
    assert.deepEqual(
      sources.filter(({ shortest, resolution }) => shortest < 3 * resolution),
      [],
    );
    const coarsest = Math.max(...sources.map(({ resolution }) => resolution));
    for (const [name, { targets = [] }] of panelsOf(await ownOf(cluster))) {
      for (const { expr, instant, datasource } of targets) {
        const chosen = (datasource as { uid: string }).uid === "${datasource}";
        assert.equal(chosen, cluster === central && !instant, `${name}: data source`);
        const short = windows(expr).filter((one) => chosen && one < 3 * coarsest);
        assert.deepEqual(short, [], `${name}: ${expr}`);
      }
    }
  }
});

Deno.test("R1: no panel looks further back than Prometheus keeps at least", async () => {
  for (const cluster of ROLES) {
    const far = (await expressions(cluster)).filter(({ expr }) =>
      windows(expr).some((one) => one > HELD)
    );
    assert.deepEqual(far, []);
  }
  assert.ok((await ownOf(edge)).every(({ time }) => (time as { from: string }).from === "now-3h"));
});

Deno.test("panels lie side by side on 24 columns, none over another", async () => {
  for (const cluster of ROLES) {
    for (const { title, panels } of await ownOf(cluster)) {
      const taken = new Map<string, string>();
      for (const panel of panels) {
        const { x, y, w, h } = panel.gridPos;
        assert.ok(x >= 0 && x + w <= 24, `${title}: ${panel.title}`);
        for (let column = x; column < x + w; column++) {
          for (let row = y; row < y + h; row++) {
            const other = taken.get(`${column},${row}`);
            assert.equal(other, undefined, `${title}: ${panel.title} over ${other}`);
            taken.set(`${column},${row}`, panel.title);
          }
        }
      }
    }
  }
});

Deno.test("20-prometheus gives Grafana our dashboards in one ConfigMap of less than 1 MiB", async () => {
  for (const cluster of ROLES) {
    const { data, metadata } = await ownConfigMap(cluster);
    assert.ok(JSON.stringify(data).length < 500_000);
    assert.equal(metadata.annotations!["deploy.miribit.lab/reload"], "live");
    for (const [name, json] of Object.entries<string>(data)) {
      assert.match(name, /^[a-z-]+\.json$/);
      assert.ok(JSON.parse(json).panels.length > 5);
    }
  }
});

Deno.test("Grafana opens a dashboard that is there, the clusters or the cluster", async () => {
  const objects = await prometheus.objects(central);
  const grafana = objects.find(({ kind, metadata }) =>
    kind === "Deployment" && metadata.name === "kube-prometheus-stack-grafana"
  );
  const { env, volumeMounts } = grafana!.spec.template.spec.containers[0];
  const home =
    env.find(({ name }: { name: string }) => name === "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH")
      .value;
  const mounts = volumeMounts.map(({ mountPath }: { mountPath: string }) => mountPath);
  assert.ok(mounts.some((path: string) => home === `${path}/home.json`));
  const titles = await Promise.all(
    ROLES.map(async (cluster) => JSON.parse((await ownConfigMap(cluster)).data["home.json"]).title),
  );
  assert.deepEqual(titles, ["Clusters", "Cluster"]);
});

async function ownConfigMap(cluster: Cluster): Promise<Manifest> {
  const objects = await prometheus.objects(cluster);
  return objects.find((one) => idOf(one) === "ConfigMap/monitoring/grafana-dashboards-own")!;
}

Deno.test("Longhorn and ingress have a dashboard only where they are ours", async () => {
  const existing = { INGRESS: "existing", STORAGE: "existing", STORAGE_CLASS: "standard" };
  const uids = async (environment: Record<string, string>) =>
    (await ownOf(await fixtureCluster("197", environment))).map(({ uid }) => uid);
  const optional = ["ingress", "longhorn"];
  const [all, rest] = [await uids({}), await uids(existing)];
  assert.deepEqual(all.filter((uid) => optional.includes(uid)), optional);
  assert.deepEqual(rest, all.filter((uid) => !optional.includes(uid)));
});

Deno.test("MAY_BE_EMPTY names expressions that there are", async () => {
  const known = new Set(
    (await Promise.all(ROLES.map(expressions))).flat()
      .map(({ dashboard, panel }) => `${dashboard}/${panel}`),
  );
  assert.deepEqual(Object.keys(MAY_BE_EMPTY).filter((name) => !known.has(name)), []);
});

const SOURCE: DashboardSource = {
  title: "Some",
  uid: "some",
  about: "for a test",
  rows: [{
    panels: [
      { type: "stat", title: "One", about: "", unit: "s", expr: "a - $fleet", width: 18 },
      { type: "stat", title: "Two", about: "", unit: "s", expr: "b", width: 8, height: 6 },
    ],
  }, {
    title: "Below",
    panels: [
      {
        type: "timeseries",
        title: "Three",
        about: "",
        unit: "s",
        expr: "c",
        legend: "{{cluster}} {{job}}",
        thresholds: { orange: 1, red: 5 },
        width: 12,
      },
      {
        type: "table",
        title: "Four",
        about: "",
        by: ["cluster", "job"],
        columns: [{ name: "Up", expr: "d", unit: "none" }],
        width: 12,
      },
    ],
  }],
};

Deno.test("expand() lays panels out in lines, below titles of rows", () => {
  const { panels } = expand(SOURCE, {
    central: true,
    datasource: "thanos",
    clusters: 3,
    timezone: "browser",
  });
  assert.deepEqual(panels.map(({ title, gridPos: { x, y } }) => `${title} ${x},${y}`), [
    "One 0,0",
    "Two 0,4",
    "Below 0,10",
    "Three 0,11",
    "Four 12,11",
  ]);
  assert.equal(panels[0]!.targets![0]!.expr, "a - 3");
  assert.deepEqual(panels[3]!.fieldConfig.defaults.thresholds.steps, [
    { color: "green", value: null },
    { color: "orange", value: 1 },
    { color: "red", value: 5 },
  ]);
});

Deno.test("the panel of missing clusters does not count one that is away while it is paused", async () => {
  const cluster = await fixtureCluster("196");
  const fleet = cluster.fleet.map((peer, index) => (
    index === 0 ? peer : { ...peer, pause: { reason: "", until: "", end: 60 * index } }
  ));
  const { home } = await ownDashboards({ ...cluster, fleet }, []);
  const { expr } = home!.panels.find(({ title }) => title === "Clusters missing")!.targets![0]!;
  const missing = (eval_time: string, value: number) => (
    { expr, eval_time, exp_samples: [{ labels: "{}", value }] }
  );
  const test = {
    interval: "1m",
    input_series: [
      { series: 'up{cluster="cluster-196-central"}', values: "1x9" },
      { series: 'up{cluster="cluster-197-edge"}', values: "1 stale" },
      { series: 'up{cluster="cluster-198-edge"}', values: "_x4 1x9" },
    ],
    // 197 is paused for a minute, 198 for two.
    promql_expr_test: [missing("0m", 0), missing("1m", 1), missing("2m", 2), missing("6m", 1)],
  };
  await promtoolAccepts(["test", "rules", "panel.test"], [["panel.test", { tests: [test] }]]);
});

Deno.test("expand() leaves the cluster out of legends and tables where there is only one", () => {
  const [there, here] = [true, false].map((central) => {
    const { panels } = expand(SOURCE, {
      central,
      datasource: "x",
      clusters: 3,
      timezone: "browser",
    });
    const { indexByName, excludeByName } = panels[4]!.transformations[1].options;
    return [panels[3]!.targets![0]!.legendFormat, Object.keys(indexByName), excludeByName.cluster];
  });
  assert.deepEqual(there, ["{{cluster}} {{job}}", ["cluster", "job", "Value"], undefined]);
  assert.deepEqual(here, ["{{job}}", ["job", "Value"], true]);
});

function bundleOf(files: Record<string, unknown>): Manifest[] {
  return Object.entries(files).map(([name, dashboard]) => ({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: `grafana-dashboard-${name}` },
    data: { [`${name}.json`]: JSON.stringify(dashboard, null, 4) },
  }));
}

function contents([packed]: Manifest[]): Record<string, Dashboard> {
  const files = Object.entries<string>(packed?.data ?? {});
  return Object.fromEntries(files.map(([name, json]) => [name, JSON.parse(json)]));
}

Deno.test("packUpstream() keeps what has data here, and is nothing of nothing", async () => {
  const bundle = bundleOf({
    nodes: {},
    "nodes-aix": {},
    scheduler: {},
    "k8s-resources-windows-pod": {},
    "k8s-resources-multicluster": {},
  });
  const names = (cluster: Cluster) => Object.keys(contents(packUpstream(bundle, cluster)));
  assert.deepEqual(names(central), ["k8s-resources-multicluster.json", "nodes.json"]);
  assert.deepEqual(names(edge), ["nodes.json"]);
  const more = await fixtureCluster("197", { CONTROL_PLANE_METRICS: "true" });
  assert.deepEqual(names(more), ["nodes.json", "scheduler.json"]);
  assert.deepEqual(packUpstream([], central), []);
});

Deno.test("packUpstream() shows the cluster at the centre and hides it on an edge", () => {
  const list = [
    {
      name: "datasource",
      type: "datasource",
      current: { text: "Prometheus", value: "Prometheus" },
    },
    { name: "cluster", type: "query", hide: 2, allValue: ".+" },
    { name: "job", type: "query", hide: 2, allValue: ".+" },
  ];
  const bundle = bundleOf({ nodes: { templating: { list } } });
  for (
    const [cluster, hide, source] of [[central, 0, "thanos"], [edge, 2, "prometheus"]] as const
  ) {
    assert.deepEqual(contents(packUpstream(bundle, cluster))["nodes.json"]!.templating.list, [
      { name: "datasource", type: "datasource", current: { text: source, value: source } },
      { name: "cluster", type: "query", hide, allValue: ".*" },
      { name: "job", type: "query", hide: 2, allValue: ".+" },
    ]);
  }
});

Deno.test("packUpstream() lets a dashboard that knows no clusters choose one at the centre", () => {
  const bundle = bundleOf({
    "grafana-overview": {
      templating: { list: [{ name: "datasource" }, { name: "job" }] },
      panels: [{ targets: [{ expr: 'a{job=~"$job"}' }] }],
    },
  });
  const [there, here] = ROLES.map((cluster) =>
    contents(packUpstream(bundle, cluster))["grafana-overview.json"]!
  );
  assert.equal(there!.panels[0]!.targets![0]!.expr, 'a{cluster="$cluster",job=~"$job"}');
  assert.deepEqual(there!.templating.list.map(({ name }) => name), [
    "datasource",
    "cluster",
    "job",
  ]);
  assert.equal(here!.panels[0]!.targets![0]!.expr, 'a{job=~"$job"}');
});

// The pinned bundle, where this machine or its mirror has it: tests download nothing.
const pinned = await readBundle("kube-prometheus-dashboards", {
  curl: "/bin/false", // tests download nothing
}).catch((error) => {
  if (error instanceof DeployError) return [];
  throw error;
});

/** Upstream's dashboards of a cluster with the panels of rows and nested ones in one list. */
function upstream(cluster: Cluster): Dashboard[] {
  return Object.values(contents(packUpstream(pinned, cluster))).map((dashboard) => ({
    ...dashboard,
    panels: dashboard.panels.flatMap((panel) => [panel, ...panel.panels ?? []]),
  }));
}

Deno.test({
  name: "every expression of the pinned dashboards is PromQL",
  ignore: pinned.length === 0,
  fn() {
    for (const cluster of ROLES) {
      const broken = upstream(cluster).flatMap(expressionsOf).flatMap((
        { dashboard, panel, expr },
      ) => brokenAt(expr).map((where) => `${dashboard}/${panel}  ${where}  in ${expr}`));
      assert.deepEqual(broken, []);
    }
  },
});

Deno.test({
  name: "R2: the pinned dashboards leave every window to the data source",
  ignore: pinned.length === 0,
  fn() {
    const fixed = [...upstream(central), ...upstream(edge)].flatMap(expressionsOf)
      .filter(({ expr }) => windows(expr.replaceAll("[5m]", "")).length > 0);
    assert.deepEqual(fixed, []);
    assert.doesNotMatch(JSON.stringify(upstream(central)), /\[[0-9]+[smh]\]/);
  },
});

Deno.test({
  name: "the pinned dashboards choose a cluster at the centre, and need none on an edge",
  ignore: pinned.length === 0,
  fn() {
    const compares = "b59e6c9f2fcbe2e16d77fc492374cc4f"; // all clusters side by side
    for (const { uid, title, panels, templating } of upstream(central)) {
      if (uid === compares) continue;
      const variable = templating.list.find(({ name }) => name === "cluster");
      assert.equal(variable?.hide, 0, title);
      const loose = panels.flatMap(({ targets = [] }) => targets)
        .filter(({ expr = "" }) => expr && !/cluster=~?"\$cluster"/.test(expr));
      assert.deepEqual(loose, [], title);
    }
    for (const { title, templating } of upstream(edge)) {
      const variable = templating.list.find(({ name }) => name === "cluster");
      assert.ok(!variable || variable.hide === 2 && variable.allValue !== ".+", title);
    }
  },
});

Deno.test({
  name: "links lead to dashboards that there are",
  ignore: pinned.length === 0,
  async fn() {
    for (const cluster of ROLES) {
      const own = await ownOf(cluster);
      const known = new Set([...own, ...upstream(cluster)].map(({ uid }) => uid));
      const links = JSON.stringify(own).matchAll(/"\/d\/([\w-]+)/g);
      for (const [, uid] of links) assert.ok(known.has(uid!), uid);
    }
  },
});
