import assert from "node:assert/strict";
import { existsSync, readFileSync, unlinkSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { reading } from "../../../lib/kube/api.ts";
import { useKubectl } from "../../../lib/kube/kubectl.ts";
import { KubectlError, tellRetries } from "../../../lib/kube/kubectl_error.ts";
import { keepWay } from "../../../lib/kube/proxy.ts";
import { turnOn } from "../../../lib/kube/turns.ts";
import { configMap, type Manifest } from "../../../lib/core/object.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";

const cluster = await fixtureCluster("196", { KUBECONFIG_FILE: "tests/fixtures/kubeconfig" });

/** A kind as a server tells that it has it. */
function has(resource: string, kind: string, ...verbs: string[]) {
  return { resource, responseKind: { group: "", version: "", kind }, verbs };
}

const CORE = [{
  metadata: { name: "" },
  versions: [{
    version: "v1",
    resources: [has("configmaps", "ConfigMap", "list", "delete"), has("pods", "Pod", "list"), {
      resource: "bindings",
    }],
  }],
}];
const GROUPS = [
  {
    metadata: { name: "example.org" },
    versions: [
      { version: "v1", freshness: "Current", resources: [has("things", "Thing", "list")] },
      { version: "v1beta1", resources: [has("things", "Thing"), has("olds", "Old")] },
    ],
  },
  { metadata: { name: "metrics.k8s.io" }, versions: [{ version: "v1", freshness: "Stale" }] },
  {
    metadata: { name: "away.org" },
    versions: [{
      version: "v3",
      freshness: "Stale",
      resources: [has("far", "Far", "list", "delete")],
    }],
  },
];

/** The folders of proxies. */
const used: string[] = [];

/** `end` is that of the proxy: nobody reaches the server by it any longer. */
type Answer = (path: string, headers: Headers, end: () => void) => Response | undefined;

/** What `read` gives of a server with these answers beside what it serves, and what it was asked. */
function readingFrom<T>(answer: Answer, read: Parameters<typeof reading<T>>[1], seconds = 9) {
  return serving(answer, () => reading(cluster, read, seconds));
}

/** What `work` gives while there is such a server, what that was asked, and on how many ways. */
async function serving<T>(answer: Answer, work: () => Promise<T>) {
  const folder = await mkdtemp(join(tmpdir(), "api-test-"));
  const asked: string[] = [];
  const path = join(folder, "s"), program = join(folder, "kubectl");
  const server = Deno.serve({ path, onListen() {} }, ({ url, headers }) => {
    const asks = url.replace(/^[^/]*\/\/[^/]*/, "");
    asked.push(asks);
    const end = () =>
      unlinkSync(readFileSync(join(folder, "sockets"), "utf8").trim().split("\n").at(-1)!);
    const found = answer(asks, headers, end);
    if (found) return found;
    if (asks === "/api") return Response.json({ items: CORE });
    if (asks === "/apis") return Response.json({ items: GROUPS });
    return Response.json({ reason: "NotFound", message: "not found" }, { status: 404 });
  });
  await writeFile(
    program,
    `#!/bin/bash\nsocket=\${!#}; socket=\${socket#*=}\necho "$socket" >>${folder}/sockets\nln -s ${path} "$socket"; exec sleep 60\n`,
    {
      mode: 0o700,
    },
  );
  useKubectl(program);
  try {
    const value = await work();
    const sockets = await readFile(join(folder, "sockets"), "utf8");
    return { value, asked, ways: sockets.trim().split("\n").length };
  } finally {
    const sockets = await readFile(join(folder, "sockets"), "utf8");
    used.push(...sockets.trim().split("\n").map((path) => dirname(path)));
    await server.shutdown();
    await rm(folder, { recursive: true });
  }
}

const refused = (status: number, reason: string, message: string) =>
  Response.json({ kind: "Status", reason, message }, { status });

Deno.test("reading(): every kind in each of its versions, what comes first of them, and none that is nobody's", async () => {
  const { value } = await readingFrom(() => undefined, (api) => api.served());
  assert.deepEqual([...value].map(([name, { isFirst, root }]) => [name, isFirst, root]), [
    ["configmap.v1.", true, "/api/v1"],
    ["pod.v1.", true, "/api/v1"],
    ["thing.v1.example.org", true, "/apis/example.org/v1"],
    ["thing.v1beta1.example.org", false, "/apis/example.org/v1beta1"],
    ["old.v1beta1.example.org", true, "/apis/example.org/v1beta1"],
  ]);
});

Deno.test("reading(): of two resources of one kind that is meant which can be listed", async () => {
  const stored = has("templates", "Template", "list"),
    made = has("processed", "Template", "create");
  for (const resources of [[made, stored], [stored, made]]) {
    const items = [{ metadata: { name: "t.org" }, versions: [{ version: "v1", resources }] }];
    const { value } = await readingFrom(
      (path) => path === "/apis" ? Response.json({ items }) : undefined,
      (api) => api.served(),
    );
    const { plural, isFirst } = value.get("template.v1.t.org")!;
    assert.deepEqual([plural, isFirst], ["templates", true]);
  }
});

Deno.test("reading() takes nothing for missing where the server does not tell what it has", async () => {
  for (const answer of [() => Response.json({ groups: [] }), () => refused(404, "NotFound", "?")]) {
    await assert.rejects(
      readingFrom((path) => path === "/apis" ? answer() : undefined, (api) => api.served()),
      { exitCode: 5, message: "Cannot tell which kinds the API server has" },
    );
  }
});

Deno.test("reading(): what a server has is told once, and at each look whether it is the same", async () => {
  const whole: string[] = [];
  let tag = '"1"', items = CORE;
  const of = (path: string, headers: Headers) => {
    if (path !== "/api") return;
    if (headers.get("if-none-match") === tag) return new Response(null, { status: 304 });
    whole.push(tag);
    return Response.json({ items }, { headers: { etag: tag } });
  };
  const has = async () => {
    const { value } = await readingFrom(of, (api) => api.served());
    return value.has("configmap.v1.");
  };
  assert.deepEqual([await has(), await has(), whole], [true, true, ['"1"']]);
  [tag, items] = ['"2"', []];
  assert.deepEqual([await has(), await has(), whole], [false, false, ['"1"', '"2"']]);
});

Deno.test("reading(): a server that has not got its definitions together is asked again what it has", async () => {
  const kinds = ["thing.v1.example.org", "gone.v1.example.org", "gone.v2.example.org", "gone.v1."];
  const list = (kind: string) => ({ kind: "APIResourceList", resources: [{ kind }] });
  for (
    const early of [
      () => refused(503, "", "the server is currently unable to handle the request"),
      () => Response.json(list("Thing")),
    ]
  ) {
    let looks = 0;
    const { value } = await readingFrom((path) => {
      if (path === "/apis" && looks++ === 0) return Response.json({ items: [] });
      if (path !== "/apis/example.org/v1") return;
      return looks === 1 ? early() : Response.json(list("Thing"));
    }, (api) => api.absent([...kinds, "configmap.v1."]));
    assert.deepEqual([value, looks], [kinds.slice(1), 2]);
  }
});

Deno.test("reading(): lists say what their objects are, and a kind that is not served has none", async () => {
  const items = [{ metadata: { name: "a" } }];
  const { value, asked } = await readingFrom(
    (path) => path.includes("/things?") ? Response.json({ items }) : undefined,
    (api) => api.list(["thing.v1.example.org", "gone.v1.example.org", "configmap.v1."], "a=b,c"),
  );
  assert.deepEqual(value, [{ apiVersion: "example.org/v1", kind: "Thing", ...items[0] }]);
  assert.deepEqual(asked.slice(2).sort(), [
    "/api/v1/configmaps?labelSelector=a%3Db%2Cc",
    "/apis/example.org/v1/things?labelSelector=a%3Db%2Cc",
  ]);
});

Deno.test("reading(): few objects are asked for by name, of many a list of names tells which are there", async () => {
  const many = Array.from({ length: 40 }, (_, index) => configMap(`c:${index}`, "n", {}));
  const thing: Manifest = {
    apiVersion: "example.org/v1",
    kind: "Thing",
    metadata: { name: "t" },
  };
  const { value, asked } = await readingFrom((path, headers) => {
    if (path.endsWith("/things/t")) return Response.json(thing);
    if (path.endsWith("/c%3A7")) return Response.json({ ...many[7], data: { whole: "yes" } });
    if (!path.endsWith("/configmaps")) return;
    assert.match(headers.get("accept")!, /as=PartialObjectMetadataList/);
    return Response.json({
      items: [{ kind: "PartialObjectMetadata", ...{ metadata: many[7]!.metadata } }],
    });
  }, (api) => api.named([...many, thing, { ...thing, apiVersion: "other/v1" }]));
  assert.deepEqual(value.map(({ kind, data }) => [kind, data?.whole]), [
    ["ConfigMap", "yes"],
    ["Thing", undefined],
  ]);
  assert.equal(asked.length, 5);
});

Deno.test("reading() fails in kubectl's words, and makes again what may pass, but for what was answered", async () => {
  const list = (api: { list: (kinds: string[], selector: string) => Promise<Manifest[]> }) =>
    api.list(["configmap.v1.", "thing.v1.example.org"], "");
  const words = 'configmaps is forbidden: User "u" cannot list resource "configmaps"';
  const never = () => refused(403, "Forbidden", words);
  const failing = readingFrom((path) => path.endsWith("/configmaps") ? never() : undefined, list);
  const error = await failing.catch((error) => error);
  assert.ok(error instanceof KubectlError);
  assert.equal(error.message, "Cannot get configmap.v1. on 196");
  assert.match(error.stderr, /^Error from server \(Forbidden\): configmaps is forbidden/);
  assert.deepEqual([error.exitCode, error.transient], [5, false]);
  const both = await readingFrom((path) => /maps$|things$/.test(path) ? never() : undefined, list)
    .catch((error) => error);
  assert.equal(both.message, "Cannot get configmap.v1.,thing.v1.example.org on 196");
  assert.equal(both.stderr, `${error.stderr}\n${error.stderr}`);
  for (
    const passing of [
      () => refused(429, "TooManyRequests", "too many requests"),
      () => new Response("dial tcp 10.0.0.1:8443: connect: connection refused", { status: 502 }),
      () => new Response('{"items": [{"metadata"'),
    ]
  ) {
    let tries = 0;
    const { asked } = await readingFrom(
      (path) => path.endsWith("/configmaps") && tries++ === 0 ? passing() : undefined,
      list,
    );
    assert.deepEqual(asked.filter((path) => path.endsWith("/things")).length, 1);
    assert.equal(tries, 2);
  }
});

Deno.test("reading(): a server that names a time is asked again then, one request alone and without a word", async () => {
  const told: string[] = [];
  tellRetries((text) => told.push(text));
  const early = () => {
    const answer = refused(429, "TooManyRequests", "storage is (re)initializing");
    answer.headers.set("retry-after", "1");
    return answer;
  };
  let tries = 0;
  const { value, asked } = await readingFrom((path) => {
    if (path !== "/api/v1/configmaps") return;
    return tries++ < 2 ? early() : Response.json({ items: [{ metadata: { name: "a" } }] });
  }, (api) => api.list(["configmap.v1."], ""));
  assert.deepEqual([value.length, tries, asked.length, told], [1, 3, 5, []]);
  // Not for longer than there is time.
  const never = readingFrom(
    (path) => path === "/api" ? early() : undefined,
    (api) => api.served(),
    2,
  );
  await assert.rejects(never, ({ stderr }: KubectlError) => /^no answer within 2 s/.test(stderr));
});

Deno.test("reading() that fails ends all that it has asked beside", async () => {
  let beside: Promise<unknown> | undefined;
  const failing = readingFrom((path) => {
    if (path.endsWith("/configmaps")) return refused(403, "Forbidden", "no");
    if (!path.endsWith("/things")) return;
    return new Response("later", { status: 503, headers: { "retry-after": "5" } });
  }, (api) => {
    beside = api.list(["thing.v1.example.org"], "").catch(() => "ended");
    return Promise.all([beside, api.list(["configmap.v1."], "")]);
  });
  await assert.rejects(failing, /Cannot get configmap/);
  assert.equal(await Promise.race([beside, sleep(1000, "goes on", { ref: false })]), "ended");
});

Deno.test("reading() tells what somebody before the server says, and asks again only where that may pass", async () => {
  const page = "<html><body>no more than this</body></html>";
  const cases: [answer: Response, words: RegExp, isTransient: boolean][] = [
    [new Response(page, { status: 401 }), /^error: You must be logged in/, false],
    [Response.json({ error: "sign in" }, { status: 401 }), /^error: You must be logged in/, false],
    [new Response(page, { status: 403 }), /^Error from server \(Forbidden\): <html>/, false],
    [new Response(page, { status: 503 }), /^Unable to connect to the server: <html>/, true],
    [Response.json({ error: 7 }, { status: 502 }), /^Unable to connect .*: \{"error":7\}/, true],
    [new Response("", { status: 502 }), /^Unable to connect to the server: Bad Gateway$/, true],
    [new Response("Too many requests", { status: 429 }), /Too many requests$/, true],
    [
      Response.json({ kind: "Status", message: "no" }, { status: 500 }),
      /^Error from server: no$/,
      false,
    ],
  ];
  for (const [answer, words, isTransient] of cases) {
    const of = (path: string) => path === "/api" ? answer.clone() : undefined;
    const error = await readingFrom(of, (api) => api.served(), 1).catch((error) => error);
    assert.ok(error instanceof KubectlError);
    assert.match(error.stderr, words);
    assert.equal(error.transient, isTransient, error.stderr);
  }
});

Deno.test("reading() ends in its time with what it waited for, and leaves nothing behind", async () => {
  const hangs = new Response(new ReadableStream({ start() {} }));
  await assert.rejects(
    readingFrom((path) => path === "/api" ? hangs : undefined, (api) => api.served(), 1),
    ({ stderr, exitCode }: KubectlError) => {
      assert.match(stderr, /^no answer within 1 s/);
      return exitCode === 5;
    },
  );
  assert.ok(used.length > 0 && used.every((folder) => !existsSync(folder)), used.join());
  const folder = await mkdtemp(join(tmpdir(), "api-test-"));
  const silent = join(folder, "kubectl");
  await writeFile(silent, "#!/bin/bash\nexec sleep 60\n", { mode: 0o700 });
  useKubectl(silent);
  await assert.rejects(
    reading(cluster, (api) => api.served(), 1),
    ({ stderr, exitCode }: KubectlError) => /^no answer within 1 s/.test(stderr) && exitCode === 5,
  );
  // As what it has started for a login may.
  await writeFile(silent, "#!/bin/bash\ntrap '' TERM\nsleep 30\n");
  const began = Date.now();
  await assert.rejects(reading(cluster, (api) => api.served(), 1), /Cannot get objects on 196/);
  assert.ok(Date.now() - began < 10_000);
  await rm(folder, { recursive: true });
  useKubectl("/bin/false");
  await assert.rejects(reading(cluster, (api) => api.served(), 1), /Cannot get objects on 196/);
});

Deno.test("reading(): each try has a proxy of its own, and between them the turn is another's", async () => {
  const cutOff = () => new Response('{"items"', { headers: { connection: "close" } });
  let isFree = false;
  tellRetries(async () => {
    using _first = await turnOn(cluster);
    using _second = await turnOn(cluster);
    isFree = true;
  });
  let tries = 0;
  const { value } = await readingFrom((path, _, end) => {
    if (path !== "/api/v1/configmaps" || tries++ > 0) return;
    end();
    return cutOff();
  }, async (api) => {
    await api.list(["configmap.v1."], "");
    return isFree;
  });
  assert.deepEqual([value, tries], [true, 2]);
});

Deno.test("reading() ends as ever when the machine has slept between two tries", async () => {
  const { now } = Date;
  tellRetries(() => Date.now = () => now() + 3_600_000);
  const away = () => new Response("connection refused", { status: 502 });
  try {
    await assert.rejects(
      readingFrom((path) => path === "/api" ? away() : undefined, (api) => api.served()),
      (error: Error) => error instanceof KubectlError && error.exitCode === 5,
    );
  } finally {
    Date.now = now;
    tellRetries(() => {});
  }
});

Deno.test("keepWay(): all looks, at once and one after the other, take one way, and it ends with the last keeper", async () => {
  const look = () => reading(cluster, (api) => api.list(["configmap.v1."], ""));
  const { ways } = await serving(() => undefined, async () => {
    await using _one = keepWay(cluster);
    {
      await using _other = keepWay(cluster);
      await Promise.all([look(), look()]);
    }
    await look();
  });
  assert.equal(ways, 1);
  assert.equal(existsSync(used.at(-1)!), false);
});

/** A list without objects that begins at once and ends when `held` does. */
function emptyListAfter(held: Promise<void>): Response {
  const body = new ReadableStream({
    async pull(sink) {
      await held;
      sink.enqueue(new TextEncoder().encode('{"items":[]}'));
      sink.close();
    },
  });
  return new Response(body);
}

Deno.test("keepWay(): a way that has ended is opened again, and one that somebody else waits on goes on", async () => {
  let isFirst = true;
  const held = Promise.withResolvers<void>();
  const slow: Answer = (path, _, end) => {
    if (path.startsWith("/api/v1/pods")) {
      return emptyListAfter(held.promise);
    }
    if (isFirst && path.startsWith("/api/v1/configmaps")) {
      isFirst = false;
      end();
      return new Response("", { status: 502 });
    }
  };
  const { ways, value } = await serving(slow, async () => {
    await using _ = keepWay(cluster);
    const waits = reading(cluster, async (api) => (await api.get("pods")).length);
    await sleep(300);
    await reading(cluster, (api) => api.list(["configmap.v1."], ""));
    held.resolve();
    return await waits;
  });
  assert.deepEqual([ways, value], [2, 0]);
});

Deno.test("E22: looks by ways that are kept take no turn of other clusters, were all of them to hang", async () => {
  const held = Promise.withResolvers<void>();
  const slow: Answer = (path) => {
    if (path.startsWith("/api/v1/pods")) return emptyListAfter(held.promise);
  };
  await serving(slow, async () => {
    await using keepers = new AsyncDisposableStack();
    const looks = ["a", "b", "c", "d", "e"].flatMap((id) => {
      const one = { ...cluster, id };
      keepers.use(keepWay(one));
      return [1, 2].map(() => reading(one, (api) => api.get("pods"), 9));
    });
    await sleep(500);
    const turn = turnOn(cluster).then((slot) => slot[Symbol.dispose]());
    const end = await Promise.race([turn, sleep(1000, "waits")]);
    held.resolve();
    await Promise.all(looks);
    assert.equal(end, undefined);
  });
});

Deno.test("keepWay(): of credentials whose time is over another way has new ones, and of such that are new nobody", async () => {
  const over = () => refused(401, "Unauthorized", "Unauthorized");
  let isOver: (ways: number) => boolean = () => false, ways = 0;
  const answer: Answer = (path) =>
    path.startsWith("/api/v1/configmaps")
      ? isOver(ways) ? over() : Response.json({ items: [] })
      : undefined;
  const look = () => reading(cluster, (api) => api.list(["configmap.v1."], ""));
  const said: string[] = [];
  // Told before the next try opens another.
  tellRetries((text) => said.push(text) && void (ways += 1));
  try {
    await serving(answer, async () => {
      await using _ = keepWay(cluster);
      await look();
      isOver = (ways) => ways === 0;
      assert.deepEqual(await look(), []);
      assert.match(said.join(), /^trying again in 1 s: .*Unauthorized/);
      isOver = () => true;
      await assert.rejects(look(), { exitCode: 5, transient: false });
      assert.equal(said.length, 2);
    });
  } finally {
    tellRetries(() => {});
  }
});

Deno.test("reading(): objects of resources by namespace and selectors, in the version that comes first", async () => {
  const answer: Answer = (path) =>
    /^\/api(s\/example.org)?\/v1\//.test(path)
      ? Response.json({ items: [{ metadata: {} }] })
      : undefined;
  const { value, asked } = await readingFrom(
    answer,
    (api) =>
      api.get("pods,things.example.org,things", {
        namespace: "shop",
        labels: "a=b",
        fields: "c!=d",
      }),
  );
  assert.deepEqual(value.map(({ kind, apiVersion }) => `${apiVersion} ${kind}`), [
    "v1 Pod",
    "example.org/v1 Thing",
    "example.org/v1 Thing",
  ]);
  assert.deepEqual([...new Set(asked.slice(2))].sort(), [
    "/api/v1/namespaces/shop/pods?labelSelector=a%3Db&fieldSelector=c%21%3Dd",
    "/apis/example.org/v1/namespaces/shop/things?labelSelector=a%3Db&fieldSelector=c%21%3Dd",
  ]);
  const absent = readingFrom(answer, (api) => api.get("engines.longhorn.io"));
  await assert.rejects(absent, /Cannot get engines.longhorn.io/);
});

Deno.test("reading(): a path that is not there is no empty list of what has to be there", async () => {
  for (const there of [true, false]) {
    const { value } = await readingFrom(
      (path) => there && path === "/api/v1/pods?" ? Response.json({ items: null }) : undefined,
      (api) => api.get("pods").catch(({ exitCode, where }) => [exitCode, ...where]),
    );
    const none = "Error from server (NotFound): the server could not find this resource";
    assert.deepEqual(value, there ? [] : [6, none]);
  }
});

Deno.test("A32: reading() takes a resource for missing only where the server, which may have just started, is sure", async () => {
  const far = has("fars", "Far", "list");
  const late = { metadata: { name: "late.org" }, versions: [{ version: "v1", resources: [far] }] };
  let told = 0;
  const answer = (sure: Response): Answer => (path) => {
    if (path === "/apis") return Response.json({ items: told++ === 0 ? [] : [late] });
    if (path === "/apis/late.org") return sure.clone();
    if (path === "/apis/late.org/v1") return Response.json({ resources: [{ name: "fars" }] });
    if (path === "/apis/late.org/v1/fars?") return Response.json({ items: [{ metadata: {} }] });
  };
  const preferredVersion = { groupVersion: "late.org/v1" };
  for (
    const sure of [
      refused(503, "ServiceUnavailable", "the server is currently unable to handle the request"),
      Response.json({ preferredVersion }),
    ]
  ) {
    told = 0;
    const { value } = await readingFrom(answer(sure), (api) => api.get("fars.late.org"));
    assert.deepEqual(value.map(({ kind }) => kind), ["Far"]);
  }
  told = 0;
  const other = readingFrom(
    answer(Response.json({ preferredVersion })),
    (api) => api.get("nears.late.org"),
  );
  await assert.rejects(other, { exitCode: 6, message: "Cannot get nears.late.org on 196" });
});
