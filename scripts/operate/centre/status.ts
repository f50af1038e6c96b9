// What the centre knows of each cluster, and how well it is. What nobody can tell is null, and never well but for a
// certificate, which few clusters have to tell.
import { certificatesIn } from "../../../lib/config/certificates.ts";
import { findingsOf, hiddenBy } from "../../../lib/core/check.ts";
import { type Cluster, isPaused, text } from "../../../lib/core/cluster.ts";
import { ExitCode } from "../../../lib/core/error.ts";
import { ageText } from "../../../lib/core/quantity.ts";
import { judgeCertificates } from "../../checks/access.ts";
import type { Sample } from "../../checks/metrics.ts";
import { aboutOf, isHeard, severityOf } from "./alerts.ts";
import { type Age, type Answers, answersOf, isAway } from "./answers.ts";
import { changesOf } from "./changed.ts";
import { type Ask, missedOf, tellUnsaid, type Unsaid } from "./way.ts";

/** The worst first; what is paused is nobody's trouble. */
export const STATES = ["away", "critical", "warn", "unknown", "paused", "well"] as const;

/** What is known of a cluster, as docs/schema/status.json has it. */
interface Facts {
  /** Of its newest sample; of one that is away in the last seven days. */
  sampleAge: Age;
  /** Of the last block that it uploaded; none: it has not since its sidecar started. */
  uploadAge: Age;
  /** Of the newest line in its OpenSearch, to a minute; none: in two hours. */
  logAge: Age;
  alerts: { critical: number; warning: number } | null;
  /** The fullest claim or disk of a node of those that have series, from 0 to 1; one that has none is not missed. */
  volume: { what: string; used: number } | null;
  /** The one that ends first, null: none is known; `ends` in ISO 8601, `soon`: it is time for a new one. */
  certificate: { whose: string; ends: string; soon: boolean } | null;
  /** Of a deploy's last change there, where that was asked; none: no deploy was ever there. */
  changedAge?: Age;
}

/** A cluster, how it is, and the next command to type; empty where there is nothing to do. */
export interface Health extends Facts {
  id: string;
  name: string;
  role: string;
  state: typeof STATES[number];
  look: string;
}

/** Seconds: a block is due every two hours, and its alert says the same. */
const LATEST_UPLOAD = 8400;
/** The kubelet alone writes a line every minute. */
const LATEST_LINE = 900;
/** As the dashboards paint it red; alerts come before it where it fills fast. */
export const FULL = 0.9;

/**
 * Asks the centre about these clusters (`deep`: and each when a deploy last changed it), says what had no answer, and
 * gives them the worst first.
 */
export async function fleetStatus(ask: Ask, clusters: Cluster[], deep = false): Promise<Health[]> {
  const unsaid: Unsaid[] = [];
  const changes = deep ? changesOf(clusters, unsaid) : undefined;
  const [answers, changed] = await Promise.all([answersOf(ask, clusters), changes]);
  unsaid.push(...answers.unsaid);
  tellUnsaid(unsaid);
  return healthOf(clusters, { ...answers, changed, unsaid });
}

/** How the clusters are by these answers, the worst first. */
export function healthOf(clusters: Cluster[], answers: Answers): Health[] {
  return clusters.map((cluster) => statusOf(cluster, answers)).sort(worstFirst);
}

/** 0 when all are well or paused, else 11. */
export function exitCodeOfStatus(found: Health[]): number {
  const isFine = ({ state }: Health) => state === "well" || state === "paused";
  return found.every(isFine) ? ExitCode.done : ExitCode.verification;
}

/** An age in a word, `-` where nobody knows; `none`: what there is to say of what is not there. */
export function ageWord(age: Age, none: string): string {
  return age === null ? "-" : age === "none" ? none : ageText(age);
}

/** The time that a certificate has left, in a word. */
export function timeLeft(certificate: Health["certificate"], now: Date): string {
  if (!certificate) return "-";
  const left = (Date.parse(certificate.ends) - now.getTime()) / 1000;
  return left < 0 ? "over" : ageText(left);
}

function statusOf(cluster: Cluster, answers: Answers): Health {
  const { id, role, fleet } = cluster;
  const name = text(cluster, "CLUSTER_NAME");
  const missed = answers.unsaid.filter((one) => [undefined, id].includes(missedOf(one, fleet)))
    .map(({ what }) => what);
  const own = (question: Exclude<keyof Answers, "unsaid" | "changed">) =>
    answers[question]?.find(({ metric }) => metric.cluster === name);
  const [certificate = null] = certificatesOf(cluster, answers);
  const found: Facts = {
    sampleAge: ageOf(own("seen") ?? own("before")) ??
      (missed.some((what) => what.endsWith("seen")) ? null : "none"),
    uploadAge: ageOf(own("upload")),
    logAge: ageOf(own("logs")),
    alerts: countsOf(cluster, answers.alerts ?? []),
    volume: volumeOf(own("disk")),
    // Which ends first is not known without that of the kubelet.
    certificate: answers.cert || certificate?.soon ? certificate : null,
    ...answers.changed && { changedAge: answers.changed.get(id) ?? null },
  };
  if (isPaused(cluster)) {
    const { reason, until } = cluster.pause!;
    return { id, name, role, state: "paused", ...found, look: `until ${until}: ${reason}` };
  }
  const known = isAway(cluster, answers) ? "away" : stateOf(cluster, found);
  // Nobody is asked for the last sample of one from which samples arrive.
  const isPart = missed.some((what) => !what.endsWith("last seen"));
  const state = known === "well" && isPart ? "unknown" : known;
  const isTold = found.alerts && found.alerts.critical + found.alerts.warning > 0;
  const command = isTold && state !== "away" ? "alerts" : "verify";
  const look = state === "well" ? "" : `make ${command}-${id}`;
  return { id, name, role, state, ...found, look };
}

function stateOf(cluster: Cluster, found: Facts): Health["state"] {
  if (found.alerts?.critical) return "critical";
  if (wrongIn(cluster, found).length > 0) return "warn";
  const { uploadAge, alerts, volume } = found;
  return [uploadAge, linesOf(cluster, found), alerts, volume].includes(null) ? "unknown" : "well";
}

/** What is known to be wrong with a cluster from which samples arrive: names of columns. */
export function wrongIn(cluster: Cluster, found: Facts): string[] {
  const { uploadAge, alerts, volume, certificate } = found;
  const lines = linesOf(cluster, found);
  const isOld = (age: Age, limit: number) => typeof age === "number" && age > limit;
  const columns = {
    upload: isOld(uploadAge, LATEST_UPLOAD),
    logs: isOld(lines, LATEST_LINE) || lines === "none",
    alerts: alerts !== null && alerts.critical + alerts.warning > 0,
    disk: (volume?.used ?? 0) >= FULL,
    cert: certificate?.soon,
  };
  return Object.entries(columns).flatMap(([name, isWrong]) => isWrong ? [name] : []);
}

/** No line can be new where nobody reads any. */
function linesOf(cluster: Cluster, { logAge }: Facts): Age {
  return hiddenBy(cluster, "fluent-bit") ? 0 : logAge;
}

/** Seconds since the time that a series says; by the clock of the centre, which has none of the edges' errors. */
export function ageOf(sample?: Sample): Age {
  if (!sample) return null;
  const [now, time] = sample.value;
  return Number(time) === 0 ? "none" : Math.max(0, Math.round(now - Number(time)));
}

/** That there is none is known only where the heartbeat arrives. */
function countsOf(cluster: Cluster, counted: Sample[]): Health["alerts"] {
  const { id, fleet } = cluster;
  const count = (severity: string) =>
    counted.filter(({ metric }) =>
      severityOf(metric) === severity && aboutOf(metric, fleet).id === id
    )
      .reduce((sum, { value }) => sum + Number(value[1]), 0);
  const [critical, warning] = [count("critical"), count("warning")];
  return critical + warning > 0 || isHeard(cluster, counted) ? { critical, warning } : null;
}

function volumeOf(sample: Sample | undefined): Health["volume"] {
  return sample ? { what: volumeName(sample.metric), used: Number(sample.value[1]) } : null;
}

/** Which claim, or disk of a node, a series is about. */
export function volumeName(labels: Sample["metric"]): string {
  const { namespace, persistentvolumeclaim: claim, instance, mountpoint } = labels;
  return claim ? `${namespace}/${claim}` : `${mountpoint} of ${instance}`;
}

/** Of those that files of env/ hold, and the kubelet's own, which renews itself; the first to end first. */
export function certificatesOf(
  cluster: Cluster,
  { cert }: Pick<Answers, "cert">,
): NonNullable<Facts["certificate"]>[] {
  const name = text(cluster, "CLUSTER_NAME");
  const kubelet = cert?.find(({ metric }) => metric.cluster === name);
  const files = [
    ["of its doors (INGRESS_TLS_DIR)", cluster.doorCertificate?.certificate],
    ["between clusters (GRPC_TLS_DIR)", cluster.grpcIdentity?.certificate],
    ["CA between clusters (GRPC_TLS_DIR)", cluster.grpcIdentity?.authority],
    ["CA of the S3 (S3_CA_FILE)", cluster.s3Ca],
  ] as const;
  const ours = files.flatMap(([whose, pem = ""]) =>
    certificatesIn(pem).map((shown) => ({
      whose,
      ends: new Date(shown.validTo).toISOString(),
      soon: findingsOf(judgeCertificates([{ whose, shown, fix: "" }], "before"))
        .some(({ state }) => state !== "ok"),
    }))
  );
  const its = kubelet && new Date(Number(kubelet.value[1]) * 1000).toISOString();
  const all = [...ours, ...its ? [{ whose: "of a kubelet", ends: its, soon: false }] : []];
  const sooner = (one: typeof all[number], other: typeof all[number]) =>
    Number(other.soon) - Number(one.soon) || one.ends.localeCompare(other.ends);
  return all.sort(sooner);
}

function worstFirst(one: Health, other: Health): number {
  const rank = ({ state }: Health) => STATES.indexOf(state);
  return rank(one) - rank(other) ||
    (other.alerts?.critical ?? 0) - (one.alerts?.critical ?? 0) ||
    (other.alerts?.warning ?? 0) - (one.alerts?.warning ?? 0) ||
    Number(one.id) - Number(other.id);
}
