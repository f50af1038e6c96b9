// The report as a page: one file that asks for nothing, runs nothing and folds what has no findings.
import { ageWord, type Certificate, FULL, type Health, timeLeft } from "../centre/status.ts";
import { type Cell, folded, grid, Html, linked, markup, type Part, section } from "./html.ts";
import { type FleetReport, isEnding, RUNBOOKS } from "./value.ts";

const HOURS_OF_A_WEEK = 168;
const TONES: Record<string, string> = {
  away: "bad",
  critical: "bad",
  warn: "warn",
  warning: "warn",
  well: "good",
};
/** The page may load and run nothing, whatever is in it. */
const POLICY = "default-src 'none'; style-src 'unsafe-inline'";

type PageParts = { report: FleetReport; now: Date; css: string; runbooks: string };

/** The whole file. */
export function reportPage(parts: PageParts): string {
  const { report, now, css } = parts, { clusters, todo, changed, since } = report;
  const day = now.toUTCString().slice(0, 22);
  const states = [...Map.groupBy(clusters, ({ state }) => state)]
    .map(([state, { length }]) => markup`<li><b>${length}</b> ${pill(state)}</li>\n`);
  const list = todo.map(({ what, why, command, runbook }) =>
    markup`<li><h3>${what}</h3><p>${why}${runbook && [" · ", linked("Runbook", runbook)]}</p>
<pre><code>${command}</code></pre></li>\n`
  );
  const week = markup`<ol class="todo">${list}</ol>`, isAny = list.length > 0;
  const rows = changed.map(({ what, before, now }): Cell[] => [
    [what],
    [before ?? "-"],
    [now ?? "-", TONES[now ?? ""], now && now in TONES ? "#clusters" : null],
  ]);
  const changes = grid("Changes", "what,before,now", rows);
  const compared = since
    ? `of ${since.slice(0, 10)}: ${changed.length || "nothing"} changed`
    : "this is the first";
  return markup`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<title>Fleet report, ${day} UTC</title>
<style>
${new Html(css)}</style>
</head>
<body>
<header>
<p class="eyebrow">Fleet report · ${day} UTC · ${report.of}</p>
<h1>${report.verdict}</h1>
<ul class="counts">${states}</ul>
</header>
<main>
${section("This week", list.length || "nothing to do", isAny, week)}
${clustersSection(parts)}
${section("Since the last report", compared, changed.length > 0, changes)}
${volumesSection(parts)}
${certificatesSection(parts)}
${alertsSection(parts)}
</main>
<footer>“-”: nobody knows, which is never well. Drift: objects that a deploy would change. Days left: at
the pace of the last seven days. Everything is in the JSON beside this file.</footer>
</body>
</html>
`.text;
}

function pill(state: Health["state"]): Html {
  return markup`<span class="pill ${TONES[state] ?? ""}">${state}</span>`;
}

function clustersSection({ report, now, runbooks }: PageParts): Html {
  const { clusters, firing, unasked } = report;
  const rowOf = (one: typeof clusters[number]): Cell[] => {
    const { id, role, alerts, volume, drift, look, wrong } = one;
    const told = firing?.find(({ cluster, runbook }) => cluster === id && runbook)?.runbook;
    const loud = alerts && [`${alerts.critical} crit`, `${alerts.warning} warn`]
      .filter((words) => !words.startsWith("0 ")).join(", ");
    // What is wrong is red, and leads to its runbook.
    const cell = (column: string, words: Part, to = `${runbooks}/${RUNBOOKS[column]}`): Cell =>
      wrong.includes(column) ? [words, "bad", to] : [words];
    return [
      [markup`<b>${id}</b> ${role}`],
      [pill(one.state)],
      cell("seen", ageWord(one.sampleAge, "none")),
      cell("upload", ageWord(one.uploadAge, "none")),
      cell("logs", ageWord(one.logAge, ">2h")),
      cell("snapshot", ageWord(one.snapshotAge, "none")),
      cell("backup", ageWord(one.backupAge, "none")),
      cell("alerts", alerts ? loud || "0" : "-", told ?? "#alerts"),
      cell("disk", volume ? percent(volume.used) : "-"),
      cell("cert", timeLeft(one.certificate, now), "#certificates"),
      drift ? [drift, "warn"] : [drift ?? "-"],
      [look.startsWith("make") ? markup`<code>${look}</code>` : look],
    ];
  };
  const columns =
    "cluster,state,>seen,>upload,>logs,>snapshot,>backup,>alerts,>disk,>cert,>drift,look here";
  const well = clusters.filter(({ state }) => state === "well");
  const body = folded("Clusters", columns, clusters, (one) => !well.includes(one), rowOf);
  const note = unasked.length > 0 &&
    markup`<p>Drift is not looked at without the secrets: ${unasked.join(", ")}</p>`;
  return section("Clusters", `${well.length} of ${clusters.length} well`, true, [body, note]);
}

function volumesSection({ report, runbooks }: PageParts): Html {
  const volumes = report.volumes ?? [], found = volumes.filter(isEnding).length;
  const columns = "volume,cluster,last week,>used,>days left";
  const rows = folded("Volumes", columns, volumes, isEnding, (one): Cell[] => {
    const { what, cluster, points, days } = one, used = points.at(-1) ?? 0;
    const left = days === "none" ? "over a year" : days ?? "-";
    const cell = (words: Part, isBad: boolean): Cell =>
      isBad ? [words, "bad", `${runbooks}/${RUNBOOKS.disk}`] : [words];
    const numbers = [cell(percent(used), used >= FULL), cell(left, isEnding(one))];
    return [[what], [cluster], [sparkline(points)], ...numbers];
  });
  const note = volumes.length > 0 && `${found || "none"} soon`;
  return asked("Volumes", "volumes", report, note, found, rows);
}

function certificatesSection({ report, now }: PageParts): Html {
  const { certificates, unknown } = report, columns = "certificate,clusters,>ends,>left";
  const isSoon = ({ soon }: Certificate) => soon;
  const found = certificates.filter(isSoon).length;
  const rows = folded("Certificates", columns, certificates, isSoon, (one): Cell[] => {
    const left: Cell = [timeLeft(one, now), one.soon ? "bad" : "", "#this"];
    return [[one.whose], [one.clusters.join(", ")], [one.ends.slice(0, 10)], left];
  });
  const isKnown = found > 0 || unknown.every(({ what }) => what !== "cert");
  const note = isKnown && certificates.length > 0 && `${found || "none"} soon`;
  return asked("Certificates", "cert", report, note, found, rows);
}

function alertsSection({ report }: PageParts): Html {
  const { fired, firing } = report;
  const rows = (fired ?? []).map(({ alert, cluster, severity, hours }): Cell[] => {
    const now = firing?.find((one) => one.alert === alert && one.cluster === cluster);
    const tone = TONES[severity] ?? "";
    const width = Math.max(1, Math.round(100 * hours / HOURS_OF_A_WEEK));
    const bar =
      markup`<svg class="bar ${tone}" viewBox="0 0 100 8" aria-hidden="true"><rect class="rest"
 width="100" height="8"/><rect width="${width}" height="8"/></svg>`;
    const shown: Cell = now ? ["fires", tone, now.runbook ?? "#this"] : [firing ? "over" : "-"];
    return [[alert], [cluster], [severity], [hours.toFixed(1)], [bar], shown];
  });
  const table = grid("Alerts", "alert,cluster,severity,>hours,of the week,now", rows);
  const note = fired && `${rows.length || "none"} in seven days`;
  return asked("Alerts", "alerts of the week", report, note, rows.length, fired && table);
}

/** The answer to a question, and why nobody knows it, or some of it; no note: there is nothing, or nobody knows. */
function asked(
  title: string,
  question: string,
  { unknown }: FleetReport,
  note: string | false | null,
  found: number,
  body: Part,
): Html {
  const heads = { [question]: "No answer", [`part of ${question}`]: "Part of it is not known" };
  const missing = unknown.filter(({ what }) => what in heads)
    .map(({ what, why }) => markup`<p>${heads[what]}: ${why}</p>`);
  const far = missing.length > 0 ? ", as far as known" : "";
  return section(title, note ? note + far : "-", found + missing.length > 0, [missing, body]);
}

function percent(share: number): string {
  return `${Math.round(100 * share)}%`;
}

function sparkline(points: number[]): Html {
  const step = 100 / Math.max(1, points.length - 1);
  const line = points.map((share, at) =>
    `${(at * step).toFixed(0)},${(24 - 24 * share).toFixed(1)}`
  ).join(" ");
  const words = `from ${percent(points[0] ?? 0)} to ${percent(points.at(-1) ?? 0)}`;
  return markup`<svg class="line" viewBox="0 0 100 24" role="img" aria-label="${words}"><path
 d="M0 .5H100"/><polygon points="0,24 ${line} 100,24"/><polyline points="${line}"/></svg>`;
}
