// The check "New volume" against a kubectl that answers from a table.
import assert from "node:assert/strict";
import { volume } from "../../scripts/checks/storage.ts";
import { fixtureCluster } from "../support/cluster_fixture.ts";
import { fakeKubectl, type Reply } from "../support/fake_kubectl.ts";
import { countRuns } from "../support/run_names.ts";
import { subjectWith } from "../support/subject.ts";

const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "kubeconfig" });
const subject = subjectWith(cluster);
const NONE: Reply = { on: " get persistentvolumes ", stdout: JSON.stringify({ items: [] }) };
const NAME = "volume-probe-00000001";
const MADE: Reply[] = [
  { on: " apply ", stdout: JSON.stringify({ metadata: { uid: "1234" } }) },
  { on: ` delete job ${NAME} .*--ignore-not-found` },
];

function job(condition: string, phase?: string): Reply {
  const status = { conditions: [{ type: condition, status: "True", message: "backoff limit" }] };
  const labels = { "batch.kubernetes.io/job-name": NAME };
  const pod = { kind: "Pod", metadata: { name: `${NAME}-x1y2z`, labels }, status: { phase } };
  const items = [
    { kind: "Job", metadata: { name: NAME }, status },
    ...phase ? [pod] : [],
  ];
  return { on: " get jobs,pods ", stdout: JSON.stringify({ items }) };
}

Deno.test("volume() asks the class of the settings for a claim that goes with its pod", async () => {
  countRuns();
  const calls = await fakeKubectl([...MADE, job("Complete"), NONE]);
  const { state, what } = await volume(subject);
  assert.equal(state, "ok");
  assert.match(what, /^a volume of longhorn was made, written and read in \d+ s$/);
  const all = await calls();
  assert.match(all.at(-2)!.args, / delete job /);
  assert.equal(all.filter(({ args }) => args.includes(" apply ")).length, 1);
  const probe = JSON.parse(all.find(({ args }) => args.includes(" apply "))!.stdin).items[0];
  const { containers: [container], volumes } = probe.spec.template.spec;
  assert.equal(volumes[0].ephemeral.volumeClaimTemplate.spec.storageClassName, "longhorn");
  // Another word each time, or what an earlier pod wrote would do.
  const word = /echo (\S{36}) >\/volume\/probe/.exec(container.command.at(-1))?.[1];
  assert.ok(word && container.command.at(-1).includes(`grep -qx ${word} /volume/probe`));
});

Deno.test("volume() sends its Job again where the first answer was lost", async () => {
  countRuns();
  const lost = { on: " apply ", code: 1, stderr: "Unable to connect: EOF", times: 1 };
  const calls = await fakeKubectl([lost, ...MADE, job("Complete"), NONE]);
  assert.equal((await volume(subject)).state, "ok");
  const words = (await calls()).map(({ args }) => / (apply|delete) /.exec(args)?.[1]);
  assert.deepEqual(words.filter(Boolean), ["apply", "apply", "delete"]);
});

/** A volume of the claim, as its class or a person made it. */
function volumeOf(name: string, claim: string, phase: string, policy = "Retain", isMade = true) {
  const annotations = isMade ? { "pv.kubernetes.io/provisioned-by": "nfs.example.org" } : undefined;
  return {
    metadata: { name, annotations },
    spec: {
      claimRef: { namespace: "default", name: claim },
      persistentVolumeReclaimPolicy: policy,
    },
    status: { phase },
  };
}

for (const condition of ["Complete", "Failed"]) {
  Deno.test(`P15: volume() leaves no volume of a class that retains them (Job: ${condition})`, async () => {
    countRuns();
    const items = [
      volumeOf("pv-now", `${NAME}-x1y2z-volume`, "Bound"),
      volumeOf("pv-before", "volume-probe-x1y2z-volume", "Released"),
      volumeOf("pv-earlier", "volume-probe", "Released"),
      volumeOf("pv-of-nobody", "volume-probe", "Released", "Delete"),
      volumeOf("pv-of-others", "data", "Released"),
      volumeOf("pv-of-a-person", "volume-probe-data", "Bound"),
      volumeOf("pv-by-hand-now", "volume-probe", "Bound", "Retain", false),
      volumeOf("pv-by-hand", "volume-probe", "Released", "Retain", false),
    ];
    const calls = await fakeKubectl([
      ...MADE,
      job(condition, condition === "Failed" ? "Failed" : "Succeeded"),
      { on: " get persistentvolumes ", stdout: JSON.stringify({ items }) },
      { on: " patch persistentvolume " },
    ]);
    await volume(subject);
    const patches = (await calls()).map(({ args }) => args)
      .flatMap((args) => / patch persistentvolume (.*)/.exec(args)?.[1] ?? []);
    const gone = (name: string) =>
      `${name} --type=merge --patch {"spec":{"persistentVolumeReclaimPolicy":"Delete"}}`;
    assert.deepEqual(patches, [
      gone("pv-now"),
      gone("pv-before"),
      gone("pv-earlier"),
      'pv-by-hand --type=merge --patch {"spec":{"claimRef":null}}',
    ]);
  });
}

Deno.test("volume() finds a volume that does not keep what is written", async () => {
  countRuns();
  await fakeKubectl([...MADE, job("Failed", "Failed"), NONE]);
  const problem = await volume(subject);
  assert.match(problem.what, /class longhorn does not keep/);
  assert.match(problem.fix!, /logs job\/volume-probe-00000001/);
});

Deno.test("volume() says why there was never a pod", async () => {
  countRuns();
  const event = {
    type: "Warning",
    reason: "FailedCreate",
    message: "pods is forbidden: volumes of that kind are not allowed",
    involvedObject: { kind: "Job", name: NAME },
  };
  await fakeKubectl([
    ...MADE,
    job("Failed"),
    { on: " get events ", stdout: JSON.stringify({ items: [event] }) },
    NONE,
  ]);
  await assert.rejects(volume(subject), {
    exitCode: 7,
    where: [`Job ${NAME}: FailedCreate: ${event.message}`],
  });
});

Deno.test("volume() says why the pod has no volume", async () => {
  countRuns();
  const message = "failed to provision volume: insufficient storage";
  const unbound = "pod has unbound immediate PersistentVolumeClaims";
  const condition = { type: "PodScheduled", status: "False", message: unbound };
  const labels = { "batch.kubernetes.io/job-name": NAME };
  const items = [
    { kind: "Job", metadata: { name: NAME }, status: {} },
    {
      kind: "Pod",
      metadata: { name: `${NAME}-x`, labels },
      status: { phase: "Pending", conditions: [condition] },
    },
  ];
  const event = {
    type: "Warning",
    reason: "ProvisioningFailed",
    message,
    involvedObject: { kind: "PersistentVolumeClaim", name: `${NAME}-x-volume` },
  };
  await fakeKubectl([
    ...MADE,
    { on: " get jobs,pods ", stdout: JSON.stringify({ items }), times: 1 },
    job("Failed"),
    { on: " get events ", stdout: JSON.stringify({ items: [event] }) },
  ]);
  await assert.rejects(volume(subject), {
    exitCode: 7,
    where: [
      `pod ${NAME}-x is not scheduled: ${unbound}`,
      `PersistentVolumeClaim ${NAME}-x-volume: ProvisioningFailed: ${message}`,
    ],
  });
});
