// Hundreds of clusters on one machine: a kubectl that answers for each of them as a real server did for one, takes
// its time for it, and writes down when it begins and ends. Lists of all of them are those of that server.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { $ } from "zx";
import { KEPT } from "../../lib/kube/target.ts";
import { text } from "../../lib/core/cluster.ts";
import { OWNER } from "../../lib/core/object.ts";
import { targetArgs } from "../../lib/kube/kubectl.ts";
import { type Bench, measure } from "./context.ts";
import { failed } from "./measure.ts";
import { fleetOf } from "./site.ts";

/** Seconds that the stub takes for an answer. */
const ANSWER = 0.1;

/** The most clusters whose contexts the stub knows. */
const CLUSTERS = 500;

/** Answers stand in files of these names; what is to be applied has arrived as it is. Rendering is the real thing. */
const SCRIPT = `#!/bin/sh
log='FOLDER/log'
echo + >>"$log"
trap 'echo - >>"$log"' EXIT
[ "$1" = kustomize ] && { 'KUBECTL' "$@"; exit; }
cd 'FOLDER' || exit
sleep ${ANSWER}
case " $* " in
  *" version "*) cat version ;;
  *" config view "*) cat config ;;
  *" get namespace/kube-system "*) cat identity ;;
  *" proxy "*)
    trap 'kill $proxy; echo - >>"$log"' EXIT
    trap exit TERM
    shift 2
    'KUBECTL' TARGET "$@" & proxy=$!
    wait $proxy ;;
  *" apply "*) cat ;;
  *) cat >/dev/null ;;
esac
`;

/** Deploys to the central cluster, and notes what it answers to our looks. */
async function record({ servers, ours, folder, cluster, kubectl, objects }: Bench): Promise<void> {
  await servers.start([cluster]);
  await ours.run(["deploy", cluster.id]);
  const place = placeIn(folder);
  await mkdir(place, { recursive: true });
  const asked = async (...words: string[]) =>
    (await $({ quiet: true })`${kubectl} ${targetArgs(cluster)} ${words}`).stdout;
  const write = (name: string, text: string) => writeFile(join(place, name), text);
  const json = ["--output", "json"];
  const kept = ["namespace/kube-system", `configmap/${KEPT}`, `lease/${OWNER}`];
  const identity = await asked("get", ...kept, "--namespace", "kube-system", ...json);
  await write("identity", identity);
  await write("version", await asked("version", "--client", ...json));
  await write("config", JSON.stringify(await contexts()));
  await write("wanted", JSON.stringify(objects));
  const script = SCRIPT.replaceAll("FOLDER", place).replaceAll("KUBECTL", kubectl)
    .replace("TARGET", targetArgs(cluster).join(" "));
  await writeFile(join(place, "kubectl"), script, { mode: 0o700 });
}

/** Every cluster's context, as `kubectl config view` prints them. */
async function contexts(): Promise<unknown> {
  const names = (await fleetOf(CLUSTERS)).map((cluster) => text(cluster, "KUBE_CONTEXT"));
  return {
    contexts: names.map((name) => ({ name, context: { cluster: name } })),
    clusters: names.map((name) => ({ name, cluster: { server: "https://127.0.0.1:6443" } })),
  };
}

/** A deploy with nothing to do, and a plan, of many such clusters: our own memory, and how many kubectl at once. */
export async function manyClusters(bench: Bench): Promise<void> {
  await record(bench);
  const place = placeIn(bench.folder);
  const env = { BENCH_KUBECTL: join(place, "kubectl"), BENCH_WANTED: join(place, "wanted") };
  for (const verb of ["deploy", "plan"]) {
    for (const count of ["250", String(CLUSTERS)]) {
      const log = join(place, "log");
      await writeFile(log, "");
      await measure(bench, `${verb} ${count}`, async () => {
        const sample = await bench.ours.run([`${verb}-many`, count], { env });
        if (sample.changed === 0) return { ...sample, atOnce: peakOf(await readFile(log, "utf8")) };
        throw failed(`${verb} ${count}`, `it changed ${sample.changed} objects and not 0`);
      });
    }
  }
  await bench.servers.stop();
}

/** The most that were between their begin and their end. */
function peakOf(log: string): number {
  let now = 0, peak = 0;
  for (const line of log.split("\n")) {
    if (line === "+") peak = Math.max(peak, ++now);
    if (line === "-") now -= 1;
  }
  return peak;
}

function placeIn(folder: string): string {
  return join(folder, "stub");
}
