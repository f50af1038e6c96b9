// The commands that make a host a one-node Kubernetes which the steps can be deployed to: written out
// as one shell script, or with YES=1 run there over ssh. Safe to run again: what is well stays.
import "../needs.ts";
import { spawn } from "node:child_process";
import { readFile, rename, writeFile } from "node:fs/promises";
import { isIP } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { replaceFile } from "../../lib/io/files.ts";
import { type Cluster, flag, projectPath, text } from "../../lib/config/cluster.ts";
import { clustersFor, command, WITHOUT_SECRETS } from "../../lib/cli/command.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import { print, Report } from "../../lib/io/report.ts";

/** The newest that makes KUBERNETES_VERSION's default and whose flags are known to us. */
const MINIKUBE_VERSION = "v1.38.1";

if (import.meta.main) {
  await command("bootstrap.ts CLUSTER [YES=1]", {}, async (words) => {
    const ids = words.filter((word) => !word.startsWith("YES="));
    const [cluster, ...others] = await clustersFor(ids, WITHOUT_SECRETS);
    if (others.length > 0) throw several(cluster!);
    const report = new Report();
    if (words.includes("YES=1")) {
      await bootstrap(cluster!, report);
      return ExitCode.done;
    }
    print(await hostScript(cluster!));
    report.say(`to run it on ${seatOf(cluster!)}: make bootstrap-${cluster!.id} YES=1`);
    return ExitCode.done;
  });
}

function several({ id }: Cluster): DeployError {
  return new DeployError("Cannot make several hosts at once", {
    exitCode: ExitCode.config,
    fix: `make bootstrap-${id}`,
  });
}

/** The script for the cluster's host: its values, then scripts/operate/bootstrap/host.sh. */
export async function hostScript(cluster: Cluster): Promise<string> {
  const host = text(cluster, "API_HOST");
  const values = {
    NODE_IP: text(cluster, "NODE_IP"),
    API_HOST: host,
    // In the certificate of the API server, beside NODE_IP.
    API_NAME: isIP(host) ? `api.${text(cluster, "DOMAIN")}` : host,
    KUBE_CONTEXT: text(cluster, "KUBE_CONTEXT"),
    KUBERNETES_VERSION: text(cluster, "KUBERNETES_VERSION"),
    MINIKUBE_VERSION,
    STORAGE_CLASS: text(cluster, "STORAGE_CLASS"),
    LONGHORN: String(text(cluster, "STORAGE") === "longhorn"),
    CONTROL_PLANE_METRICS: String(flag(cluster, "CONTROL_PLANE_METRICS")),
  };
  const name = text(cluster, "CLUSTER_NAME");
  return [
    "#!/usr/bin/env bash",
    `# Makes ${values.NODE_IP} the one-node Kubernetes of ${name}: Minikube with the driver none, which`,
    "# is the host itself, as Longhorn needs it. For Debian, Ubuntu and the family of Red Hat. Run it as",
    `# root there. Written by: make bootstrap-${cluster.id}`,
    ...Object.entries(values).map(([name, value]) => `${name}=${quoted(value)}`),
    // Root's, also under sudo: Minikube keeps its keys there.
    "export HOME=/root",
    "",
    await readFile(projectPath("scripts/operate/bootstrap/host.sh"), "utf8"),
  ].join("\n");
}

function quoted(value: string): string {
  return `'${value.replaceAll("'", `'\\''`)}'`;
}

/**
 * Runs the script on the host, brings its kubeconfig into a file of its own in `folder` and gives the
 * path: a kubeconfig that is there already is nobody's to change.
 * @throws {DeployError} exit 5 when the host cannot be logged in to, 3 when the script gives up.
 */
export async function bootstrap(
  cluster: Cluster,
  report: Report,
  folder = projectPath("env"),
): Promise<string> {
  report.heading(`bootstrap  ${text(cluster, "CLUSTER_NAME")}  ${seatOf(cluster)}`);
  const script = await hostScript(cluster);
  await overSsh(cluster, ["bash", "-s"], script, (line) => report.say(`  ${line}`));
  const lines: string[] = [];
  const remote = `/etc/kubernetes/${text(cluster, "KUBE_CONTEXT")}.kubeconfig`;
  await overSsh(cluster, ["cat", remote], "", (line, error) => {
    if (error) report.say(`  ${line}`);
    else lines.push(line);
  });
  const file = join(folder, `kubeconfig-${cluster.id}`);
  const content = `${lines.join("\n")}\n`;
  const before = await readFile(file, "utf8").catch(() => undefined);
  if (before !== undefined && before !== content) await rename(file, `${file}.before`);
  if (before !== content) {
    await replaceFile(file, (temporary) => writeFile(temporary, content, { mode: 0o600 }));
  }
  report.say(`  kubeconfig: env/kubeconfig-${cluster.id} (for you alone)`);
  report.say(
    `  use it:     KUBECONFIG_FILE=env/kubeconfig-${cluster.id} in env/cluster-${cluster.id}.env`,
  );
  report.say(`  next:       make preflight-${cluster.id}`);
  return file;
}

function seatOf(cluster: Cluster): string {
  return `${text(cluster, "SSH_USER")}@${text(cluster, "NODE_IP")}`;
}

/** Runs a command as root on the host; `tell` is given each line, and whether it came from stderr. */
async function overSsh(
  cluster: Cluster,
  words: string[],
  input: string,
  tell: (line: string, error: boolean) => void,
): Promise<void> {
  const asRoot = text(cluster, "SSH_USER") === "root" ? [] : ["sudo", "-n", "-H"];
  const target = ["-o", "ConnectTimeout=10", seatOf(cluster), ...asRoot, ...words];
  const child = spawn("ssh", target, { stdio: ["pipe", "pipe", "pipe"] });
  const readers = [child.stdout, child.stderr].map(async (stream, index) => {
    for await (const line of createInterface({ input: stream })) tell(line, index === 1);
  });
  // A host that hangs up early is told by the exit code.
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  const code = await new Promise<number>((resolve) => {
    child.on("error", () => resolve(127));
    child.on("close", (code) => resolve(code ?? 1));
  });
  await Promise.all(readers);
  if (code !== 0) throw failure(cluster, code);
}

function failure(cluster: Cluster, code: number): DeployError {
  const seat = seatOf(cluster);
  if (code === 127) {
    return new DeployError("Cannot find ssh or bash", {
      exitCode: ExitCode.prerequisite,
      where: `here or on ${seat}`,
      fix: `install them, or run the script there by hand: make bootstrap-${cluster.id} >host.sh`,
    });
  }
  if (code === 255) {
    return new DeployError(`Cannot log in to ${seat}`, {
      exitCode: ExitCode.unreachable,
      where: "ssh says why, above",
      fix: `ssh ${seat} has to work without a question; SSH_USER and NODE_IP name the host`,
    });
  }
  return new DeployError(`Cannot make ${seat} a host for Kubernetes`, {
    exitCode: ExitCode.prerequisite,
    where: `the script ended with ${code}; its last lines are above`,
    fix: `correct what they say, then: make bootstrap-${cluster.id} YES=1 (it goes on from there)`,
  });
}
