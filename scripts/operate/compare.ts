// Whether clusters that should be alike are: objects of each against the first's, by what their env files explain.
import "../needs.ts";
import { missingBundles } from "../../lib/render/bundle.ts";
import type { Cluster } from "../../lib/core/cluster.ts";
import { choiceFor, command, LOOKS } from "../../lib/cli/command.ts";
import { asMaps } from "./inspect/field.ts";
import { configError, ExitCode, messageOf } from "../../lib/core/error.ts";
import { connect } from "../../lib/kube/target.ts";
import { byId, owned } from "../../lib/apply/live.ts";
import { isObject, kindsOf, type Manifest, STEP_LABEL } from "../../lib/core/object.ts";
import { counted } from "../../lib/core/short_list.ts";
import { documentOf, print, printJson, Report, worstCode } from "../../lib/io/report.ts";
import { differences } from "../../lib/deploy/plan.ts";
import { desiredOf, type Step } from "../../lib/deploy/step.ts";
import { STEPS } from "../steps.ts";

type Side = Awaited<ReturnType<typeof look>>;
type Comparison = ReturnType<typeof compareSides>;

/** An object that is not the same on both: `spec.replicas: 1 -> 2`, or a sentence where only one has it. */
type Difference = { id: string; fields: string[] };

/** How a cluster differs from the first, or why that cannot be said. */
type Compared = { cluster: Cluster; comparison?: Comparison; error?: unknown };

/** Compares every cluster with the first, which is told of only where it cannot be looked at. */
export async function compare(steps: Step[], clusters: Cluster[]): Promise<Compared[]> {
  if (clusters.length < 2) {
    throw configError("Cannot compare fewer than two clusters", {
      where: `chosen: ${clusters.map(({ id }) => id).join(", ") || "none"}`,
      fix: 'make compare CLUSTERS="197 198"',
    });
  }
  const looks = await Promise.allSettled(clusters.map((cluster) => look(steps, cluster)));
  const [first] = looks as [typeof looks[number]];
  return looks.flatMap((side, index): Compared[] => {
    const cluster = clusters[index]!;
    if (side.status === "rejected") return [{ cluster, error: side.reason }];
    if (side === first) return [];
    if (first.status === "rejected") return [{ cluster }];
    return [{ cluster, comparison: compareSides(first.value, side.value) }];
  });
}

async function look(steps: Step[], cluster: Cluster) {
  await connect(cluster);
  const wanted = byId(await desiredOf(steps, cluster));
  const live = await owned(cluster, kindsOf([...wanted.values()]));
  // What has our label and comes from no step is what a deploy keeps for itself.
  const ofSteps = [...live].filter(([id, { metadata }]) =>
    wanted.has(id) || metadata.labels?.[STEP_LABEL] !== undefined
  );
  return { wanted, live: new Map(ofSteps) };
}

/** 0 when all is explained, 11 when not, or the code of a cluster that cannot be looked at. */
export function exitCodeOfCompared(found: Compared[]): number {
  const isAlike = found.every(({ comparison }) => !comparison?.unexplained.length);
  return worstCode(found.map(({ error }) => error)) ||
    (isAlike ? ExitCode.done : ExitCode.verification);
}

/** What was found beside the first cluster, for people. */
export function comparedPage(first: Cluster, found: Compared[]): string {
  const nameOf = ({ id, name }: Cluster) => `${id} (${name})`;
  return found.flatMap(({ cluster, comparison }) => {
    if (!comparison) return [];
    const { shared, explained, unexplained } = comparison;
    const { lines, rest } = folded(explained);
    return [
      `${nameOf(first)} -> ${nameOf(cluster)}  ${counted(shared, "object")} on both`,
      `  explained by their env files: ${sizeOf(explained)}`,
      ...lines,
      ...rest.flatMap(linesOfObject),
      `  not explained: ${sizeOf(unexplained)}`,
      ...unexplained.flatMap(linesOfObject),
      "",
    ];
  }).join("\n");
}

function sizeOf(found: Difference[]): string {
  return `${counted(fieldsOf(found), "field")} of ${counted(found.length, "object")}`;
}

function linesOfObject({ id, fields }: Difference): string[] {
  return [`    ${id}`, ...fields.map((field) => `      ${field}`)];
}

/** Fields that differ in many places alike, as an annotation of every rule, as lines with an example; and the rest. */
function folded(all: Difference[]): { lines: string[]; rest: Difference[] } {
  const keyOf = (field: string) => pathOf(field).replaceAll(/\[[^\]]*\]/g, "[]");
  const places = Map.groupBy(all.flatMap(({ fields }) => fields), keyOf);
  const isMany = (field: string) => field.includes(": ") && places.get(keyOf(field))!.length > 3;
  const lines = [...places].filter(([, [first]]) => isMany(first!))
    .flatMap(([key, those]) => [`    ${key} in ${those.length} places, as`, `      ${those[0]}`]);
  const rest = all.map(({ id, fields }) => ({ id, fields: fields.filter((one) => !isMany(one)) }));
  return { lines, rest: rest.filter(({ fields }) => fields.length > 0) };
}

/** What was found, as docs/schema/compare.json describes it. */
export function comparedJson({ id: first }: Cluster, found: Compared[]): string {
  const why = (error: unknown) => error ? messageOf(error) : `${first} cannot be looked at`;
  const clusters = found.map(({ cluster: { id, name }, comparison, error }) => (
    { id, name, ...comparison ?? { error: why(error) } }
  ));
  return documentOf("compare/v1", { at: new Date().toISOString(), first, clusters });
}

/** How many objects both have, and what differs: explained where what is wanted differs, too. */
export function compareSides(left: Side, right: Side) {
  const explained: Difference[] = [], unexplained: Difference[] = [];
  const comparison = { shared: 0, explained, unexplained };
  for (const id of [...new Set([...left.live.keys(), ...right.live.keys()])].sort()) {
    const [before, after] = [left.live.get(id), right.live.get(id)];
    const [first, second] = [left.wanted.get(id), right.wanted.get(id)];
    if (!before || !after) {
      // Where the one that lacks it should have it, or the one that has it should not, nobody said so.
      const isExplained = !before === !first && !after === !second;
      const fields = [before ? "on the first only" : "on the second only"];
      comparison[isExplained ? "explained" : "unexplained"].push({ id, fields });
      continue;
    }
    comparison.shared++;
    const said = first && second ? differences(first, second, asMaps).map(pathOf) : [];
    const found = Map.groupBy(
      differences(comparable(before, first), comparable(after, second), asMaps),
      (field) => said.some((path) => overlap(path, pathOf(field))) ? "explained" : "unexplained",
    );
    for (const [group, fields] of found) comparison[group].push({ id, fields });
  }
  return comparison;
}

/** How many fields (and objects that only one has) there are. */
export function fieldsOf(found: Difference[]): number {
  return found.flatMap(({ fields }) => fields).length;
}

/** The path of a line of {@link differences}; a key may have no colon with a blank in it. */
function pathOf(line: string): string {
  return line.slice(0, line.indexOf(": "));
}

function overlap(a: string, b: string): boolean {
  const [short, long] = a.length < b.length ? [a, b] : [b, a];
  return long.startsWith(short) && /^([.[]|$)/.test(long.slice(short.length));
}

// What the controllers of Kubernetes and kubectl write for themselves.
const CONTROLLERS =
  /^(deployment\.kubernetes\.io\/revision|deprecated\.daemonset\.template\.generation|kubectl\.kubernetes\.io\/last-applied-configuration|pv\.kubernetes\.io\/.*|volume\.(.*\.)?kubernetes\.io\/.*)$/;
/** Each cluster has its own. */
const OWN = ["clusterIP", "clusterIPs", "volumeName"];
/** The API server or a controller fills these in where nobody asked for a value. */
const FILLED_IN = ["nodePort", "healthCheckNodePort", "caBundle"];

/** The live object without what differs from cluster to cluster though nobody wrote it. */
export function comparable(live: Manifest, wanted?: Manifest): Manifest {
  const { status: _, ...rest } = live;
  const copy = structuredClone(rest) as Manifest, annotations = copy.metadata.annotations ?? {};
  for (const key of Object.keys(annotations)) {
    if (CONTROLLERS.test(key)) delete annotations[key];
  }
  // One cluster may have no others.
  if (Object.keys(annotations).length === 0) delete copy.metadata.annotations;
  for (const key of OWN) delete copy.spec?.[key];
  forget(copy, wanted);
  return copy;
}

function forget(live: unknown, wanted: unknown): void {
  if (!isObject(live)) return;
  const [fields, asked] = asMaps(live, isObject(wanted) ? wanted : {});
  for (const [key, value] of Object.entries(fields)) {
    if (FILLED_IN.includes(key) && asked[key] === undefined) delete fields[key];
    else forget(value, asked[key]);
  }
}

const USAGE = "compare.ts CLUSTER... | GROUP... | edges | all: each against the first";
const FLAGS = { json: "as JSON on stdout (docs/schema/compare.json)" };

await command(USAGE, FLAGS, async (words, { json }) => {
  const { clusters } = await choiceFor(words, LOOKS);
  const found = await compare(STEPS, clusters), [first] = clusters as [Cluster];
  for (const { cluster, error } of found) {
    if (error) new Report(`${cluster.id} | `).error(error, cluster);
  }
  for (const bundle of missingBundles()) {
    new Report().warn(`${bundle} was left out: what it wants cannot explain anything`);
  }
  if (json) printJson(comparedJson(first, found));
  else print(comparedPage(first, found));
  return exitCodeOfCompared(found);
}, import.meta.main);
