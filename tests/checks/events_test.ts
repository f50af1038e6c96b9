// The verdict of 50-verify on Kubernetes events: one is made, looked for by the id that Fluent Bit gives it, and taken
// away again.
import assert from "node:assert/strict";
import { Event } from "kubernetes-models/v1";
import { type Finding, findingsOf } from "../../lib/core/check.ts";
import { events } from "../../scripts/checks/logs.ts";
import { fixtureCluster } from "../support/cluster_fixture.ts";
import { fakeKubectl, listOf } from "../support/fake_kubectl.ts";
import { subjectWith } from "../support/subject.ts";

const MADE = JSON.stringify({ metadata: { uid: "0a1b", resourceVersion: "4711" } });

/** What is found where OpenSearch has the event from the `after`-th look on, and what kubectl was asked. */
async function verdict(after: number, availableReplicas = 1) {
  const collector = {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "fluent-bit-events", namespace: "logging", generation: 1 },
    spec: { replicas: 1 },
    status: {
      observedGeneration: 1,
      replicas: 1,
      updatedReplicas: 1,
      readyReplicas: availableReplicas,
      availableReplicas,
    },
  };
  const calls = await fakeKubectl([
    { on: "create -f -", stdout: MADE },
    { on: "delete event", stdout: "deleted" },
    { on: "get deployment", stdout: listOf(collector) },
    { on: "get (pods|events)", stdout: listOf() },
  ]);
  const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "tests/fixtures/kubeconfig" });
  const asked: string[] = [];
  const proxy = {
    fetch(_: unknown, path: string, init?: RequestInit) {
      asked.push(`${path} ${init?.body}`);
      // Before the first event of a day its index is not there: an error of the one document.
      const doc = asked.length < 2
        ? { error: { reason: "no such index" } }
        : { found: asked.length >= after };
      return Promise.resolve(Response.json({ docs: [doc] }));
    },
  };
  const subject = subjectWith(cluster, { objects: [collector], proxy });
  const [found] = findingsOf(await events(subject, 0)) as [Finding];
  return { found, asked, calls: await calls() };
}

Deno.test("events() makes one event, finds it by uid and resourceVersion in the index of its day, and takes it away", async () => {
  const { found, asked, calls } = await verdict(3);
  assert.deepEqual([found.state, found.what], ["ok", "an event was stored 2 s after it was made"]);
  const [create, remove] = calls;
  const event = JSON.parse(create!.stdin);
  new Event(event).validate();
  const day = event.lastTimestamp.slice(0, 10).replaceAll("-", ".");
  const doc = JSON.stringify({ docs: [{ _index: `logs-events-${day}`, _id: "0a1b-4711" }] });
  assert.deepEqual(asked, Array(3).fill(`/_mget ${doc}`));
  assert.match(remove!.args, new RegExp(`delete event ${event.metadata.name} -n logging`));
  assert.match(event.lastTimestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
});

Deno.test("events() says of an event that is not stored whether its reader runs, and takes it away all the same", async () => {
  for (
    const [available, cause, fix] of [
      [1, /may not list events \(http_status=403/, /logs deploy\/fluent-bit-events/],
      [0, /is not ready: Deployment/, /get pods,events/],
    ] as const
  ) {
    const { found, calls } = await verdict(Infinity, available);
    assert.equal(found.state, undefined);
    assert.equal(found.what, "an event was not stored within 30 s");
    assert.match(found.cause!, cause);
    assert.match(found.fix!, fix);
    assert.match(calls.at(-1)!.args, /delete event/);
  }
});
