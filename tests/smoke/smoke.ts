// The CI smoke job, through the commands that an operator types: fresh demo clusters, deploy, deploy
// again without a change, a single step, drift repaired, a killed run finished, the wrong cluster refused,
// teardown.
import "../../scripts/needs.ts";
import { existsSync } from "node:fs";
import { copyFile, readFile, rm, writeFile } from "node:fs/promises";
import assert from "node:assert/strict";
import process from "node:process";
import { $ } from "zx";
import { chooseClusters, loadFleet } from "../../lib/config/cluster.ts";
import { type Cluster, projectPath } from "../../lib/core/cluster.ts";
import { command } from "../../lib/cli/command.ts";
import { ExitCode } from "../../lib/core/error.ts";
import { kubectl } from "../../lib/kube/kubectl.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { print, Report } from "../../lib/io/report.ts";
import { changesOf, typeMake } from "../support/make.ts";

const report = new Report();

process.env.PROFILE = "demo";
await command("smoke.ts", {}, async () => {
  const checks: [title: string, check: () => Promise<unknown>][] = [
    ["a bare API server refuses, replaces, and hears all over a bad line", bareServer],
    ["a demo from nothing deploys all clusters", freshDemo],
    ["a second deploy changes nothing", () => deployed(["all"], 0)],
    [
      "a single step runs again without a change",
      () => deployed(["30-thanos", "CLUSTER=196"], 0),
    ],
    ["a plan after a deploy is empty", emptyPlan],
    ["edges differ only as their env files say, and a field is explained", explained],
    ["A35: what a person deleted, edited and applied is again as wanted", repairedDrift],
    ["what a switch leaves behind goes with --prune, and no volume", prunedSwitch],
    [
      "what is not as wanted is told by a code, and a plan that is no longer true is refused",
      drift,
    ],
    [
      "A43, A46: a cluster that is removed and killed on its way back is finished by the next run",
      comesBack,
    ],
    ["the env of 197 is refused on the cluster of 196", refusedTarget],
    ["an unknown cluster and an unknown flag are refused", refusedWords],
    ["teardown leaves no process and no file", teardown],
  ];
  let passed = 0;
  for (const [title, check] of checks) {
    const started = performance.now();
    try {
      await check();
      passed += 1;
      report.phase(`ok      ${title}`, (performance.now() - started) / 1000);
    } catch (error) {
      report.say(`  FAILED  ${title}\n${error instanceof Error ? error.message : error}`);
      break;
    }
  }
  if (passed < checks.length) await typeMake(["demo-down"]);
  print(`smoke: ${passed} passed, ${checks.length - passed} failed`);
  return passed === checks.length ? ExitCode.done : ExitCode.verification;
});

async function deployed(words: string[], changes: number): Promise<void> {
  const typed = await typeMake(words);
  assert.equal(typed.code, 0, typed.output);
  assert.equal(changesOf(typed), changes, typed.output);
}

async function bareServer(): Promise<void> {
  const { code, output } = await typeMake(["apiserver"]);
  assert.equal(code, 0, output);
  // What it counted, for whoever counts all.
  report.say(/^(ok|FAILED) \| .*$/m.exec(output)?.[0] ?? "");
}

async function freshDemo(): Promise<void> {
  await typeMake(["demo-down"]);
  const { code, output } = await typeMake(["demo"]);
  assert.equal(code, 0, output);
  report.say(output.slice(output.indexOf("cluster  step")));
}

async function emptyPlan(): Promise<void> {
  const { code, output } = await typeMake(["plan"]);
  assert.equal(code, 0, output);
  const empty = output.match(/0 to create, 0 to update, 0 no longer wanted/g) ?? [];
  assert.equal(empty.length, (await loadFleet()).length, output);
}

async function explained(): Promise<void> {
  const { code, output } = await typeMake(["compare"]);
  assert.equal(code, 0, output);
  assert.match(output, /not explained: 0 fields of 0 objects/);
  const words = ["OBJ=Deployment/monitoring/thanos-query", "FIELD=spec.replicas"];
  const field = await typeMake(["explain-196", ...words]);
  assert.match(field.output, /setting +QUERY_REPLICAS=1/);
}

async function demoCluster(id: string): Promise<Cluster> {
  return chooseClusters(await loadFleet(), [id])[0]!;
}

async function repairedDrift(): Promise<void> {
  const cluster = await demoCluster("196");
  const query = ["deployment", "thanos-query", "-n", "monitoring"];
  const images = "jsonpath={.spec.template.spec.containers[*].image}";
  const before = await kubectl(["get", ...query, "-o", images], { cluster });
  await kubectl(["set", "image", ...query, "*=example.org/other:1"], { cluster });
  await kubectl(["delete", "service", "thanos-query", "-n", "monitoring"], { cluster });
  // A person's plain apply, which knows nothing of ours.
  const limits = ["configmap/grafana-limits", "-n", "monitoring"];
  await kubectl(["delete", ...limits], { cluster });
  const metadata = { name: "grafana-limits", namespace: "monitoring" };
  const data = { GF_DATAPROXY_TIMEOUT: "1", EXTRA: "x" };
  const input = JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata, data });
  await kubectl(["apply", "-f", "-"], { cluster, input });
  await deployed(["cluster-196"], 3);
  const own = JSON.parse(await kubectl(["get", ...limits, "-o", "json"], { cluster }));
  assert.deepEqual(Object.keys(own.data), ["GF_DATAPROXY_TIMEOUT"]);
  assert.equal(own.metadata.annotations, undefined);
  assert.equal(await kubectl(["get", ...query, "-o", images], { cluster }), before);
  await kubectl(["get", "service", "thanos-query", "-n", "monitoring"], { cluster });
}

/** The plan is approved, then the cluster moves on. */
async function drift(): Promise<void> {
  const cluster = await demoCluster("198");
  const scale = (replicas: number) =>
    kubectl(
      ["scale", "deployment/opensearch-exporter", "-n", "logging", `--replicas=${replicas}`],
      {
        cluster,
      },
    );
  const PLAN = projectPath(".demo/plan.json");
  assert.equal((await typeMake(["drift-198"])).code, ExitCode.done);
  await scale(2);
  const { code, output } = await typeMake(["drift-198"]);
  assert.equal(code, ExitCode.drift, output);
  assert.match(output, /update +Deployment\/logging\/opensearch-exporter\n +spec.replicas: 2 -> 1/);
  await typeMake(["plan-198"], { PLAN });
  await scale(3);
  const moved = await typeMake(["cluster-198"], { PLAN });
  assert.equal(moved.code, ExitCode.refused, moved.output);
  await scale(2);
  await typeMake(["plan-198"], { PLAN });
  const bound = await typeMake(["cluster-198"], { PLAN });
  assert.deepEqual([bound.code, changesOf(bound)], [ExitCode.done, 1], bound.output);
}

/** Removed but for its data, deployed again with a SIGKILL in the middle, and once more. */
async function comesBack(): Promise<void> {
  const cluster = await demoCluster("198");
  const volumes = () => kubectl(["get", "pv,pvc", "-A", "-o", "name"], { cluster });
  const state = async () => {
    const kinds = "deployments,statefulsets,daemonsets,services,configmaps,secrets,prometheusrules";
    const selector = ["-l", "deploy.miribit.lab/step", "-A", "-o", "json"];
    const { items } = JSON.parse(await kubectl(["get", kinds, ...selector], { cluster }));
    return items.map(({ kind, metadata: { name, labels } }: Manifest) => [kind, name, labels]);
  };
  const [kept, before] = [await volumes(), await state()];
  const removed = await typeMake(["remove-198", "YES=198"]);
  assert.equal(removed.code, ExitCode.done, removed.output);
  assert.ok(changesOf(removed)! > 100, removed.output);
  assert.equal(await volumes(), kept);

  const killed = $({
    quiet: true,
    nothrow: true,
    detached: true,
  })`make --no-print-directory cluster-198`;
  await new Promise<void>((resolve) => {
    killed.stderr.on("data", (text) => /30-thanos/.test(text) && resolve());
  });
  // Of our own process group alone: the same command may be at work on a real site.
  await $({ quiet: true })`pkill -9 -g ${killed.pid!} -f ${"fleet.ts deploy 198"}`;
  await killed;
  const again = await typeMake(["cluster-198"]);
  assert.equal(again.code, ExitCode.done, again.output);
  assert.match(again.output, /the run of .* did not finish; this one goes on/);
  assert.deepEqual(await state(), before);
  await deployed(["cluster-198"], 0);
}

/** Policies are on and then off again: named first, then deleted, and with them nothing else. */
async function prunedSwitch(): Promise<void> {
  const cluster = await demoCluster("197");
  const step = ["40-logging", "CLUSTER=197"];
  const names = async (kinds: string) => {
    const list = await kubectl(["get", kinds, "-n", "logging", "-o", "name"], { cluster });
    return list.split("\n").filter(Boolean).sort();
  };
  const [before, volumes] = [await names("all,secrets,configmaps"), await names("pvc")];
  const on = await typeMake(step, { NETWORK_POLICIES: "true" });
  assert.equal(on.code, 0, on.output);
  const policies = await names("networkpolicies");
  assert.ok(policies.length >= 3, policies.join());

  const off = await typeMake(step);
  assert.match(off.output, /no step wants any more: NetworkPolicy.*ARGS=--prune/);
  assert.deepEqual(await names("networkpolicies"), policies);
  await typeMake([...step, "ARGS=--prune"]);
  assert.deepEqual(await names("networkpolicies"), []);
  assert.deepEqual(await names("pvc"), volumes);
  assert.deepEqual(await names("all,secrets,configmaps"), before);
  await deployed([...step, "ARGS=--prune"], 0);
}

/** A kubeconfig whose context of 197 leads to 196: only the marker can tell. */
async function refusedTarget(): Promise<void> {
  const swapped = projectPath(".demo/swapped-kubeconfig");
  await copyFile(projectPath(".demo/kubeconfig"), swapped);
  const text = await readFile(swapped, "utf8");
  const names: Record<string, string> = { "mkube-196": "mkube-197", "mkube-197": "mkube-196" };
  await writeFile(swapped, text.replace(/mkube-19[67]/g, (name) => names[name]!));
  const { code, output } = await typeMake(["30-thanos", "CLUSTER=197"], {
    KUBECONFIG_FILE: swapped,
  });
  await rm(swapped);
  assert.equal(code, ExitCode.refused, output);
  assert.match(output, /this is cluster-196-central, refusing cluster-197-edge/);
}

async function refusedWords(): Promise<void> {
  for (const words of [["cluster-199"], ["cluster-196", "ARGS=--dryrun"]]) {
    const { code, output } = await typeMake(words);
    assert.equal(code, ExitCode.config, output);
    assert.match(output, /196, 197, 198|--adopt/);
  }
}

async function teardown(): Promise<void> {
  const { code, output } = await typeMake(["demo-down"]);
  assert.equal(code, 0, output);
  assert.ok(!existsSync(projectPath(".demo")), ".demo is still there");
  const left = await $({ quiet: true, nothrow: true })`ps -eo args`;
  const ours = left.stdout.split("\n").filter((line) => line.includes(projectPath(".demo")));
  assert.deepEqual(ours, []);
}
