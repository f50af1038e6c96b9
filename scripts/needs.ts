// What every script needs of this machine: Deno's permissions, and bash. A script imports this first, because libraries
// look for both as soon as they are loaded, and Deno would end with a stack and exit 1.
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import process from "node:process";
import { DeployError, ExitCode } from "../lib/core/error.ts";
import { Report } from "../lib/io/report.ts";

// Writing and the network are asked for when it comes to that, and not by every script.
const missing = (["read", "env", "sys", "run"] as const)
  // Asking for the state never prompts, whatever the terminal.
  .filter((name) => Deno.permissions.querySync({ name }).state !== "granted");
if (missing.length > 0) {
  const where = `missing: ${missing.map((name) => `--allow-${name}`).join(" ")}`;
  const fix = "use make, which gives them; or add the flags above after `deno run`";
  end("Cannot start: Deno may not do all that is needed", fix, where);
}
// zx quotes arguments for bash alone.
const folders = (process.env.PATH ?? "").split(delimiter);
if (!folders.some((folder) => existsSync(join(folder, "bash")))) {
  end("Cannot start: there is no bash on PATH", "install bash (apt install bash, apk add bash)");
}

function end(message: string, fix: string, where?: string): never {
  const exitCode = ExitCode.prerequisite;
  const report = new Report();
  report.error(new DeployError(message, { exitCode, where, fix }));
  report.say(`exit code ${exitCode}`);
  Deno.exit(exitCode);
}
