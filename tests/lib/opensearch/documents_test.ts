import assert from "node:assert/strict";
import { DeployError } from "../../../lib/core/error.ts";
import {
  covers,
  ensureIndexPolicy,
  ensureIndexTemplate,
  ensureReplicas,
  ensureRepository,
  ensureSnapshotPolicy,
  manageIndices,
  type Outcome,
  verifyRepository,
} from "../../../lib/opensearch/documents.ts";
import { FakeOpenSearch } from "../../support/opensearch.ts";

const TEMPLATE = {
  index_patterns: ["a-*"],
  priority: 100,
  template: {
    settings: { number_of_shards: 1, "mapping.total_fields.limit": 1000 },
    mappings: { dynamic: true, properties: { log: { type: "text" } } },
  },
};
const REPOSITORY = { type: "s3", settings: { bucket: "b", compress: true } };
const INDEX_POLICY = {
  description: "keeps",
  default_state: "hot",
  states: [
    {
      name: "hot",
      actions: [],
      transitions: [{ state_name: "delete", conditions: { min_index_age: "14d" } }],
    },
    { name: "delete", actions: [{ delete: {} }], transitions: [] },
  ],
  ism_template: [{ index_patterns: ["a-*"], priority: 100 }],
};
const SNAPSHOT_POLICY = {
  description: "deletes",
  enabled: true,
  snapshot_config: { repository: "r" },
  deletion: { condition: { max_age: "180d", min_count: 1 }, snapshot_pattern: "a-*" },
};

const DOCUMENTS: [string, (os: FakeOpenSearch, change?: object) => Promise<Outcome>, object][] = [
  [
    "ensureIndexTemplate()",
    (os, change) => ensureIndexTemplate(os, "t", { ...TEMPLATE, ...change }),
    { priority: 200 },
  ],
  [
    "ensureRepository()",
    (os, change) => ensureRepository(os, "r", { ...REPOSITORY, ...change }),
    { settings: { bucket: "other", compress: true } },
  ],
  [
    "ensureIndexPolicy()",
    (os, change) => ensureIndexPolicy(os, "p", { ...INDEX_POLICY, ...change }),
    { ism_template: [{ index_patterns: ["b-*"], priority: 100 }] },
  ],
  [
    "ensureSnapshotPolicy()",
    (os, change) => ensureSnapshotPolicy(os, "s", { ...SNAPSHOT_POLICY, ...change }),
    { enabled: false },
  ],
];

async function refusal(work: Promise<unknown>): Promise<DeployError> {
  const error = await work.then(() => undefined, (error) => error);
  assert.ok(error instanceof DeployError, `expected a refusal, not ${error}`);
  assert.equal(error.exitCode, 8);
  return error;
}

for (const [name, ensure, change] of DOCUMENTS) {
  Deno.test(`${name} creates, leaves alone, updates what differs, and leaves alone again`, async () => {
    const os = new FakeOpenSearch();
    assert.equal(await ensure(os), "created");
    assert.equal(await ensure(os), "unchanged");
    assert.equal(os.writes.length, 1);
    assert.equal(await ensure(os, change), "configured");
    assert.equal(await ensure(os, change), "unchanged");
    assert.equal(os.writes.length, 2);
  });

  Deno.test(`A67: ${name} waits for a server that is busy or not there yet`, async () => {
    const os = new FakeOpenSearch();
    const busy = { status: 503, body: { message: 'no endpoints available for service "x"' } };
    os.before.push(busy, { status: 429, body: {} });
    assert.equal(await ensure(os), "created");
  });

  Deno.test(`${name} gives up with exit 8 and the reason`, async () => {
    const os = new FakeOpenSearch();
    const busy = { status: 503, body: { message: 'no endpoints available for service "x"' } };
    os.before.push(...Array(6).fill(busy));
    const error = await refusal(ensure(os));
    assert.match(error.message, /^Cannot GET \/_\S+ of OpenSearch: it answers 503$/);
    assert.deepEqual(error.where, ['no endpoints available for service "x"']);
  });
}

for (const [name, ensure, change] of DOCUMENTS.slice(2)) {
  Deno.test(`A67: ${name} looks again when somebody else wrote in between`, async () => {
    const os = new FakeOpenSearch();
    await ensure(os);
    const store = os.policies.size > 0 ? os.policies : os.snapshotPolicies;
    let races = 2;
    os.onWrite = () => {
      if (races-- > 0) { for (const policy of store.values()) policy.seq += 100; }
    };
    assert.equal(await ensure(os, change), "configured");
    assert.equal(os.writes.length, 4);
  });

  Deno.test(`${name} gives up on a document that changes all the time`, async () => {
    const os = new FakeOpenSearch();
    await ensure(os);
    const store = os.policies.size > 0 ? os.policies : os.snapshotPolicies;
    os.onWrite = () => {
      for (const policy of store.values()) policy.seq += 100;
    };
    const error = await refusal(ensure(os, change));
    assert.match(error.message, /answers 409$/);
    assert.match(error.where.join(), /required seqNo/);
  });

  Deno.test(`${name} tells which field the server does not know`, async () => {
    const error = await refusal(ensure(new FakeOpenSearch(), { colour: "red" }));
    assert.deepEqual(error.where, ["unknown field [colour]"]);
  });
}

Deno.test("ensureIndexPolicy(): when somebody else was faster with the same, nothing changes", async () => {
  const os = new FakeOpenSearch();
  const other = new FakeOpenSearch();
  await ensureIndexPolicy(other, "p", INDEX_POLICY);
  os.onWrite = () => os.policies.set("p", other.policies.get("p")!);
  assert.equal(await ensureIndexPolicy(os, "p", INDEX_POLICY), "unchanged");
});

Deno.test("ensureIndexPolicy() without the plugin tells the server's word", async () => {
  const os = new FakeOpenSearch();
  os.before.push({ status: 400, body: { error: "no handler found for uri [/_plugins/_ism]" } });
  const error = await refusal(ensureIndexPolicy(os, "p", INDEX_POLICY));
  assert.deepEqual(error.where, ["no handler found for uri [/_plugins/_ism]"]);
});

Deno.test("ensureRepository() waits for a running snapshot before it changes a repository", async () => {
  const os = new FakeOpenSearch();
  await ensureRepository(os, "r", REPOSITORY);
  const reason = "trying to modify or unregister repository that is currently used";
  let busy = 2;
  os.onWrite = () => {
    if (busy-- > 0) os.before.push({ status: 500, body: { error: { reason } } });
  };
  assert.equal(
    await ensureRepository(os, "r", { type: "s3", settings: { bucket: "c" } }),
    "configured",
  );
  assert.equal(os.writes.length, 4);
});

Deno.test("verifyRepository() names the nodes, or every reason down to S3's", async () => {
  const os = new FakeOpenSearch();
  await ensureRepository(os, "r", REPOSITORY);
  assert.deepEqual(await verifyRepository(os, "r", "mend S3"), ["opensearch-0"]);
  os.s3Fault = "PKIX path building failed";
  const error = await refusal(verifyRepository(os, "r", "mend S3"));
  assert.match(error.where[0]!, /^\[r\] path .* is not accessible/);
  assert.equal(error.where[1], "PKIX path building failed");
  assert.equal(error.fix, "mend S3");
});

Deno.test("manageIndices() takes free indices only, and renews on request", async () => {
  const os = new FakeOpenSearch();
  assert.equal(await manageIndices(os, "a-*", "p"), "unchanged");
  os.indices.set("a-1", { settings: {} });
  os.indices.set("a-2", { settings: {}, policy: "foreign" });
  os.indices.set("b-1", { settings: {} });
  assert.equal(await manageIndices(os, "a-*", "p"), "configured");
  assert.deepEqual(os.writes, ["POST /_plugins/_ism/add/a-1"]);
  assert.equal(await manageIndices(os, "a-*", "p"), "unchanged");
  assert.equal(await manageIndices(os, "a-*", "p", { renew: true }), "configured");
  assert.deepEqual(os.writes.slice(1), ["POST /_plugins/_ism/change_policy/a-1"]);
});

Deno.test("manageIndices() accepts that the policy's own template was faster", async () => {
  const os = new FakeOpenSearch();
  os.indices.set("a-1", { settings: {} });
  os.onWrite = () => os.indices.get("a-1")!.policy = "p";
  await manageIndices(os, "a-*", "p");
});

Deno.test("manageIndices() finds the failures inside an answer of 200", async () => {
  const os = new FakeOpenSearch();
  os.indices.set("a-1", { settings: {} });
  const failed = [{ index_name: "a-1", reason: "Index is closed" }];
  os.onWrite = () =>
    os.before.push({ status: 200, body: { failures: true, failed_indices: failed } });
  assert.deepEqual((await refusal(manageIndices(os, "a-*", "p"))).where, ["a-1: Index is closed"]);
});

Deno.test("ensureReplicas() changes wrong indices only, and none that expand by themselves", async () => {
  const os = new FakeOpenSearch();
  os.indices.set(".ism-config", { settings: { "index.number_of_replicas": "1" } });
  os.indices.set(".ism-history", { settings: { "index.number_of_replicas": "0" } });
  os.indices.set(".ism-lock", {
    settings: { "index.number_of_replicas": "1", "index.auto_expand_replicas": "0-1" },
  });
  assert.equal(await ensureReplicas(os, ".ism-*", 0), "configured");
  assert.deepEqual(os.writes, ["PUT /.ism-config/_settings"]);
  assert.equal(await ensureReplicas(os, ".ism-*", 0), "unchanged");
  assert.equal(await ensureReplicas(os, "absent-*", 0), "unchanged");
});

Deno.test("covers() forgives what a server adds, and no other difference", () => {
  assert.ok(covers({ a: "1", b: { c: "true", added: 1 }, d: [{ e: 1, added: 2 }] }, {
    a: 1,
    b: { c: true },
    d: [{ e: 1 }],
  }));
  assert.ok(covers({}, { none: [] }));
  assert.ok(!covers({ a: 1 }, { a: 1, b: 2 }));
  assert.ok(!covers({ a: [1, 2] }, { a: [1] }));
  assert.ok(!covers({ a: [2, 1] }, { a: [1, 2] }));
  assert.ok(!covers({ a: "x" }, { a: { b: 1 } }));
  assert.ok(!covers(undefined, { a: 1 }));
});

Deno.test("manageIndices() and ensureReplicas() keep to request lines of 4 KiB, however many indices", async () => {
  const os = new FakeOpenSearch();
  const long = "logs-k8s-".padEnd(60, "x");
  for (let number = 0; number < 120; number++) {
    os.indices.set(`${long}-${number}`, { settings: { "index.number_of_replicas": "1" } });
  }
  await ensureIndexPolicy(os, "logs", INDEX_POLICY);
  assert.equal(await manageIndices(os, "logs-k8s-*", "logs"), "configured");
  assert.equal(await ensureReplicas(os, "logs-k8s-*", 0), "configured");
  assert.ok(os.writes.every((call) => call.length < 4096));
  assert.ok(
    [...os.indices.values()].every(({ policy, settings }) =>
      policy === "logs" && settings["index.number_of_replicas"] === "0"
    ),
  );
});
