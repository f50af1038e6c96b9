// Runs checks side by side, with patience, and makes one table of what they found.
import { setInterval } from "node:timers";
import { setTimeout as sleep } from "node:timers/promises";
import { findingsOf, hidden, hiddenBy } from "../core/check.ts";
import type { Check, CheckState, CheckVerdict, Finding, Subject } from "../core/check.ts";
import { type Cluster, inContext } from "../core/cluster.ts";
import { DeployError, ExitCode, messageOf, SlowError, stackOf } from "../core/error.ts";
import type { Manifest } from "../core/object.ts";
import { refuseInterrupted } from "../io/interrupt.ts";
import { table } from "../io/report.ts";
import { whenNew } from "../io/wait.ts";
import { sideBySide } from "../io/side_by_side.ts";
import { keepWay } from "../kube/proxy.ts";
import { connect } from "../kube/target.ts";
import { openProxy } from "./http.ts";
import { shortList } from "../core/short_list.ts";

/** What came of one check; the state is the worst of the findings, ok without any. */
export interface Row {
  check: Check;
  state: CheckState;
  findings: Finding[];
}

/** Checks at once (most wait for a kubectl or a pod), and seconds between two words about what is still open. */
const WIDTH = 8, REMINDER = 10;

/** The check that says whether the cluster answers and is the right one. */
export const TARGET = "Context and address";

/** What checks of a cluster share; `objects` gives those of all steps. Dispose of it to close the way in. */
export function openSubject(
  cluster: Cluster,
  { when, objects, say = () => {} }: {
    when: Subject["when"];
    say?: Subject["say"];
    objects: () => Manifest[] | Promise<Manifest[]>;
  },
): Subject & AsyncDisposable {
  const answers = new Map<string, Promise<unknown>>();
  const once = <T>(name: string, work: () => Promise<T>) =>
    answers.getOrInsertComputed(name, work) as Promise<T>;
  return {
    ...keepWay(cluster),
    cluster,
    when,
    say,
    once,
    objects: () => once("objects", async () => await objects()),
    proxy: {
      async fetch(...request) {
        await using proxy = await openProxy(cluster);
        return await proxy.fetch(...request);
      },
    },
  };
}

/** Runs every check, one that fails again `until` that time (as of `Date.now()`), with pauses of `every` seconds. */
export async function runChecks(
  checks: Check[],
  subject: Subject,
  { until = () => 0, every = 5 }: { until?: (check: Check) => number; every?: number } = {},
): Promise<Row[]> {
  const open = new Set(checks.map(({ name }) => name));
  const remind = whenNew(subject.say);
  using _ = setInterval(() => remind(shortList([...open])), REMINDER * 1000);
  const slowFirst = checks.toSorted((one, other) => Number(!one.slow) - Number(!other.slow));
  const rows = await sideBySide(slowFirst, WIDTH, async (check): Promise<Row> => {
    const findings = await runUntilOk(check, subject, until(check), every);
    open.delete(check.name);
    const state = RANK.find((rank) => among(findings, rank).length > 0) ?? "ok";
    return { check, findings, state };
  });
  return rows.sort((one, other) => checks.indexOf(one.check) - checks.indexOf(other.check));
}

async function runUntilOk(check: Check, subject: Subject, until: number, every: number) {
  const { cluster, when, say } = subject;
  const why = await hiddenWhy(check, subject);
  if (why) return [hidden(why)];
  const started = Date.now();
  for (let said = "";;) {
    refuseInterrupted();
    const found = await Promise.try(() => check.run(subject))
      .catch((error) => findingOf(error, when));
    const findings = findingsOf(found).map(({ fix, ...finding }): Finding => (
      { ...finding, ...fix && { fix: inContext(cluster, fix) } }
    ));
    const fails = among(findings, "fail");
    const longest = Math.max(0, ...fails.map(({ patience = 0 }) => patience));
    const last = Math.max(until, started + longest * 1000);
    if (fails.length === 0 || Date.now() + every * 1000 > last) return findings;
    const more = fails.length > 1 ? ` and ${fails.length - 1} more` : "";
    const now = `${check.name}: ${fails[0]!.what}${more}`;
    if (now !== said) say(said = now);
    await sleep(every * 1000);
  }
}

/** Why it cannot be looked at; after a deploy the cluster has answered already. */
async function hiddenWhy({ needs, program }: Check, subject: Subject): Promise<string | undefined> {
  const { cluster, when, once } = subject;
  const why = needs === "pods" ? hiddenBy(cluster, program) : undefined;
  if (why || !needs || when === "after") return why;
  const reached = await once(TARGET, () => connect(cluster)).then(() => true, () => false);
  return reached ? undefined : `not looked at: see ${TARGET}`;
}

/** What could not be asked is a finding, too, and so is a bug of ours. A mere delay hides the thing before a deploy. */
function findingOf(error: unknown, when: Subject["when"]): Finding {
  if (!(error instanceof DeployError)) {
    const fix = "this is a bug of ours: report it with the lines above";
    const what = `cannot be asked: ${messageOf(error)}`;
    return { what, detail: [stackOf(error)], fix, exitCode: ExitCode.bug };
  }
  const { message: what, where: detail, fix, exitCode } = error;
  if (error instanceof SlowError && when === "before") return { ...hidden(what), detail, fix };
  return { what, detail, fix: fix ?? "correct the cause, then run again", exitCode };
}

function among(findings: Finding[], wanted: CheckState): Finding[] {
  return findings.filter(({ state = "fail" }) => state === wanted);
}

const RANK: CheckState[] = ["fail", "warn", "hidden", "note", "ok"];

/** A row says the worst that was found, all of it, then warnings and notes; else what was seen, or the hop. */
export function tableOf(rows: Row[]): string {
  if (rows.length === 0) return "";
  const lines = rows.flatMap((row) =>
    shownOf(row).map((finding, index, shown) => ({
      ...finding,
      // Of findings with the same fix the last one says it.
      fix: finding.fix === shown[index + 1]?.fix ? undefined : finding.fix,
      head: index > 0 ? ["", ""] : [row.state === "hidden" ? "-" : row.state, row.check.name],
    }))
  );
  const cells = lines.map(({ head, what }) => [...head, what.replaceAll("\n", " ")]);
  const texts = table(cells).split("\n");
  return lines.flatMap(({ detail = [], cause, fix }, index) => [
    `  ${texts[index]}`,
    ...detail.map((line) => `          ${line.replaceAll("\n", "\n          ")}`),
    ...(cause ? [`        likely cause: ${cause}`] : []),
    ...(fix ? [`        fix: ${fix.replaceAll("\n", "\n          ")}`] : []),
  ]).join("\n");
}

function shownOf({ check: { hop }, state, findings }: Row): Finding[] {
  if (state === "ok" || state === "note") {
    const seen = new Set(among(findings, state).map(({ what }) => what));
    return [{ what: [...seen].join("; ") || hop }];
  }
  return [...new Set([state, "warn", "note"] as const)].flatMap((one) => among(findings, one));
}

/** The rows for programs. */
export function verdictsOf(rows: Row[]): CheckVerdict[] {
  return rows.map(({ check: { name, hop }, state, findings }) => {
    const shown = findings.map(({ state = "fail", what, cause, fix, detail }) => (
      { state, what, cause, fix, detail }
    ));
    return { name, hop, state, findings: shown };
  });
}

/** 0, or the exit code of the worst fail (the highest number). */
export function exitCodeOfRows(rows: Row[]): number {
  const fails = among(rows.flatMap(({ findings }) => findings), "fail");
  return Math.max(ExitCode.done, ...fails.map(({ exitCode = ExitCode.prerequisite }) => exitCode));
}
