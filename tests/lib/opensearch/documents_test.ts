import assert from "node:assert/strict";
import { DeployError } from "../../../lib/core/error.ts";
import { ensure as ensureIt, lacking } from "../../../lib/core/resource.ts";
import { document, managedIndices, wantedReplicas } from "../../../lib/opensearch/documents.ts";
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

/** What becomes of a resource in a deploy. */
async function ensured(...[resource, os]: Parameters<typeof ensureIt<FakeOpenSearch>>) {
  return (await ensureIt(resource, os)).outcome;
}

const DOCUMENTS: [string, (os: FakeOpenSearch, change?: object) => Promise<string>, object][] = [
  [
    "document(IndexTemplate)",
    (os, change) => ensured(document("IndexTemplate", "t", { ...TEMPLATE, ...change }), os),
    { priority: 200 },
  ],
  [
    "document(SnapshotRepository)",
    (os, change) => ensured(document("SnapshotRepository", "r", { ...REPOSITORY, ...change }), os),
    { settings: { bucket: "other", compress: true } },
  ],
  [
    "document(IndexPolicy)",
    (os, change) => ensured(document("IndexPolicy", "p", { ...INDEX_POLICY, ...change }), os),
    { ism_template: [{ index_patterns: ["b-*"], priority: 100 }] },
  ],
  [
    "document(SnapshotPolicy)",
    (os, change) => ensured(document("SnapshotPolicy", "s", { ...SNAPSHOT_POLICY, ...change }), os),
    { enabled: false },
  ],
];

const policy = document("IndexPolicy", "p", INDEX_POLICY);

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

Deno.test("document(IndexPolicy): when somebody else was faster with the same, nothing changes", async () => {
  const os = new FakeOpenSearch();
  const other = new FakeOpenSearch();
  await ensured(policy, other);
  os.onWrite = () => os.policies.set("p", other.policies.get("p")!);
  assert.equal(await ensured(policy, os), "unchanged");
});

Deno.test("E25: where OpenSearch is not deployed no document counts as missing", async () => {
  const os = Object.assign(new FakeOpenSearch(), { tries: 1 });
  const message = 'services "opensearch" not found';
  os.before.push({ status: 404, body: { kind: "Status", message } });
  assert.deepEqual((await refusal(policy.look(os))).where, [message]);
  os.before.push({ status: 503, body: { kind: "Status", message: "no endpoints" } });
  assert.match(
    (await refusal(policy.look(os))).message,
    /it answers 503$/,
    "and is not waited for",
  );
  assert.deepEqual(await policy.look(os), { state: "missing" });
});

Deno.test("document(IndexPolicy) without the plugin tells the server's word", async () => {
  const os = new FakeOpenSearch();
  os.before.push({ status: 400, body: { error: "no handler found for uri [/_plugins/_ism]" } });
  const error = await refusal(ensured(policy, os));
  assert.deepEqual(error.where, ["no handler found for uri [/_plugins/_ism]"]);
});

Deno.test("document(SnapshotRepository) waits for a running snapshot before it changes a repository", async () => {
  const os = new FakeOpenSearch();
  await ensured(document("SnapshotRepository", "r", REPOSITORY), os);
  const reason = "trying to modify or unregister repository that is currently used";
  let busy = 2;
  os.onWrite = () => {
    if (busy-- > 0) os.before.push({ status: 500, body: { error: { reason } } });
  };
  assert.equal(
    await ensured(
      document("SnapshotRepository", "r", { type: "s3", settings: { bucket: "c" } }),
      os,
    ),
    "configured",
  );
  assert.equal(os.writes.length, 4);
});

Deno.test("managedIndices() accepts that the policy's own template was faster", async () => {
  const os = new FakeOpenSearch();
  os.indices.set("a-1", { settings: {} });
  os.onWrite = () => os.indices.get("a-1")!.policy = "p";
  assert.equal(await ensured(managedIndices("a-*", "p", INDEX_POLICY), os), "unchanged");
});

Deno.test("managedIndices() finds the failures inside an answer of 200", async () => {
  const os = new FakeOpenSearch();
  os.indices.set("a-1", { settings: {} });
  const failed = [{ index_name: "a-1", reason: "Index is closed" }];
  os.onWrite = () =>
    os.before.push({ status: 200, body: { failures: true, failed_indices: failed } });
  assert.deepEqual((await refusal(ensured(managedIndices("a-*", "p", INDEX_POLICY), os))).where, [
    "a-1: Index is closed",
  ]);
});

Deno.test("wantedReplicas() changes wrong indices only, and none that expand by themselves", async () => {
  const os = new FakeOpenSearch();
  os.indices.set(".ism-config", { settings: { "index.number_of_replicas": "1" } });
  os.indices.set(".ism-history", { settings: { "index.number_of_replicas": "0" } });
  os.indices.set(".ism-lock", {
    settings: { "index.number_of_replicas": "1", "index.auto_expand_replicas": "0-1" },
  });
  assert.equal(await ensured(wantedReplicas(".ism-*", 0), os), "configured");
  assert.deepEqual(os.writes, ["PUT /.ism-config/_settings"]);
  assert.equal(await ensured(wantedReplicas(".ism-*", 0), os), "unchanged");
  assert.equal(await ensured(wantedReplicas("absent-*", 0), os), "unchanged");
});

/** Whether nothing is lacking. */
function covers(live: unknown, wanted: unknown): boolean {
  return lacking(live, wanted).length === 0;
}

/** What somebody has added to the document of that kind, and where a plan names it. */
const MORE: [
  name: string,
  ensure: typeof DOCUMENTS[number][1],
  add: (os: FakeOpenSearch) => void,
  path: string,
][] = [
  ["a setting of an index", DOCUMENTS[0]![1], (os) => {
    os.templates.get("t").template.settings.index.max_result_window = "5000";
  }, 'template.settings.index.max_result_window: "5000" -> (none)'],
  ["a field", DOCUMENTS[0]![1], (os) => {
    os.templates.get("t").template.mappings.properties.user = { type: "keyword" };
  }, 'template.mappings.properties.user: "(not shown)" -> (none)'],
  [
    "an alias, a version and a component",
    DOCUMENTS[0]![1],
    (os) => {
      const template = os.templates.get("t");
      Object.assign(template, { version: 3, composed_of: ["c"] });
      template.template.aliases = { all: {} };
    },
    'template.aliases: "(not shown)" -> (none); composed_of: ["c"] -> (none); version: 3 -> (none)',
  ],
  ["a setting of the repository", DOCUMENTS[1]![1], (os) => {
    os.repositories.get("r").settings.readonly = "true";
  }, 'settings.readonly: "true" -> (none)'],
  ["an address of the repository", DOCUMENTS[1]![1], (os) => {
    os.repositories.get("r").settings.endpoint = "https://me:hush@s3";
  }, 'settings.endpoint: "(not shown)" -> (none)'],
  ["an action", DOCUMENTS[2]![1], (os) => {
    os.policies.get("p")!.body.states[0].actions = [{ notification: { url: "https://hook" } }];
  }, 'policy.states[0].actions: "(not shown)" -> []'],
  ["a password of the repository", DOCUMENTS[1]![1], (os) => {
    os.repositories.get("r").settings.secret_key = "hush";
  }, 'settings.secret_key: "(not shown)" -> (none)'],
  ["a retry that is not the server's own", DOCUMENTS[2]![1], (os) => {
    os.policies.get("p")!.body.states[1].actions[0].retry.count = 9;
  }, "policy.states[1].actions[0].retry.count: 9 -> 3"],
  ["a notification", DOCUMENTS[2]![1], (os) => {
    os.policies.get("p")!.body.error_notification = { channel: { id: "x" } };
  }, 'policy.error_notification: "(not shown)" -> (none)'],
  ["a creation", DOCUMENTS[3]![1], (os) => {
    os.snapshotPolicies.get("s")!.body.creation = { time_limit: "1h" };
  }, 'creation: "(not shown)" -> (none)'],
];

for (const [what, ensure, add, path] of MORE) {
  Deno.test(`E25: ${what} more than is wanted is drift, and a deploy takes it away`, async () => {
    const os = new FakeOpenSearch();
    await ensure(os);
    add(os);
    assert.deepEqual(await fieldsOf(os), path.split("; "));
    assert.equal(await ensure(os), "configured");
    assert.deepEqual(await fieldsOf(os), []);
    assert.equal(await ensure(os), "unchanged");
  });
}

/** What plan and drift say of all documents that are there. */
async function fieldsOf(os: FakeOpenSearch): Promise<string[]> {
  const all = [
    document("IndexTemplate", "t", TEMPLATE),
    document("SnapshotRepository", "r", REPOSITORY),
    policy,
    document("SnapshotPolicy", "s", SNAPSHOT_POLICY),
  ];
  const looks = await Promise.all(all.map((one) => one.look(os)));
  return looks.flatMap(({ fields }) => fields ?? []);
}

Deno.test("E25: managedIndices() holds no index to a policy that says more than is wanted", async () => {
  const os = new FakeOpenSearch();
  await ensured(policy, os);
  os.indices.set("a-1", { settings: {} });
  const indices = managedIndices("a-*", "p", INDEX_POLICY);
  await ensured(indices, os);
  os.tick();
  assert.equal((await indices.look(os)).state, "as wanted");
  os.policies.get("p")!.body.error_notification = { channel: { id: "x" } };
  assert.match((await indices.look(os)).fields!.join(), /-> "the one of the settings"$/);
});

Deno.test("lacking() forgives what a server adds, and no other difference", () => {
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
  const judged = (live: unknown) =>
    lacking(live, { a: [{ b: 1 }] }, { "a[].c": undefined, "a[].d": { e: 1 } })
      .map(({ path }) => path);
  assert.deepEqual(judged({ a: [{ b: 1, c: "any", d: { e: "1" } }], f: [], g: null, h: {} }), []);
  assert.deepEqual(judged({ a: [{ b: 1, d: { e: 2 } }], f: false }), ["a[0].d.e", "f"]);
});

Deno.test("managedIndices() and wantedReplicas() keep to request lines of 4 KiB, however many indices", async () => {
  const os = new FakeOpenSearch();
  const long = "logs-k8s-".padEnd(60, "x");
  for (let number = 0; number < 120; number++) {
    os.indices.set(`${long}-${number}`, { settings: { "index.number_of_replicas": "1" } });
  }
  await ensured(document("IndexPolicy", "logs", INDEX_POLICY), os);
  assert.equal(await ensured(managedIndices("logs-k8s-*", "logs", INDEX_POLICY), os), "configured");
  assert.equal(await ensured(wantedReplicas("logs-k8s-*", 0), os), "configured");
  assert.ok(os.writes.every((call) => call.length < 4096));
  assert.ok(
    [...os.indices.values()].every(({ policy, settings }) =>
      policy === "logs" && settings["index.number_of_replicas"] === "0"
    ),
  );
});
