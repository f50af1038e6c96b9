// A run that is killed at each of its calls in turn, on a real API server whose log tells what arrived.
import assert from "node:assert/strict";
import { once } from "node:events";
import { spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { projectPath } from "../../lib/core/cluster.ts";
import { OWNER } from "../../lib/core/object.ts";
import { deployFleet } from "../../lib/deploy/fleet.ts";
import { exitCodeOfFleet } from "../../lib/deploy/results.ts";
import { toySteps } from "../fixtures/toy_site.ts";
import { cluster, clusterAt, folder, kubectlPath, live, servers, typed } from "./server.ts";

/** The user whom the server's log names for what the killed runs do. */
const DOOMED = "doomed";
const kubeconfig = join(folder, "kubeconfig-doomed");
const config = parse(await readFile(servers.kubeconfig, "utf8"));
for (const { user } of config.users) {
  Object.assign(user, { as: DOOMED, "as-groups": ["system:masters"] });
}
await writeFile(kubeconfig, stringify(config), { mode: 0o600 });

/** A kubectl that signals the run at the call of that number, and would go on a good while later. */
async function killer(signal: string, number: number): Promise<string> {
  const path = join(folder, "killer");
  const script = `#!/bin/bash
exec 9>>${path}.calls; flock 9; echo >&9; mine=$(wc -l <${path}.calls); exec 9>&-
run=$PPID
case "$*" in *" proxy "*) read -r _ _ _ run _ </proc/$PPID/stat ;; esac # started by a shell of the run
[ $mine = ${number} ] && kill -${signal} $run && sleep 0.7
exec ${kubectlPath} "$@"
`;
  await writeFile(`${path}.calls`, "");
  await writeFile(path, script, { mode: 0o700 });
  return path;
}

/** Runs it as a process of its own; when it began and ended, as of `Date.now()`, its code, how many calls. */
async function doomed(word: string, signal = "KILL", number = 0) {
  const program = await killer(signal, number);
  const began = Date.now();
  const script = projectPath("tests/fixtures/toy_site.ts");
  const run = spawn(Deno.execPath(), ["run", "--allow-all", script, program, kubeconfig, word], {
    stdio: "ignore",
  });
  const [code] = await once(run, "exit");
  const ended = Date.now();
  const calls = (await readFile(`${program}.calls`, "utf8")).length;
  return { began, ended, code, calls };
}

/** As if nobody had ever deployed. */
async function nothingThere(): Promise<void> {
  const names = [`configmap/${OWNER}`, `configmap/${OWNER}-kinds`, `lease/${OWNER}`];
  const quick = ["--ignore-not-found", "--wait=false"];
  await Promise.all([
    typed(["delete", "--namespace", "kube-system", ...names, ...quick]),
    typed(["delete", "--namespace", "default", "configmap/first", "configmap/second", ...quick]),
  ]);
}

/** Deploys in this process, and gives how many changes that took. */
async function deployed(word: string): Promise<number> {
  const results = await deployFleet(toySteps(word), [await clusterAt(servers.kubeconfig)]);
  assert.equal(exitCodeOfFleet(results), 0);
  return results.flatMap(({ steps }) => steps).reduce((sum, { changed }) => sum + changed, 0);
}

/** How a run ends by each signal; one that is told at its last call ends as it would have. */
const CODES: Record<string, (number | null)[]> = { KILL: [null], HUP: [129, 0], TERM: [143, 0] };

Deno.test("E2: after a run is killed at any of its calls nothing of it arrives, and the next one ends well", async () => {
  const mark = await servers.mark(cluster);
  const runs: Awaited<ReturnType<typeof doomed>>[] = [];
  for (const [signal, codes] of Object.entries(CODES)) {
    // The first deploy there is has more to do than one of a site that has changed.
    const isFirst = signal === "KILL";
    if (isFirst) await nothingThere();
    const whole = await doomed(signal);
    assert.equal(whole.code, 0);
    runs.push(whole);
    for (let number = 1; number <= whole.calls; number++) {
      const what = `${signal} at call ${number} of ${whole.calls}`;
      if (isFirst) await nothingThere();
      const run = await doomed(what, signal, number);
      runs.push(run);
      assert.ok(codes.includes(run.code), `${what}: ${run.code}`);
      await deployed(what);
      assert.equal(await deployed(what), 0, what);
      const { data } = await live("configmap", "second");
      assert.deepEqual(data, { word: what });
    }
  }
  const written = (await servers.eventsSince(mark, cluster)).filter(({ impersonatedUser, verb }) =>
    impersonatedUser?.username === DOOMED && !["get", "list"].includes(verb)
  );
  const isLate = (time: number) =>
    !runs.some(({ began, ended }) => time >= began && time <= ended + 500);
  assert.ok(written.length > 0);
  assert.deepEqual(
    written.filter(({ requestReceivedTimestamp: time }) => isLate(Date.parse(time))),
    [],
  );
});
