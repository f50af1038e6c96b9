// The newest log lines that match, of pods, hosts and events: what OpenSearch holds and what restore-logs.ts brought back.
// QUERY, SINCE, DAY, LIMIT, NAMESPACE and POD come by the environment, where no shell reads them.
import "../needs.ts";
import { hiddenBy } from "../../lib/core/check.ts";
import { type Cluster, isPaused, text } from "../../lib/core/cluster.ts";
import { choiceFor, command, LOOKS, WITHOUT_SECRETS } from "../../lib/cli/command.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import { counted } from "../../lib/core/short_list.ts";
import { connect } from "../../lib/kube/target.ts";
import { print, Report } from "../../lib/io/report.ts";
import { openOpenSearch } from "../components/logging/objects.ts";
import { MOST, printable, searchLogs, searchOf } from "../components/logging/search.ts";
import type { Line, Search } from "../components/logging/search.ts";

const USAGE = "[QUERY=error] [SINCE=15m | DAY=2026.11.08] [LIMIT=200] [NAMESPACE=] [POD=] " +
  "logs.ts CLUSTER... | GROUP... | edges | all";

await command(USAGE, { events: "Kubernetes events alone" }, async (ids, { events }) => {
  const search = searchOf(Deno.env.toObject(), events);
  const { clusters } = await choiceFor(ids, { ...WITHOUT_SECRETS, ...LOOKS });
  const answers = await Promise.all(clusters.map((one) => ask(one, search)));
  show(search, answers);
  return answers.find(({ error }) => error)?.error?.exitCode ?? ExitCode.done;
}, import.meta.main);

/** What one cluster has, or why it does not say: one that is down should not hide what the others have. */
async function ask(cluster: Cluster, search: Search) {
  try {
    await connect(cluster);
    await using os = await openOpenSearch(cluster);
    const found = await searchLogs(os, search, cluster.name, text(cluster, "TIMEZONE"));
    return { cluster, found };
  } catch (error) {
    // A search that cannot be read is nobody's but the person's who typed it.
    if (!(error instanceof DeployError) || error.exitCode === ExitCode.config) throw error;
    return { cluster, error };
  }
}

function show(search: Search, answers: Awaited<ReturnType<typeof ask>>[]): void {
  const report = new Report(), home = answers.length === 1 ? answers[0]!.cluster.name : undefined;
  const shown = newest(answers.flatMap(({ found }) => found?.lines ?? []), search.limit);
  if (shown.length > 0) print(linesOf(shown, home).join("\n"));
  for (const { cluster, error, found } of answers) {
    if (error) new Report(home ? "" : `${cluster.id} | `).error(error, cluster);
    for (const reason of found?.silent ?? []) {
      report.warn(`some indices of ${cluster.id} did not answer, lines are missing: ${reason}`);
    }
  }
  const answered = answers.filter(({ found }) => found).map(({ cluster }) => cluster);
  if (answered.length === 0) return;
  const total = answers.reduce((sum, { found }) => sum + (found?.total ?? 0), 0);
  report.say(closing(search, answered, shown.length, total));
}

/** The newest of all, oldest first. */
export function newest(lines: Line[], limit: number): Line[] {
  return lines.sort((a, b) => b.at - a.at).slice(0, limit).reverse();
}

/** Lines with the name of their cluster in front, unless all are of `home`. */
export function linesOf(lines: Line[], home?: string): string[] {
  const alone = lines.every(({ cluster }) => cluster === home);
  return lines.map(({ cluster, text }) => alone ? text : `${cluster}  ${text}`);
}

/** How many lines of how many there are, and how to see others. */
export function closing(search: Search, clusters: Cluster[], shown: number, total: number): string {
  const { what, query, since, day, limit, namespace, pod } = search;
  const scope = [
    day ? `of ${day} (UTC)` : `of the last ${since}`,
    query && `for ${printable(query)}`,
    namespace && `in namespace ${printable(namespace)}`,
    pod && `of pods ${printable(pod)}*`,
    `on ${clusters.map(({ id }) => id).join(", ")}`,
  ].filter(Boolean).join(" ");
  const [first] = clusters as [Cluster];
  const unread = clusters.map((cluster) => hiddenBy(cluster, "fluent-bit"));
  if (total === 0 && unread.every(Boolean)) return `no ${what} ${scope}; ${unread[0]}`;
  // To a paused one nothing is brought back; the centre reads its days too.
  const centre = isPaused(first) && first.fleet.find(({ role }) => role === "central");
  const where = centre ? `${centre.id} FROM=${first.id}` : first.id;
  const back = day
    ? `is that day here? make restore-logs CLUSTER=${where} lists what is on S3`
    : "older ones: SINCE=1d, or a day: DAY=2026.11.08";
  if (total === 0) return `no ${what} ${scope}; ${back}`;
  const lines = counted(total, what);
  if (shown === total) return `${lines} ${scope}${day ? "" : `; ${back}`}`;
  return `the newest ${shown} of ${lines} ${scope}; more: LIMIT=${Math.min(limit * 5, MOST)}`;
}
