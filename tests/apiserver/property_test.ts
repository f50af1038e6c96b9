// Plan and deploy never disagree: random edits of the objects that we really send, on a real API server. What a
// deploy must bring back is known from before the edits, not from the code that judges them. `EDITS` and `SEED`
// in the environment take others: EDITS=5000 once by hand.
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import process from "node:process";
import { parseAllDocuments } from "yaml";
import {
  idOf,
  isCustom,
  isFields,
  type Manifest,
  resourceOf,
  signed,
} from "../../lib/core/object.ts";
import { type ById, byId } from "../../lib/apply/live.ts";
import { sideBySide } from "../../lib/io/side_by_side.ts";
import { cluster, typed } from "./server.ts";
import { applyTo, planOf } from "../support/inventory.ts";

const EDITS = Number(process.env.EDITS ?? 200), BATCH = 20;
const STEP = "20-prometheus";

let seed = Number(process.env.SEED ?? 1);

/** A number below `limit`; mulberry32. */
function random(limit: number): number {
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return Math.floor(((t ^ (t >>> 14)) >>> 0) / 2 ** 32 * limit);
}

function pick<T>(list: T[]): T {
  return list[random(list.length)]!;
}

/** Three objects of each kind that the centre is sent, but for those that need a definition. */
async function sentObjects(): Promise<Manifest[]> {
  const folder = new URL("../golden/196/", import.meta.url).pathname;
  const files = (await readdir(folder)).sort();
  const texts = await Promise.all(files.map((file) => readFile(folder + file, "utf8")));
  const all = texts.flatMap((text) => parseAllDocuments(text).map((one) => one.toJS() as Manifest))
    .filter((object) => object && !isCustom(object));
  const kinds = Map.groupBy(all, ({ kind }) => kind);
  const few = [...kinds].flatMap(([kind, those]) =>
    kind === "Namespace" ? those : those.slice(0, 3)
  );
  return signed(few, STEP);
}

const OBJECTS = await sentObjects();
const NAMES = Map.groupBy(OBJECTS, resourceOf);

/** All that is there of the objects, by id. */
async function all(): Promise<ById> {
  const words = ["get", [...NAMES.keys()].join(","), "--all-namespaces", "--output", "json"];
  const items: Manifest[] = JSON.parse(await typed(words)).items;
  const ids = new Set(OBJECTS.map(idOf));
  return byId(items.filter((item) => ids.has(idOf(item))));
}

/** The same without what the server alone decides. */
async function state(): Promise<Map<string, unknown>> {
  return new Map([...await all()].map(([id, object]) => [id, bare(object)]));
}

function bare(object: Manifest): unknown {
  const { status: _, ...copy } = structuredClone(object);
  const { name, namespace, labels = {}, annotations = {}, finalizers } = copy.metadata;
  copy.metadata = { name, namespace, labels, annotations, finalizers };
  // Given anew to a Service or claim that was made anew.
  for (const field of ["clusterIP", "clusterIPs", "healthCheckNodePort"]) delete copy.spec?.[field];
  for (const port of copy.spec?.ports ?? []) delete port.nodePort;
  // Counted by the API server itself.
  delete annotations["deprecated.daemonset.template.generation"];
  return copy;
}

/** Every path below an object's content, with its value. */
function pathsOf(value: unknown, path = ""): [path: string, value: unknown][] {
  if (!isFields(value) && !Array.isArray(value)) return [];
  return Object.entries(value).flatMap(([key, below]): [string, unknown][] => {
    const step = `${path}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`;
    if (
      /^\/(apiVersion|kind|status|metadata\/(?!labels\/|annotations\/|labels$|annotations$))/.test(
        step,
      )
    ) {
      return [];
    }
    return [[step, below] as [string, unknown], ...pathsOf(below, step)];
  });
}

/** Another value of the same type. */
function other(value: unknown): unknown {
  if (typeof value === "boolean") return !value;
  if (typeof value === "number") return value + 1;
  if (typeof value !== "string") return undefined;
  return pick([`${value}x`, "other", "1.10", "0"]);
}

/** Fields that nobody wants, where they can be. */
const ADDITIONS: [path: string, value: unknown][] = [
  ["/metadata/labels/extra", "x"],
  ["/metadata/annotations/example.org~1extra", "x"],
  ["/spec/template/spec/hostPID", true],
  ["/spec/template/spec/hostNetwork", true],
  ["/spec/template/spec/dnsPolicy", "Default"],
  ["/spec/template/spec/containers/0/command", ["sh"]],
  ["/spec/template/spec/containers/0/env/-", { name: "EXTRA", value: "x" }],
  ["/spec/template/spec/containers/0/securityContext/privileged", true],
  ["/spec/template/spec/volumes/-", { name: "host", hostPath: { path: "/" } }],
  ["/spec/template/metadata/annotations/extra", "x"],
  ["/spec/paused", true],
  ["/spec/minReadySeconds", 3],
  ["/spec/externalIPs", ["1.2.3.4"]],
  ["/spec/selector/extra", "x"],
  ["/spec/ports/-", { name: "extra", port: 4711 }],
  ["/spec/rules/-", { host: "extra.example" }],
  ["/rules/-", { apiGroups: [""], resources: ["secrets"], verbs: ["get"] }],
  ["/subjects/-", { kind: "User", name: "extra", apiGroup: "rbac.authorization.k8s.io" }],
  ["/data/extra", "eA=="],
  ["/automountServiceAccountToken", true],
];

const PEOPLE = ["kubectl-patch", "kubectl-edit", "k9s", "Mozilla"];

/** What somebody does to an object: in words, and what is typed for it. */
interface Edit {
  what: string;
  words: string[];
}

/** One edit of a live object as somebody makes it; undefined where there is none of the kind that was drawn. */
function edit(live: Manifest): Edit | undefined {
  const { kind, metadata: { name, namespace } } = live;
  const target = [resourceOf(live), name, ...(namespace ? ["--namespace", namespace] : [])];
  const by = (manager: string, steps: { op: string; path: string; value?: unknown }[]) => {
    const patch = JSON.stringify(steps);
    const flags = [`--field-manager=${manager}`, "--type=json", "--patch", patch];
    return { what: `${manager}: ${patch}`, words: ["patch", ...target, ...flags] };
  };
  const paths = pathsOf(live);
  const mayGo = !["Namespace", "PersistentVolumeClaim"].includes(kind);
  switch (random(9)) {
    case 0:
    case 1:
      return by(pick(PEOPLE), [{ op: "remove", path: pick(paths)[0] }]);
    case 2:
    case 3: {
      const [path, value] = pick(paths.filter(([, value]) => other(value) !== undefined));
      return by(pick(PEOPLE), [{ op: "replace", path, value: other(value) }]);
    }
    case 4:
    case 5: {
      const [path, value] = pick(ADDITIONS);
      return by(pick(PEOPLE), [{ op: "add", path, value }]);
    }
    case 6: {
      const flags = ["--field-manager=kube-controller-manager", "--overwrite"];
      const value = `example.org/controller=${random(1000)}`;
      return { what: "a controller", words: ["annotate", ...target, value, ...flags] };
    }
    case 7: {
      if (live.spec?.replicas === undefined || kind === "DaemonSet") return undefined;
      const replicas = `--replicas=${live.spec.replicas + 1}`;
      return { what: "scaled", words: ["scale", ...target, replicas] };
    }
    default:
      if (!mayGo) return undefined;
      return { what: "deleted", words: ["delete", ...target, "--wait=false"] };
  }
}

/** Edits these objects, a few at a time, and tells what was done; what the server refuses is no edit. */
async function edited(objects: Manifest[]): Promise<string[]> {
  const live = await all();
  // Drawn in order, so that a seed makes the same ones.
  const drawn = objects.map((object) => ({
    id: idOf(object),
    edit: edit(live.get(idOf(object))!),
  }));
  const made = await sideBySide(drawn, 4, async ({ id, edit }) => {
    const isMade = edit && await typed(edit.words).then(() => true, () => false);
    return isMade ? [`${id}  ${edit.what}`] : [];
  });
  return made.flat();
}

/** Without what a controller has added, which stays. */
function withoutControllers(all: Map<string, unknown>): Map<string, unknown> {
  for (const object of all.values()) {
    delete (object as Manifest).metadata.annotations!["example.org/controller"];
  }
  return all;
}

Deno.test(`plan and deploy agree, and the deploy brings everything back: ${EDITS} edits`, async () => {
  await applyTo(cluster, OBJECTS);
  const clean = await state();
  assert.equal(clean.size, OBJECTS.length);
  let made = 0;
  for (let batch = 0; made < EDITS; batch++) {
    const objects = [...OBJECTS].sort(() => random(2) - 0.5).slice(0, BATCH);
    const edits = await edited(objects);
    made += edits.length;
    const told = `seed ${process.env.SEED ?? 1}, batch ${batch}:\n${edits.join("\n")}`;
    const planned = (await planOf(cluster, OBJECTS, [{ name: STEP }])).filter(({ action }) =>
      action !== "unchanged"
    );
    const strange = planned.filter(({ action }) => action !== "update" && action !== "create");
    assert.deepEqual(strange, [], told);
    const said: string[] = [];
    const changes = await applyTo(cluster, OBJECTS, { say: (text) => said.push(text) });
    const changed = changes.filter(({ action }) => action !== "unchanged");
    assert.deepEqual(
      changed.map(({ id, action }) => `${action === "created" ? "create" : "update"} ${id}`).sort(),
      planned.map(({ id, action }) => `${action} ${id}`).sort(),
      `${told}\n${said.join("\n")}`,
    );
    const left = (await planOf(cluster, OBJECTS, [{ name: STEP }])).filter(({ action }) =>
      action !== "unchanged"
    );
    assert.deepEqual(left, [], told);
    const now = withoutControllers(await state());
    for (const [id, wanted] of clean) assert.deepEqual(now.get(id), wanted, `${id}, ${told}`);
  }
});
