import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { parse, stringify } from "yaml";
import { DeployError } from "../../../lib/core/error.ts";
import { idOf, isFields, type Manifest, walk } from "../../../lib/core/object.ts";
import { ensure, type Resources } from "../../../lib/core/resource.ts";
import { document } from "../../../lib/opensearch/documents.ts";
import { logging, proveRepository } from "../../../scripts/40-logging.ts";
import {
  documentSpec,
  LOG_INDICES,
  logDocuments,
  logPolicies,
} from "../../../scripts/components/logging/objects.ts";
import { FOUNDED, opensearchConfig } from "../../../scripts/components/logging/objects.ts";
import { fixtureCluster, SECRETS } from "../../support/cluster_fixture.ts";
import type { OpenSearch } from "../../../lib/opensearch/client.ts";
import { fakeKubectl } from "../../support/fake_kubectl.ts";
import { FakeOpenSearch } from "../../support/opensearch.ts";

const FILES = new URL("../../../manifests/logging/base", import.meta.url).pathname;

function byId(objects: Manifest[], id: string): Manifest {
  const object = objects.find((object) => idOf(object) === id);
  assert.ok(object, `${id} is missing`);
  return object;
}

async function objectsOf(environment: Record<string, string> = {}): Promise<Manifest[]> {
  return await logging.objects(await fixtureCluster("197", environment));
}

/** What a deploy changes in OpenSearch; `warnings` gets what it cannot. */
async function deploy(
  os: FakeOpenSearch,
  environment: Record<string, string> = {},
  warnings: string[] = [],
): Promise<string[]> {
  const cluster = await fixtureCluster("196", environment);
  const changes: string[] = [];
  const put = async (resources: Resources<OpenSearch>) => {
    for (const resource of resources.of(cluster)) {
      const { outcome } = await ensure(resource, os, (text) => void warnings.push(text));
      if (outcome !== "unchanged") changes.push(`${resource.id} ${outcome}`);
    }
  };
  await put(logDocuments);
  await proveRepository(os, cluster);
  await put(logPolicies);
  return changes;
}

Deno.test("40-logging tells OpenSearch everything once; a second run writes nothing", async () => {
  const os = new FakeOpenSearch();
  assert.deepEqual(await deploy(os), [
    "IndexTemplate/logs created",
    "SnapshotRepository/opensearch-logs created",
    "IndexPolicy/logs-retention created",
    "SnapshotPolicy/logs-snapshots created",
  ]);
  const { length } = os.writes;
  assert.deepEqual(await deploy(os), []);
  assert.equal(os.writes.length, length);
});

Deno.test("40-logging: another retention reaches the policy and the indices under it", async () => {
  const os = new FakeOpenSearch();
  await deploy(os);
  const settings = { "index.number_of_replicas": "0" };
  const { seq: policySeq } = os.policies.get("logs-retention")!;
  os.indices.set("logs-k8s-2026.11.22", { settings, policy: "logs-retention", policySeq });
  assert.deepEqual(await deploy(os, { LOG_RETENTION: "2w", LOG_SNAPSHOT_RETENTION: "200d" }), [
    "SnapshotPolicy/logs-snapshots configured",
  ]); // two weeks are 14 days
  assert.deepEqual(await deploy(os, { LOG_RETENTION: "7d", LOG_SNAPSHOT_RETENTION: "200d" }), [
    "IndexPolicy/logs-retention configured",
    "ManagedIndices/logs-retention configured",
  ]);
  const seq = os.policies.get("logs-retention")!.seq;
  os.tick();
  assert.equal(os.indices.get("logs-k8s-2026.11.22")!.policySeq, seq);
});

Deno.test("E10: a roll-out of a policy that was cut off is finished, told by plans, and done once", async () => {
  const os = new FakeOpenSearch();
  await deploy(os);
  const settings = { "index.number_of_replicas": "0" };
  os.indices.set("logs-k8s-2026.11.22", { settings });
  os.indices.set("logs-k8s-2026.11.23", { settings });
  await deploy(os);
  os.tick();
  const old = os.policies.get("logs-retention")!.seq;
  os.onWrite = (call) => {
    if (call.includes("change_policy")) throw new Error("kill -9");
  };
  const shorter = { LOG_RETENTION: "7d" };
  await assert.rejects(deploy(os, shorter), /kill -9/);
  os.onWrite = () => {};
  const indices = logPolicies.of(await fixtureCluster("196", shorter))[1]!;
  const look = await indices.look(os);
  const now = os.policies.get("logs-retention")!.seq;
  assert.ok(look.state === "differs" && now !== old);
  assert.equal(
    look.fields![0],
    `logs-k8s-2026.11.22 version of its policy: "${old} of term 1" -> "${now} of term 1"`,
  );
  os.indices.get("logs-k8s-2026.11.23")!.movesTo = "snapshot";
  const warnings: string[] = [];
  const changed = ["ManagedIndices/logs-retention configured"];
  assert.deepEqual(await deploy(os, shorter, warnings), changed);
  assert.match(
    warnings.join(),
    /^under an old version .* run again in some minutes: logs-k8s-2026.11.23$/,
  );
  // Index management has not run, so `explain` tells the old version still.
  assert.deepEqual(await deploy(os, shorter), []);
  os.tick();
  assert.deepEqual(await deploy(os, shorter), changed, "the one that was on its way");
  os.tick();
  const { length } = os.writes;
  assert.deepEqual(await deploy(os, shorter), []);
  assert.equal(os.writes.length, length);
  assert.deepEqual([...os.indices.values()].map(({ policySeq }) => policySeq), [now, now]);
});

Deno.test("E10: plans tell of the indices when the policy itself is to change", async () => {
  const os = new FakeOpenSearch();
  await deploy(os);
  os.indices.set("logs-k8s-2026.11.22", { settings: {} });
  await deploy(os);
  const [policy, indices] = logPolicies.of(await fixtureCluster("196", { LOG_RETENTION: "7d" }));
  const [one, other] = [await policy!.look(os), await indices!.look(os)];
  assert.ok(one.state === "differs" && other.state === "differs");
  assert.deepEqual(one.fields, [
    'policy.states[0].transitions[0].conditions.min_index_age: "14d" -> "7d"',
  ]);
  assert.match(other.fields![0]!, /-> "the one of the settings"$/);
});

Deno.test("40-logging repairs replicas, the plugin's hidden index included, for one node and three", async () => {
  const os = new FakeOpenSearch();
  await deploy(os);
  for (const name of [".opendistro-ism-config", "logs-host-2026.11.22", "restored-logs-k8s-1"]) {
    os.indices.set(name, {
      settings: { "index.number_of_replicas": "1" },
      policy: "logs-retention",
      policySeq: os.policies.get("logs-retention")!.seq,
    });
  }
  assert.deepEqual(await deploy(os), [
    "IndexReplicas/logs-k8s-*,logs-host-*,logs-events-* configured",
    "IndexReplicas/.opendistro-* configured",
  ]);
  assert.equal(os.indices.get("restored-logs-k8s-1")!.settings["index.number_of_replicas"], "1");
  assert.deepEqual(await deploy(os, { OPENSEARCH_NODES: "3" }), [
    "IndexTemplate/logs configured",
    "IndexReplicas/logs-k8s-*,logs-host-*,logs-events-* configured",
    "IndexReplicas/.opendistro-* configured",
  ]);
});

Deno.test("B37: a repository that cannot be used ends with exit 8, also on the second try", async () => {
  const os = new FakeOpenSearch();
  os.s3Fault = "PKIX path building failed";
  for (let run = 1; run <= 2; run++) {
    const error = await deploy(os).catch((error) => error);
    assert.ok(error instanceof DeployError);
    assert.equal(error.exitCode, 8);
    assert.match(error.where[0]!, /^\[opensearch-logs\] path .* is not accessible/);
    assert.equal(error.where[1], "PKIX path building failed");
    assert.match(error.fix!, /S3_CA_FILE/);
    assert.equal(os.policies.size, 0);
  }
  os.s3Fault = undefined;
  assert.equal((await deploy(os)).length, 2);
});

Deno.test("40-logging: another policy for the same indices is an error with OpenSearch's reason", async () => {
  const os = new FakeOpenSearch();
  const policy = documentSpec("index-policy", await fixtureCluster("196"));
  await ensure(document("IndexPolicy", "by-hand", policy), os);
  const error = await deploy(os).catch((error) => error);
  assert.equal(error.exitCode, 8);
  assert.match(error.where.join(), /use a different priority than 100/);
});

Deno.test("40-logging: a snapshot outlives its index, which is deleted only after it", async () => {
  const cluster = await fixtureCluster("196", { LOG_RETENTION: "3w" });
  // deno-lint-ignore no-explicit-any
  const policy = documentSpec("index-policy", cluster) as any;
  assert.equal(policy.states[0].transitions[0].conditions.min_index_age, "21d");
  assert.deepEqual(
    policy.states.map(({ name }: { name: string }) => name),
    ["hot", "snapshot", "delete"],
  );
  assert.ok(policy.states[1].actions[0].snapshot && policy.states[2].actions[0].delete);
  for (const { actions } of policy.states) for (const action of actions) assert.ok(action.retry);
  // deno-lint-ignore no-explicit-any
  const { deletion, creation } = documentSpec("snapshot-policy", cluster) as any;
  assert.deepEqual(deletion.condition, { max_age: "180d", min_count: 1 });
  assert.equal(deletion.snapshot_pattern, "logs-*");
  assert.equal(creation, undefined);
  assert.deepEqual(deletion.schedule.cron, { expression: "30 18 * * *", timezone: "UTC" });
  const site = documentSpec(
    "snapshot-policy",
    await fixtureCluster("196", { TIMEZONE: "Europe/Berlin" }),
  );
  assert.deepEqual((site.deletion as { schedule: unknown }).schedule, {
    cron: { expression: "30 3 * * *", timezone: "Europe/Berlin" },
  });
});

Deno.test("opensearchConfig(): one node and three differ in discovery, replicas and watermarks only", async () => {
  const one = opensearchConfig(await fixtureCluster("196"));
  const three = opensearchConfig(await fixtureCluster("196", { OPENSEARCH_NODES: "3" }));
  const keys = new Set([...Object.keys(one), ...Object.keys(three)]);
  const different = [...keys].filter((key) =>
    JSON.stringify(one[key]) !== JSON.stringify(three[key])
  );
  assert.deepEqual(different.sort(), [
    "cluster.default_number_of_replicas",
    "cluster.initial_cluster_manager_nodes",
    "cluster.routing.allocation.disk.watermark.flood_stage",
    "cluster.routing.allocation.disk.watermark.high",
    "cluster.routing.allocation.disk.watermark.low",
    "discovery.seed_hosts",
    "discovery.type",
    "plugins.index_state_management.history.number_of_replicas",
  ]);
  assert.equal(one["discovery.type"], "single-node"); // an error together with initial managers
  assert.equal(one["cluster.initial_cluster_manager_nodes"], undefined);
  assert.equal(three["discovery.type"], undefined);
});

Deno.test("P4: on one node no watermark lies below flood stage, and none keeps a shard from its place", async () => {
  const one = opensearchConfig(await fixtureCluster("196"));
  const marks = ["low", "high", "flood_stage"]
    .map((name) => one[`cluster.routing.allocation.disk.watermark.${name}`]);
  assert.deepEqual(
    new Set(marks).size,
    1,
    "a new index is refused above high, and its lines are lost",
  );
  // Its default, false, lets the decider give a single node every shard.
  const decider = "cluster.routing.allocation.disk.watermark.enable_for_single_data_node";
  assert.equal(one[decider], undefined);
  const texts = [
    "manifests/logging/base/rules.yaml",
    "manifests/prometheus/base/dashboards/opensearch.yaml",
    "docs/runbooks/logs.md",
  ];
  const root = new URL("../../..", import.meta.url);
  for (const file of texts) {
    const text = (await readFile(new URL(file, root), "utf8")).replace(/\s+/g, " ");
    const sentences = [...text.matchAll(/[^.;:]*\d+ %[^.;:]*/g)].map(([sentence]) => sentence)
      .filter((sentence) => /read-only|takes no/.test(sentence));
    assert.ok(sentences.length >= 2, file);
    for (const sentence of sentences) assert.match(sentence, /\b95 %/, `${file}: ${sentence}`);
  }
  assert.equal(marks[0], "95%");
});

Deno.test("P3: no field that a writer names is mapped, and no value is too long for its field", async () => {
  const cluster = await fixtureCluster("197");
  // deno-lint-ignore no-explicit-any
  const { index_patterns, template } = documentSpec("index-template", cluster) as any;
  assert.deepEqual(index_patterns, LOG_INDICES);
  const { mappings, settings } = template;
  assert.equal(mappings.dynamic, false);
  assert.equal(settings["mapping.ignore_malformed"], true);
  walk(mappings, (field) => {
    if (isFields(field) && field.type === "keyword") assert.ok(field.ignore_above);
    if (isFields(field)) assert.ok(!("dynamic" in field) || field === mappings);
  });
});

Deno.test("the index template parts Latin letters and digits from Korean ones that are glued to them", async () => {
  const cluster = await fixtureCluster("197");
  // deno-lint-ignore no-explicit-any
  const { settings, mappings } = (documentSpec("index-template", cluster) as any).template;
  const { char_filter: { apart }, analyzer } = settings.analysis;
  for (const field of [mappings.properties.log, mappings.properties.message]) {
    assert.deepEqual(analyzer[field.fields.cjk.analyzer].char_filter, ["apart"]);
  }
  const parted = (text: string) =>
    text.replaceAll(new RegExp(apart.pattern, "g"), apart.replacement);
  assert.equal(
    parted("API서버에서 timeout이 3번, 결제에 404가"),
    "API 서버에서 timeout 이 3 번, 결제에 404 가",
  );
  assert.equal(parted("web-0 数据库 データ"), "web-0 数据库 データ");
});

Deno.test("P3: what a container writes stays text, and no key can come twice", async () => {
  const objects = await objectsOf();
  const { data } = byId(objects, "ConfigMap/node-agents/fluent-bit");
  const { pipeline: { inputs, filters, outputs } } = parse(data["fluent-bit.yaml"]);
  // Else a pod's labels a.b and a_b are the same key.
  // deno-lint-ignore no-explicit-any
  const ofPods = outputs.filter((one: any) => one.match.startsWith("kube."));
  assert.equal(ofPods.length, 1);
  assert.ok([undefined, false, "off"].includes(ofPods[0].replace_dots));
  // deno-lint-ignore no-explicit-any
  const filter = (alias: string) => filters.find((one: any) => one.alias === alias);
  assert.ok([false, "off"].includes(filter("kubernetes").merge_log));
  // The journal's own fields of these names are kept under others, before ours are added.
  assert.deepEqual(filter("reserved").rename, [
    "cluster journal_cluster",
    "kubernetes journal_kubernetes",
  ]);
  assert.equal(filter("reserved").match, "host.*");
  assert.ok(filters.indexOf(filter("reserved")) < filters.indexOf(filter("cluster")));
  for (const record of filter("cluster").record) {
    assert.ok(filter("cluster").remove_key.includes(record.split(" ")[0]));
  }
  // Of the journal nothing is left out.
  assert.equal(filter("container").match, "kube.*");
  for (const input of inputs) {
    if (input.name === "tail") assert.equal(input.truncate_long_lines, "on");
  }
});

Deno.test("P5: Fluent Bit reads files of any owner, and nothing but logs is mounted", async () => {
  const { spec } = byId(await objectsOf(), "DaemonSet/node-agents/fluent-bit").spec.template;
  assert.deepEqual(spec.containers[0].securityContext.capabilities, {
    drop: ["ALL"],
    add: ["DAC_READ_SEARCH"],
  });
  // deno-lint-ignore no-explicit-any
  const paths = spec.volumes.flatMap(({ hostPath }: any) => hostPath?.path ?? []);
  const logs = ["/var/log", "/var/lib/docker/containers", "/run/log/journal"];
  assert.deepEqual(paths, ["/var/lib/fluent-bit", ...logs, "/etc/machine-id"]);
});

Deno.test("40-logging: a change of settings, keys or CA restarts OpenSearch, and nothing else does", async () => {
  const stamp = async (environment: Record<string, string>) => {
    const { spec } = byId(await objectsOf(environment), "StatefulSet/logging/opensearch");
    return JSON.stringify(spec.template.metadata.annotations);
  };
  const before = await stamp({});
  assert.equal(
    await stamp({ LOG_RETENTION: "20d", UI_BASIC_AUTH: "admin:{SHA}Qlqe3StZVkdUmq0Sywluv/EdAgk=" }),
    before,
  );
  assert.notEqual(await stamp({ S3_SECRET_KEY: "another-secret" }), before);
  assert.notEqual(await stamp({ S3_REGION: "eu-west-1" }), before);
  assert.notEqual(await stamp({ S3_CA_FILE: "tests/fixtures/env/ca.crt" }), before);
});

Deno.test("40-logging keeps the keys in Secrets, under the names that the keystore wants", async () => {
  const objects = await objectsOf({ S3_CA_FILE: "tests/fixtures/env/ca.crt" });
  const { data } = byId(objects, "Secret/logging/opensearch-s3-config");
  assert.equal(atob(data["s3.client.default.access_key"]), SECRETS.S3_ACCESS_KEY);
  assert.equal(atob(data["s3.client.default.secret_key"]), SECRETS.S3_SECRET_KEY);
  assert.match(atob(byId(objects, "Secret/logging/s3-ca").data["ca.crt"]), /BEGIN CERTIFICATE/);
  const rest = JSON.stringify(objects.filter(({ kind }) => kind !== "Secret"));
  for (const value of Object.values(SECRETS)) assert.ok(!rest.includes(value));
  assert.ok(!(await objectsOf()).some(({ metadata }) => metadata.name === "s3-ca"));
});

Deno.test("40-logging gives the specification's metric name to both endpoints", async () => {
  const { spec } = byId(await objectsOf(), "ServiceMonitor/logging/opensearch");
  for (const port of ["http", "snapshots"]) { // the keeper's own names need no change
    const endpoint = spec.endpoints.find((endpoint: { port: string }) => endpoint.port === port);
    assert.deepEqual(endpoint.metricRelabelings.at(-1), {
      action: "replace",
      sourceLabels: ["__name__"],
      regex: "elasticsearch_(.*)",
      targetLabel: "__name__",
      replacement: "opensearch_$1",
    });
  }
});

Deno.test("40-logging: the alert on stuck indices follows LOG_RETENTION", async () => {
  const { spec } = byId(
    await objectsOf({ LOG_RETENTION: "10d" }),
    "PrometheusRule/logging/logging-ages",
  );
  assert.match(spec.groups[0].rules[0].expr, / > 1036800$/);
});

Deno.test("B40, B42, B44: Fluent Bit keeps lines on disk for ever, and never reads its own", async () => {
  const objects = await objectsOf();
  const { data } = byId(objects, "ConfigMap/node-agents/fluent-bit");
  const { service, pipeline } = parse(data["fluent-bit.yaml"]);
  for (const input of pipeline.inputs) {
    assert.equal(input["storage.type"], "filesystem");
    assert.match(input.db, /^\/var\/lib\/fluent-bit\//);
  }
  for (const output of pipeline.outputs) {
    assert.equal(output.retry_limit, "no_limits");
    assert.equal(output["storage.total_limit_size"], "${LOG_BUFFER}");
    for (
      const key of [
        "suppress_type_name",
        "generate_id",
        "time_key_nanos",
        "drop_unrecoverable_records",
      ]
    ) {
      assert.equal(output[key], "on", key);
    }
  }
  assert.deepEqual(
    pipeline.outputs.map((output: Record<string, string>) => output.logstash_prefix),
    ["logs-k8s", "logs-host"],
  );
  assert.ok(service["scheduler.cap"] <= 300);
  // With a buffer it loses lines under load (seen in the e2e test of a burst).
  assert.equal(pipeline.filters[0].name, "multiline");
  assert.equal(pipeline.filters[0].buffer, "off");

  const daemons = byId(objects, "DaemonSet/node-agents/fluent-bit").spec.template.spec;
  assert.ok(daemons.terminationGracePeriodSeconds > service.grace);
  // Seconds in which nobody reads when OpenSearch is away: a file that is rotated then loses lines.
  assert.ok(service.grace <= 5);
  const own = new RegExp(
    pipeline.inputs[0].exclude_path.replaceAll("*", ".*").replaceAll(",", "|"),
  );
  assert.match("/var/log/containers/fluent-bit-x7k2p_node-agents_fluent-bit-0a1b.log", own);
  assert.match("/var/log/containers/opensearch-0_logging_opensearch-0a1b.log", own);
  assert.doesNotMatch("/var/log/containers/opensearch-0_logging_prepare-0a1b.log", own);
  assert.doesNotMatch(
    "/var/log/containers/opensearch-exporter-5d-x_logging_exporter-0a1b.log",
    own,
  );

  const set = new Set(daemons.containers[0].env.map(({ name }: { name: string }) => name));
  for (const [, name] of data["fluent-bit.yaml"].matchAll(/\$\{(\w+)\}/g)) assert.ok(set.has(name));
});

/** An OpenSearch home, mounts and tools that note how they were called; `run` gives what they noted. */
async function podFolders(
  plugin: "in the image" | "to install",
  ca: string,
  from = "",
  config = "cluster.name: x",
) {
  const root = await mkdtemp(join(tmpdir(), "opensearch-init-"));
  const put = async (path: string, text: string, mode = 0o644) => {
    await mkdir(join(root, dirname(path)), { recursive: true });
    await writeFile(join(root, path), text);
    await chmod(join(root, path), mode);
  };
  const tool = (note: string) => `#!/bin/bash\necho "${note}" >>${root}/notes\n`;
  await put("home/config/jvm.options", "-Xms1g", 0o444);
  await put("home/jdk/lib/security/cacerts", "public CAs", 0o444);
  const keytool =
    '[[ $1 != -importcert ]] || { while [[ $1 != -file ]]; do shift; done; cat "$2"; }';
  await put("home/jdk/bin/keytool", `${tool("keytool $1")}${keytool} >>${root}/imported`, 0o755);
  await put("home/plugins/opensearch-knn/knn.jar", "");
  if (plugin === "in the image") await put("home/plugins/repository-s3/s3.jar", "", 0o444);
  const install = `mkdir ${root}/prepared/plugins/repository-s3`;
  await put("home/lib/opensearch-3.9.0.jar", "");
  await mkdir(join(root, "data"));
  await put("home/bin/opensearch-plugin", `${tool("plugin $*")}${install}`, 0o755);
  const keystore = `[[ $1 != create ]] || : >"$OPENSEARCH_PATH_CONF/opensearch.keystore"`;
  const read = `[[ $1 != add ]] || echo "stdin $(cat)" >>${root}/notes`;
  await put("home/bin/opensearch-keystore", `${tool("keystore $*")}${keystore}\n${read}`, 0o755);
  await put("opensearch-config/opensearch.yml", config);
  await put("s3-config/s3.client.default.access_key", "AK");
  await put("s3-config/s3.client.default.secret_key", "SK");
  await mkdir(join(root, "s3-ca"));
  if (ca) await put("s3-ca/ca.crt", ca);
  for (const name of ["config", "truststore", "plugins"]) {
    await mkdir(join(root, "prepared", name), { recursive: true });
  }
  await mkdir(join(root, "tmp"));
  const script = async (name: string) => {
    const text = (await readFile(join(FILES, "opensearch/files", name), "utf8"))
      .replaceAll(
        /(?<=["\s<])\/(prepared|opensearch-config|founded|s3-config|s3-ca|data|tmp)\b/g,
        `${root}/$1`,
      )
      .replaceAll(/=(file:\/\/)?\/(prepared|data|tmp)/g, `=$1${root}/$2`)
      // The plugin folder is mounted over the image's in the second container.
      .replaceAll(
        "plugins=$home/plugins",
        `plugins=${root}/prepared/plugins`,
      )
      .replace("home=/usr/share/opensearch", `home=${root}/home`);
    const env = { ...Deno.env.toObject(), S3_PLUGIN: from };
    await promisify(execFile)("bash", ["-c", text], { env });
  };
  return {
    read: (path: string) => readFile(join(root, path), "utf8").catch(() => ""),
    /** As the deploy that saw a cluster leaves it. */
    found: () => put("founded/cluster", "exists"),
    /** A pod made anew has its volume and nothing else. */
    async renew() {
      await rm(join(root, "prepared/plugins"), { recursive: true });
      await mkdir(join(root, "prepared/plugins"));
    },
    async run() {
      await rm(join(root, "notes"), { force: true });
      await script("copy.sh");
      await script("prepare.sh");
      return (await readFile(join(root, "notes"), "utf8")).trim().split("\n");
    },
    [Symbol.asyncDispose]: () => rm(root, { recursive: true, force: true }),
  };
}

const KEYSTORE = [
  "keystore create",
  "keystore add --stdin --force s3.client.default.access_key",
  "stdin AK",
  "keystore add --stdin --force s3.client.default.secret_key",
  "stdin SK",
];

Deno.test("P1: a node founds a cluster only where none was ever seen", async () => {
  const cluster = await fixtureCluster("196", { OPENSEARCH_NODES: "3" });
  const founds = /^cluster.initial_cluster_manager_nodes: opensearch-0$/m;
  await using pod = await podFolders("in the image", "", "", stringify(opensearchConfig(cluster)));
  await pod.run();
  assert.match(await pod.read("prepared/config/opensearch.yml"), founds);
  await pod.found();
  await pod.run();
  const config = await pod.read("prepared/config/opensearch.yml");
  assert.doesNotMatch(config, /initial_cluster_manager_nodes/);
  assert.deepEqual(
    { ...parse(config), "cluster.initial_cluster_manager_nodes": "opensearch-0" },
    opensearchConfig(cluster),
  );
});

Deno.test("P1: that a cluster exists is noted after OpenSearch has taken documents", async () => {
  const objects = await objectsOf();
  assert.ok(byId(objects, `ConfigMap/logging/${FOUNDED}`).data.cluster);
  const { spec } = byId(objects, "StatefulSet/logging/opensearch").spec.template;
  // deno-lint-ignore no-explicit-any
  const volume = spec.volumes.find(({ configMap }: any) => configMap?.name === FOUNDED);
  assert.equal(volume.configMap.optional, true);
  await fakeKubectl([{ on: "get", stdout: JSON.stringify({ items: [] }) }]);
  const run: string[] = [];
  const note = (title: string) => void run.push(title);
  await logging.run({
    cluster: await fixtureCluster("196", { KUBECONFIG_FILE: "tests/fixtures/kubeconfig" }),
    objects,
    report: { waiting: note },
    phase: async (title: string, work: () => Promise<unknown>) => (note(title), await work()),
    live: note,
    apply: (some: Manifest[]) =>
      note(some.some((one) => one.metadata.name === FOUNDED) ? "found" : "apply"),
    ready: () => {},
    put: ({ title }: { title: string }) => note(title),
    changed: note,
    // deno-lint-ignore no-explicit-any
  } as any);
  assert.deepEqual(run.filter((title) => /found|template/.test(title)), [
    "Index template and repository",
    "found",
  ]);
});

Deno.test("init scripts: the plugin comes from the image, and a repeated start works", async () => {
  await using pod = await podFolders("in the image", "");
  assert.deepEqual(await pod.run(), KEYSTORE);
  assert.deepEqual(await pod.run(), KEYSTORE);
  assert.equal(await pod.read("prepared/config/opensearch.yml"), "cluster.name: x");
  assert.equal(await pod.read("prepared/config/jvm.options"), "-Xms1g");
  assert.equal(await pod.read("prepared/truststore/cacerts"), "public CAs");
});

Deno.test("init scripts: the plugin is installed once, and every CA of the file is trusted", async () => {
  const one = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
  const two = one.replace("AAAA", "BBBB");
  await using pod = await podFolders("to install", `# the site's\r\n${one}\r\n${two}`);
  const trusted = [
    "keytool -delete",
    "keytool -importcert",
    "keytool -delete",
    "keytool -importcert",
  ];
  assert.deepEqual(await pod.run(), [
    "plugin install --batch repository-s3",
    ...KEYSTORE,
    ...trusted,
  ]);
  assert.equal(await pod.read("imported"), `${one}\n${two}\n`);
  assert.deepEqual(await pod.run(), [...KEYSTORE, ...trusted]);
  await pod.renew();
  assert.deepEqual(await pod.run(), [...KEYSTORE, ...trusted]); // from the volume
});

Deno.test("init scripts: the plugin comes from a place of the site, if it is the one meant", async () => {
  const zip = new TextEncoder().encode("the zip");
  const site = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    () => new Response(zip),
  );
  await using _ = { [Symbol.asyncDispose]: () => site.shutdown() };
  const url = `http://127.0.0.1:${(site.addr as Deno.NetAddr).port}/repository-s3.zip`;
  const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", zip)).toHex();
  await using pod = await podFolders("to install", "", `${url}#sha256=${sum}`);
  const [first, ...rest] = await pod.run();
  assert.match(first!, /^plugin install --batch file:\/\/.*\/tmp\/repository-s3\.zip$/);
  assert.deepEqual(rest, KEYSTORE);

  const other = `${url}#sha256=${sum.replace(/^./, (digit) => digit === "0" ? "1" : "0")}`;
  await using wrong = await podFolders("to install", "", other);
  await assert.rejects(wrong.run(), /did NOT match/);
});

Deno.test("40-logging: events come once each, repetitions too, and one that comes again replaces itself", async () => {
  const objects = await objectsOf();
  const { data } = byId(objects, "ConfigMap/logging/fluent-bit-events");
  const { service, pipeline } = parse(data["fluent-bit.yaml"]);
  const { inputs: [input], filters: [lua, own], outputs: [output] } = pipeline;
  // By uid alone, which a repetition has as well.
  assert.ok(!("db" in input));
  assert.deepEqual([input.name, lua.name, lua.match, output.match], [
    "kubernetes_events",
    "lua",
    input.tag,
    input.tag,
  ]);
  // The script was run by LuaJIT; here its text must fit what is configured.
  assert.ok(lua.script.endsWith("/events.lua"));
  const script = data["events.lua"];
  assert.ok(script.includes(`function ${lua.call}(`));
  assert.ok(
    script.includes(`record.${output.id_key} = metadata.uid .. "-" .. metadata.resourceVersion`),
  );
  assert.equal(output.write_operation, "index");
  assert.ok(!("generate_id" in output), "it would be ignored");
  assert.deepEqual(own.record, ["cluster ${CLUSTER_LABEL}"]);
  assert.ok(LOG_INDICES.includes(`${output.logstash_prefix}-*`));
  assert.equal(output.retry_limit, "no_limits");
  for (const key of ["suppress_type_name", "time_key_nanos", "drop_unrecoverable_records"]) {
    assert.equal(output[key], "on", key);
  }

  const { spec } = byId(objects, "Deployment/logging/fluent-bit-events");
  assert.deepEqual([spec.replicas, spec.strategy], [1, { type: "Recreate" }]);
  const pod = spec.template.spec;
  assert.ok((pod.terminationGracePeriodSeconds ?? 30) > service.grace);
  const environment = new Map<string, string>(
    pod.containers[0].env.map(({ name, value }: Record<string, string>) => [name, value]),
  );
  for (const [, name] of data["fluent-bit.yaml"].matchAll(/\$\{(\w+)\}/g)) {
    assert.ok(environment.has(name));
  }
  // os.time() of Lua takes the time of the place.
  assert.equal(environment.get("TZ"), "UTC");
  const bytes = (text: string) => Number.parseInt(text) * (text.endsWith("Mi") ? 2 ** 20 : 1e6);
  // deno-lint-ignore no-explicit-any
  const buffer = pod.volumes.find((one: any) => one.name === "buffer").emptyDir.sizeLimit;
  assert.ok(bytes(buffer) > bytes(output["storage.total_limit_size"]), "it would be evicted");
});

Deno.test("40-logging: no field of events is an object where a line of the journal may have a word", async () => {
  // deno-lint-ignore no-explicit-any
  const { template } = documentSpec("index-template", await fixtureCluster("197")) as any;
  const { properties } = template.mappings;
  const objects = Object.keys(properties).filter((name) => properties[name].properties);
  // The journal's names are of small letters; its own `kubernetes` is renamed.
  assert.deepEqual(objects, ["kubernetes", "involvedObject"]);
  for (const field of ["type", "reason", "count", "firstTimestamp", "lastTimestamp", "eventTime"]) {
    assert.ok(properties[field], field);
  }
});
