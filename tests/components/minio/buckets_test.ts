// scripts/components/minio/buckets.ts: S3 as the pods of a cluster reach it, against a kubectl that answers from a table.
import assert from "node:assert/strict";
import type { DeployError } from "../../../lib/core/error.ts";
import type { StepContext } from "../../../lib/deploy/step.ts";
import { minio } from "../../../scripts/00-minio.ts";
import { reachFromInside } from "../../../scripts/components/minio/buckets.ts";
import { fixtureCluster, SECRETS } from "../../support/cluster_fixture.ts";
import { fakeKubectl, listOf, type Reply } from "../../support/fake_kubectl.ts";
import { countRuns } from "../../support/run_names.ts";

const cluster = await fixtureCluster("197", {
  KUBECONFIG_FILE: "kubeconfig",
  LONGHORN_S3_ACCESS_KEY: "longhorn-alone",
  LONGHORN_S3_SECRET_KEY: "longhorn-secret",
});

const NAME = "s3-reach-00000001";

function itemsOf(condition: string, name = NAME) {
  const status = { conditions: [{ type: condition, status: "True", message: "backoff limit" }] };
  const labels = { "batch.kubernetes.io/job-name": name };
  const phase = condition === "Complete" ? "Succeeded" : "Failed";
  return [
    { kind: "Job", metadata: { name }, status },
    { kind: "Pod", metadata: { name: `${name}-abcde`, labels }, status: { phase } },
  ];
}

function job(condition: string): Reply {
  return { on: " get jobs,pods ", stdout: JSON.stringify({ items: itemsOf(condition) }) };
}

const MADE: Reply[] = [
  { on: " apply ", stdout: JSON.stringify({ metadata: { uid: "1234" } }) },
  { on: ` delete job ${NAME} .*--ignore-not-found` },
];

Deno.test("reachFromInside() gives each bucket its own key, which goes with the Job, and leaves nothing", async () => {
  countRuns();
  const calls = await fakeKubectl([...MADE, job("Complete")]);
  await reachFromInside(cluster);
  const all = await calls();
  assert.match(all.at(-1)!.args, / delete job /);
  const [made, keys] = all.filter(({ args }) => args.includes(" apply ")).map(({ stdin }) =>
    JSON.parse(stdin).items[0]
  );
  const names = made.spec.template.spec.containers.map(({ name }: { name: string }) => name);
  assert.deepEqual(names, ["thanos", "opensearch", "longhorn"]);
  assert.equal(made.spec.template.spec.securityContext.runAsNonRoot, true);
  assert.deepEqual(keys.metadata.ownerReferences, [
    { apiVersion: "batch/v1", kind: "Job", name: NAME, uid: "1234" },
  ]);
  assert.equal(keys.metadata.name, NAME);
  assert.deepEqual(made.spec.template.spec.volumes, [{
    name: "keys",
    secret: { secretName: NAME },
  }]);
  assert.match(
    atob(keys.data["thanos.yml"]),
    /bucket: thanos\n[\s\S]*access_key: dummy-access-key/,
  );
  assert.match(atob(keys.data["longhorn.yml"]), /access_key: longhorn-alone/);
  const secrets = [SECRETS.S3_SECRET_KEY, "longhorn-secret"];
  assert.ok(all.every(({ args }) => secrets.every((secret) => !args.includes(secret))));
});

Deno.test("reachFromInside() of two people at once: neither reads nor removes what is the other's", async () => {
  countRuns();
  const other = "s3-reach-00000002";
  const items = [...itemsOf("Failed", other), ...itemsOf("Complete")];
  const calls = await fakeKubectl([
    ...MADE,
    { on: " get jobs,pods ", stdout: JSON.stringify({ items }) },
    { on: ` logs job/${other} `, stdout: "level=error err=refused\n" },
  ]);
  const ends = await Promise.allSettled([reachFromInside(cluster), reachFromInside(cluster)]);
  assert.deepEqual(ends.map(({ status }) => status), ["fulfilled", "rejected"]);
  const made = (await calls()).filter(({ args }) => args.includes(" apply "))
    .map(({ stdin }) => JSON.parse(stdin).items[0]).map(({ kind, metadata }) =>
      `${kind}/${metadata.name}`
    );
  assert.deepEqual(made.sort(), [
    `Job/${NAME}`,
    `Job/${other}`,
    `Secret/${NAME}`,
    `Secret/${other}`,
  ]);
});

Deno.test("A66: reachFromInside() shows the log of the bucket that pods do not reach, and keeps the Job", async () => {
  countRuns();
  const calls = await fakeKubectl([
    ...MADE,
    job("Failed"),
    { on: " logs .*--container thanos", stdout: "level=info msg=listed\n" },
    {
      on: " logs .*--container opensearch",
      stdout:
        'level=info msg=loading\nlevel=error err="Get \\"https://s3\\": no route to host\\nBase\\n\\tx.go:1"\n',
    },
    { on: " logs .*--container longhorn", stdout: "" },
  ]);
  await assert.rejects(reachFromInside(cluster), (error: DeployError) => {
    assert.equal(error.exitCode, 8);
    assert.deepEqual(error.where, [
      'opensearch-logs: Get "https://s3": no route to host',
    ]);
    assert.match(error.fix!, /kubectl --context mkube-197 -n default logs job\/s3-reach-00000001/);
    return true;
  });
  const all = await calls();
  assert.equal(all.filter(({ args }) => args.includes(" delete ")).length, 0);
  const made = JSON.parse(all.find(({ args }) => args.includes(" apply "))!.stdin).items[0];
  assert.equal(made.spec.ttlSecondsAfterFinished, 600);
});

Deno.test("A66: reachFromInside() says why its pod never started", async () => {
  countRuns();
  const waiting = { reason: "ImagePullBackOff", message: "no such host quay.io" };
  const status = {
    phase: "Pending",
    containerStatuses: [{ name: "thanos", restartCount: 0, state: { waiting }, lastState: {} }],
  };
  const items = [
    { kind: "Job", metadata: { name: NAME }, status: {} },
    {
      kind: "Pod",
      metadata: { name: `${NAME}-abcde`, labels: { "batch.kubernetes.io/job-name": NAME } },
      status,
    },
  ];
  const pulling = { on: " get jobs,pods ", stdout: JSON.stringify({ items }), times: 1 };
  const event = (type: string, name: string, message: string) => ({
    kind: "Event",
    metadata: { name: message },
    type,
    reason: "Failed",
    message,
    involvedObject: { kind: "Pod", name },
  });
  const events = {
    on: " get events ",
    stdout: JSON.stringify({
      items: [
        event("Warning", `${NAME}-abcde`, "first try"),
        event("Warning", `${NAME}-abcde`, "last try"),
        event("Normal", `${NAME}-abcde`, "pulling"),
        event("Warning", "another", "not ours"),
        event("Warning", "s3-reach-0000000a-abcde", "of another run"),
      ],
    }),
  };
  await fakeKubectl([...MADE, pulling, job("Failed"), events]);
  await assert.rejects(reachFromInside(cluster), (error: DeployError) => {
    assert.equal(error.exitCode, 7);
    assert.deepEqual(error.where, [
      "pod s3-reach-00000001-abcde, container thanos: ImagePullBackOff no such host quay.io",
      "Pod s3-reach-00000001-abcde: Failed: last try",
    ]);
    return true;
  });
});

Deno.test("00-minio leaves it to 50-verify to show an idle run's way to S3, and tells where neither can", async () => {
  await fakeKubectl([{ on: "get services", stdout: listOf() }]);
  const phases = async (isIdle: boolean, simulated = "false") => {
    const told: string[] = [];
    const note = (title: string) => Promise.resolve(void told.push(title));
    await minio.run({
      cluster: await fixtureCluster("197", {
        KUBECONFIG_FILE: "kubeconfig",
        SIMULATED_NODES: simulated,
      }),
      ...{ phase: note, live: note, beside: note, isIdle: () => isIdle },
      put: () => Promise.resolve(),
    } as unknown as StepContext);
    return told;
  };
  const proof = ["Access", "Access from the cluster"];
  assert.deepEqual(await phases(false), proof);
  assert.deepEqual(await phases(true), ["Access"]);
  assert.deepEqual(await phases(true, "true"), proof);
});
