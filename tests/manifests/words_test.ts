// What people read in alerts, dashboards and runbooks, word by word against what is rendered.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "yaml";
import { projectPath } from "../../lib/core/cluster.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { durationSeconds } from "../../lib/core/quantity.ts";
import { readBundle } from "../../lib/render/bundle.ts";
import { monitors } from "../../scripts/20-prometheus.ts";
import { ownDashboards } from "../../scripts/components/prometheus/dashboards.ts";
import { renderedFleet } from "../support/rendered_fixture.ts";
import { ownRules, type Rule, rulesOf } from "./promtool.ts";

/** Something that people read, and the numbers that it may speak of in per cent. */
interface Said {
  where: string;
  text: string;
  percent: number[];
}

const rendered = (await renderedFleet()).filter(({ cluster }) => cluster.id !== "198");
const objects = rendered.flatMap((one) => one.objects);
const rules = [...rulesOf(await ownRules("196")), ...rulesOf(await ownRules("197"))];
const dashboards = (await Promise.all(
  ["196", "197"].map(async (id) => {
    const { cluster } = rendered.find((one) => one.cluster.id === id)!;
    return Object.values(await ownDashboards(cluster, monitors(cluster)));
  }),
)).flat();
const runbooks = await Promise.all(
  (await readdir(projectPath("docs/runbooks"))).map(async (file) => ({
    file,
    text: await readFile(projectPath(join("docs/runbooks", file)), "utf8"),
  })),
);

/** Per cent that OpenSearch does something at, and that Longhorn keeps free. */
const LIMITS = [
  ...watermarks(),
  Number(rendered[0]!.cluster.vars.LONGHORN_MINIMAL_AVAILABLE),
  // From here on several nodes of OpenSearch, which keep its own watermarks, place no new index.
  90,
];

function watermarks(): number[] {
  const { data } = objects.find(({ metadata }) => metadata.name === "opensearch-config")!;
  const config = parse(data["opensearch.yml"]);
  const key = "cluster.routing.allocation.disk.watermark";
  // OpenSearch's own where nothing is set.
  return [["low", 85], ["high", 90], ["flood_stage", 95]].map(([name, standard]) =>
    Number.parseFloat(config[`${key}.${name}`] ?? standard)
  );
}

/** A hundred per cent is all of something. */
const ALL = 100;

/** Numbers of an expression as per cent: `0.05`, and what is left of it. */
function percentOf(expr: string): number[] {
  const numbers = [...expr.matchAll(/(?<![\w.])\d+(\.\d+)?\b(?!\w)/g)].map(([text]) =>
    Number(text)
  );
  return numbers.flatMap((one) => [one, 100 * one, 100 - 100 * one, 100 * (1 - one)]);
}

const byAlert = Map.groupBy(rules.filter(({ alert }) => alert), ({ alert }) => alert!);

const said: Said[] = [
  ...rules.filter(({ alert }) => alert).map(({ alert, annotations, expr }: Rule) => ({
    where: `alert ${alert}`,
    text: `${annotations!.summary} ${annotations!.description}`,
    percent: [...percentOf(expr), ...LIMITS, ALL],
  })),
  ...dashboards.flatMap(({ uid, description, panels }) => [
    { where: uid, text: String(description), percent: LIMITS },
    ...panels.map((panel) => ({
      where: `${uid}/${panel.title}`,
      text: `${panel.title} ${panel.description ?? ""}`,
      percent: [
        // deno-lint-ignore no-explicit-any
        ...(panel.fieldConfig?.defaults?.thresholds?.steps ?? []).map(({ value }: any) =>
          100 * value
        ),
        ...LIMITS,
        100 - LIMITS[3]!,
      ],
    })),
  ]),
  ...runbooks.flatMap(({ file, text }) =>
    text.split(/^## /m).map((section, index) => {
      const title = index > 0 ? section.split("\n")[0]! : "";
      const exprs = (byAlert.get(title) ?? []).map(({ expr }) => expr).join(" ");
      return {
        where: `${file} ${title}`,
        text: section.replaceAll(/\s+/g, " "),
        percent: [...percentOf(exprs), ...LIMITS, ALL],
      };
    })
  ),
];

/** `where: word` of what the test says of a word that it does not know. */
function unknown(pattern: RegExp, isKnown: (word: string, said: Said) => boolean): string[] {
  return said.flatMap((one) =>
    [...one.text.matchAll(pattern)].map((match) => match[1] ?? match[0])
      .filter((word) => !isKnown(word, one))
      .map((word) => `${one.where}: ${word}`)
  );
}

Deno.test("R3: every setting in a text is one", async () => {
  const { properties } = JSON.parse(await readFile(projectPath("env/schema.json"), "utf8"));
  const names = Object.keys(properties);
  const isKnown = (word: string) =>
    word.startsWith("*")
      ? names.some((name) => name.endsWith(word.slice(1)))
      : names.includes(word);
  assert.deepEqual(unknown(/(?:\*|\b[A-Z][A-Z0-9]*)(?:_[A-Z0-9]+)+\b/g, isKnown), []);
});

Deno.test("R3: every per cent in a text is a threshold of its rule or panel, or a limit that is set", () => {
  const isKnown = (word: string, { percent }: Said) =>
    percent.some((one) => Math.abs(one - Number(word)) < 0.001);
  assert.deepEqual(unknown(/(\d+) (?:%|per cent)/g, isKnown), []);
});

/** Names of what the operator makes of its custom resources: the pods, and their containers. */
const OF_OPERATOR = [
  "prometheus-kube-prometheus-stack-prometheus-0",
  "alertmanager-kube-prometheus-stack-alertmanager-0",
  "thanos-sidecar",
  "config-reloader",
];

function containersOf({ spec }: Manifest): string[] {
  const pod = spec?.template?.spec ?? {};
  return [...pod.initContainers ?? [], ...pod.containers ?? []].map(({ name }) => name);
}

const names = new Set([
  ...OF_OPERATOR,
  ...objects.flatMap((object) => [object.metadata.name, ...containersOf(object)]),
  ...objects.filter(({ kind }) => kind === "StatefulSet").map(({ metadata }) =>
    `${metadata.name}-0`
  ),
  ...programs(),
]);

/** What is called by the name of its program: labels of metrics and pods. */
function programs(): string[] {
  const labels = objects.map(({ metadata }) => metadata.labels?.["app.kubernetes.io/name"]);
  return ["kube-state-metrics", "node-exporter"].filter((name) => labels.includes(name));
}

const OUR_NAMES =
  /(?<![\w\/.=-])((?:thanos|kube|prometheus|alertmanager|opensearch|fluent|longhorn|grafana|node|minio)-[a-z0-9-]*[a-z0-9])(?![\w-])/g;

Deno.test("R3: every name of an object or a container in a text is rendered", async () => {
  const theirs = await readBundle("longhorn", { curl: "/bin/false" }).catch(() => undefined);
  const known = new Set([...names, ...(theirs ?? []).map(({ metadata }) => metadata.name)]);
  const isKnown = (word: string) =>
    known.has(word) || !theirs && word.startsWith("longhorn") || NO_NAMES.has(word);
  assert.deepEqual(unknown(OUR_NAMES, isKnown), []);
});

/** Words that only look like a name of ours. */
const NO_NAMES = new Set(["kube-system"]);

const KINDS: Record<string, string> = {
  svc: "Service",
  service: "Service",
  deploy: "Deployment",
  sts: "StatefulSet",
  ds: "DaemonSet",
  cm: "ConfigMap",
  servicemonitor: "ServiceMonitor",
};

/** Objects that others make. */
const OF_OTHERS = new Set([
  "Service kube-system kubelet", // the operator
  "DaemonSet longhorn-system longhorn-manager", // upstream's bundle
]);

const COMMAND = new RegExp(
  "-n ([a-z-]+) (?:get|logs|exec|delete|describe|scale|rollout \\w+|port-forward) " +
    `(${Object.keys(KINDS).join("|")})[ /]([a-z][a-z0-9-]*[a-z](?: [a-z][a-z0-9-]*[a-z])*)`,
  "g",
);

Deno.test("R3: every object of a command is rendered, of that kind and in that namespace", () => {
  const ids = new Set(
    objects.map(({ kind, metadata }) => `${kind} ${metadata.namespace} ${metadata.name}`),
  );
  const wrong = said.flatMap(({ where, text }) =>
    [...text.matchAll(COMMAND)].flatMap(([, namespace, kind, found]) =>
      found!.split(" ").map((name) => `${KINDS[kind!]} ${namespace} ${name}`)
        .filter((id) => !ids.has(id) && !OF_OTHERS.has(id))
        .map((id) => `${where}: ${id}`)
    )
  );
  assert.deepEqual(wrong, []);
});

Deno.test("R3: every selector of a command finds pods or objects", () => {
  const labels = new Set(
    objects.flatMap((object) =>
      [object.metadata.labels, object.spec?.template?.metadata?.labels].flatMap((one) =>
        Object.entries(one ?? {}).map(([key, value]) => `${key}=${value}`)
      )
    ),
  );
  assert.deepEqual(
    unknown(/-l (app\.kubernetes\.io\/[\w-]+=[\w-]+)/g, (word) => labels.has(word)),
    [],
  );
});

/** Metrics that are only looked at by hand, as the programs give them. */
const BY_HAND = ["thanos_bucket_store_series_gate_queries_in_flight"];

Deno.test("R3: every metric in a text is one that a rule or panel asks for", () => {
  const asked = JSON.stringify([
    BY_HAND,
    rules.map(({ expr }) => expr),
    dashboards.flatMap(({ panels }) => panels.flatMap(({ targets = [] }) => targets)),
  ]);
  const isKnown = (word: string) => asked.includes(word);
  assert.deepEqual(
    unknown(
      /\b((?:thanos|prometheus|opensearch|fluentbit|longhorn|kube|node|grpc|scrape|minio|process)_[a-z0-9_]+)/g,
      isKnown,
    ),
    [],
  );
});

/** Of kube-prometheus; alerts_test.ts looks for them where its rules are at hand. */
const DEFAULT_ALERTS = new Set(["KubePersistentVolumeFillingUp"]);

Deno.test("R3: every alert in a text is one", () => {
  const isKnown = (word: string) => byAlert.has(word) || DEFAULT_ALERTS.has(word);
  assert.deepEqual(
    unknown(
      /\b((?:Thanos|OpenSearch|FluentBit|Longhorn|Prometheus|Kube|Cluster|S3|Container|Scrape|Global|Node)[A-Z][A-Za-z0-9]+)\b/g,
      isKnown,
    ),
    [],
  );
});

Deno.test("R3: every file of the project in a text is there", () => {
  const isKnown = (word: string) => existsSync(projectPath(word));
  assert.deepEqual(
    unknown(/(?<![\w/])((?:docs|env|lib|manifests|scripts|tests)\/[\w./-]*\w)/g, isKnown),
    [],
  );
});

const WORDS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
const UNITS = { second: 1, minute: 60, hour: 3600, day: 86_400 };

/** Seconds of a rule: how long it waits, windows, and plain numbers. */
function secondsOf({ expr, for: wait = "0s" }: Rule): number[] {
  const numbers = [...expr.matchAll(/(?<![\w.])\d+(?![\w.])/g)].map(([text]) => Number(text));
  const times = [...expr.matchAll(/\b\d+[smhd]\b/g)].map(([text]) => durationSeconds(text));
  const products = [...expr.matchAll(/(\d+) \* (\d+)/g)].map(([, a, b]) => Number(a) * Number(b));
  return [durationSeconds(wait), ...numbers, ...products, ...times];
}

/** Times that are not the rule's own. */
const TOLD = new Set([
  "ThanosBlockUploadLagging: two hours", // the length of a block
  "OpenSearchLifecycleFailed: 5 minutes", // files/keeper.sh
  "OpenSearchIndexStuck: two days", // more than LOG_RETENTION
  "OpenSearchSnapshotRetentionStuck: five days", // more than LOG_SNAPSHOT_RETENTION
]);

Deno.test("R3: every time in the text of an alert is one of its rule", () => {
  const unit = Object.keys(UNITS).join("|");
  const time = new RegExp(`\\b(\\d+|${WORDS.join("|")}) (${unit})s?\\b`, "g");
  const wrong = [...byAlert].flatMap(([alert, those]) => {
    const known = those.flatMap(secondsOf);
    const { summary, description } = those[0]!.annotations!;
    return [...`${summary} ${description}`.matchAll(time)].filter(([, amount, unit]) => {
      const count = WORDS.includes(amount!) ? WORDS.indexOf(amount!) : Number(amount);
      return !known.includes(count * UNITS[unit as keyof typeof UNITS]);
    }).map(([words]) => `${alert}: ${words}`).filter((one) => !TOLD.has(one));
  });
  assert.deepEqual(wrong, []);
});
