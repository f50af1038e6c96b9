// Whether clusters that should be alike are: the live objects of each against those of the first,
// field by field, in two groups: what their env files explain, and what they do not. Changes nothing.
import "../needs.ts";
import { missingBundles } from "../../lib/render/bundle.ts";
import { type Cluster, text } from "../../lib/core/cluster.ts";
import { clustersFor, command, LOOKS } from "../../lib/cli/command.ts";
import { asMaps, withoutLists } from "./inspect/lists.ts";
import { DeployError, ExitCode, messageOf } from "../../lib/core/error.ts";
import { connect } from "../../lib/kube/target.ts";
import { byId, owned } from "../../lib/apply/live.ts";
import { isObject, kindsOf, type Manifest, STEP_LABEL } from "../../lib/core/object.ts";
import { counted } from "../../lib/core/short_list.ts";
import { documentOf, print, printJson, Report, worstCode } from "../../lib/io/report.ts";
import { differences } from "../../lib/deploy/plan.ts";
import { desiredOf, type Step } from "../../lib/deploy/step.ts";
import { STEPS } from "../steps.ts";

const USAGE = "compare.ts CLUSTER... | GROUP... | edges | all: each against the first";

/** How a cluster differs from the first, or why that cannot be said. */
interface Compared {
  cluster: Cluster;
  comparison?: Comparison;
  error?: unknown;
}

/** Compares every cluster with the first, which is told of only where it cannot be looked at. */
export async function compare(steps: Step[], clusters: Cluster[]): Promise<Compared[]> {
  if (clusters.length < 2) {
    throw new DeployError("Cannot compare fewer than two clusters", {
      exitCode: ExitCode.config,
      where: `chosen: ${clusters.map(({ id }) => id).join(", ") || "none"}`,
      fix: 'make compare CLUSTERS="197 198"',
    });
  }
  const looks = await Promise.all(clusters.map(async (cluster) => {
    try {
      return { cluster, side: await look(steps, cluster) };
    } catch (error) {
      return { cluster, error };
    }
  }));
  const [first, ...others] = looks as [typeof looks[number], ...typeof looks];
  return [...first.side ? [] : [first], ...others].map(({ cluster, side, error }) =>
    first.side && side
      ? { cluster, comparison: compareSides(first.side, side) }
      : { cluster, error }
  );
}

/** What a cluster should have and what it has, by id. */
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

type Side = Awaited<ReturnType<typeof look>>;

/** 0 when all is explained, 11 when not, or the code of a cluster that cannot be looked at. */
export function exitCodeOfCompared(found: Compared[]): number {
  const isAlike = ({ comparison }: Compared) => !comparison?.unexplained.length;
  const verdict = found.every(isAlike) ? ExitCode.done : ExitCode.verification;
  return worstCode(found.map(({ error }) => error)) || verdict;
}

/** What was found beside the first cluster, for people. */
export function comparedPage(first: Cluster, found: Compared[]): string {
  const nameOf = (one: Cluster) => `${one.id} (${text(one, "CLUSTER_NAME")})`;
  return found.flatMap(({ cluster, comparison }) =>
    comparison
      ? [
        `${nameOf(first)} -> ${nameOf(cluster)}  ${counted(comparison.shared, "object")} on both`,
        ...linesOfGroup("explained by their env files", ...folded(comparison.explained)),
        ...linesOfGroup("not explained", comparison.unexplained),
        "",
      ]
      : []
  ).join("\n");
}

/** Without the fields that differ in many places alike, as an annotation of every rule; those as lines, with an example. */
function folded(all: Difference[]): [Difference[], string[], Difference[]] {
  const keyOf = (field: string) => pathOf(field).replaceAll(/\[[^\]]*\]/g, "[]");
  const places = Map.groupBy(all.flatMap(({ fields }) => fields), keyOf);
  const isMany = (field: string) => field.includes(": ") && places.get(keyOf(field))!.length > 3;
  const lines = [...places].filter(([, [first]]) => isMany(first!))
    .flatMap(([key, those]) => [`    ${key} in ${those.length} places, as`, `      ${those[0]}`]);
  const rest = all.map(({ id, fields }) => ({ id, fields: fields.filter((one) => !isMany(one)) }));
  return [all, lines, rest.filter(({ fields }) => fields.length > 0)];
}

function linesOfGroup(
  title: string,
  all: Difference[],
  lines: string[] = [],
  found = all,
): string[] {
  return [
    `  ${title}: ${counted(fieldsOf(all), "field")} of ${counted(all.length, "object")}`,
    ...lines,
    ...found.flatMap(({ id, fields }) => [`    ${id}`, ...fields.map((field) => `      ${field}`)]),
  ];
}

/** The same for programs (docs/schema/compare.json). */
export function comparedJson({ id: first }: Cluster, found: Compared[]): string {
  const why = (error: unknown) => error ? messageOf(error) : `${first} cannot be looked at`;
  const clusters = found.map(({ cluster, comparison, error }) => ({
    id: cluster.id,
    name: text(cluster, "CLUSTER_NAME"),
    ...comparison ?? { error: why(error) },
  }));
  return documentOf("compare/v1", { at: new Date().toISOString(), first, clusters });
}

/** An object that is not the same on both. */
interface Difference {
  id: string;
  /** `spec.replicas: 1 -> 2`, or a sentence for an object that only one has. */
  fields: string[];
}

interface Comparison {
  /** How many objects both have. */
  shared: number;
  /** What is wanted differs, too: their env files say so. */
  explained: Difference[];
  unexplained: Difference[];
}

/** Compares the live objects of `left` with those of `right`. */
export function compareSides(left: Side, right: Side): Comparison {
  const ids = [...new Set([...left.live.keys(), ...right.live.keys()])].sort();
  const shared = ids.filter((id) => left.live.has(id) && right.live.has(id)).length;
  const comparison: Comparison = { shared, explained: [], unexplained: [] };
  for (const id of ids) {
    const [before, after] = [left.live.get(id), right.live.get(id)];
    const wanted = [left.wanted.get(id), right.wanted.get(id)] as const;
    if (!before || !after) {
      // Where the one that lacks it should have it, or the one that has it should not, nobody said so.
      const isExplained = !before === !wanted[0] && !after === !wanted[1];
      const fields = [before ? "on the first only" : "on the second only"];
      comparison[isExplained ? "explained" : "unexplained"].push({ id, fields });
      continue;
    }
    const fields = linesOf(comparable(before, wanted[0]), comparable(after, wanted[1]));
    const said = wanted[0] && wanted[1] ? linesOf(wanted[0], wanted[1]).map(pathOf) : [];
    const found = Map.groupBy(
      fields,
      (field) => said.some((path) => overlap(path, pathOf(field))) ? "explained" : "unexplained",
    );
    for (const [group, fields] of found) comparison[group].push({ id, fields });
  }
  return comparison;
}

/** How many fields (and objects that only one has) there are. */
export function fieldsOf(found: Difference[]): number {
  return found.reduce((sum, { fields }) => sum + fields.length, 0);
}

/** {@link differences} in which the items of lists go by their names, as in `ports[http].port: 80 -> 81`. */
function linesOf(left: Manifest, right: Manifest): string[] {
  return differences(...withoutLists(left, right)).map((line) => {
    const path = pathOf(line);
    return path.replaceAll(".[", "[") + line.slice(path.length);
  });
}

/** The path of a line of {@link differences}; a key may have no colon with a blank in it. */
function pathOf(line: string): string {
  return line.slice(0, line.indexOf(": "));
}

/** Whether two paths are the same, or one lies below the other. */
function overlap(a: string, b: string): boolean {
  const [short, long] = a.length < b.length ? [a, b] : [b, a];
  return long.startsWith(short) && /^([.[]|$)/.test(long.slice(short.length));
}

// Annotations that the controllers of Kubernetes and kubectl write for themselves.
const CONTROLLERS =
  /^(deployment\.kubernetes\.io\/revision|deprecated\.daemonset\.template\.generation|kubectl\.kubernetes\.io\/last-applied-configuration|pv\.kubernetes\.io\/.*|volume\.(.*\.)?kubernetes\.io\/.*)$/;
/** Each cluster has its own. */
const OWN = ["clusterIP", "clusterIPs", "volumeName"];
/** The API server or a controller fills these in where nobody asked for a value. */
const FILLED_IN = ["nodePort", "healthCheckNodePort", "caBundle"];

/** The live object without what differs from cluster to cluster though nobody wrote it. */
export function comparable(live: Manifest, wanted?: Manifest): Manifest {
  const { status: _, ...rest } = live;
  const copy = structuredClone(rest) as Manifest;
  for (const key of Object.keys(copy.metadata.annotations ?? {})) {
    if (CONTROLLERS.test(key)) delete copy.metadata.annotations![key];
  }
  // One cluster may have no others.
  if (Object.keys(copy.metadata.annotations ?? {}).length === 0) delete copy.metadata.annotations;
  for (const key of OWN) delete copy.spec?.[key];
  forget(copy, wanted);
  return copy;
}

function forget(live: unknown, wanted: unknown): void {
  if (!isObject(live)) return;
  const [fields, asked] = Array.isArray(live) && Array.isArray(wanted)
    ? asMaps(live, wanted)
    : [live, isObject(wanted) ? wanted : {}];
  for (const [key, value] of Object.entries(fields)) {
    if (FILLED_IN.includes(key) && asked[key] === undefined) delete fields[key];
    else forget(value, asked[key]);
  }
}

if (import.meta.main) {
  const flags = { json: "as JSON on stdout (docs/schema/compare.json)" };
  await command(USAGE, flags, async (words, { json }) => {
    const clusters = await clustersFor(words, LOOKS);
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
  });
}
