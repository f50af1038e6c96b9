// Why an object, or one field of it, is as it is: what is wanted and what is there, file, patch and
// setting that say so, and who owns it now. OBJ and FIELD come by the environment, where no shell
// reads them. Changes nothing.
import "./needs.ts";
import { type Cluster, projectPath, text } from "../lib/cluster.ts";
import { command, onlyOf } from "../lib/command.ts";
import { covers, hashed } from "../lib/current.ts";
import { DeployError, ExitCode } from "../lib/error.ts";
import {
  type Home,
  homeOf,
  type Lookup,
  lookUp,
  type Owner,
  ownersOf,
  pathText,
  settingsIn,
  touches,
  withoutSecrets,
} from "../lib/explain.ts";
import { checkTarget } from "../lib/guard.ts";
import { isUnserved } from "../lib/inventory.ts";
import { kindOf } from "../lib/kinds.ts";
import { kubectl } from "../lib/kubectl.ts";
import { idOf, type Manifest } from "../lib/manifest.ts";
import { substitute, type Template, templatesOf } from "../lib/render.ts";
import { print, table } from "../lib/report.ts";
import { isSecret, nearest } from "../lib/settings.ts";
import { desired, type Step } from "../lib/step.ts";
import { STEPS } from "./fleet.ts";

const USAGE = "OBJ=Deployment/monitoring/NAME [FIELD=spec.replicas] explain.ts CLUSTER";

/** An object that a step wants, and what is known of it. */
export interface Subject {
  cluster: Cluster;
  step: Step;
  /** As a deploy would send it. */
  wanted: Manifest;
  /** Whether it is one of a pinned upstream release. */
  upstream: boolean;
  /** Before `${NAME}`, with the files that say so; undefined for one that is built in code. */
  template?: Template;
  home?: Home;
  /** undefined while the cluster has none. */
  live?: Manifest;
}

/**
 * Finds the object among those that the steps want on the cluster, and looks at the live one.
 * @throws {DeployError} exit 2 with the nearest id when no step wants it.
 */
export async function subjectOf(
  cluster: Cluster,
  id: string,
  steps: Step[] = STEPS,
): Promise<Subject> {
  const known: string[] = [];
  // Our own first: the upstream ones cost seconds, and are seldom asked for.
  for (const upstream of [false, true]) {
    for (const step of steps) {
      const part: Step = upstream
        ? { ...step, objects: () => Promise.resolve([]) }
        : { ...step, bundles: undefined };
      const objects = await desired(part, cluster);
      known.push(...objects.map(idOf));
      const found = objects.find((object) => idOf(object) === id);
      if (!found) continue;
      const template = upstream
        ? undefined
        : (await templatesOf(cluster)).find(({ object }) => idOf(object) === id);
      const home = template && await homeOf(template);
      const live = await liveOne(cluster, found);
      return { cluster, step, wanted: hashed(found), upstream, template, home, live };
    }
  }
  const near = nearest(id, known);
  const alike = known.filter((one) => one.split("/").at(-1) === id.split("/").at(-1));
  const others = alike.length > 0 ? [`of that name there is ${alike.join(", ")}`] : [];
  throw new DeployError(`Cannot explain ${id || "an object"} on ${cluster.id}: no step wants it`, {
    exitCode: ExitCode.config,
    where: near ? [`did you mean ${near}?`] : others,
    fix: `make explain-${cluster.id} OBJ=${near ?? alike[0] ?? known[0]}`,
  });
}

async function liveOne(cluster: Cluster, object: Manifest): Promise<Manifest | undefined> {
  const { name, namespace } = object.metadata;
  const scope = namespace ? ["--namespace", namespace] : [];
  const flags = ["--show-managed-fields", "--ignore-not-found", "--output", "json"];
  try {
    const words = ["get", kindOf(object), name, ...scope, ...flags];
    const answer = await kubectl(words, { cluster });
    return answer.trim() ? JSON.parse(answer) : undefined;
  } catch (error) {
    if (isUnserved(error)) return undefined;
    throw error;
  }
}

/** Everything known of one field, as lines. @throws {DeployError} exit 2 with the keys that are there. */
export function explainField(subject: Subject, field: string): string {
  const { cluster, wanted, live, home } = subject;
  const want = lookUp(wanted, field), have = live && lookUp(live, field);
  const found = want.found ? want : have?.found ? have : undefined;
  if (!found) throw unknownField(subject, field, have ? [want, have] : [want]);
  const differs = want.found && live &&
    !(have?.found && covers(have.value, want.value));
  const patches = home?.patches.filter((patch) => touches(patch, wanted, found.path)) ?? [];
  const owners = live && have?.found ? ownersOf(live, have.path) : [];
  return table([
    ["object", `${idOf(wanted)}  on ${cluster.id} (${text(cluster, "CLUSTER_NAME")})`],
    ["field", pathText(found.path)],
    ["wanted", shown(wanted, want.found ? field : undefined, "(nothing is said about it)")],
    [
      "live",
      shown(live, have?.found ? field : undefined, "(not there)") +
      (differs ? "  not as wanted" : ""),
    ],
    ["from", originOf(subject, field, want)],
    ...titled("patch", patches.map(({ where }) => short(where))),
    ...titled("setting", settingsOf(subject, field).map((name) => settingLine(cluster, name))),
    ...titled("owner", have?.found && owners.length === 0 ? [NOBODY] : owners.map(ownerLine)),
  ]);
}

const NOBODY = "nobody: a default of the API server, or what it never shares out";

function unknownField({ cluster, wanted }: Subject, field: string, looks: Lookup[]): DeployError {
  // Wanted and live may know different keys; the ones deepest down are those that were meant.
  const ways = looks.filter((look) => !look.found);
  const depth = Math.max(...ways.map(({ reached }) => reached.length));
  const deepest = ways.filter(({ reached }) => reached.length === depth);
  const keys = [...new Set(deepest.flatMap((way) => way.keys))].sort();
  const at = pathText(deepest[0]!.reached) || "the object";
  return new DeployError(`Cannot explain ${field} of ${idOf(wanted)}: no such field`, {
    exitCode: ExitCode.config,
    where: keys.length > 0 ? `${at} has: ${keys.join(", ")}` : `${at} is a value, with no keys`,
    fix: `make explain-${cluster.id} OBJ=${idOf(wanted)} FIELD='${pathText(deepest[0]!.reached)}'`,
  });
}

/** Longest value that is written out. */
const LONGEST = 600;

function shown(object: Manifest | undefined, field: string | undefined, otherwise: string): string {
  if (!object || field === undefined) return otherwise;
  const look = lookUp(withoutSecrets(object), field);
  // A Secret's data is known to be there by the look at the object as it is.
  if (!look.found || look.value === "(secret)") return "(secret)";
  const value = JSON.stringify(look.value);
  return value.length > LONGEST
    ? `${value.slice(0, LONGEST)}... (${value.length} characters)`
    : value;
}

/** Which file, kustomization or step gives the field its value. */
function originOf(subject: Subject, field: string, want: Lookup): string {
  const { cluster, template, home, wanted } = subject;
  if (!want.found) return "none of our steps";
  if (!template || !home) return builtBy(subject);
  const before = lookUp(template.object, field);
  if (!before.found) return `added in code by ${subject.step.name}`;
  const written = lookUp(home.written ?? {}, field);
  const file = short(home.file);
  const patched = home.patches.some((patch) => touches(patch, wanted, before.path));
  const source = !home.written
    ? file
    : written.found && same(written.value, before.value)
    ? `${file}: ${JSON.stringify(written.value).slice(0, LONGEST)}`
    : patched
    ? `${file}, with the patch below`
    : `${file}, with the labels of a kustomization.yaml`;
  const after = lookUp(substitute(template.object, cluster.vars, []), field);
  const changed = !after.found || !same(after.value, want.value);
  return changed ? `${source}, then changed in code by ${subject.step.name}` : source;
}

function builtBy({ upstream, step }: Subject): string {
  return upstream
    ? `a pinned upstream release (manifests/upstream.lock.json), fitted in code by ${step.name}`
    : `built in code by ${step.name}`;
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function settingsOf({ template }: Subject, field: string): string[] {
  const before = template && lookUp(template.object, field);
  return before?.found ? settingsIn(template!, before.value) : [];
}

/** The facts of a whole object, as lines. */
export function explainObject(subject: Subject): string {
  const { cluster, step, wanted, template, home, live } = subject;
  const owners = live ? ownersOf(live, []) : [];
  const settings = template ? settingsIn(template) : [];
  return table([
    ["object", `${idOf(wanted)}  on ${cluster.id} (${text(cluster, "CLUSTER_NAME")})`],
    ["step", step.name],
    ["file", home ? short(home.file) : builtBy(subject)],
    ...titled("patch", home?.patches.map(({ where }) => short(where)) ?? []),
    ...titled("setting", settings.map((name) => settingLine(cluster, name))),
    ...live ? titled("owner", owners.map(ownerLine)) : [["live", "(not there)"]],
    ["fields", Object.keys(wanted).join(", ")],
  ]);
}

/** Rows of which the first alone has the title. */
function titled(title: string, lines: string[]): string[][] {
  return lines.map((line, index) => [index === 0 ? title : "", line]);
}

function settingLine(cluster: Cluster, name: string): string {
  const value = isSecret(name) ? "(secret)" : text(cluster, name);
  return `${name}=${value}  # ${cluster.sources[name]}`;
}

function ownerLine({ manager, operation, subresource, time, fields }: Owner): string {
  const how = [operation, subresource && `of ${subresource}`].filter(Boolean).join(" ");
  return `${manager}  ${how}, ${fields === 1 ? "1 field" : `${fields} fields`}, ${time ?? "-"}`;
}

/** Paths as people know them: from the project folder. */
function short(path: string): string {
  return path.replaceAll(`${projectPath(".")}/`, "");
}

if (import.meta.main) {
  await command(USAGE, {}, async (ids) => {
    const { OBJ = "", FIELD = "" } = Deno.env.toObject();
    const cluster = await onlyOf(ids, "make explain");
    await checkTarget(cluster);
    const subject = await subjectOf(cluster, OBJ);
    print(FIELD ? explainField(subject, FIELD) : explainObject(subject));
    return ExitCode.done;
  });
}
