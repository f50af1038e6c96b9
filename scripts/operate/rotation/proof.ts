// Proof of a rotation on one cluster: the new key is where it shall be, it works, and no data was lost.
import { readJson } from "../../../lib/probe/http.ts";
import { type Check, checksOf, type Finding, LIVE, type Subject } from "../../../lib/core/check.ts";
import { type Cluster, text } from "../../../lib/core/cluster.ts";
import { durationSeconds } from "../../../lib/core/quantity.ts";
import { type Step, step } from "../../../lib/deploy/step.ts";
import { STEPS } from "../../steps.ts";
import { uploadOf, uploadProblems } from "../../checks/blocks.ts";
import { backupTarget } from "../../checks/longhorn.ts";
import { pruneCommand } from "../../../lib/apply/prune.ts";
import { growthOf, PROMETHEUS, valueOf } from "../../checks/metrics.ts";
import { verifyBy } from "../../checks/run.ts";
import { type Holding, holdingsOf, lastFour, outdated } from "./keys.ts";

/** What a rotation came to on one cluster. */
export interface Figures {
  holdings: Holding[];
  /** Seconds between two samples of Prometheus' own, at most. */
  gap?: number;
  /** Blocks that Prometheus has cut, and the bucket has got, meanwhile. */
  uploads?: number;
  /** Log lines that were given up meanwhile. */
  dropped?: number;
}

/** Seconds that Prometheus looks back for a sample: a longer gap is one in every graph. */
const LOOKBACK = 300;
/** Seconds, shared by all checks of a cluster: programs have only just started. */
const PATIENCE = 180;

/**
 * The step that looks, when every cluster has the new keys, at what has come since `started` (as of `Date.now()`);
 * `told` gets the figures by cluster id. @throws {DeployError} exit 11 with everything that is wrong.
 */
export function proofSince(
  started: number,
  told: Map<string, Figures>,
  patience = PATIENCE,
): Step {
  return step({
    name: "rotate-s3",
    afterFleet: true,
    objects: () => Promise.resolve([]),
    async run(context) {
      const { cluster } = context, figures: Figures = { holdings: [] };
      told.set(cluster.id, figures);
      const deadline = Date.now() + patience * 1000;
      // Only what runs needs a while: a key is right at once, or not at all.
      const until = ({ needs }: Check) => needs === "pods" ? deadline : 0;
      await verifyBy(proofs(cluster, started, figures), context, until);
    },
  });
}

function proofs(cluster: Cluster, started: number, figures: Figures): Check[] {
  const interval = durationSeconds(text(cluster, "SCRAPE_INTERVAL"));
  /** Seconds since then, and what a rate needs before it. */
  const since = () => Math.ceil((Date.now() - started) / 1000 + 2 * interval);

  async function secrets(): Promise<Finding[]> {
    figures.holdings = await holdingsOf(cluster);
    return outdated(figures.holdings).map(({ where, key }) => ({
      what: `Secret ${where} holds another key (${lastFour(key.accessKey)}) than the settings`,
      cause: "no step wants it any longer, or somebody wrote it meanwhile",
      fix: `make cluster-${cluster.id}; if it is left over: ${pruneCommand(cluster.id)}`,
    }));
  }

  async function samples({ proxy }: Subject): Promise<Finding[]> {
    const seconds = since();
    const query = encodeURIComponent(`${SELF}[${seconds}s]`);
    const { data } = await readJson<Matrix>(proxy, PROMETHEUS, `/api/v1/query?query=${query}`);
    const times = data.result.flatMap(({ values }) => values.map(([time]) => time));
    // By the clock of the server.
    const age = await valueOf(proxy, `time() - max(timestamp(${SELF}))`);
    const now = Math.max(...times) + (age ?? 0);
    // The first must be as old as the rotation: a volume that was lost would show none before it.
    figures.gap = times.length === 0 ? undefined : largestGap([now - seconds, ...times, now]);
    return gapProblems(figures.gap, age, interval);
  }

  async function uploads({ proxy }: Subject): Promise<Finding> {
    const upload = await uploadOf(cluster, proxy);
    figures.uploads = upload.blocks.filter(({ uploaded = 0 }) => uploaded > started).length;
    return uploadProblems(upload, Date.now());
  }

  async function lines({ proxy }: Subject): Promise<Finding[]> {
    const counter = "fluentbit_output_dropped_records_total";
    const dropped = figures.dropped = await growthOf(proxy, counter, `${since()}s`);
    return dropped === 0 ? [] : [{
      what: dropped === undefined
        ? "Prometheus has no metrics of Fluent Bit"
        : `Fluent Bit has lost ${Math.ceil(dropped)} lines or events meanwhile`,
      cause: "OpenSearch was away for longer than the buffer lasts, or refused them",
      fix: `which, and of what: the check Dropped logs of make verify-${cluster.id}`,
    }];
  }

  // Longhorn reads its key at each of its looks, and by now the Secret holds the new one.
  const written = Date.now();
  const target = (subject: Subject) => backupTarget(subject, written);
  const toLogs = { hop: "Fluent Bit -> OpenSearch", program: "fluent-bit" };
  return [
    { when: "after", name: "New keys", hop: "settings -> Secrets", run: secrets },
    ...checksOf(STEPS, cluster, "after").filter(({ s3 }) => s3),
    { ...LIVE, name: "Backup target", hop: "Longhorn -> S3", run: target },
    { ...LIVE, name: "Samples without a gap", hop: "exporters -> Prometheus", run: samples },
    { ...LIVE, name: "Uploads meanwhile", hop: "sidecar -> S3", run: uploads },
    { ...LIVE, ...toLogs, name: "Log lines meanwhile", run: lines },
  ];
}

// In every scrape of Prometheus by itself.
const SELF = "prometheus_build_info";

interface Matrix {
  data: { result: { values: [time: number, value: string][] }[] };
}

/** The longest time between two neighbours, in their unit; 0 with fewer than two. */
export function largestGap(times: number[]): number {
  const sorted = times.toSorted((a, b) => a - b);
  return Math.max(0, ...sorted.slice(1).map((time, index) => time - sorted[index]!));
}

/** What is wrong with a gap and the age of the newest sample (undefined: there is none), in seconds. */
export function gapProblems(
  gap: number | undefined,
  age: number | undefined,
  interval: number,
): Finding[] {
  if (age === undefined || age > 2 * interval + 10) {
    return [{
      what: `Prometheus has no new sample of itself${age ? ` for ${age.toFixed(0)} s` : ""}`,
      cause: "it has restarted only just now, or does not scrape",
      fix: "kubectl -n monitoring get pods; kubectl -n monitoring describe prometheus",
    }];
  }
  if (gap === undefined || gap <= LOOKBACK) return [];
  return [{
    what: `${gap.toFixed(0)} s without a sample: more than the ${LOOKBACK} s that graphs bridge`,
    cause: "Prometheus restarts for a new key, and took too long to start",
    fix: "kubectl -n monitoring describe pod prometheus-kube-prometheus-stack-prometheus-0; " +
      "the gap stays, data before and after it is whole",
  }];
}
