// Logs: what a pod or the host writes is found with its origin, an old day comes back from S3, and
// one OpenSearch node takes what a cluster writes.
import assert from "node:assert/strict";
import { list, text } from "../../lib/core/cluster.ts";
import { kubectl } from "../../lib/kube/kubectl.ts";
import { changesOf } from "../support/make.ts";
import { judge, nastyLines } from "../support/nasty_lines.ts";
import { REPOSITORY } from "../../scripts/components/logging/objects.ts";
import { ask, check, edges, eventually, figure, fleet, kube, make } from "./site.ts";
import { PROMETHEUS, seconds } from "./site.ts";
import {
  bulks,
  call,
  checkWith,
  count,
  forget,
  load,
  numbered,
  startWriter,
  stopWriter,
} from "./logs.ts";

const [edge] = edges;
const run = `e2e${Date.now().toString(36)}`;
/** A day of its own, older than every real one. */
const DAY = "2001.02.03";
const INDEX = `logs-k8s-${DAY}`;
const DOCUMENTS = 200_000;

/** One record of each kind that a container may write, with what must be found of it. */
const FORMS = {
  plain: [`echo "${run} plain"`, { log: `${run} plain` }],
  json: [
    `echo '{"level":"warn","msg":"${run} json","took":1.5}'`,
    { log: /^{"level":"warn",.*"took":1.5}$/m },
  ],
  java: [
    `printf '%s\\n' 'Exception in thread "main" java.lang.IllegalStateException: ${run} java' ` +
    `'    at com.example.Main.run(Main.java:12)' '    at com.example.Main.main(Main.java:3)'`,
    {
      log:
        /IllegalStateException.*\n\s+at com\.example\.Main\.run.*\n\s+at com\.example\.Main\.main/,
    },
  ],
  python: [
    `printf '%s\\n' 'Traceback (most recent call last):' '  File "a.py", line 1, in <module>' ` +
    `'    main()' 'ValueError: ${run} python'`,
    { log: /^Traceback.*\n.*line 1.*\n.*main\(\)\n.*ValueError/ },
  ],
  go: [
    `printf '%s\\n' 'panic: ${run} go' '' 'goroutine 1 [running]:' 'main.main()' ` +
    `'	/src/main.go:4 +0x39'`,
    { log: /^panic: .*\n\n?goroutine 1.*\nmain\.main.*\n.*main\.go:4/ },
  ],
  // The runtime cuts lines at 16 KiB; what the CRI marks as partial is one line again.
  long: [
    `echo "${run} long $(head -c 40000 /dev/zero | tr '\\0' x) ends"`,
    { log: /long x{40000} ends\s*$/ },
  ],
} as const;

checkWith(
  "fluent-bit",
  "every form of a container's lines is one document with its origin",
  async () => {
    const script = Object.values(FORMS).map(([command]) => command).join("\nsleep 3\n");
    await startWriter(edge!, "e2e-forms", `${script}\nsleep 30`);
    try {
      for (const [form, [, wanted]] of Object.entries(FORMS)) {
        // Fluent Bit repeats the last line of a Python trace.
        const query = `log:"${run} ${form}"${form === "python" ? " AND log:Traceback" : ""}`;
        const found = await eventually(3, async () => {
          const path = `/logs-k8s-*/_search?q=${encodeURIComponent(query)}`;
          const { hits } = await call(edge!, "GET", path);
          assert.equal(hits.total.value, 1, `${form}: ${JSON.stringify(hits).slice(0, 2000)}`);
          return hits.hits[0]._source;
        });
        for (const [field, value] of Object.entries(wanted)) {
          const got = field.split(".").reduce((node, name) => node?.[name], found);
          if (value instanceof RegExp) assert.match(got, value, form);
          else assert.equal(String(got).trim(), String(value), `${form}: ${field}`);
        }
        assert.equal(found.cluster, text(edge!, "CLUSTER_NAME"));
        assert.equal(found.stream, "stdout");
        assert.equal(found.kubernetes.namespace_name, "default");
        assert.equal(found.kubernetes.pod_name, "e2e-forms");
        assert.equal(found.kubernetes.container_name, "writer");
        assert.equal(found.kubernetes.labels.app, "e2e-writer");
        assert.ok(
          Math.abs(Date.parse(found["@timestamp"]) - Date.now()) < 300_000,
          "the time is wrong",
        );
      }
    } finally {
      await stopWriter(edge!, "e2e-forms");
    }
  },
);

checkWith(
  "fluent-bit",
  "a burst of lines arrives whole, without duplicates, and fast",
  async () => {
    const lines = 20_000;
    await startWriter(edge!, "e2e-burst", `${numbered(`${run}burst`, lines, 2000)}; sleep 60`);
    try {
      const took = await seconds(() =>
        eventually(5, async () => {
          assert.equal(await count(edge!, "logs-k8s-*", `log:${run}burst`), lines);
        })
      );
      figure("a pod's 20,000 lines until all are found", `${took.toFixed(0)} s`);
    } finally {
      await stopWriter(edge!, "e2e-burst");
    }
  },
);

checkWith("fluent-bit", "lines of the host carry its name and where they come from", async () => {
  for (const cluster of fleet) {
    const { hits } = await call(cluster, "GET", "/logs-host-*/_search?q=message:*&size=1");
    const [found] = hits.hits;
    assert.ok(found, `${cluster.id} has no line of its host`);
    assert.ok(found._source.hostname && found._source.cluster === text(cluster, "CLUSTER_NAME"));
  }
});

check("the reader of events may read events and nothing else", async () => {
  const may = async (verb: string, resource: string) => {
    const review = {
      apiVersion: "authorization.k8s.io/v1",
      kind: "SubjectAccessReview",
      spec: {
        user: "system:serviceaccount:logging:fluent-bit-events",
        resourceAttributes: { verb, resource },
      },
    };
    const input = JSON.stringify(review);
    const words = ["create", "-f", "-", "-o", "json"];
    return JSON.parse(await kubectl(words, { cluster: edge!, input })).status.allowed;
  };
  assert.deepEqual(
    [await may("list", "events"), await may("watch", "events"), await may("delete", "events")],
    [true, true, false],
  );
  assert.deepEqual([await may("get", "secrets"), await may("list", "pods")], [false, false]);
});

check(
  "an event is one document, however often it is sent, and found beside its pod's lines",
  async () => {
    const name = "e2e-events";
    await startWriter(edge!, name, "echo said; sleep 60");
    const { metadata: { uid } } = await kube(edge!, "pod", name, "-n", "default");
    // Not by its name: those of an earlier run are kept for an hour.
    const query = `involvedObject.uid:"${uid}"`;
    try {
      const events = await eventually(2, async () => {
        const about = `--field-selector=involvedObject.uid=${uid}`;
        const { items } = await kube(edge!, "events", "-n", "default", about);
        assert.ok(items.some(({ reason }: Json) => reason === "Started"), JSON.stringify(items));
        return items as Json[];
      });
      if (list(edge!, "STAND_INS").includes("fluent-bit")) {
        // What the API server has of them, as its reader sends it; after a restart all of it again.
        const bodies = events.map(({ metadata: { managedFields: _, ...metadata }, ...event }) => {
          const time: string = event.series?.lastObservedTime ?? event.eventTime ??
            event.lastTimestamp;
          const _id = `${metadata.uid}-${metadata.resourceVersion}`;
          const _index = `logs-events-${time.slice(0, 10).replaceAll("-", ".")}`;
          const cluster = text(edge!, "CLUSTER_NAME");
          const document = { "@timestamp": time, ...event, metadata, id: _id, cluster };
          return [{ index: { _index, _id } }, document].map((line) => `${JSON.stringify(line)}\n`);
        });
        for (const _ of ["first", "again"]) {
          const { errors, items } = await call(edge!, "POST", "/_bulk", bodies.flat().join(""));
          assert.equal(errors, false, JSON.stringify(items));
        }
      }
      await eventually(1, async () => {
        assert.equal(await count(edge!, "logs-events-*", query), events.length);
      });
      const words = ["logs", `CLUSTER=${edge!.id}`, "NAMESPACE=default", `POD=${name}`];
      for (const more of [[], ["ARGS=--events"], ["ARGS=--events", "QUERY=Started"]]) {
        const { output } = await make([...words, ...more]);
        assert.match(output, new RegExp(`Pod/default/${name} {2}Normal Started {2}`));
      }
      const { output } = await make([...words, "ARGS=--events", "QUERY=reason:Nothing"]);
      assert.match(output, /no event of the last 15m/);
    } finally {
      await stopWriter(edge!, name);
      const body = { query: { query_string: { query } } };
      await call(edge!, "POST", "/logs-events-*/_delete_by_query?conflicts=proceed", body);
    }
  },
);

check("P3: every line that can be logged is found again, whole", async () => {
  const day = "2001.02.04";
  const both = `logs-k8s-${day},logs-host-${day}`;
  await forget(edge!, both);
  try {
    const lines = nastyLines().filter(({ refused }) => !refused);
    const wrong = await judge((method, path, body) => call(edge!, method, path, body), day);
    assert.deepEqual(wrong, []);
    figure("lines of unusual shapes", `${lines.length} of ${lines.length} whole`);
  } finally {
    await forget(edge!, both);
  }
});

check("one node takes documents, snapshots them and gives the day back", async () => {
  await forget(edge!, `${INDEX},restored-${INDEX}*`);
  const time = "2001-02-03T04:05:06.789Z";
  const took = await load(edge!, bulks(INDEX, { documents: DOCUMENTS, size: 2000, time }));
  figure("OpenSearch: documents of 1.5 KB indexed", `${(DOCUMENTS / took).toFixed(0)} in a second`);
  await call(edge!, "POST", `/${INDEX}/_forcemerge?max_num_segments=1`);
  const { _all } = await call(edge!, "GET", `/${INDEX}/_stats/store`);
  const gib = _all.primaries.store.size_in_bytes / 2 ** 30;

  // Named as ISM names its own.
  const snapshot = `${INDEX}-2001.02.17-00:00:00.000`;
  const path = `/_snapshot/${REPOSITORY}/${encodeURIComponent(snapshot)}`;
  await call(edge!, "DELETE", path).catch(() => {});
  const body = { indices: INDEX, include_global_state: false };
  const away = await seconds(() => call(edge!, "PUT", `${path}?wait_for_completion=true`, body));
  figure(
    "OpenSearch: snapshot to S3",
    `${(away / gib).toFixed(0)} s per GiB (${gib.toFixed(2)} GiB)`,
  );
  try {
    await forget(edge!, INDEX);
    const words = ["restore-logs", `CLUSTER=${edge!.id}`, `DAY=${DAY}`];
    const back = await seconds(async () => assert.equal(changesOf(await make(words)), 1));
    figure("make restore-logs", `${back.toFixed(0)} s for ${gib.toFixed(2)} GiB`);
    assert.equal(changesOf(await make(words)), 0);
    assert.equal(await count(edge!, `restored-${INDEX}*`, "*"), DOCUMENTS);
    const { output } = await make([
      "logs",
      `CLUSTER=${edge!.id}`,
      `DAY=${DAY}`,
      'QUERY="e2e-4711"',
    ]);
    assert.match(output, /e2e-4711 /);
    await make([...words, "ARGS=--drop"]);
    assert.deepEqual(await call(edge!, "GET", `/restored-${INDEX}*`), {});
  } finally {
    await call(edge!, "DELETE", path);
  }
});

check("three OpenSearch nodes are accepted by the API server", async () => {
  const { output } = await make([`plan-${edge!.id}`], { OPENSEARCH_NODES: "3" });
  assert.match(output, /StatefulSet\/logging\/opensearch/);
});

check("what OpenSearch takes of memory", async () => {
  for (const cluster of fleet) {
    const { nodes } = await call(cluster, "GET", "/_nodes/stats/jvm,process");
    for (const { name, jvm } of Object.values<Json>(nodes)) {
      const rss = 'container_memory_rss{container="opensearch",namespace="logging"}';
      const { result } = await ask(cluster, PROMETHEUS, rss);
      assert.ok(result[0], `${cluster.id} has no metric of its container`);
      const mib = (bytes: number) => (bytes / 2 ** 20).toFixed(0);
      figure(
        `${cluster.id} ${name}: heap used of heap, RSS`,
        `${mib(jvm.mem.heap_used_in_bytes)} of ${mib(jvm.mem.heap_max_in_bytes)}, ` +
          `${mib(Number(result[0]?.value[1]))} MiB`,
      );
    }
  }
});

// deno-lint-ignore no-explicit-any
type Json = any;
