// A stranger's first hour: the commands of README.md's "First run on a real site" on new clusters, in every
// order, each of them well at the first try.
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { $ } from "zx";
import { projectPath } from "../../lib/core/cluster.ts";
import { print, table } from "../../lib/io/report.ts";
import { STEPS } from "../../scripts/steps.ts";
import { changesOf } from "../support/make.ts";
import { hook, run } from "./hooks.ts";
import { central, check, closeAll, copyProject, edges, make, seconds } from "./site.ts";

const [first, second] = edges.map(({ id }) => id);
const NOT_YET = /not deployed yet: (.*)/;

/** Types a make command in the folder of the drill; fails unless it ends with 0. */
type Type = (...words: string[]) => Promise<string>;

/** A drill on new clusters, in a copy of the project as a stranger has it. */
function drill(name: string, work: (type: Type, folder: string) => Promise<void>): void {
  check(name, async () => {
    await run("E2E_RENEW");
    await closeAll(); // ways of the drills before lead to clusters that are gone
    const folder = await mkdtemp(join(tmpdir(), "first-hour-"));
    const times: string[][] = [];
    try {
      await copyProject(folder);
      await fillIn(folder);
      await work(async (...words) => {
        let output = "";
        // The secrets are in the file that README.md names.
        const took = await seconds(async () => {
          ({ output } = await make(words, { SECRET_FILE: "" }, folder));
        });
        times.push([`make ${words.join(" ")}`, `${took.toFixed(0)} s`]);
        return output;
      }, folder);
    } finally {
      print(`\n${table([[name, ""], ...times])}\n`);
      await rm(folder, { recursive: true, force: true });
    }
  }, hook("E2E_RENEW") === "");
}

/** The secrets of the site, in the example's place. */
async function fillIn(folder: string): Promise<void> {
  const path = join(folder, "env/secret.env");
  await $({ cwd: folder, quiet: true })`install -m 600 env/secret.env.example env/secret.env`;
  const given = await readFile(projectPath(process.env.SECRET_FILE!), "utf8");
  const names = new Set([...given.matchAll(/^([A-Z0-9_]+)=/gm)].map(([, name]) => name));
  const example = (await readFile(path, "utf8")).split("\n");
  const rest = example.filter((line) => !names.has(line.split("=")[0]));
  await writeFile(path, `${rest.join("\n")}\n${given}`);
}

/** The commands of the block under that title in README.md. */
async function commandsOf(title: string): Promise<string[]> {
  const readme = await readFile(projectPath("README.md"), "utf8");
  const block = readme.split(`## ${title}\n`)[1]!.split("```")[1]!;
  return block.trim().split("\n").map((line) => line.replace(/ +#.*/, ""));
}

drill("V1: the centre first, as README.md has it", async (type) => {
  const commands = await commandsOf("First run on a real site");
  // What a person edits, and fillIn() has done.
  const typed = commands.filter((command) => command.startsWith("make "));
  assert.deepEqual(typed, ["config", "preflight", "plan", "cluster"].map((x) => `make ${x}-196`));
  assert.equal(commands.length, typed.length + 2);
  const outputs = [];
  for (const command of typed) outputs.push(await type(...command.split(" ").slice(1)));
  assert.equal(NOT_YET.exec(outputs.at(-1)!)?.[1], `${first}, ${second}`);
  assert.match(await type(`verify-${central.id}`), NOT_YET);
  assert.doesNotMatch(await type(`cluster-${first}`), NOT_YET);
  await type(`cluster-${second}`);
  assert.doesNotMatch(await type("verify"), NOT_YET);
  assert.equal(changesOf({ code: 0, output: await type("all") }), 0);
});

drill("V1: an edge first, then the centre step by step, then the other edge", async (type) => {
  assert.match(await type(`cluster-${first}`), /does not know of .* yet \(it was never deployed\)/);
  for (const name of [...STEPS.map(({ name }) => name), "50-verify"]) {
    const output = await type(name, `CLUSTER=${central.id}`);
    const last = ["30-thanos", "50-verify"].includes(name);
    assert.equal(NOT_YET.exec(output)?.[1], last ? second : undefined, output);
  }
  await type(`cluster-${second}`);
  assert.equal(changesOf({ code: 0, output: await type("all") }), 0);
});

drill("V1: everything at once", async (type) => {
  assert.doesNotMatch(await type("all"), NOT_YET);
  assert.equal(changesOf({ code: 0, output: await type("all") }), 0);
});
