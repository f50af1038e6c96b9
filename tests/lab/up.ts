// lab: three real clusters at the site's own addresses, in network namespaces of this machine, deployed and
// verified by the commands that a site gets. What it keeps lies in LAB_HOME; `make lab-wipe` forgets the clusters.
import "../../scripts/needs.ts";
import { randomBytes } from "node:crypto";
import { existsSync, statfsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { $ } from "zx";
import { command } from "../../lib/cli/command.ts";
import { loadFleet } from "../../lib/config/cluster.ts";
import { type Cluster, projectPath, text } from "../../lib/core/cluster.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import { desiredOf } from "../../lib/deploy/step.ts";
import { urlsOf } from "../../lib/cli/deploy.ts";
import { cacheDir, replaceFile } from "../../lib/io/files.ts";
import { Report } from "../../lib/io/report.ts";
import { STEPS } from "../../scripts/steps.ts";
import { findTools } from "../../scripts/tools/tool.ts";
import { buildImages } from "./images.ts";
import { labTools, programsOf } from "./tools.ts";
import { copyImages } from "./upstream.ts";

const HOME = process.env.LAB_HOME ??= join(cacheDir(), "lab");
const SECRETS = join(HOME, "secret.env");
const report = new Report();
const say = (line: string) => report.say(line);
const lab = $({ stdio: "inherit", verbose: false, cwd: projectPath(".") });

await command("up.ts", {}, async () => {
  refuseMachine();
  report.heading("lab  three real clusters on this machine");
  await mkdir(HOME, { recursive: true, mode: 0o700 });
  refuseFullDisk();
  const password = await secrets();
  Object.assign(process.env, { PROFILE: "tests/lab/site.env", SECRET_FILE: SECRETS });
  const store = join(HOME, "run/registry");
  const centre = (clusters: Cluster[]) => clusters.find(({ role }) => role === "central")!;
  const planned = centre(await loadFleet());
  await timed("This machine", () => lab`tests/lab/setup`);
  await timed("Upstream", async () => {
    for (const [name, value] of Object.entries(await copyImages(planned, { store, say }))) {
      process.env[name] ??= value;
    }
  });
  const fleet = await loadFleet(), central = centre(fleet);
  const tools = await labTools(central), names = await programsOf(tools, central, store);
  await timed("Programs", () => findTools(names, { root: HOME, tools, say }));
  await timed("Images", () => buildImages(central, { home: HOME, store, say }));
  // Go's caches may have filled it.
  refuseFullDisk();
  // At the operator's seat nothing but the site can be reached.
  await timed("Bundles", () => Promise.all(fleet.map((cluster) => desiredOf(STEPS, cluster))));
  await timed("Clusters", () => lab`tests/lab/lab up`);
  const deployed = await lab({
    nothrow: true,
  })`tests/lab/lab exec -- make --no-print-directory all`;
  if (deployed.exitCode !== 0) return ExitCode.verification;
  const door = "tests/lab/conf/alertmanager.yaml";
  await lab({ stdio: "pipe" })`tests/lab/lab exec -- kubectl --context mkube-196 apply -f ${door}`;
  say(await nextSteps(fleet, password));
  return ExitCode.done;
});

function refuseMachine(): void {
  const mounts = Deno.build.os === "linux" ? Deno.readTextFileSync("/proc/mounts") : "";
  const lacks = Deno.build.os !== "linux" || Deno.uid() !== 0
    ? "needs Linux and root"
    // Its nodes make their control groups in the hierarchies of version 1.
    : !/ cgroup \S*\bmemory\b/m.test(mounts)
    ? "needs control groups of version 1 (boot with systemd.unified_cgroup_hierarchy=0)"
    : "";
  if (!lacks) return;
  throw new DeployError(`The laboratory ${lacks}`, {
    exitCode: ExitCode.prerequisite,
    fix: "`make demo` needs neither: its pods are simulated",
  });
}

/** OpenSearch measures the disk that its volumes lie on, as every node here does. */
function refuseFullDisk(): void {
  const { bavail, blocks } = statfsSync(HOME);
  const used = Math.round(100 * (1 - bavail / blocks));
  if (used < 85) return;
  throw new DeployError(`The disk that ${HOME} lies on is ${used} % full`, {
    exitCode: ExitCode.prerequisite,
    where: "OpenSearch measures it: from 85 % on verification fails, from 95 % on no line is taken",
    fix: "free some (`go clean -cache -modcache`), or let LAB_HOME lie on another one",
  });
}

/** Keys of the laboratory's S3 and passwords, made up once; gives that of the user admin. */
async function secrets(): Promise<string> {
  const kept = join(HOME, "password");
  if (!existsSync(SECRETS)) {
    const random = () => randomBytes(12).toString("hex");
    const password = random();
    await replaceFile(kept, (path) => writeFile(path, password, { mode: 0o600 }));
    const { stdout } = await $({ quiet: true, input: password })`openssl passwd -apr1 -stdin`;
    const lines = [
      `S3_ACCESS_KEY=lab-${random()}`,
      `S3_SECRET_KEY=${random()}`,
      `GRAFANA_ADMIN_PASSWORD=${password}`,
      `UI_BASIC_AUTH='admin:${stdout.trim()}'`,
    ];
    await replaceFile(SECRETS, (path) => writeFile(path, lines.join("\n") + "\n", { mode: 0o600 }));
  }
  return kept;
}

async function timed(title: string, work: () => Promise<unknown>): Promise<void> {
  const started = performance.now();
  await work();
  report.phase(title, (performance.now() - started) / 1000);
}

async function nextSteps(fleet: Cluster[], password: string): Promise<string> {
  const doors = process.env.LAB_DOORS ?? "127.0.101";
  const hosts = await Promise.all(fleet.map(async (cluster) => {
    const steps = STEPS.filter(({ skips }) => !skips?.(cluster));
    const names = (await urlsOf(steps, cluster)).map((url) => new URL(url).hostname);
    if (cluster.role === "central") names.push("alertmanager.mkube-196.miribit.lab");
    return `echo ${doors}.${cluster.id} ${names.join(" ")} >>/etc/hosts`;
  }));
  const standIns = text(fleet[0]!, "STAND_INS").replaceAll(",", ", ");
  return `
${fleet.map(({ id }) => id).join(", ")} are deployed and verified.
Alerts about what is a stand-in here (${standIns}) always fire: \`make status\` says \`crit\` and ends
with 11. \`make verify\` is what says that all is well.

open         http://thanos.mkube-196.miribit.lab:30080, then what stands above; user admin, password: cat ${password}
             http://alertmanager.mkube-196.miribit.lab:30080/api/v2/alerts (pages only with upstream's image)
             once, so that a browser of this machine finds them:
             ${hosts.join("\n             ")}
look around  tests/lab/lab exec -- make status    (or: make preflight, make plan, make verify)
             tests/lab/lab exec -- kubectl --context mkube-196 get pods -A
break it     make lab-cut CLUSTER=198    make lab-heal CLUSTER=198    make lab-restart CLUSTER=197
prove it     make e2e    make e2e-faults    make lab-pictures
end          make lab-down (data stays)    make lab-wipe`;
}
