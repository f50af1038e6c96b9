// Which kinds an API server has at this moment.
import { DeployError, ExitCode } from "../core/error.ts";
import { type Manifest, resourceOf } from "../core/object.ts";
import { CLUSTERS_AT_ONCE } from "./turns.ts";

/** What is asked for: the kinds of a server. */
export const KINDS = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/** A kind that the server has; `root` begins its paths. */
export interface Served extends Pick<Manifest, "apiVersion" | "kind"> {
  root: string;
  plural: string;
  verbs: string[];
  /** Whether no version of it comes before this one. */
  isFirst: boolean;
}

/** What servers told last of what they have, by cluster and path: told anew only when its tag is another. */
const told = new Map<string, Told>();

type Told = { tag: string; answer: unknown };

/** What was told last at that place. */
export function lastTold(place: string): Told | undefined {
  return told.get(place);
}

/** Keeps what is told there now; of the clusters that are in work. */
export function keepTold(place: string, now: Told): void {
  told.set(place, now);
  if (told.size > 4 * CLUSTERS_AT_ONCE) told.delete(told.keys().next().value!);
}

/** Gets what is at a path; `what` names it where that fails. */
// deno-lint-ignore no-explicit-any
export type Get = (path: string, what: string, accept?: string) => Promise<any>;

/** All that a server has is told in two answers, in the order in which it prefers versions. */
export async function discover(get: Get): Promise<Map<string, Served>> {
  const answers = await Promise.all(["/api", "/apis"].map((path) => get(path, "kinds", KINDS)));
  const found = new Map<string, Served>();
  // Else all would look as if it were missing.
  if (!answers.every((answer) => answer?.items)) {
    throw new DeployError("Cannot tell which kinds the API server has", {
      exitCode: ExitCode.unreachable,
      where: "/api or /apis gives no list of them",
      fix: "look what answers there: Kubernetes before 1.30, or a proxy in between",
    });
  }
  for (const { metadata: { name: group }, versions } of answers.flatMap(({ items }) => items)) {
    const seen = new Set<string>();
    for (const { version, freshness, resources = [] } of versions) {
      // What another server answers for that is away, as it was when that was there: a list of it would fail.
      if (freshness === "Stale") continue;
      const apiVersion = group ? `${group}/${version}` : version;
      const root = group ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
      for (const { resource: plural, responseKind, verbs = [] } of resources) {
        const { kind } = responseKind ?? {};
        if (!kind) continue;
        const name = resourceOf({ apiVersion, kind }), before = found.get(name);
        // Of one kind may be what is stored, and what is only made or computed (OpenShift's Templates).
        if (before?.verbs.includes("list")) continue;
        const isFirst = before?.isFirst ?? !seen.has(kind);
        found.set(name, { root, plural, apiVersion, kind, verbs, isFirst });
        seen.add(kind);
      }
    }
  }
  return found;
}
