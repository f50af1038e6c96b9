// Log lines of every unusual kind as bodies of OpenSearch's bulk API, and the judgement of what became of
// them. NOT recorded from a running Fluent Bit, which was not to be had: written in the form that its source
// has (5.1.1, out_opensearch: `create` with an id, `@timestamp` first, nine digits, invalid UTF-8 as U+E0xx).
import assert from "node:assert/strict";
import { createHash } from "node:crypto";

/** One line. */
export interface NastyLine {
  name: string;
  /** The document as it is sent: JSON, mostly. */
  source: string;
  stream: "k8s" | "host";
  /** A word of it that a search must find; none where it has no text. */
  word?: string;
  /** OpenSearch must refuse it: no configuration of ours lets Fluent Bit make it. */
  refused?: true;
}

const TIME = "2026-11-29T06:00:00.123456789Z";
const ORIGIN = {
  pod_name: "web-0",
  namespace_name: "shop",
  pod_id: "6a5c8e0e-6d5c-4b0c-8f5b-0d5f0a3b7c11",
  labels: { app: "web" } as Record<string, string>,
  host: "node-1",
  pod_ip: "10.244.0.7",
  container_name: "web",
  docker_id: "0".repeat(64),
  container_hash: "registry.example/web@sha256:" + "0".repeat(64),
  container_image: "registry.example/web:1",
};

let serial = 0;

/** A container's line; each holds a word of its own. */
function pod(name: string, log: string, labels = ORIGIN.labels, time = TIME): NastyLine {
  const word = `nasty${serial++}x`;
  const record = {
    "@timestamp": time,
    log: `${word} ${log}`,
    stream: "stdout",
    kubernetes: { ...ORIGIN, labels },
    cluster: "cluster-197-edge",
  };
  return { name, source: JSON.stringify(record), stream: "k8s", word };
}

/** An entry of the journal, or a line of a file. */
function host(name: string, fields: Record<string, unknown>, time = TIME): NastyLine {
  const word = typeof fields.message === "string" ? `nasty${serial++}x` : undefined;
  const message = word ? { message: `${word} ${fields.message}` } : {};
  const record = { "@timestamp": time, ...fields, ...message, cluster: "cluster-197-edge" };
  return { name, source: JSON.stringify(record), stream: "host", word };
}

const deep = (levels: number) => '{"a":'.repeat(levels) + "1" + "}".repeat(levels);
const many = (count: number, prefix: string) =>
  Object.fromEntries(Array.from({ length: count }, (_, at) => [`${prefix}${at}`, `value ${at}`]));
const words = (count: number) => Array.from({ length: count }, (_, at) => `w${at}`).join(" ");
const ENTRY = {
  priority: "6",
  systemd_unit: "kubelet.service",
  hostname: "node-1",
  syslog_identifier: "kubelet",
  message: "an ordinary entry",
};

/** All of them; at least one for each thing that once was refused somewhere. */
export function nastyLines(): NastyLine[] {
  serial = 0;
  return [
    // JSON of any shape is text.
    pod("an object", '{"level":"warn","msg":"slow","took":1.5}'),
    pod("level is a number", '{"level":40,"msg":{"text":"slow"}}'),
    pod("level is an object", '{"level":{"name":"warn"},"msg":["slow"]}'),
    pod("an array", '[{"a":1},2,null]'),
    pod("a number", "42"),
    pod("null", "null"),
    pod("a key that comes twice", '{"level":"info","level":"warn"}'),
    pod("a key as object and as text", '{"app":"web","app.kubernetes.io/name":"web"}'),
    pod("an empty key", '{"":1,".":2,"..":3," ":4,"a..b":5}'),
    pod(
      "keys that OpenSearch keeps for itself",
      '{"_id":"1","_source":{},"_routing":"x","@timestamp":7}',
    ),
    pod(
      "keys that have a meaning here",
      '{"kubernetes":"none","cluster":"other","log":{},"stream":[]}',
    ),
    pod("1,500 levels", deep(1500)),
    pod("2,000 fields", JSON.stringify(many(2000, "field"))),
    pod("a key of 60,000 characters", JSON.stringify({ ["k".repeat(60_000)]: 1 })),
    pod("numbers that no type holds", `{"a":1e400,"b":${"9".repeat(400)},"c":-0,"d":1E-9999}`),
    pod("no numbers", '{"a":NaN,"b":Infinity,"c":0x1f,"d":01}'),
    pod("cut in the middle", '{"level":"warn","msg":"slow'),
    pod("a comma too many", '{"level":"warn",}'),
    pod("JSON in JSON in JSON", JSON.stringify(JSON.stringify(JSON.stringify({ a: '"\\' })))),
    pod(
      "what looks like a time",
      '{"time":"2026-13-45T99:99:99Z","at":"1764396000","day":"2026/11/29"}',
    ),
    pod("two on one line", '{"a":1}{"b":2}'),
    // Sizes
    {
      ...pod("an empty line", ""),
      source: JSON.stringify({ "@timestamp": TIME, log: "" }),
      word: undefined,
    },
    pod("blanks", "   \t  "),
    pod("a line end alone", "\n"),
    pod("16 KiB, where runtimes cut", "x".repeat(16_384)),
    pod("one word of 40,000 letters", "y".repeat(40_000)),
    pod("one word of 40,000 Korean letters", "가".repeat(40_000)),
    pod("20,000 words", words(20_000)),
    pod("a megabyte", "lorem ipsum ".repeat(87_381)),
    pod("two megabytes of joined lines", "dolor sit\n".repeat(209_715)),
    pod("base64 of half a megabyte", "QUJD".repeat(131_072)),
    // Encodings
    pod("NUL", "a\u0000b"),
    pod(
      "every control character",
      Array.from({ length: 32 }, (_, at) => String.fromCharCode(at)).join(""),
    ),
    pod("colours and a cursor that moves", "\u001b[31mred\u001b[0m \u001b[2J\u001b]0;title\u0007"),
    pod("half a surrogate pair", "a\ud83db"),
    pod("bytes that are no UTF-8, as Fluent Bit maps them", "caf\ue0e9 \ue0ff\ue0fe"),
    pod("replacement characters", "\ufffd\ufffd"),
    pod("a byte order mark", "\ufefffirst"),
    pod("emoji of several parts", "👩‍👩‍👧‍👦 🇰🇷 👍🏽"),
    pod("right to left, and turned over", "שלום مرحبا \u202etxt.exe\u202c"),
    pod("separators of lines and paragraphs", "a\u2028b\u2029c\u0085d"),
    pod("accents by the dozen", "z" + "\u0301".repeat(500)),
    pod("characters beyond the first plane", "𠮷𝔘𒀀"),
    pod("no characters at all", "\uffff\ufffe"),
    // Korean and its neighbours
    pod("Korean with particles", "서버가 데이터베이스를 찾지 못해서 연결이 끊어졌습니다"),
    pod("Korean, decomposed", "결제에 오류가 났습니다".normalize("NFD")),
    pod("Korean and English in one word", "API서버에서 timeout이 3번 났음"),
    pod("letters of Korean alone", "ㅋㅋㅋ ㅠㅠ"),
    pod("wide letters", "ＥＲＲＯＲ　４０４"),
    pod("Chinese", "数据库连接超时，请稍后再试"),
    pod("Japanese", "データベースに接続できませんでした"),
    pod("Thai and Hindi", "ข้อผิดพลาดในการเชื่อมต่อ त्रुटि"),
    // Several lines in one
    pod(
      "Java",
      "java.lang.IllegalStateException: x\n\tat a.B.c(B.java:1)\nCaused by: java.io.IOException\n\t... 3 more",
    ),
    pod(
      "Go",
      "panic: runtime error: index out of range [3]\n\ngoroutine 1 [running]:\nmain.main()\n\t/src/main.go:4 +0x39",
    ),
    pod(
      "Python",
      'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\nValueError: x',
    ),
    pod("Node", "TypeError: x is not a function\n    at f (/a.js:1:2)\n    at async main"),
    pod("Ruby", "a.rb:1:in `f': x (RuntimeError)\n\tfrom a.rb:3:in `<main>'"),
    pod(".NET", "Unhandled exception. System.Exception: x\r\n   at A.B() in C:\\a.cs:line 1\r\n"),
    pod("Rust", "thread 'main' panicked at src/main.rs:2:5:\nx\nnote: run with `RUST_BACKTRACE=1`"),
    // Origins
    pod("labels with dots", "x", {
      app: "web",
      "app.kubernetes.io/name": "web",
      "app.kubernetes.io/name.x": "y",
    }),
    pod("labels that differ in a dot only", "x", { "a.b": "1", a_b: "2", "a..b": "3", a: "4" }),
    pod("labels as long as they may be", "x", {
      [`${"p".repeat(63)}.${"q".repeat(63)}.${"r".repeat(63)}.${"s".repeat(61)}/${"n".repeat(63)}`]:
        "v".repeat(63),
      empty: "",
    }),
    pod("200 labels", "x", many(200, "label-") as Record<string, string>),
    // Times
    pod("1970", "x", ORIGIN.labels, "1970-01-01T00:00:00.000000000Z"),
    pod("2038", "x", ORIGIN.labels, "2038-01-19T03:14:08.000000000Z"),
    pod("beyond what nanoseconds hold", "x", ORIGIN.labels, "2262-05-01T00:00:00.000000000Z"),
    pod("before 1970", "x", ORIGIN.labels, "1969-12-31T23:59:59.999999999Z"),
    pod("a leap second", "x", ORIGIN.labels, "2026-12-31T23:59:60.000000000Z"),
    // The journal
    host("an entry", ENTRY),
    host("an entry without a message", { ...ENTRY, message: undefined }),
    host("fields that come twice", { ...ENTRY, message: ["one", "two"], pid: ["1", "2"] }),
    host("1,200 fields of its own", { ...ENTRY, ...many(1200, "own_field_") }),
    ...Array.from(
      { length: 5 },
      (_, at) => host(`400 other fields, ${at + 1}`, { ...ENTRY, ...many(400, `other_${at}_`) }),
    ),
    host("a priority that is none", {
      ...ENTRY,
      priority: "err",
      syslog_pid: "none",
      errno: "ENOENT",
    }),
    host("a command line of 100 KB", {
      ...ENTRY,
      cmdline: "--flag ".repeat(14_629),
      exe: "/x".repeat(40_000),
    }),
    // One name, and each writer means another kind of thing by it.
    ...[1, "1", true, null, { of: { what: "x" } }, ["x", 1, {}], "2026-11-29", "10.0.0.1"].map(
      (state, at) => host(`a field of eight kinds, ${at + 1}`, { ...ENTRY, state }),
    ),
    host("text and words that are objects", { ...ENTRY, message: { a: 1 }, priority: { b: 2 } }),
    host("objects and lists of words", { ...ENTRY, comm: ["a", ["b"]], path: [{ c: 3 }, "d"] }),
    host("names with dots", { ...ENTRY, "state.of": 1, "state.of.what": 2, "container.": 3 }),
    host("an unknown field of 100 KB", { ...ENTRY, blob: "A".repeat(100_000) }),
    host("fields that events have", {
      ...ENTRY,
      type: "notify",
      reason: "r".repeat(2000),
      count: "many",
      source: "s",
      series: "s",
      metadata: "m",
      related: "r",
    }),
    host("fields that have a meaning here", {
      ...ENTRY,
      journal_kubernetes: "x",
      journal_cluster: "y",
    }),
    host("fields of containers", {
      ...ENTRY,
      log: "x",
      stream: "x".repeat(40_000),
      app: "x",
      time: "x",
      _p: "F",
    }),
    host("fields that OpenSearch has", {
      ...ENTRY,
      id: "1",
      source: "x",
      type: "y",
      routing: "z",
      field_names: "w",
    }),
    host("a message of binary data", {
      ...ENTRY,
      message: "\ue080\ue081\u0001\u0000\ue0ff".repeat(2000),
    }),
    host("a message of 700 KB", { ...ENTRY, message: "core dumped ".repeat(60_000) }),
    host("a line of a file", {
      message: "type=AVC msg=audit(1.2:3): denied { read } for pid=1",
      path: "/var/log/audit/audit.log",
      hostname: "node-1",
    }),
    // What no configuration of ours makes, to show that this would see it.
    refused("a field twice", `{"@timestamp":"${TIME}","cluster":"a","cluster":"b"}`),
    refused("a name with two dots in a row", `{"@timestamp":"${TIME}","a..b":"x"}`),
    refused("text where objects are", `{"@timestamp":"${TIME}","kubernetes":"x"}`),
    refused("1,500 levels of fields", `{"@timestamp":"${TIME}","app":${deep(1500)}}`),
  ];
}

function refused(name: string, source: string): NastyLine {
  return { name, source, stream: "host", refused: true };
}

/** The id that a line gets. */
export function idOfLine({ name, source }: NastyLine): string {
  return createHash("md5").update(name + source).digest("hex");
}

/** The lines as bodies of bulk requests of a few megabytes, as Fluent Bit sends them. */
export function* bulkBodies(lines: NastyLine[], day: string): Generator<string> {
  let body = "";
  for (const line of lines) {
    const action = { create: { _index: `logs-${line.stream}-${day}`, _id: idOfLine(line) } };
    body += `${JSON.stringify(action)}\n${line.source}\n`;
    if (body.length > 2e6) {
      yield body;
      body = "";
    }
  }
  if (body) yield body;
}

// deno-lint-ignore no-explicit-any
type Call = (method: string, path: string, body?: string) => Promise<any>;

/**
 * Sends the lines and gives what is not as it must be: a line that was refused, or not; that is not there byte for
 * byte; that a search for its word does not find. Needs two indices of that day that nobody else writes to.
 */
export async function judge(call: Call, day: string): Promise<string[]> {
  const lines = nastyLines();
  assert.equal(new Set(lines.map(idOfLine)).size, lines.length);
  const answers = new Map<
    string,
    { status: number; error?: { reason: string; caused_by?: unknown } }
  >();
  for (const body of bulkBodies(lines, day)) {
    const { items } = await call("POST", "/_bulk", body);
    for (const { create } of items) answers.set(create._id, create);
  }
  await call("POST", `/logs-*-${day}/_refresh`);
  const wrong: string[] = [];
  for (const line of lines) {
    const { status, error } = answers.get(idOfLine(line)) ?? { status: 0 };
    const why = `${line.name}: ${status} ${JSON.stringify(error ?? {}).slice(0, 400)}`;
    if (line.refused ? status !== 400 : status !== 201) wrong.push(why);
    if (line.refused || status !== 201) continue;
    const { _source } = await call("GET", `/logs-${line.stream}-${day}/_doc/${idOfLine(line)}`);
    if (JSON.stringify(_source) !== JSON.stringify(JSON.parse(line.source))) {
      wrong.push(`${line.name}: not whole`);
    }
    if (!line.word) continue;
    const query = {
      query: { query_string: { query: line.word, fields: ["log", "message"] } },
      _source: false,
    };
    const { hits } = await call(
      "POST",
      `/logs-${line.stream}-${day}/_search`,
      JSON.stringify(query),
    );
    if (hits.total.value !== 1 || hits.hits[0]._id !== idOfLine(line)) {
      wrong.push(`${line.name}: not found`);
    }
  }
  return wrong;
}
