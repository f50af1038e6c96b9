import assert from "node:assert/strict";
import { ensureBucket, probeBucket } from "../../../lib/s3/bucket.ts";
import type { Cluster } from "../../../lib/core/cluster.ts";
import { DeployError } from "../../../lib/core/error.ts";
import { Report } from "../../../lib/io/report.ts";
import { keyOf, type S3, s3Of } from "../../../lib/s3/client.ts";
import { runStep } from "../../../lib/deploy/step.ts";
import { minio } from "../../../scripts/00-minio.ts";
import { fixtureCluster, SECRETS } from "../../support/cluster_fixture.ts";
import {
  ensureVersions,
  type FakeOptions,
  type FakeS3,
  fakeS3,
  KEY,
  pem,
  s3Error,
  type Seen,
} from "../../support/s3.ts";
import { type Rendered, renderedFleet } from "../../support/rendered_fixture.ts";
import { inventoryOf } from "../../support/inventory.ts";

function clusterFor(endpoint: string, vars = {}, ca: string | undefined = pem("ca.pem")): Cluster {
  const cluster: Cluster = {
    id: "197",
    name: "cluster-197-edge",
    role: "edge",
    ...{ sidecar: "", nodes: [] },
    vars: {
      CLUSTER_NAME: "cluster-197-edge",
      KUBE_CONTEXT: "mkube-197",
      SIMULATED_NODES: true,
      S3_ENDPOINT: endpoint,
      S3_REGION: "us-east-1",
      S3_ACCESS_KEY: KEY.id,
      S3_SECRET_KEY: KEY.secret,
      THANOS_BUCKET: "thanos",
      OPENSEARCH_BUCKET: "opensearch-logs",
      LONGHORN_BUCKET: "longhorn-backups",
      S3_KEEP_DELETED_DAYS: 0,
      S3_IS_MINIO: true,
      MINIO_METRICS: false,
      ...Object.fromEntries(
        ["THANOS", "OPENSEARCH", "LONGHORN"].flatMap((program) => [
          [`${program}_S3_ACCESS_KEY`, ""],
          [`${program}_S3_SECRET_KEY`, ""],
          [`${program}_BUCKET_QUOTA`, ""],
        ]),
      ),
      ...vars,
    },
    sources: {},
    fleet: [],
    warnings: [],
    missing: [],
    s3Ca: ca,
  };
  cluster.fleet.push(cluster);
  return cluster;
}

/** A fake, a client of it, and the work. */
async function against(
  options: FakeOptions & { vars?: Record<string, string> },
  work: (s3: S3, fake: FakeS3) => Promise<void>,
): Promise<void> {
  await using fake = fakeS3(options);
  using s3 = s3Of(clusterFor(fake.endpoint, options.vars));
  await work(s3, fake);
}

/** The exit-8 error of a promise, as one text, which must hold no secret. */
async function failure(work: Promise<unknown>): Promise<string> {
  const error = await work.then(() => assert.fail("it did not fail"), (error) => error);
  assert.ok(error instanceof DeployError, String(error?.stack));
  assert.equal(error.exitCode, 8);
  assert.ok(error.fix, "a fix is named");
  const text = [error.message, ...error.where, `fix: ${error.fix}`].join("\n");
  for (const secret of [KEY.id, KEY.secret, "wrong-secret-key"]) {
    assert.ok(!text.includes(secret), `a secret in: ${text}`);
  }
  return text;
}

/** Runs ensureBucket against a cluster without a fake. */
async function reach(cluster: Cluster, seconds = 5): Promise<string> {
  using s3 = s3Of(cluster, { seconds });
  const text = await failure(ensureBucket(s3, "thanos"));
  assert.ok(text.includes(String(cluster.vars.S3_ENDPOINT)), text);
  return text;
}

const LOOK = "GET /thanos?list-type=2&max-keys=1";
const denied = (what: (seen: Seen) => boolean) => (seen: Seen) =>
  what(seen) ? s3Error(403, "AccessDenied", "<Message>Access Denied.</Message>") : undefined;

Deno.test("ensureBucket() creates what is missing and finds it the second time", () =>
  against({}, async (s3, fake) => {
    assert.equal(await ensureBucket(s3, "thanos"), "created");
    assert.equal(await ensureBucket(s3, "thanos"), "exists");
    assert.deepEqual(fake.calls, [LOOK, "PUT /thanos", LOOK]);
  }));

Deno.test("ensureBucket() names the region everywhere but in us-east-1", () =>
  against({ region: "lab-1", vars: { S3_REGION: "lab-1" } }, async (s3, fake) => {
    assert.equal(await ensureBucket(s3, "thanos"), "created");
    assert.match(fake.calls[1]!, /<LocationConstraint>lab-1<\/LocationConstraint>/);
  }));

Deno.test("ensureBucket() says which region the server is in", () =>
  against({ region: "lab-1" }, async (s3) => {
    const text = await failure(ensureBucket(s3, "thanos"));
    assert.match(text, /not in region "us-east-1" but in "lab-1"/);
    assert.match(text, /fix: set S3_REGION in env\/common.env to lab-1/);
  }));

Deno.test("ensureBucket() says that a key may not create buckets", () =>
  against({ fault: denied(({ method }) => method === "PUT") }, async (s3) => {
    assert.match(await failure(ensureBucket(s3, "thanos")), /…3f9a lacks s3:CreateBucket/);
  }));

Deno.test("ensureBucket() does not take any web server for S3", async (t) => {
  for (const status of [302, 400, 405]) {
    await t.step(
      `answer ${status}`,
      () =>
        against({ fault: () => new Response("<html>", { status }) }, async (s3) => {
          assert.match(await failure(ensureBucket(s3, "thanos")), /the answer is not S3's/);
        }),
    );
  }
});

Deno.test("A60: a closed port, an unknown name, silence and plain HTTP each have their words", async (t) => {
  const port = () => {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    return listener.addr.port;
  };
  await t.step("refused", async () => {
    const text = await reach(clusterFor(`https://127.0.0.1:${port()}`));
    assert.match(text, /^Cannot look at bucket "thanos": connection refused/);
  });
  await t.step("DNS", async () => {
    assert.match(await reach(clusterFor("https://s3.invalid")), /DNS does not know "s3.invalid"/);
  });
  await t.step("timeout", async () => {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const text = await reach(clusterFor(`https://127.0.0.1:${listener.addr.port}`), 0.3);
    assert.match(text, /no answer within 0.3 s/);
  });
  await t.step("no TLS", async () => {
    const server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      () => new Response(),
    );
    const text = await reach(clusterFor(`https://127.0.0.1:${server.addr.port}`));
    assert.match(text, /the port does not speak TLS/);
    await server.shutdown();
  });
});

Deno.test("A60: a proxy of the environment is named, without its password", async () => {
  Deno.env.set("HTTPS_PROXY", "http://me:proxy-password@127.0.0.1:9");
  try {
    const text = await reach(clusterFor("https://s3.invalid"));
    assert.match(text, /HTTPS_PROXY is set: unless s3.invalid is in NO_PROXY/);
    assert.ok(!text.includes("proxy-password"));
  } finally {
    Deno.env.delete("HTTPS_PROXY");
  }
});

Deno.test("A60: a reset connection is tried three times", async () => {
  const tls = { cert: pem("leaf.pem"), key: pem("leaf.key") };
  using listener = Deno.listenTls({ hostname: "127.0.0.1", port: 0, ...tls });
  let seen = 0;
  const serving = (async () => {
    for (; seen < 3; seen++) {
      using connection = await listener.accept();
      await connection.read(new Uint8Array(1));
    }
  })();
  const text = await reach(clusterFor(`https://127.0.0.1:${listener.addr.port}`));
  await serving;
  assert.match(text, /connection closed by the other side/);
  assert.equal(seen, 3);
});

Deno.test("A60: an overloaded server is asked three times, a refusal once", async () => {
  let busy = 2;
  const fault = () => busy-- > 0 ? s3Error(503, "SlowDown") : undefined;
  await against({ fault }, async (s3, fake) => {
    assert.equal(await ensureBucket(s3, "thanos"), "created");
    assert.equal(fake.calls.length, 4);
  });
  await against({ fault: () => s3Error(503, "SlowDown") }, async (s3, fake) => {
    assert.match(await failure(probeBucket(s3, "thanos")), /put a probe .*the server fails/);
    assert.deepEqual(fake.calls.map((call) => call.split(" ")[0]), [
      ...["PUT", "PUT", "PUT"],
      ...["DELETE", "DELETE", "DELETE"],
    ]);
  });
  await against({ fault: denied(() => true) }, async (s3, fake) => {
    await failure(probeBucket(s3, "thanos"));
    assert.equal(fake.calls.length, 1);
  });
});

Deno.test("A61: an unknown key shows its last four characters, a wrong secret nothing", async (t) => {
  await t.step(
    "InvalidAccessKeyId",
    () =>
      against({ vars: { S3_ACCESS_KEY: "some-other-key-77aa" } }, async (s3) => {
        const text = await failure(ensureBucket(s3, "thanos"));
        assert.match(text, /does not know access key …77aa/);
        assert.match(text, /fix: set S3_ACCESS_KEY/);
        assert.ok(!text.includes("some-other-key"));
      }),
  );
  await t.step(
    "a short id is not shown",
    () =>
      against({ vars: { S3_ACCESS_KEY: "abcd" } }, async (s3) => {
        assert.ok(!(await failure(ensureBucket(s3, "thanos"))).includes("abcd"));
      }),
  );
  await t.step(
    "SignatureDoesNotMatch",
    () =>
      against({ vars: { S3_SECRET_KEY: "wrong-secret-key" } }, async (s3) => {
        const text = await failure(ensureBucket(s3, "thanos"));
        assert.match(text, /secret key does not belong to access key …3f9a/);
        assert.match(text, /fix: set S3_SECRET_KEY/);
      }),
  );
  await t.step("a server that repeats the keys", () => {
    const message = `<Message>${KEY.id} &amp; ${KEY.secret}</Message>`;
    const fault = () => s3Error(403, "SignatureDoesNotMatch", message);
    return against({ fault }, async (s3) => {
      assert.match(await failure(ensureBucket(s3, "thanos")), /\*\*\* & \*\*\*/);
    });
  });
});

Deno.test("A62: a bucket of ours is fine, a foreign one names the owner rule", async (t) => {
  const put = (code: string) => ({ method, key }: Seen) =>
    method === "PUT" && !key ? s3Error(409, code) : undefined;
  await t.step(
    "BucketAlreadyOwnedByYou",
    () =>
      against({ fault: put("BucketAlreadyOwnedByYou") }, async (s3) => {
        assert.equal(await ensureBucket(s3, "thanos"), "exists");
      }),
  );
  await t.step(
    "BucketAlreadyExists",
    () =>
      against({ fault: put("BucketAlreadyExists") }, async (s3) => {
        const text = await failure(ensureBucket(s3, "thanos"));
        assert.match(text, /"thanos" belongs to another owner; names are unique/);
      }),
  );
  await t.step("BucketAlreadyExists said to the loser of a race", () => {
    let looks = 0;
    const fault = (seen: Seen) => {
      if (seen.method === "PUT") return put("BucketAlreadyExists")(seen);
      return looks++ === 0 ? undefined : new Response();
    };
    return against({ fault }, async (s3) => {
      assert.equal(await ensureBucket(s3, "thanos"), "exists");
    });
  });
  await t.step(
    "a look is refused: another owner or no right",
    () =>
      against({ fault: denied(() => true) }, async (s3) => {
        assert.match(
          await failure(ensureBucket(s3, "thanos")),
          /lacks s3:ListBucket, or another owner/,
        );
      }),
  );
});

Deno.test("A63: a wrong clock shows both times, also when the server calls it AccessDenied", async (t) => {
  const server = new Date(Date.now() - 20 * 60_000);
  const body = `<ServerTime>${server.toISOString()}</ServerTime>`;
  const faults = {
    RequestTimeTooSkewed: () => s3Error(403, "RequestTimeTooSkewed", body),
    AccessDenied: () => s3Error(403, "AccessDenied", "", { date: server.toUTCString() }),
  };
  for (const [code, fault] of Object.entries(faults)) {
    await t.step(code, () =>
      against({ fault }, async (s3) => {
        const text = await failure(ensureBucket(s3, "thanos"));
        assert.match(
          text,
          /clocks differ: \d{4}-.*Z here, \d{4}-.*Z on the server \(20 min apart\)/,
        );
        assert.ok(text.includes(server.toISOString().slice(0, 18)), text);
        assert.match(text, /fix: .*timedatectl/);
      }));
  }
});

const CERTIFICATES = [
  ["leaf", undefined, /not signed by a public CA/, /set S3_CA_FILE/],
  ["leaf", "other-ca.pem", /not signed by the CA in S3_CA_FILE/, /set S3_CA_FILE/],
  ["ca-as-leaf", "ca-as-leaf.pem", /self-signed CA used as/, /CA:FALSE .*IP:127.0.0.1.*S3_CA_FILE/],
  ["no-ip-san", "ca.pem", /not valid for IP 127.0.0.1/, /subjectAltName=IP:127.0.0.1.*S3_CA_FILE/],
  ["expired", "ca.pem", /not valid today/, /renew/],
] as const;

for (const [certificate, ca, why, fix] of CERTIFICATES) {
  Deno.test(`A64: certificate ${certificate} with ${ca ?? "no CA"} is explained`, async () => {
    await using fake = fakeS3({ certificate });
    const text = await reach({ ...clusterFor(fake.endpoint), s3Ca: ca && pem(ca) });
    assert.match(text, why);
    assert.match(text.split("fix: ")[1]!, fix);
    const names = certificate === "no-ip-san" ? "DNS:minio.example" : "IP Address:127.0.0.1";
    assert.ok(text.includes(`its names (SAN): ${names}`), text);
    assert.deepEqual(fake.calls, [], "nothing is sent to a server that is not proven");
  });
}

Deno.test("A65: a key without one of the four rights is told which, and the probe is removed", async (t) => {
  const verbs: [string, string, (seen: Seen) => boolean][] = [
    ["put", "s3:PutObject", ({ method, key }) => method === "PUT" && key !== ""],
    ["get", "s3:GetObject", ({ method, key }) => method === "GET" && key !== ""],
    ["list", "s3:ListBucket", ({ query }) => query.includes("prefix=")],
    ["delete", "s3:DeleteObject", ({ method }) => method === "DELETE"],
  ];
  for (const [verb, action, isIt] of verbs) {
    await t.step(verb, () =>
      against({ fault: denied(isIt) }, async (s3, fake) => {
        await ensureBucket(s3, "thanos");
        const text = await failure(probeBucket(s3, "thanos"));
        assert.match(text, new RegExp(`^Cannot ${verb} .*access key …3f9a lacks ${action}`));
        const left = [...fake.buckets.get("thanos")!];
        assert.equal(left.length, verb === "delete" ? 1 : 0);
        assert.equal(
          /could not be removed: thanos\/\.thanos-multi-cluster-probe-/.test(text),
          left.length > 0,
        );
        for (const key of left) assert.ok(text.includes(key));
      }));
  }
});

Deno.test("A65: a full disk, a quota and a lying cache have different words", async (t) => {
  const isPut = ({ method, key }: Seen) => method === "PUT" && key !== "";
  const cases: [string, (seen: Seen) => Response | undefined, RegExp][] = [
    [
      "full",
      (seen) => isPut(seen) ? s3Error(507, "XMinioStorageFull") : undefined,
      /disks are full/,
    ],
    [
      "quota",
      (seen) => isPut(seen) ? s3Error(400, "XMinioAdminBucketQuotaExceeded") : undefined,
      /quota of "thanos" is used up/,
    ],
    [
      "cache",
      ({ method, key }) => method === "GET" && key ? new Response("old") : undefined,
      /^Cannot get .* other content/,
    ],
    [
      "list",
      ({ query }) => query.includes("prefix=") ? new Response("<ListBucketResult/>") : undefined,
      /^Cannot list .* it is not in the list/,
    ],
  ];
  for (const [name, fault, words] of cases) {
    await t.step(name, () =>
      against({ fault }, async (s3, fake) => {
        await ensureBucket(s3, "thanos");
        assert.match(await failure(probeBucket(s3, "thanos")), words);
        assert.deepEqual([...fake.buckets.get("thanos")!], []);
      }));
  }
});

Deno.test("probeBucket() leaves nothing behind", () =>
  against({}, async (s3, fake) => {
    await ensureBucket(s3, "thanos");
    await probeBucket(s3, "thanos");
    assert.deepEqual([...fake.buckets.get("thanos")!], []);
    const verbs = fake.calls.slice(2).map((call) => call.split(" ")[0]);
    assert.deepEqual(verbs, ["PUT", "GET", "GET", "DELETE"]);
  }));

Deno.test("B24: deleted objects are kept as long as the settings say, and old rules are found", () =>
  against({}, async (s3, fake) => {
    await ensureBucket(s3, "thanos");
    const sevenDays = { days: 7, isMinio: false };
    const { changes, problems } = await ensureVersions(s3, "thanos", sevenDays);
    assert.deepEqual(problems, []);
    assert.deepEqual(changes, [
      "days until old versions go: (none) -> 7",
      "days until aborted uploads go: (none) -> 7",
      'versioning: (none) -> "Enabled"',
    ]);
    const puts = fake.calls.filter((call) => call.startsWith("PUT /thanos?"));
    assert.match(puts[0]!, /lifecycle/, "no version may be made before the rule that ends it");
    assert.doesNotMatch(puts[0]!, /<Expiration><(Days|Date)>/, "current objects are the programs'");
    assert.deepEqual(await ensureVersions(s3, "thanos", sevenDays), { changes: [], problems: [] });
  }));

Deno.test("B24: without S3_KEEP_DELETED_DAYS versions are a warning, and the rule that ends them stays", () =>
  against({}, async (s3) => {
    await ensureBucket(s3, "thanos");
    const none = { days: 0, isMinio: true };
    assert.deepEqual(await ensureVersions(s3, "thanos", none), { changes: [], problems: [] });
    await ensureVersions(s3, "thanos", { days: 7, isMinio: true });
    const { changes, problems } = await ensureVersions(s3, "thanos", none);
    assert.deepEqual(changes, []);
    assert.match(problems[0]!, /bucket "thanos" is versioned: .*mc version suspend ALIAS\/thanos/);
  }));

Deno.test("B25: aborted uploads go after a week where the server does not see to it itself", () =>
  against({}, async (s3, fake) => {
    await ensureBucket(s3, "thanos");
    const { changes } = await ensureVersions(s3, "thanos", { days: 0, isMinio: false });
    assert.deepEqual(changes, ["days until aborted uploads go: (none) -> 7"]);
    assert.ok(!fake.versioned.has("thanos"));
  }));

Deno.test("ensureVersions() leaves the rules of others, and tells of one that deletes what is in use", () =>
  against({}, async (s3, fake) => {
    await ensureBucket(s3, "thanos");
    const theirs = `<Rule><ID>tidy</ID><Status>Enabled</Status>` +
      `<Expiration><Days>30</Days></Expiration></Rule>`;
    fake.lifecycles.set("thanos", theirs);
    const { changes, problems } = await ensureVersions(s3, "thanos", { days: 7, isMinio: true });
    assert.deepEqual(changes, []);
    assert.match(problems[0]!, /rule tidy of bucket "thanos" deletes objects that are in use/);
    assert.match(problems[1]!, /rules of somebody else \(tidy\), so ours is not changed/);
    assert.equal(fake.lifecycles.get("thanos"), theirs);
    assert.ok(!fake.versioned.has("thanos"), "nothing would end the versions");
  }));

Deno.test("E25: ensureVersions() takes out of our own rule what somebody has put into it", () =>
  against({}, async (s3, fake) => {
    await ensureBucket(s3, "thanos");
    const sevenDays = { days: 7, isMinio: true };
    await ensureVersions(s3, "thanos", sevenDays);
    const ours = fake.lifecycles.get("thanos")!;
    fake.lifecycles.set(
      "thanos",
      ours.replace("<Expiration>", "<Expiration><Days>30</Days>").replace("<Prefix>", "<Prefix>a/"),
    );
    const { changes, problems } = await ensureVersions(s3, "thanos", sevenDays);
    assert.deepEqual(problems, []);
    assert.deepEqual(changes, [
      'our rule: "<Prefix>a/" -> (none)',
      'our rule: "<Days>30" -> (none)',
    ]);
    assert.deepEqual(await ensureVersions(s3, "thanos", sevenDays), { changes: [], problems: [] });
    assert.equal(fake.lifecycles.get("thanos"), ours);
    // Where ours cannot be written it is told all the same.
    const bad = ours.replace("<Expiration>", "<Expiration><Days>30</Days>");
    const theirs = "<Rule><ID>tidy</ID><Status>Enabled</Status></Rule>";
    fake.lifecycles.set("thanos", bad + theirs);
    const left = await ensureVersions(s3, "thanos", sevenDays);
    assert.match(left.problems[0]!, /rule thanos-multi-cluster of bucket \S+ deletes objects/);
  }));

Deno.test("ensureVersions() tells what a key or a server does not allow", async (t) => {
  const cases: [string, FakeOptions["fault"], RegExp][] = [
    ["no right", denied(({ query }) => query === "versioning"), /lacks s3:GetBucketVersioning/],
    [
      "no versions",
      ({ method, query }) =>
        method === "PUT" && query === "versioning" ? s3Error(501, "NotImplemented") : undefined,
      /^Cannot turn on the versioning of bucket "thanos": the server does not know this/,
    ],
  ];
  for (const [name, fault, words] of cases) {
    await t.step(name, () =>
      against({ fault }, async (s3) => {
        await ensureBucket(s3, "thanos");
        const { problems } = await ensureVersions(s3, "thanos", { days: 7, isMinio: false });
        assert.equal(problems.length, 1);
        assert.match(problems[0]!, words);
      }));
  }
});

Deno.test("keyOf() is the program's own key where it is set, else the one of the site", () => {
  const own = { THANOS_S3_ACCESS_KEY: "thanos-user", THANOS_S3_SECRET_KEY: "thanos-secret" };
  const cluster = clusterFor("https://s3.invalid", own);
  assert.deepEqual(keyOf(cluster, "THANOS"), {
    accessKey: "thanos-user",
    secretKey: "thanos-secret",
    setting: "THANOS_S3_ACCESS_KEY",
  });
  assert.equal(keyOf(cluster, "LONGHORN").setting, "S3_ACCESS_KEY");
});

Deno.test("00-minio makes three buckets once, whoever runs it and however many at once", async () => {
  await using fake = fakeS3();
  const lines: string[] = [];
  const report = new Report("", (line) => lines.push(line));
  const cluster = clusterFor(fake.endpoint);
  const fleet = ["196", "197", "198"].map((id) => ({ ...cluster, id }));
  const first = await Promise.all(
    fleet.map((cluster) => runStep(minio, inventoryOf(cluster, []), report)),
  );
  assert.deepEqual(first.map(({ state }) => state), ["ok", "ok", "ok"], lines.join(""));
  assert.equal(lines.filter((line) => /Bucket\/.* created$/m.test(line)).length, 3);
  assert.deepEqual([...fake.buckets.keys()], ["thanos", "opensearch-logs", "longhorn-backups"]);

  const second = await runStep(minio, inventoryOf(cluster, []), report, { alone: true });
  assert.deepEqual([second.state, second.changed, second.objects], ["ok", 0, 0]);
  for (const keys of fake.buckets.values()) assert.equal(keys.size, 0);
});

const OWN_KEYS = Object.fromEntries(
  ["THANOS", "OPENSEARCH", "LONGHORN"].flatMap((program) => [
    [`${program}_S3_ACCESS_KEY`, `${program.toLowerCase()}-user-hush`],
    [`${program}_S3_SECRET_KEY`, `${program.toLowerCase()}-secret-hush`],
  ]),
);

Deno.test("00-minio on another S3 says what it left to the operator, and tries each program's key", async () => {
  await using fake = fakeS3({ keys: { "thanos-user-hush": "thanos-secret-hush" } });
  const lines: string[] = [];
  const report = new Report("", (line) => lines.push(line));
  const cluster = clusterFor(fake.endpoint, { ...OWN_KEYS, THANOS_BUCKET_QUOTA: "1Gi" });
  const { state } = await runStep(minio, inventoryOf(cluster, []), report);
  const output = lines.join("");
  assert.equal(state, "failed", output);
  assert.match(output, /no quota is set, as the server is no MinIO: .* \(BucketQuota\/thanos\)/);
  assert.match(output, /no user is made, .* key of each program may use its bucket alone/);
  assert.match(output, /bucket "opensearch-logs": the server does not know access key …hush/);
  assert.match(output, /fix: set OPENSEARCH_S3_ACCESS_KEY/, "that of Thanos works");
});

Deno.test("S3_ACCESS_KEY never enters a cluster whose programs have keys of their own", async () => {
  const site = Object.values(SECRETS).slice(0, 2);
  const found = (rendered: Rendered[]) => {
    const text = JSON.stringify(rendered.map(({ objects }) => objects));
    return site.filter((secret) => text.includes(secret) || text.includes(btoa(secret)));
  };
  assert.deepEqual(found(await renderedFleet()), site, "the test would see it");
  assert.deepEqual(found(await renderedFleet(OWN_KEYS)), []);
});

Deno.test("B29: a slow S3 is told by alerts on central", async () => {
  const rules = (await renderedFleet()).filter(({ cluster }) => cluster.role === "central")
    .flatMap(({ objects }) => objects.filter(({ kind }) => kind === "PrometheusRule"));
  const groups: { rules: { alert?: string }[] }[] = rules.flatMap(({ spec }) => spec.groups);
  const names = groups.flatMap(({ rules }) => rules.map(({ alert }) => alert));
  assert.ok(names.includes("ThanosStoreObjstoreOperationLatencyHigh"));
  assert.ok(names.includes("ThanosObjstoreErrors"), "in place of ThanosStoreBucketHigh…");
});

Deno.test("S3_CHECKSUM follows the key that Thanos uses", async () => {
  const checksum = async (vars = {}) =>
    (await fixtureCluster("196", { ...OWN_KEYS, ...vars })).vars.S3_CHECKSUM;
  const now = await checksum();
  assert.equal(await checksum({ S3_SECRET_KEY: "another-hush" }), now);
  assert.equal(await checksum({ LONGHORN_S3_SECRET_KEY: "another-hush" }), now);
  assert.notEqual(await checksum({ THANOS_S3_SECRET_KEY: "another-hush" }), now);
});
