// The rooms of the house, as data: who may import whom, and who may say what.
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";

const root = new URL("../..", import.meta.url).pathname;

const LIB = [
  "core",
  "io",
  "config",
  "s3",
  "opensearch",
  "kube",
  "render",
  "apply",
  "probe",
  "deploy",
];
const ALL_OF_LIB = [...LIB, "cli"];
const CLUSTER = ["core", "io", "kube"];

/** Rooms, from the lowest floor up, and the rooms that each may import beside itself. */
const MAY: Record<string, string[]> = {
  core: [],
  io: ["core"],
  config: ["core", "io"],
  s3: ["core", "io"],
  opensearch: ["core", "io"],
  kube: ["core", "io"],
  render: CLUSTER,
  apply: CLUSTER,
  probe: [...CLUSTER, "render", "apply"],
  deploy: [...CLUSTER, "render", "apply"],
  cli: LIB,
  needs: ["core", "io"],
  tools: [...ALL_OF_LIB, "needs"],
  component: ALL_OF_LIB,
  // What a site's network enforces, and what the programs leave open to it.
  network: ALL_OF_LIB,
  checks: [...ALL_OF_LIB, "network", "component"],
  // A step runs its component; its bundle may come from a Go module where it cannot be downloaded.
  step: [...ALL_OF_LIB, "needs", "network", "component", "checks", "tools"],
  steps: [...ALL_OF_LIB, "step"],
  fleet: [...ALL_OF_LIB, "needs", "steps"],
  operate: [...ALL_OF_LIB, "needs", "component", "checks", "steps"],
  demo: [...ALL_OF_LIB, "needs", "component", "checks", "steps", "tools"],
};

/** What the table forbids and a reason allows. */
const EXCEPTIONS: Record<string, string> = {
  "scripts/50-verify.ts -> scripts/steps.ts": "it looks at what every step wants",
  "scripts/fleet.ts -> scripts/50-verify.ts": "the last step of a deploy",
  "scripts/demo/demo.ts -> scripts/50-verify.ts": "the last step of a deploy",
  "scripts/demo/demo.ts -> scripts/20-prometheus.ts":
    "it runs the program of that step's Deployment",
  "scripts/components/prometheus/objects.ts -> scripts/components/minio/admin.ts":
    "Prometheus scrapes MinIO with a token of it",
  "scripts/components/prometheus/objects.ts -> scripts/components/minio/buckets.ts":
    "the sidecar uploads to the bucket",
};

/** Modules of lib/ that still name a program. This list only shrinks. */
const KNOWN_NAMES = [
  "lib/config/rules.ts", // rules about settings of components
  "lib/core/object.ts", // the label app.kubernetes.io/instance
  "lib/render/render.ts", // registries of images
  "lib/s3/bucket.ts", // MinIO removes aborted uploads by itself
];

async function filesBelow(folder: string): Promise<string[]> {
  const names = await readdir(join(root, folder), { recursive: true });
  return names.filter((name) => name.endsWith(".ts")).map((name) => `${folder}/${name}`).sort();
}

async function read(files: string[]): Promise<Map<string, string>> {
  const texts = files.map(async (file) =>
    [file, await readFile(join(root, file), "utf8")] as const
  );
  return new Map(await Promise.all(texts));
}

const product = await read([...await filesBelow("lib"), ...await filesBelow("scripts")]);
const tests = await read(await filesBelow("tests"));

/** Project files that a text imports. */
function imported(file: string, text: string): string[] {
  const paths = [...text.matchAll(/(?:from|import|import\()\s*"(\.[^"]+)"/g)].map(([, path]) =>
    path!
  );
  return paths.map((path) => relative(root, join(root, dirname(file), path)));
}

/** The room of a file: a folder of lib/, or what a script is. Components are rooms of their own. */
function roomOf(file: string): string {
  const [top, folder, component] = file.split("/");
  if (top === "lib") return folder!;
  if (/^\d\d-/.test(folder!)) return "step";
  if (component === "network") return "network";
  if (folder === "components") return `component ${component}`;
  return folder!.replace(/\.ts$/, "");
}

/** What is imported against the table. */
function breaches(modules: Map<string, string>): string[] {
  return [...modules].flatMap(([file, text]) => {
    const room = roomOf(file), may = MAY[room.split(" ")[0]!];
    if (!may) return [`${file} is in no room that the table knows`];
    return imported(file, text).flatMap((target) => {
      if (target.startsWith("tests/")) {
        return [`${file} imports ${target}: tests are nobody's library`];
      }
      if (!/^(lib|scripts)\/.*\.ts$/.test(target) || roomOf(target) === room) return [];
      if (may.includes(roomOf(target).split(" ")[0]!) || `${file} -> ${target}` in EXCEPTIONS) {
        if (!roomOf(target).startsWith("component") || !room.startsWith("component")) return [];
        if (`${file} -> ${target}` in EXCEPTIONS) return [];
      }
      return [`${file} imports ${target}: ${room} may import ${may.join(", ") || "nothing"}`];
    });
  });
}

Deno.test("every module imports what its room may import", () => {
  assert.deepEqual(breaches(product), []);
});

Deno.test("the table of rooms sees a planted breach, and no exception is out of use", () => {
  for (
    const [file, text, told] of [
      [
        "lib/apply/x.ts",
        'import { a } from "../config/rules.ts";',
        /apply may import core, io, kube/,
      ],
      ["lib/x.ts", "", /in no room/],
      ["lib/core/x.ts", 'import { a } from "../../tests/support/s3.ts";', /nobody's library/],
      ["scripts/checks/x.ts", 'import { a } from "../30-thanos.ts";', /checks may import/],
      ["scripts/components/thanos/x.ts", 'import { a } from "../logging/access.ts";', /may import/],
      ["scripts/operate/x.ts", 'import { a } from "../fleet.ts";', /operate may import/],
      ["lib/deploy/x.ts", 'await import("../probe/job.ts");', /deploy may import/],
    ] as const
  ) {
    assert.match(breaches(new Map([[file, text]])).join(), told);
  }
  const used = [...product].flatMap(([file, text]) =>
    imported(file, text).map((to) => `${file} -> ${to}`)
  );
  assert.deepEqual(Object.keys(EXCEPTIONS).filter((one) => !used.includes(one)), []);
});

Deno.test("no import goes round", () => {
  const seen = new Set<string>(), cycles: string[] = [];
  const visit = (file: string, path: string[]) => {
    if (path.includes(file)) return void cycles.push([...path, file].join(" -> "));
    if (seen.has(file)) return;
    for (const target of imported(file, product.get(file) ?? "")) visit(target, [...path, file]);
    seen.add(file);
  };
  for (const file of product.keys()) visit(file, []);
  assert.deepEqual(cycles, []);
});

Deno.test("every file name is snake_case, but for the steps", () => {
  const odd = [...product.keys(), ...tests.keys()].filter((file) =>
    !/^([a-z0-9_]+\/)*[a-z0-9_]+\.ts$/.test(file) && !/^scripts\/\d\d-[a-z]+\.ts$/.test(file)
  );
  assert.deepEqual(odd, []);
});

/** Lines of a module without comments and imports, as `file:line: text`. */
function codeOf(file: string, text: string): string[] {
  return text.split("\n").flatMap((line, index) => {
    const code = line.replace(/^\s*(\/\/|\*|\/\*\*).*$/, "").replace(/\s\/\/ .*$/, "");
    return code.trim() === "" || /from "/.test(code)
      ? []
      : [`${file}:${index + 1}: ${code.trim()}`];
  });
}

/** Lines that name a component or a cluster. Settings, kinds and our own name are no such words. */
function naming(file: string, text: string): string[] {
  const words =
    /minio|opensearch|fluent|grafana|prometheus|alertmanager|thanos|longhorn|traefik|nginx|mkube|\b19[678]\b/i;
  const ours =
    /thanos-multi-cluster|\b[A-Z][A-Z0-9_]+\b|"(Prometheus|Alertmanager)"|^(Prometheus|Alertmanager):/g;
  return codeOf(file, text).filter((line) =>
    words.test(line.replace(/^\S+:\d+: /, "").replace(ours, ""))
  );
}

Deno.test("lib/ names no component and no cluster, but for the room of OpenSearch and a list that shrinks", () => {
  const found = [...product].filter(([file]) => /^lib\/(?!opensearch\/)/.test(file))
    .filter(([file, text]) => naming(file, text).length > 0).map(([file]) => file);
  assert.deepEqual(found, KNOWN_NAMES);
  assert.equal(
    naming("lib/io/x.ts", 'const a = "thanos-query";\nconst b = "mkube-197"; // why\n').length,
    2,
  );
});

/** Starts of kubectl, writes to the terminal. */
function outside(file: string, text: string): string[] {
  const starts = /\$(\([^`]*\))?`\s*(exec )?kubectl|(Command|spawn)\("kubectl"/;
  const writes = /console\.|std(out|err)\.write/;
  return [
    ...file !== "lib/kube/kubectl.ts" && starts.test(text) ? [`${file} starts kubectl`] : [],
    ...file !== "lib/io/report.ts" && writes.test(text) ? [`${file} writes to the terminal`] : [],
  ];
}

Deno.test("only lib/kube/kubectl.ts starts kubectl; only lib/io/report.ts writes to the terminal", () => {
  assert.deepEqual([...product].flatMap(([file, text]) => outside(file, text)), []);
  const planted = "await $`kubectl get pods`; console.log(1);";
  assert.equal(outside("scripts/checks/deep/x.ts", planted).length, 2);
});

Deno.test("the name of a bucket stands in no code: it is a setting", () => {
  // "thanos" is the name of too much else.
  const buckets = /"(opensearch-logs|longhorn-backups)"/;
  const isRepository = /REPOSITORY = /; // that of OpenSearch, which has the same name
  const naming = (file: string, text: string) =>
    codeOf(file, text).filter((line) => buckets.test(line) && !isRepository.test(line));
  assert.deepEqual([...product].flatMap(([file, text]) => naming(file, text)), []);
  assert.equal(naming("lib/s3/x.ts", 'await put("longhorn-backups");').length, 1);
});

/** Names that a module gives to others. */
function exported(text: string): string[] {
  const declared = /^export (?:async )?(?:function|const|class|interface|type) (\w+)/gm;
  return [...text.matchAll(declared)].map(([, name]) => name!);
}

Deno.test("no exported name of lib/ and scripts/ has two meanings", () => {
  const all = [...product].flatMap(([file, text]) =>
    exported(text).map((name) => ({ name, file }))
  );
  const twice = [...Map.groupBy(all, ({ name }) => name)].filter(([, those]) => those.length > 1);
  assert.deepEqual(twice.map(([name, those]) => [name, ...those.map(({ file }) => file)]), []);
  assert.deepEqual(exported("export function a() {}\nexport interface B {}\n"), ["a", "B"]);
});

Deno.test("no comment sends its reader to a table of ids", () => {
  const ids = /^\s*(\/\/|\*|\/\*\*).*[( ](fault )?[ABEPRUVX]\d+[),.:]/;
  const found = [...product].flatMap(([file, text]) =>
    text.split("\n").filter((line) => ids.test(line)).map((line) => `${file}: ${line.trim()}`)
  );
  // The table itself is in tests/faults.
  assert.deepEqual(found, []);
  assert.ok(ids.test(" * thing that was said about it (fault A50)."));
});

/** What a program declares below the place where it starts: not there yet when it is wanted. */
function tooLate(text: string): string[] {
  const [, rest = ""] = text.split(/^(?:if \(import\.meta\.main\)|await command\()/m);
  return [...rest.matchAll(/^(?:export )?(?:const|let|class) (\w+)/gm)].map(([, name]) => name!);
}

Deno.test("V5: no program declares a value below the place where it starts", () => {
  const found = [...product].flatMap(([file, text]) =>
    tooLate(text).map((name) => `${file} ${name}`)
  );
  assert.deepEqual(found, []);
  assert.deepEqual(tooLate("if (import.meta.main) await main();\n\nconst A = 1;\n"), ["A"]);
});

Deno.test("no process is ended by the words of its command alone: they may be another site's", () => {
  const blind = (line: string) => /\b(pkill|killall)\b/.test(line) && !/-g \$\{/.test(line);
  const found = [...product].flatMap(([file, text]) => codeOf(file, text)).filter(blind);
  assert.deepEqual(found, []);
  assert.ok(blind('await $`pkill -9 -f ${"fleet.ts deploy 198"}`;'));
});
