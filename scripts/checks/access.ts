// This machine, and its access to the cluster.
import { $ } from "zx";
import { text } from "../../lib/core/cluster.ts";
import { ExitCode } from "../../lib/core/error.ts";
import { PLATFORM } from "../../lib/core/version.ts";
import { connect } from "../../lib/kube/target.ts";
import { kubectl, kubectlVersion } from "../../lib/kube/kubectl.ts";
import { minorOf, OLDEST } from "../../lib/kube/version.ts";
import { KubectlError } from "../../lib/kube/kubectl_error.ts";
import { TARGET } from "../../lib/probe/check.ts";
import { fail, type Finding, type Findings, ok, type Subject, warn } from "../../lib/core/check.ts";

/** kubectl against the server, and the shell that everything is started with. */
export async function tools({ cluster }: Subject): Promise<Findings> {
  const client = await kubectlVersion();
  // Another row says why a server does not answer.
  const server = await kubectl(["get", "--raw", "/version"], { cluster, seconds: 10 })
    .then((text) => JSON.parse(text).gitVersion as string, () => undefined);
  const bash = await $({ quiet: true, nothrow: true })`bash --version`;
  const shell = /version ([0-9.]+)/.exec(bash.stdout)?.[1];
  return [
    judgeKubectl(client, server),
    shell ? ok(`bash ${shell}`) : fail("no bash", "install bash"),
  ];
}

/** Versions as `v1.35.1`; one minor beside the server is supported. */
export function judgeKubectl(client: string, server: string | undefined): Finding {
  const seen = `kubectl ${client}${server ? `, server ${server}` : ""}`;
  const minor = minorOf(client);
  if (minor < OLDEST) {
    return fail(`${seen}: older than v1.${OLDEST}`, "make tools, or a newer kubectl first on PATH");
  }
  const skew = server === undefined ? 0 : Math.abs(minor - minorOf(server));
  if (skew <= 1) return ok(seen);
  const [release] = /^v[\d.]+/.exec(server!) ?? [server];
  const platform = `${PLATFORM.os}/${PLATFORM.arch}`;
  return warn(
    `${seen}: ${skew} minor versions apart, 1 is supported`,
    // What lies in .tools/bin comes before PATH, and may be a link to another program.
    `curl -fLo .tools/kubectl https://dl.k8s.io/release/${release}/bin/${platform}/kubectl && ` +
      "install .tools/kubectl .tools/bin/",
  );
}

/** Context, address and identity of the cluster, as before every deploy. */
export async function target({ cluster, once }: Subject): Promise<Finding> {
  const { marker } = await once(TARGET, () => connect(cluster));
  const where = `${text(cluster, "KUBE_CONTEXT")} at ${text(cluster, "API_HOST")}`;
  return ok(`${where}, ${marker ? "not deployed to yet" : text(cluster, "CLUSTER_NAME")}`);
}

/** Whether the user of the context may do everything; a deploy makes ClusterRoles and CRDs. */
export async function rights({ cluster }: Subject): Promise<Finding> {
  const question = ["auth", "can-i", "*", "*", "--all-namespaces"];
  const answer = await kubectl(question, { cluster, seconds: 15 }).catch((error) => {
    // "no" comes with exit code 1.
    if (error instanceof KubectlError && error.stdout.trim() === "no") return "no";
    throw error;
  });
  if (answer.trim() === "yes") return ok("everything");
  return fail(
    "the user of the context may not do everything",
    `bind it to cluster-admin (kubectl auth whoami says who it is)`,
    ExitCode.unreachable,
  );
}
