// The only place that starts kubectl: target, timeout, locale and error classes are set once.
import { stat } from "node:fs/promises";
import { delimiter, join } from "node:path";
import process from "node:process";
import { setInterval } from "node:timers";
import { $, type ProcessPromise, which } from "zx";
import { type Cluster, projectPath, text } from "../core/cluster.ts";
import { DeployError, ExitCode, prerequisiteError } from "../core/error.ts";
import { homeFolder } from "../io/files.ts";
import { hold, refuseInterrupted } from "../io/interrupt.ts";
import { clean, KubectlError, NO_KUBECTL, retried } from "./kubectl_error.ts";
import { isTied, LONGEST_UNTIED, tie } from "./process.ts";
import { fences, turnOn } from "./turns.ts";

interface KubectlOptions {
  cluster: Cluster;
  input?: string; // on stdin, which is closed otherwise: kubectl would ask for a user name
  seconds?: number; // of all tries together (120): a half-open connection must not hang a deploy
  once?: boolean; // one try, for a caller that has its own way to go on
  /** Also when the run is to end, to give back what it holds; its turn comes before all others. */
  afterInterrupt?: boolean;
  signal?: AbortSignal; // ends the call; its reason is told as kubectl's words are
}

let program = "kubectl";

/** Takes another kubectl than the first on PATH. */
export function useKubectl(path: string): void {
  program = path;
}

/** kubectl's stdout, of the cluster's own context; what may be done twice is tried again while the server is away. */
export async function kubectl(args: string[], options: KubectlOptions): Promise<string> {
  const { seconds = 120, once = false } = options;
  const isRepeatable = ["get", "annotate"].includes(args[0]!) ||
    args.includes("--ignore-not-found");
  if (once || !isRepeatable) return await call(args, seconds, options);
  return await retried((longest) => call(args, longest, options), seconds);
}

async function call(args: string[], longest: number, options: KubectlOptions): Promise<string> {
  const { cluster, input, afterInterrupt = false, signal } = options;
  const seconds = isTied() ? longest : Math.min(longest, LONGEST_UNTIED);
  using _slot = await turnOn(cluster, afterInterrupt ? "first" : "call");
  const by = afterInterrupt ? undefined : fences.get(cluster.id);
  if (!afterInterrupt) refuseInterrupted(cluster.id);
  await by?.begin();
  // A process group of its own: the terminal sends Ctrl-C to all of ours, and a write should end well.
  const words = [...tie(), program, ...targetArgs(cluster), ...args];
  const running = start(words, true, input);
  // One that ends before it has read everything: its exit code and its words say why.
  running.child?.stdin?.on("error", () => {});
  // By `exec` kubectl is the child itself.
  const kill = () => running.child?.kill("SIGTERM");
  using _ = hold(kill);
  const deadline = performance.now() + seconds * 1000;
  const { promise: over, resolve: end } = Promise.withResolvers<string>();
  // Looked at, not waited for: a machine that has slept wakes up with all its timers late.
  using _looks = setInterval(() => {
    const late = performance.now() > deadline && `no answer within ${+seconds.toFixed(1)} s`;
    const why = late || by?.over() || signal?.aborted && String(signal.reason);
    if (!why) return;
    kill();
    end(why);
  }, 200);
  const result = await Promise.race([running, over]);
  const verbAndKind = args.filter((arg) => !arg.startsWith("-")).slice(0, 2).join(" ");
  if (typeof result === "string") {
    refuseInterrupted(cluster.id);
    throw new KubectlError(verbAndKind, result, cluster);
  }
  const { exitCode, stdout, stderr } = result;
  if (exitCode === 0) return stdout;
  if (result.signal) refuseInterrupted(cluster.id);
  const why = exitCode === 127 ? NO_KUBECTL.where : stderr;
  throw new KubectlError(verbAndKind, why, cluster, stdout);
}

function start(words: string[], detached = false, input?: string): ProcessPromise {
  const running = $({
    quiet: true,
    nothrow: true,
    detached,
    env: environment(),
    stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    input,
  })`exec ${words}`;
  // Of pieces zx would make text one by one, and a letter may lie in two.
  running.child?.stdout?.setEncoding("utf8");
  return running;
}

/** Words as we know them, and no defaults of the user's. GOGC: a sixth less CPU for, at most, 10 MB more. */
function environment(): Record<string, string | undefined> {
  return { GOGC: "400", ...process.env, LC_ALL: "C", KUBECTL_KUBERC: "false", KUBERC: "off" };
}

/** Starts a kubectl that goes on until its stdin is closed, as when this process ends; `scratch` goes then, too. */
export function startKubectl(args: string[], cluster: Cluster, scratch: string): ProcessPromise {
  const all = [...targetArgs(cluster), ...args];
  // A process group of its own, which ends as a whole: Ctrl-C would end what waits here and not kubectl, and where
  // kubectl is a script that starts another one (`minikube kubectl --`), that would go on.
  return $({ quiet: true, nothrow: true, stdio: "pipe", detached: true, env: environment() })`
    exec 3<&0
    ${program} ${all} </dev/null 3<&- & child=$!
    { cat <&3; rm -rf ${scratch}; kill -- -$$; } >/dev/null 2>&1 &
    wait $child`;
}

async function withoutCluster(args: string[], id: string) {
  using _slot = await turnOn({ id });
  return await start([program, ...args]);
}

/** Builds a kustomization folder into YAML. Throws exit 2 with kustomize's words. */
export async function kustomize(folder: string): Promise<string> {
  const { exitCode, stdout, stderr } = await withoutCluster(["kustomize", folder], folder);
  if (exitCode === 0) return stdout;
  const isWrong = { exitCode: ExitCode.config, fix: "correct the file named above" };
  const about = exitCode === 127 ? NO_KUBECTL : isWrong;
  throw new DeployError(`Cannot build ${folder}`, { ...about, where: clean(stderr) });
}

/** Version of the kubectl program, as `v1.36.3`. Throws exit 3 when it has none to tell. */
export async function kubectlVersion(): Promise<string> {
  const words = ["version", "--client", "--output", "json"];
  const { stdout, stderr } = await withoutCluster(words, program);
  const version = /"gitVersion": *"([^"]+)"/.exec(stdout)?.[1];
  if (version) return version;
  throw new DeployError("Cannot run kubectl", { ...NO_KUBECTL, where: clean(stderr) });
}

/** The oldest minor version that is accepted. */
export const OLDEST = 32;

/** `36` of `v1.36.3`. */
export function minorOf(version: string): number {
  return Number(/^v?\d+\.(\d+)/.exec(version)?.[1] ?? NaN);
}

const versionByMark = new Map<string, Promise<string>>();

/** Refuses (exit 3) a kubectl that is older than {@link OLDEST}: it would do other things than we tell it. */
export async function refuseOldKubectl(): Promise<void> {
  const mark = await kubectlMark();
  const version = await versionByMark.getOrInsertComputed(mark, kubectlVersion);
  if (minorOf(version) >= OLDEST) return;
  throw prerequisiteError(`Cannot work with kubectl ${version}: older than v1.${OLDEST}`, {
    where: mark.split(" ")[0] || "kubectl",
    fix: "make tools, or a newer kubectl first on PATH",
  });
}

/** What tells this kubectl program from another version of it: path, size and time. */
export async function kubectlMark(): Promise<string> {
  return await fileMark(await which(program, { nothrow: true }) ?? "");
}

/** The same of what kubectl reads as the cluster's kubeconfig. */
export async function kubeconfigMark(cluster: Cluster): Promise<string> {
  const own = kubeconfigOf(cluster);
  const ofUser = process.env.KUBECONFIG || join(homeFolder(), ".kube", "config");
  const files = own ? [own] : ofUser.split(delimiter);
  return [await kubectlMark(), ...files, ...await Promise.all(files.map(fileMark))].join();
}

async function fileMark(path: string): Promise<string> {
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() ? `${path} ${found.size} ${found.mtimeMs}` : "";
}

/** Arguments that name the target: never the current context, never another kubeconfig. */
export function targetArgs(cluster: Cluster): string[] {
  const file = kubeconfigOf(cluster);
  return [...(file ? [`--kubeconfig=${file}`] : []), `--context=${text(cluster, "KUBE_CONTEXT")}`];
}

/** Path of KUBECONFIG_FILE; undefined leaves the choice to kubectl ($KUBECONFIG, ~/.kube/config). */
function kubeconfigOf(cluster: Cluster): string | undefined {
  const file = text(cluster, "KUBECONFIG_FILE");
  return file ? projectPath(file) : undefined;
}
