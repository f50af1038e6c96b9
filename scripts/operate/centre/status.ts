// What the centre knows of each cluster. What nobody can tell is null, and never well but for a certificate.
import { certificatesIn } from "../../../lib/config/certificates.ts";
import { hiddenBy } from "../../../lib/core/check.ts";
import { type Cluster, isPaused } from "../../../lib/core/cluster.ts";
import { ExitCode } from "../../../lib/core/error.ts";
import { ageText } from "../../../lib/core/quantity.ts";
import { judgeCertificates } from "../../checks/access.ts";
import type { Sample } from "../../checks/metrics.ts";
import { aboutOf, isHeard, severityOf } from "../alerts.ts";
import { type Age, type Answers, answersOf, type Ask, changesOf, isAway } from "./questions.ts";
import { Questions, tellUnsaid, type Unsaid } from "./questions.ts";

/** The worst first; what is paused is nobody's trouble. */
export const STATES = ["away", "critical", "warn", "unknown", "paused", "well"] as const;
type State = typeof STATES[number];

/** A certificate that ends (ISO 8601); `soon`: it is time for a new one. */
export type Certificate = { whose: string; ends: string; soon: boolean };

const LATEST_UPLOAD = 8400; // seconds: a block is due every two hours, and its alert says the same
const LATEST_LINE = 900; // seconds: the kubelet alone writes a line every minute
/** As the dashboards paint it red; alerts come before it where it fills fast. */
export const FULL = 0.9;

/** Asks the centre (`deep`: and each cluster when a deploy changed it), and says on the terminal what had no answer. */
export async function fleetStatus(ask: Ask, clusters: Cluster[], deep = false): Promise<Health[]> {
  const unsaid: Unsaid[] = [];
  const [answers, changed] = await Promise.all([
    answersOf(new Questions(ask, clusters[0]?.fleet ?? []), clusters),
    deep ? changesOf(clusters, unsaid) : undefined,
  ]);
  unsaid.push(...answers.unsaid);
  tellUnsaid(unsaid);
  return healthOf(clusters, { ...answers, changed, unsaid });
}

/** How the clusters are by these answers, the worst first. */
export function healthOf(clusters: Cluster[], answers: Answers): Health[] {
  const rank = ({ state }: Health) => STATES.indexOf(state);
  return clusters.map((cluster) => statusOf(cluster, answers)).sort((one, other) =>
    rank(one) - rank(other) ||
    (other.alerts?.critical ?? 0) - (one.alerts?.critical ?? 0) ||
    (other.alerts?.warning ?? 0) - (one.alerts?.warning ?? 0) ||
    Number(one.id) - Number(other.id)
  );
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
export function timeLeft(certificate: Certificate | null, now: Date): string {
  if (!certificate) return "-";
  const left = (Date.parse(certificate.ends) - now.getTime()) / 1000;
  return left < 0 ? "over" : ageText(left);
}

function statusOf(cluster: Cluster, answers: Answers) {
  const { id, name, role, pause } = cluster;
  const missed = answers.unsaid.filter(({ of = id }) => of === id).map(({ what }) => what);
  const facts = factsOn(cluster, answers, missed), wrong = judged(cluster, facts);
  const columns: (boolean | null)[] = Object.values(wrong);
  const is: Partial<Record<State, unknown>> = {
    away: isAway(cluster, answers),
    critical: facts.alerts?.critical,
    warn: columns.includes(true),
    // Nobody is asked for the last sample of one from which samples arrive.
    unknown: columns.includes(null) || missed.some((what) => !what.endsWith("last seen")),
  };
  const state = isPaused(cluster) ? "paused" : STATES.find((one) => is[one]) ?? "well";
  const command = `make ${wrong.alerts && state !== "away" ? "alerts" : "verify"}-${id}`;
  const words: Partial<Record<State, string>> = {
    well: "",
    paused: `until ${pause?.until}: ${pause?.reason}`,
  };
  return { id, name, role, state, ...facts, look: words[state] ?? command };
}

/** How a cluster is; docs/schema/status.json tells of each part. */
export type Health = ReturnType<typeof statusOf>;

function factsOn(cluster: Cluster, answers: Answers, missed: string[]) {
  const own = (question: Exclude<keyof Answers, "unsaid" | "changed">) =>
    answers[question]?.find(({ metric }) => metric.cluster === cluster.name);
  const [certificate = null] = certificatesOf(cluster, answers.cert);
  const fullest = own("disk"), isSeenKnown = !missed.some((what) => what.endsWith("seen"));
  return {
    sampleAge: ageOf(own("seen") ?? own("before")) ?? (isSeenKnown ? "none" : null),
    uploadAge: ageOf(own("upload")),
    logAge: ageOf(own("logs")),
    alerts: countsOf(cluster, answers.alerts ?? []),
    volume: fullest ? { what: volumeName(fullest.metric), used: Number(fullest.value[1]) } : null,
    // Which ends first is not known without that of the kubelet.
    certificate: answers.cert || certificate?.soon ? certificate : null,
    ...answers.changed && { changedAge: answers.changed.get(cluster.id) ?? null },
  };
}

type Facts = ReturnType<typeof factsOn>;

/** Whether something is wrong with a cluster from which samples arrive, by columns; null: nobody knows. */
export function judged(
  cluster: Cluster,
  { uploadAge, logAge, alerts, volume, certificate }: Facts,
) {
  // No line can be new where nobody reads any.
  const lines = hiddenBy(cluster, "fluent-bit") ? 0 : logAge;
  const isOver = (age: number | null, limit: number) => age === null ? null : age > limit;
  return {
    upload: isOver(uploadAge === "none" ? 0 : uploadAge, LATEST_UPLOAD),
    logs: isOver(lines === "none" ? Infinity : lines, LATEST_LINE),
    alerts: alerts && alerts.critical + alerts.warning > 0,
    disk: volume && volume.used >= FULL,
    cert: certificate?.soon ?? false,
  };
}

/** Seconds since the time that a series says; by the clock of the centre, which has none of the edges' errors. */
export function ageOf(sample?: Sample): Age {
  if (!sample) return null;
  const [now, time] = sample.value;
  return Number(time) === 0 ? "none" : Math.max(0, Math.round(now - Number(time)));
}

/** That there is none is known only where the heartbeat arrives. */
function countsOf(cluster: Cluster, counted: Sample[]) {
  const own = counted.filter(({ metric }) => aboutOf(metric, cluster.fleet).id === cluster.id);
  const sumOf = (severity: string) =>
    own.filter(({ metric }) => severityOf(metric) === severity)
      .reduce((sum, { value }) => sum + Number(value[1]), 0);
  const critical = sumOf("critical"), warning = sumOf("warning");
  return critical + warning > 0 || isHeard(cluster, counted) ? { critical, warning } : null;
}

/** Which claim, or disk of a node, a series is about. */
export function volumeName(labels: Sample["metric"]): string {
  const { namespace, persistentvolumeclaim: claim, instance, mountpoint } = labels;
  return claim ? `${namespace}/${claim}` : `${mountpoint} of ${instance}`;
}

/** Those that files of env/ hold, and the kubelet's own, which renews itself; the first to end first. */
export function certificatesOf(cluster: Cluster, cert: Sample[] | null): Certificate[] {
  const kubelet = cert?.find(({ metric }) => metric.cluster === cluster.name);
  const files = [
    ["of its doors (INGRESS_TLS_DIR)", cluster.doorCertificate?.certificate],
    ["between clusters (GRPC_TLS_DIR)", cluster.grpcIdentity?.certificate],
    ["CA between clusters (GRPC_TLS_DIR)", cluster.grpcIdentity?.authority],
    ["CA of the S3 (S3_CA_FILE)", cluster.s3Ca],
  ] as const;
  const all = files.flatMap(([whose, pem = ""]) =>
    certificatesIn(pem).map((shown): Certificate => {
      const [verdict] = judgeCertificates([{ whose, shown, fix: "" }], "before");
      const soon = verdict!.state !== "ok";
      return { whose, ends: new Date(shown.validTo).toISOString(), soon };
    })
  );
  const ends = kubelet && new Date(Number(kubelet.value[1]) * 1000).toISOString();
  if (ends) all.push({ whose: "of a kubelet", ends, soon: false });
  return all.sort((one, other) =>
    Number(other.soon) - Number(one.soon) || one.ends.localeCompare(other.ends)
  );
}
