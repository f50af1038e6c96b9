// Proof of a rotation on one cluster: the new key is where it shall be, it works, and no data was lost.
import { pruneCommand } from "../../../lib/apply/inventory.ts";
import * as check from "../../../lib/core/check.ts";
import { type Cluster, text } from "../../../lib/core/cluster.ts";
import { durationSeconds } from "../../../lib/core/quantity.ts";
import { type Step, step } from "../../../lib/deploy/step.ts";
import { readJson } from "../../../lib/probe/http.ts";
import { backupTarget } from "../../checks/storage.ts";
import { growthOf, PROMETHEUS, valueOf } from "../../checks/metrics.ts";
import { uploads } from "../../checks/thanos.ts";
import { verifyBy } from "../../checks/verify.ts";
import { STEPS } from "../../steps.ts";
import { type Holding, holdingsOf, lastFour, outdated } from "./keys.ts";

const LOOKBACK = 300; // seconds from sample to sample that a graph still bridges
/** Seconds, shared by all checks of a cluster: programs have only just started. */
export const PATIENCE = 180;
// In every scrape of Prometheus by itself.
const SELF = "prometheus_build_info";

/** The step that looks at what has come since `started` (ms), after all have the new keys. @throws {DeployError} exit 11. */
export function proofSince(started: number, patience: number): Step {
  return step({
    name: "rotate-s3",
    afterFleet: true,
    objects: () => Promise.resolve([]),
    async run(context) {
      const deadline = Date.now() + patience * 1000;
      // Only what runs needs a while: a key is right at once, or not at all.
      const until = ({ needs }: check.Check) => needs === "pods" ? deadline : 0;
      await verifyBy(proofs(context.cluster, started), context, until);
    },
  });
}

function proofs(cluster: Cluster, started: number): check.Check[] {
  const interval = durationSeconds(text(cluster, "SCRAPE_INTERVAL"));
  /** Seconds since then, and what a rate needs before it. */
  const since = () => Math.ceil((Date.now() - started) / 1000 + 2 * interval);

  async function samples({ proxy }: check.Subject): Promise<check.Finding> {
    type Matrix = { data: { result: { values: [time: number, value: string][] }[] } };
    const seconds = since(), query = encodeURIComponent(`${SELF}[${seconds}s]`);
    const { data } = await readJson<Matrix>(proxy, PROMETHEUS, `/api/v1/query?query=${query}`);
    const times = data.result.flatMap(({ values }) => values.map(([time]) => time));
    // By the clock of the server.
    const age = await valueOf(proxy, `time() - max(timestamp(${SELF}))`);
    const now = Math.max(0, ...times) + (age ?? 0);
    // The first must be as old as the rotation: a volume that was lost would show none before it.
    return judgeGap(largestGap([now - seconds, ...times, now]), age, interval);
  }

  async function lines({ proxy }: check.Subject): Promise<check.Finding> {
    const counter = "fluentbit_output_dropped_records_total";
    const dropped = await growthOf(proxy, counter, `${since()}s`);
    if (dropped === 0) return check.ok("none was lost");
    return {
      what: dropped === undefined
        ? "Prometheus has no metrics of Fluent Bit"
        : `Fluent Bit has lost ${Math.ceil(dropped)} lines or events meanwhile`,
      cause: "OpenSearch was away for longer than the buffer lasts, or refused them",
      fix: `which, and of what: the check Dropped logs of make verify-${cluster.id}`,
    };
  }

  const { LIVE } = check, keys = async () => judgeKeys(await holdingsOf(cluster));
  // Longhorn reads its key at each of its looks, and by now the Secret holds the new one.
  const written = Date.now(), target = (it: check.Subject) => backupTarget(it, written);
  const uploaded = (it: check.Subject) => uploads(it, started);
  const toLogs = { hop: "Fluent Bit -> OpenSearch", program: "fluent-bit" };
  return [
    { when: "after", name: "New keys", hop: "settings -> Secrets", run: keys },
    ...check.checksOf(STEPS, cluster, "after").filter(({ s3 }) => s3),
    { ...LIVE, name: "Backup target", hop: "Longhorn -> S3", run: target },
    { ...LIVE, name: "Samples without a gap", hop: "exporters -> Prometheus", run: samples },
    { ...LIVE, name: "Uploads meanwhile", hop: "sidecar -> S3", run: uploaded },
    { ...LIVE, ...toLogs, name: "Log lines meanwhile", run: lines },
  ];
}

/** Whether the Secrets of a cluster hold the keys of the settings, of which the ends alone are shown. */
export function judgeKeys(holdings: Holding[]): check.Finding[] {
  const wrong = outdated(holdings).map(({ where, key, cluster: { id } }) => ({
    what: `Secret ${where} holds another key (${lastFour(key.accessKey)}) than the settings`,
    cause: "no step wants it any longer, or somebody wrote it meanwhile",
    fix: `make cluster-${id}; if it is left over: ${pruneCommand(id)}`,
  }));
  const held = holdings.map(({ keeps, key }) => `${keeps} ${lastFour(key.accessKey)}`);
  return wrong.length > 0 ? wrong : [check.ok(held.join(", "))];
}

/** The longest time between two neighbours, in their unit; 0 with fewer than two. */
export function largestGap(times: number[]): number {
  const sorted = times.toSorted((a, b) => a - b);
  return Math.max(0, ...sorted.slice(1).map((time, index) => time - sorted[index]!));
}

/** Judges the longest gap and the age of the newest sample (undefined: there is none), in seconds. */
export function judgeGap(gap: number, age: number | undefined, interval: number): check.Finding {
  if (age === undefined || age > 2 * interval + 10) {
    return {
      what: `Prometheus has no new sample of itself${age ? ` for ${age.toFixed(0)} s` : ""}`,
      cause: "it has restarted only just now, or does not scrape",
      fix: "kubectl -n monitoring get pods; kubectl -n monitoring describe prometheus",
    };
  }
  const most = `${gap.toFixed(0)} s without a sample`;
  if (gap <= LOOKBACK) return check.ok(`${most} at most`);
  return {
    what: `${most}: more than the ${LOOKBACK} s that graphs bridge`,
    cause: "Prometheus restarts for a new key, and took too long to start",
    fix: "kubectl -n monitoring describe pod prometheus-kube-prometheus-stack-prometheus-0; " +
      "the gap stays, data before and after it is whole",
  };
}
