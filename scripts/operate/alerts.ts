// What fires anywhere, from the centre alone: the worst first, its runbook, and the page where it is silenced.
import "../needs.ts";
import { type Choice, choiceFor, command, LOOKS, WITHOUT_SECRETS } from "../../lib/cli/command.ts";
import { isPaused } from "../../lib/core/cluster.ts";
import { ExitCode } from "../../lib/core/error.ts";
import { ageText } from "../../lib/core/quantity.ts";
import { print, printJson, table } from "../../lib/io/report.ts";
import { counting, firingOf, isHeard } from "./centre/alerts.ts";
import { type Ask, atCentre, jsonOf, Questions, tellUnsaid } from "./centre/way.ts";

const FLAGS = { json: "as JSON on stdout (docs/schema/alerts.json)" };

if (import.meta.main) {
  await command("alerts.ts CLUSTER... | GROUP... | edges | all", FLAGS, async (words, flags) => {
    const choice = await choiceFor(words, { ...WITHOUT_SECRETS, ...LOOKS });
    const alarm = await atCentre(choice.fleet, (ask) => alarmOf(ask, choice));
    if (flags.json) printJson(jsonOf("alerts", alarm));
    else print(alarmPage(alarm));
    return exitCodeOfAlarm(alarm);
  });
}

/** What fires on the chosen clusters, and ids of those of which no heartbeat arrives: `paused`, or else `unseen`. */
export async function alarmOf(ask: Ask, choice: Choice) {
  const clusters = [...choice.clusters, ...choice.paused];
  const centre = new Questions(ask, choice.fleet);
  const counted = await centre.values("alerts", counting());
  if (!counted) throw centre.unsaid[0]!.error;
  const firing = await firingOf(centre, counted);
  tellUnsaid(centre.unsaid);
  const { paused = [], unseen = [] } = Object.groupBy(
    clusters.filter((one) => !isHeard(one, counted)),
    (one) => isPaused(one) ? "paused" : "unseen",
  );
  return {
    firing: firing.filter(({ cluster }) => clusters.some(({ id }) => id === cluster)),
    unseen: unseen.map(({ id }) => id),
    paused: paused.map(({ id }) => id),
  };
}

type Alarm = Awaited<ReturnType<typeof alarmOf>>;

/** 11 when a critical one or a warning fires, or those of a cluster cannot be seen. */
export function exitCodeOfAlarm({ firing, unseen }: Alarm): number {
  const isLoud = firing.some(({ severity }) => severity !== "info");
  return isLoud || unseen.length > 0 ? ExitCode.verification : ExitCode.done;
}

/** The page for people: under each line what it says and its runbook, at the end where to silence what. */
export function alarmPage({ firing, unseen, paused }: Alarm, now = Date.now()): string {
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
    ...paused.map((id) => `${id}  nobody sees its alerts, no heartbeat arrives: it is paused`),
    ...[...pages].map(([page, those]) => {
      const ids = [...new Set(those.map(({ cluster }) => cluster))];
      return `silence those of ${ids.join(", ")}: ${page ?? "no page, grafana is a stand-in"}`;
    }),
  ].join("\n");
}
