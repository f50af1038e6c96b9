// What a failed kubectl means, told from its words: the exit code, the fix, and whether it is tried again.
import { STATUS_CODES } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { type Cluster, text } from "../core/cluster.ts";
import { proxyHint } from "../io/tls.ts";
import { DeployError, type DeployErrorOptions, ExitCode } from "../core/error.ts";
import { parsedJson } from "../core/object.ts";

/** A call that failed with such words; by them, or where it `passes`, it is `transient`: worth another try. */
export class KubectlError extends DeployError {
  readonly stderr: string;
  readonly transient: boolean;

  constructor(what: string, words: string, cluster: Cluster, readonly stdout = "", passes = false) {
    const stderr = clean(words), { exitCode, fix, transient = passes } = verdict(stderr, cluster);
    super(`Cannot ${what} on ${cluster.id}`, { exitCode, where: stderr || [], fix });
    this.stderr = stderr;
    this.transient = transient;
  }
}

/** What is said where there is none on PATH. */
export const NO_KUBECTL = {
  exitCode: ExitCode.prerequisite,
  where: "kubectl is not on PATH",
  fix: "make tools",
};

// What kapp and others learnt to retry, in kubectl's words; everything else is final.
const TRANSIENT = new RegExp([
  // The line, and what is at its end.
  "Unable to connect|no such host|no answer within|i/o timeout|TLS handshake timeout",
  "connection (refused|reset)|The connection to the server .* was refused",
  "unexpected EOF|: EOF|http2: .*(GOAWAY|connection lost)",
  // The server itself, or a proxy before it (502 and 504).
  "the server is currently unable to handle the request",
  "unable to return a response in the time allotted|\\(Timeout\\)",
  "an error on the server \\(.*has prevented the request from succeeding",
  "[Tt]oo many requests|TooManyRequests|rate limit",
  "Operation cannot be fulfilled on resourcequotas",
  // What the server asks.
  "etcdserver: (request timed out|leader changed)",
  "failed calling webhook|conversion webhook .* failed",
].join("|"));

type Verdict = Pick<DeployErrorOptions, "exitCode" | "fix"> & { transient?: boolean };

function verdict(stderr: string, cluster: Cluster): Verdict {
  if (stderr === NO_KUBECTL.where) return NO_KUBECTL;
  const { refused, rejected, unreachable } = ExitCode;
  const context = text(cluster, "KUBE_CONTEXT"), host = text(cluster, "API_HOST");
  const isWebhook = /webhook/.test(stderr);
  if (/context (.* does not exist|was not found)|no context exists/.test(stderr)) {
    return { exitCode: refused, fix: `kubectl config get-contexts (wanted: ${context})` };
  }
  if (!isWebhook && /x509:|certificate has expired|certificate signed by unknown/.test(stderr)) {
    const fix = "compare the certificate with the clock (date)";
    return { exitCode: unreachable, fix: `${fix}; minikube start -p ${context} renews` };
  }
  if (/Unauthorized|must be logged in|provide credentials/.test(stderr)) {
    return { exitCode: unreachable, fix: `kubectl --context ${context} auth whoami` };
  }
  if (/\(Forbidden\)/.test(stderr) && /cannot (\w+) (resource|path)/.test(stderr)) {
    const fix = `give the user of context ${context} the rights named above`;
    return { exitCode: unreachable, fix };
  }
  if (!TRANSIENT.test(stderr)) {
    return { exitCode: rejected, fix: "correct the object named above, then run again" };
  }
  if (isWebhook) {
    const fix = "look at the webhook's Service and pods, then run again";
    return { exitCode: rejected, fix, transient: true };
  }
  const check = `check that the API server of ${context} at ${host} runs, then run again`;
  const fix = [...proxyHint(host.replace(/:\d+$/, "")), check].join("; ");
  return { exitCode: unreachable, fix, transient: true };
}

/** kubectl's stderr without its advice on conflicts, warnings and log lines. */
export function clean(stderr: string): string {
  return stderr.split("\n")
    // kustomize tells its failures in a log line, among others that are noise.
    .map((line) => /^E\d{4} .*"command failed" err="(.*)"$/.exec(line)?.[1] ?? line)
    .filter((line) => !/^(Warning: |[EWI]\d{4} )/.test(line))
    // Some messages quote whole objects.
    .map((line) => line.length > 600 ? `${line.slice(0, 600)}...` : line)
    .join("\n")
    .replace(/\nPlease review the fields above[\s\S]*?conflicts\)?\.?(?=\n|$)/g, "")
    .trim();
}

/** What kubectl says of an answer that is an error: a Status, or what somebody in between says, as the proxy itself. */
export function wordsOf(status: number, body: string): string {
  const { kind, reason, message } = parsedJson(body) ?? {};
  if (kind === "Status") return `Error from server${reason ? ` (${reason})` : ""}: ${message}`;
  if (status === 401) return "error: You must be logged in to the server (Unauthorized)";
  const text = body.trim().slice(0, 300);
  if (status < 500 && status !== 429) return `Error from server (${STATUS_CODES[status]}): ${text}`;
  return `Unable to connect to the server: ${text || STATUS_CODES[status]}`;
}

/** Whether a failure is one that passes: the API server is away, too busy or not ready. */
export function isTransient(error: unknown): error is KubectlError {
  return error instanceof KubectlError && error.transient;
}

/** Milliseconds after the first failure; an API server that restarts is back by then. */
const LONGEST = 120_000;
/** Seconds for one try: on a line that is half open it shall not take the time of the others. */
const LONGEST_TRY = 45;

let tell: (text: string) => void = () => {};

/** From now on every further try is told beforehand. */
export function tellRetries(say: (text: string) => void): void {
  tell = say;
}

/** Makes the call, in so many seconds of all, and while its failure is transient again for two minutes. */
export async function retried<T>(call: (longest: number) => Promise<T>, seconds = Infinity) {
  const end = Date.now() + seconds * 1000;
  let last = end;
  for (let pause = 1;; pause = Math.min(pause * 2, 15)) {
    try {
      // Of a machine that has slept nothing may be left.
      const left = Math.max(0, (end - Date.now()) / 1000);
      return await call(Math.min(left, LONGEST_TRY));
    } catch (error) {
      if (pause === 1) last = Math.min(end, Date.now() + LONGEST);
      if (!isTransient(error) || Date.now() + pause * 1000 >= last) throw error;
      tell(`trying again in ${pause} s: ${error.message}: ${error.stderr.split("\n")[0]}`);
      await sleep(pause * 1000);
    }
  }
}
