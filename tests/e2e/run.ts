// Runs the suite or its drills: in the laboratory, whose operator's seat it takes by itself, or on the site
// that is named on the command line.
import "../../scripts/needs.ts";
import { setTimeout as sleep } from "node:timers/promises";
import { command } from "../../lib/cli/command.ts";
import { loadFleet } from "../../lib/config/cluster.ts";
import { projectPath } from "../../lib/core/cluster.ts";
import { Report } from "../../lib/io/report.ts";
import { ensureTools } from "../../scripts/tools/tool.ts";
import { atSeat, guard } from "./guard.ts";
import { WEBHOOK_PORT } from "./hooks.ts";

await command("run.ts suite | drills", {}, async ([part = "suite"]) => {
  const deno = ["scripts/deno", "--allow-all", "--frozen", "--no-prompt"];
  const run = (...words: string[]) => deno.toSpliced(1, 0, ...words);
  if (Deno.env.get("SITE") === undefined && !atSeat()) {
    const seat = ["tests/lab/lab", "exec", "--"];
    const down = await spawn([...seat, "true"]);
    if (down) return down;
    // From the seat no registry can be reached.
    await ensureTools(["kubectl", "promtool", "thanos"], { say: (line) => new Report().say(line) });
    return await spawn([...seat, ...run("run"), "tests/e2e/run.ts", part]);
  }
  await guard(await loadFleet());
  const first = part === "suite" ? ["--fail-fast"] : [];
  const code = await spawn([...run("test"), ...first, `tests/e2e/${part}.ts`]);
  if (code === 0) return code;
  // Else alerts go on to a webhook that has ended, and the next run's verification says so for a quarter of an hour.
  const server = Deno.serve({ port: WEBHOOK_PORT, onListen() {} }, () => new Response());
  await spawn([...run("run"), "scripts/20-prometheus.ts", "all"]);
  await sleep(60_000); // until Alertmanager has read its new configuration
  await server.shutdown();
  return code;
});

/** Runs a command of this project on this terminal, and gives its exit code. */
async function spawn([program, ...args]: string[]): Promise<number> {
  const options = { args, cwd: projectPath("."), stdin: "inherit" } as const;
  return (await new Deno.Command(projectPath(program!), options).spawn().status).code;
}
