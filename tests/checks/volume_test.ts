// The check "New volume" against a kubectl that answers from a table.
import assert from "node:assert/strict";
import { volume } from "../../scripts/checks/volume.ts";
import { fixtureCluster } from "../support/cluster_fixture.ts";
import { fakeKubectl, type Reply } from "../support/fake_kubectl.ts";
import { subjectWith } from "../support/subject.ts";

const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "kubeconfig" });
const subject = subjectWith(cluster);
const MADE: Reply[] = [
  { on: " create ", stdout: JSON.stringify({ metadata: { uid: "1234" } }) },
  { on: " delete job volume-probe .*--ignore-not-found" },
];

function job(condition: string): Reply {
  const status = { conditions: [{ type: condition, status: "True", message: "backoff limit" }] };
  const items = [{ kind: "Job", metadata: { name: "volume-probe" }, status }];
  return { on: " get jobs,pods ", stdout: JSON.stringify({ items }) };
}

Deno.test("volume() asks the class of the settings for a claim that goes with its Job", async () => {
  const calls = await fakeKubectl([...MADE, job("Complete")]);
  const { state, what } = await volume(subject);
  assert.equal(state, "ok");
  assert.match(what, /^a volume of longhorn was made, written and read in \d+ s$/);
  const all = await calls();
  assert.match(all.at(-1)!.args, / delete job /);
  const [probe, claim] = all.filter(({ args }) => args.includes(" create ")).map(({ stdin }) =>
    JSON.parse(stdin)
  );
  assert.equal(claim.spec.storageClassName, "longhorn");
  assert.deepEqual(claim.metadata.ownerReferences, [
    { apiVersion: "batch/v1", kind: "Job", name: "volume-probe", uid: "1234" },
  ]);
  const { containers: [container], volumes } = probe.spec.template.spec;
  assert.equal(volumes[0].persistentVolumeClaim.claimName, claim.metadata.name);
  // Another word each time, or what an earlier pod wrote would do.
  const word = /echo (\S{36}) >\/volume\/probe/.exec(container.command.at(-1))?.[1];
  assert.ok(word && container.command.at(-1).includes(`grep -qx ${word} /volume/probe`));
});

Deno.test("volume() finds a volume that does not keep what is written", async () => {
  await fakeKubectl([...MADE, job("Failed")]);
  const problem = await volume(subject);
  assert.match(problem.what, /class longhorn does not keep/);
  assert.match(problem.fix!, /logs job\/volume-probe/);
});

Deno.test("volume() says why the pod has no volume", async () => {
  const message = "failed to provision volume: insufficient storage";
  const unbound = "pod has unbound immediate PersistentVolumeClaims";
  const condition = { type: "PodScheduled", status: "False", message: unbound };
  const labels = { "batch.kubernetes.io/job-name": "volume-probe" };
  const items = [
    { kind: "Job", metadata: { name: "volume-probe" }, status: {} },
    {
      kind: "Pod",
      metadata: { name: "volume-probe-x", labels },
      status: { phase: "Pending", conditions: [condition] },
    },
  ];
  const event = {
    type: "Warning",
    reason: "ProvisioningFailed",
    message,
    involvedObject: { kind: "PersistentVolumeClaim", name: "volume-probe" },
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
      `pod volume-probe-x is not scheduled: ${unbound}`,
      `PersistentVolumeClaim volume-probe: ProvisioningFailed: ${message}`,
    ],
  });
});
