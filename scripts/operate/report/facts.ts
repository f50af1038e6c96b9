// What a report has found, before anything is made of it: docs/schema/report.json tells of each part. null: nobody knows.
import type { Cluster } from "../../../lib/core/cluster.ts";
import type { Sample } from "../../checks/metrics.ts";
import { firingOf } from "../centre/alerts.ts";
import { answersOf } from "../centre/answers.ts";
import * as status from "../centre/status.ts";
import { type Ask, centralOf, Questions, whyOf } from "../centre/way.ts";
import { weekOf } from "../centre/week.ts";

/** Asks the centre for all that a report says of these clusters, of all of the site. */
export async function askFor(ask: Ask, clusters: Cluster[], fleet: Cluster[]) {
  const later = new Questions(ask, fleet);
  const [answers, week] = await Promise.all([
    answersOf(new Questions(ask, fleet), clusters),
    weekOf(later, clusters),
  ]);
  return { answers, week, firing: answers.alerts && await firingOf(later, answers.alerts) };
}

/** What was found out of these clusters; `drift`: so many changes a deploy would make, or why nobody can say. */
export interface Found extends Awaited<ReturnType<typeof askFor>> {
  clusters: Cluster[];
  drift: Map<string, number | { error: unknown }>;
}

/** Alerts that say when a copy is too old; that depends on what is set. */
const TOLD: Record<string, string[]> = {
  snapshot: ["OpenSearchSnapshotStale", "OpenSearchSnapshotFailed"],
  backup: ["LonghornBackupTooOld", "LonghornBackupFailed"],
};

/** The facts, the worst first. */
export function factsOf(found: Found) {
  const { clusters, answers, week, drift } = found;
  const firing = found.firing?.filter((one) => clusters.some(({ id }) => id === one.cluster));
  const lines = status.healthOf(clusters, answers).map((health) => {
    const { id, name, state } = health, cluster = clusters.find((one) => one.id === id)!;
    const own = (samples: Sample[] | null) =>
      status.ageOf(samples?.find(({ metric }) => metric.cluster === name));
    const told = Object.keys(TOLD).filter((column) =>
      firing?.some((one) => one.cluster === id && TOLD[column]!.includes(one.alert))
    );
    const away = state === "away" ? ["seen"] : [], changes = drift.get(id);
    const wrong = [...away, ...status.wrongIn(cluster, health), ...told];
    return {
      ...health,
      snapshotAge: own(week.snapshots),
      backupAge: own(week.backups),
      drift: typeof changes === "number" ? changes : null,
      wrong: state === "paused" ? [] : wrong,
    };
  });
  // Of one that is away or paused nobody expects an answer.
  const expected = lines.filter(({ state }) => state !== "away" && state !== "paused");
  const unsaid = [...answers.unsaid, ...week.unsaid]
    .filter(({ of }) => !of || expected.some(({ id }) => id === of));
  const unplanned = [...drift].flatMap(([of, changes]) =>
    typeof changes === "number" ? [] : [{ what: "drift", of, ...changes }]
  );
  const centre = centralOf(clusters[0]!.fleet).id;
  const unknown = [...unsaid, ...unplanned]
    .map(({ of = centre, what, error }) => ({ cluster: of, what, why: whyOf(error) }));
  const certificates = endingOf(found), { volumes } = week;
  return { clusters: lines, certificates, volumes, firing: firing ?? null, unknown };
}

/** All that was found. */
export type FleetFacts = ReturnType<typeof factsOf>;

/** Certificates with the clusters that have them, the first to end first. */
function endingOf({ clusters, answers }: Found) {
  const all = clusters.flatMap((cluster) =>
    status.certificatesOf(cluster, answers.cert).map((one) => ({ id: cluster.id, one }))
  );
  return [...Map.groupBy(all, ({ one }) => one.whose + one.ends).values()]
    .map((those) => ({ clusters: those.map(({ id }) => id), ...those[0]!.one }))
    .sort((one, other) => one.ends.localeCompare(other.ends));
}
