// What fires anywhere in the fleet, from the centre alone: the worst first, with its runbook and the page where it is
// silenced. Changes nothing.
import "../needs.ts";
import { choiceFor, command, LOOKS, WITHOUT_SECRETS } from "../../lib/cli/command.ts";
import type { Cluster } from "../../lib/core/cluster.ts";
import { ExitCode } from "../../lib/core/error.ts";
import { ageText } from "../../lib/core/quantity.ts";
import { print, printJson, table } from "../../lib/io/report.ts";
import { countedAlerts, type Firing, firingOf, isHeard } from "./centre/alerts.ts";
import { type Ask, atCentre, jsonOf } from "./centre/way.ts";

const FLAGS = { json: "as JSON on stdout (docs/schema/alerts.json)" };

/** What fires about some clusters. */
export interface Alarm {
  firing: Firing[];
  /** Ids of those whose heartbeat does not arrive: nobody can see their alerts. */
  unseen: string[];
}

if (import.meta.main) {
  await command("alerts.ts CLUSTER... | GROUP... | edges | all", FLAGS, async (words, flags) => {
    const { clusters, fleet } = await choiceFor(words, { ...WITHOUT_SECRETS, ...LOOKS });
    const alarm = await atCentre(fleet, (ask) => alarmOf(ask, clusters, fleet));
    if (flags.json) printJson(jsonOf("alerts", alarm));
    else print(alarmPage(alarm));
    return exitCodeOfAlarm(alarm);
  });
}

/** Asks the centre what fires about these clusters of the fleet. */
export async function alarmOf(ask: Ask, clusters: Cluster[], fleet: Cluster[]): Promise<Alarm> {
  const counted = await countedAlerts(ask);
  const firing = await firingOf(ask, counted, fleet);
  return {
    firing: firing.filter(({ cluster }) => clusters.some(({ id }) => id === cluster)),
    unseen: clusters.filter((one) => !isHeard(one, counted)).map(({ id }) => id),
  };
}

/** 11 when a critical one or a warning fires, or those of a cluster cannot be seen. */
export function exitCodeOfAlarm({ firing, unseen }: Alarm): number {
  const isLoud = firing.some(({ severity }) => severity !== "info");
  return isLoud || unseen.length > 0 ? ExitCode.verification : ExitCode.done;
}

/** The page for people: under each line what it says and its runbook, at the end where to silence what. */
export function alarmPage({ firing, unseen }: Alarm, now = Date.now()): string {
  const rows = firing.map(({ cluster, severity, alert, count, since }) => {
    const age = since ? ageText(Math.max(0, now - Date.parse(since)) / 1000) : "-";
    return [cluster, severity, age, count > 1 ? `${alert} (${count})` : alert];
  });
  const lines = rows.length > 0 ? table(rows).split("\n") : ["no alert fires"];
  const pages = Map.groupBy(firing, ({ silences }) => silences);
  return [
    ...lines.flatMap((line, index) => {
      const { summary = null, runbook = null } = firing[index] ?? {};
      return [line, ...[summary, runbook].flatMap((text) => text ? [`    ${text}`] : [])];
    }),
    ...unseen.map((id) => `${id}  nobody sees its alerts, no heartbeat arrives: make verify-${id}`),
    ...[...pages].map(([page, those]) => {
      const ids = [...new Set(those.map(({ cluster }) => cluster))];
      return `silence those of ${ids.join(", ")}: ${page}`;
    }),
  ].join("\n");
}
