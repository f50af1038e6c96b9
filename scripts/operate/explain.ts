// Why an object, or one field of it, is as it is: what is wanted and what is there, file, patch and setting that say so,
// and who owns it now. OBJ and FIELD come by the environment, where no shell reads them. Changes nothing.
import "../needs.ts";
import { isDeepStrictEqual } from "node:util";
import { type Cluster, text } from "../../lib/core/cluster.ts";
import { command, LOOKS, onlyOf } from "../../lib/cli/command.ts";
import { withHash } from "../../lib/apply/diff.ts";
import { configError } from "../../lib/core/error.ts";
import { settingLines } from "./config.ts";
import * as inspect from "./inspect/field.ts";
import { connect } from "../../lib/kube/target.ts";
import { homeOf, LONGEST, settingsIn, sourceOf, touches } from "./inspect/origin.ts";
import { namedOf } from "../../lib/apply/live.ts";
import { idOf, isFields, type Manifest, type Path } from "../../lib/core/object.ts";
import { amountOf } from "../../lib/core/quantity.ts";
import { changeLine, type Lack, lacking } from "../../lib/core/resource.ts";
import { counted } from "../../lib/core/short_list.ts";
import { rewriteImages, templatesOf } from "../../lib/render/render.ts";
import { substitute } from "../../lib/render/template.ts";
import { print, table } from "../../lib/io/report.ts";
import { desired, type Step } from "../../lib/deploy/step.ts";
import { STEPS } from "../steps.ts";

const USAGE = "OBJ=Deployment/monitoring/NAME [FIELD=spec.replicas] explain.ts CLUSTER";

type Explained = Awaited<ReturnType<typeof subjectOf>>;

/** The object as a deploy would send it, where that is from, and the live one. @throws {DeployError} exit 2: unwanted. */
export async function subjectOf(cluster: Cluster, id: string, steps: Step[] = STEPS) {
  const none = () => Promise.resolve([]);
  const known: string[] = [];
  // Our own first: the upstream ones cost seconds, and are seldom asked for.
  for (const upstream of [false, true]) {
    for (const step of steps) {
      const part = upstream ? { ...step, objects: none } : { ...step, bundles: undefined };
      const objects = await desired(part, cluster);
      known.push(...objects.map(idOf));
      const found = objects.find((object) => idOf(object) === id);
      if (!found) continue;
      const template = (await templatesOf(cluster)).find(({ object }) => idOf(object) === id);
      const home = template && await homeOf(template);
      const built = upstream
        ? `a pinned upstream release (manifests/upstream.lock.json), fitted in code by ${step.name}`
        : `built in code by ${step.name}`;
      const live = (await namedOf(cluster, [found])).get(id);
      const title = `${id}  on ${cluster.id} (${cluster.name})`, file = home?.file ?? built;
      return { cluster, title, step, wanted: withHash(found), upstream, home, file, live };
    }
  }
  const near = inspect.nearestIds(id, known);
  const kinds = [...new Set(known.map((one) => one.split("/")[0]!))].sort();
  const why = id ? `${id} on ${cluster.id}: no step wants it` : "an object: OBJ= is missing";
  const hint = `did you mean ${near.join(" or ")}?`;
  const where = near.length > 0 ? hint : `the steps want: ${kinds.join(", ")}`;
  const fix = `make explain-${cluster.id} OBJ=${near[0] ?? "Kind/namespace/name"}`;
  throw configError(`Cannot explain ${why}`, { where, fix });
}

/** Everything known of one field, as lines. @throws {DeployError} exit 2 with the keys that are there. */
export function explainField(subject: Explained, field: string): string {
  const { cluster, title, wanted, live, home } = subject;
  const want = inspect.lookUp(wanted, field), have = inspect.lookUp(live, field);
  const found = want.found ? want : have;
  if (!found.found) throw unknownField(subject, field, [want, have]);
  const { path } = found, holder = want.found ? wanted : live!;
  const differs = live && want.found &&
    unlike(inspect.fieldAt(live, field), want.value).length > 0;
  const patches = home?.patches.filter((patch) => touches(patch, holder, path)) ?? [];
  const owners = live && have.found ? ownerLines(live, have.path) : [];
  const lost = live && inspect.lostAt(live, wanted, path);
  if (lost) owners.push(`nobody: it was ours, and was ${lost}`);
  else if (have.found && owners.length === 0) {
    owners.push("nobody: a default of the API server, or what it never shares out");
  }
  return page({
    object: title,
    field: inspect.pathText(path),
    wanted: want.found ? shown(wanted, field) : "(nothing is said about it)",
    live: (have.found ? shown(live!, field) : "(not there)") + (differs ? "  not as wanted" : ""),
    from: want.found ? originOf(subject, field, want.value) : "none of our steps",
    patch: patches.map(({ where }) => where),
    setting: settingLines(cluster, home ? settingsIn(home, field) : []),
    owner: owners,
  });
}

/** What is not as wanted, but for values that the API server may have written in another way, or left out. */
function unlike(live: unknown, wanted: unknown): Lack[] {
  return lacking(live, wanted).filter(({ old, now }) => {
    if (old !== undefined && old !== null) return amountOf(String(old)) !== amountOf(String(now));
    return now && !(isFields(now) && Object.keys(now).length === 0);
  });
}

function unknownField({ cluster, wanted }: Explained, field: string, looks: inspect.Lookup[]) {
  // Wanted and live may know different keys; the ones deepest down are those that were meant.
  const ways = looks.filter((look) => !look.found);
  const depth = Math.max(...ways.map(({ reached }) => reached.length));
  const deepest = ways.filter(({ reached }) => reached.length === depth);
  const keys = [...new Set(deepest.flatMap((way) => way.keys))].sort();
  const reached = inspect.pathText(deepest[0]!.reached), at = reached || "the object";
  const where = keys.length > 0
    ? `${at} has: ${keys.join(", ")}`
    : `${at} is a value, with no keys`;
  const what = `Cannot explain ${field} of ${idOf(wanted)}: no such field`;
  const fix = `make explain-${cluster.id} OBJ=${idOf(wanted)} FIELD='${reached}'`;
  return configError(what, { where, fix });
}

function shown(object: Manifest, field: string): string {
  const value = inspect.fieldAt(inspect.withoutSecrets(object), field);
  // What is hidden has no fields of its own.
  if (value === undefined || value === "(secret)") return "(secret)";
  const text = JSON.stringify(value), { length } = text;
  return length <= LONGEST ? text : `${text.slice(0, LONGEST)}... (${length} characters)`;
}

function originOf({ cluster, home, file, step }: Explained, field: string, value: unknown): string {
  if (!home) return file;
  const source = sourceOf(home, field);
  if (!source) return `added in code by ${step.name}`;
  const isIn = (object: Manifest) => isDeepStrictEqual(inspect.fieldAt(object, field), value);
  const rendered = substitute(home, cluster.vars, []);
  if (isIn(rendered)) return source;
  if (!rewriteImages([rendered], cluster).some(isIn)) {
    return `${source}, then changed in code by ${step.name}`;
  }
  const registry = text(cluster, "IMAGE_REGISTRY") && "IMAGE_REGISTRY";
  const pins = cluster.digests && text(cluster, "IMAGE_PINS_FILE");
  return `${source}, then by ${[registry, pins].filter(Boolean).join(" and ")}`;
}

/** The facts of a whole object, as lines. */
export function explainObject(subject: Explained): string {
  const { cluster, title, step, wanted, home, file, live } = subject;
  const [have, want] = [live ?? wanted, wanted].map(inspect.withoutSecrets);
  return page({
    object: title,
    step: step.name,
    file,
    patch: home?.patches.map(({ where }) => where) ?? [],
    setting: settingLines(cluster, home ? settingsIn(home) : []),
    differs: unlike(have, want).map(({ path, old, now }) => changeLine(path, old, now)),
    owner: live ? ownerLines(live, []) : [],
    live: live ? [] : "(not there)",
    fields: Object.keys(wanted).join(", "),
  });
}

function page(parts: Record<string, string | string[]>): string {
  const rows = Object.entries(parts).flatMap(([title, lines]) =>
    [lines].flat().map((line, index) => [index === 0 ? title : "", line])
  );
  return table(rows);
}

function ownerLines(live: Manifest, path: Path): string[] {
  return inspect.ownersOf(live, path).map(({ manager, operation, subresource, time, fields }) => {
    const how = subresource ? `${operation} of ${subresource}` : operation;
    return `${manager}  ${how}, ${counted(fields, "field")}, ${time ?? "-"}`;
  });
}

await command(USAGE, {}, async (ids) => {
  const { OBJ = "", FIELD = "" } = Deno.env.toObject();
  const cluster = await onlyOf(ids, "make explain-", LOOKS);
  await connect(cluster);
  const subject = await subjectOf(cluster, OBJ);
  print(FIELD ? explainField(subject, FIELD) : explainObject(subject));
}, import.meta.main);
