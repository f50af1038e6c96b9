// What a failed kubectl means, told from its words: the exit code, the fix, and whether to try again.
import { STATUS_CODES } from "node:http";
import { type Cluster, text } from "../core/cluster.ts";
import { proxyHint } from "../io/tls.ts";
import { DeployError, ExitCode } from "../core/error.ts";

/** A failed call; `transient` ones are worth another try. */
export class KubectlError extends DeployError {
  readonly stderr: string;
  /** What it wrote before it failed. */
  readonly stdout: string;
  readonly transient: boolean;

  constructor(message: string, stderr: string, rest: Verdict, stdout = "") {
    super(message, { exitCode: rest.exitCode, where: stderr || [], fix: rest.fix });
    this.stderr = stderr;
    this.stdout = stdout;
    this.transient = rest.transient ?? false;
  }
}

interface Verdict {
  exitCode: number;
  fix?: string;
  transient?: boolean;
}

// What kapp and others learnt to retry, in kubectl's words; everything else is final.
const TRANSIENT = new RegExp([
  "no answer within",
  "connection refused|The connection to the server .* was refused",
  "connection reset",
  "i/o timeout",
  "TLS handshake timeout",
  "unexpected EOF|: EOF",
  "http2: .*(GOAWAY|connection lost)",
  "etcdserver: (request timed out|leader changed)",
  "the server is currently unable to handle the request",
  // 502 and 504 of a proxy before it, and of itself.
  "unable to return a response in the time allotted|\\(Timeout\\)",
  "an error on the server \\(.*has prevented the request from succeeding",
  "[Tt]oo many requests|TooManyRequests|rate limit",
  "failed calling webhook",
  "conversion webhook .* failed",
  "Operation cannot be fulfilled on resourcequotas",
].join("|"));

/** What these words of a failed call mean. */
export function verdict(stderr: string, cluster: Cluster): Verdict {
  const context = text(cluster, "KUBE_CONTEXT");
  const host = text(cluster, "API_HOST");
  if (/context .* does not exist|no context exists/.test(stderr)) {
    return { exitCode: ExitCode.refused, fix: `kubectl config get-contexts (wanted: ${context})` };
  }
  if (
    !/webhook/.test(stderr) &&
    /x509:|certificate has expired|certificate signed by unknown authority/.test(stderr)
  ) {
    const fix =
      `compare the certificate with the clock (date); minikube start -p ${context} renews`;
    return { exitCode: ExitCode.unreachable, fix };
  }
  if (/Unauthorized|must be logged in|provide credentials/.test(stderr)) {
    return { exitCode: ExitCode.unreachable, fix: `kubectl --context ${context} auth whoami` };
  }
  if (/\(Forbidden\)/.test(stderr) && /cannot (\w+) (resource|path)/.test(stderr)) {
    const fix = `give the user of context ${context} the rights named above`;
    return { exitCode: ExitCode.unreachable, fix };
  }
  if (TRANSIENT.test(stderr) || /Unable to connect|no such host/.test(stderr)) {
    const webhook = /webhook/.test(stderr);
    return {
      exitCode: webhook ? ExitCode.rejected : ExitCode.unreachable,
      fix: webhook ? "look at the webhook's Service and pods, then run again" : [
        ...proxyHint(host.replace(/:\d+$/, "")),
        `check that the API server of ${context} at ${host} runs, then run again`,
      ].join("; "),
      transient: true,
    };
  }
  return { exitCode: ExitCode.rejected, fix: "correct the object named above, then run again" };
}

/** Some messages quote whole objects. */
const LONGEST = 600;

/** kubectl's stderr without its advice on conflicts, warnings and klog lines. */
export function clean(stderr: string): string {
  return stderr.split("\n")
    // kustomize tells its failures in a log line, among others that are noise.
    .map((line) => /^E\d{4} .*"command failed" err="(.*)"$/.exec(line)?.[1] ?? line)
    .filter((line) => !/^(Warning: |[EWI]\d{4} )/.test(line))
    .map((line) => line.length > LONGEST ? `${line.slice(0, LONGEST)}...` : line)
    .join("\n")
    .replace(/\nPlease review the fields above[\s\S]*?conflicts\)?\.?(?=\n|$)/g, "")
    .trim();
}

/** What kubectl says of an answer that is an error: a Status, or what somebody in between says, as the proxy itself. */
export function wordsOf(status: number, body: string): string {
  const { kind, reason, message } = parsed(body) ?? {};
  if (kind === "Status") return `Error from server${reason ? ` (${reason})` : ""}: ${message}`;
  if (status === 401) return "error: You must be logged in to the server (Unauthorized)";
  const text = body.trim().slice(0, 300);
  if (status < 500 && status !== 429) return `Error from server (${STATUS_CODES[status]}): ${text}`;
  return `Unable to connect to the server: ${text || STATUS_CODES[status]}`;
}

function parsed(body: string) {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}
