// What is typed to make, or stands in its environment, reaches the scripts as it is, and no shell.
import assert from "node:assert/strict";
import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { $ } from "zx";
import { projectPath } from "../../lib/core/cluster.ts";

const MAKEFILE = await readFile(projectPath("Makefile"), "utf8");
const SETTINGS = Object.keys(
  JSON.parse(await readFile(projectPath("env/schema.json"), "utf8")).properties,
);

/** A folder with our Makefile, in which every script writes down its words and its environment. */
async function workshop() {
  const folder = await mkdtemp(join(tmpdir(), "make it ")); // a path with blanks is one, too
  await mkdir(join(folder, "scripts"));
  await mkdir(join(folder, "env"));
  await copyFile(projectPath("Makefile"), join(folder, "Makefile"));
  // The Makefile takes its lists from the names of files.
  for (const file of ["env/cluster-196.env", "scripts/30-thanos.ts"]) {
    await writeFile(join(folder, file), "");
  }
  const deno = join(folder, "scripts/deno");
  await writeFile(deno, `#!/bin/sh\nprintf '%s\\0' "$@" >words\nenv -0 >environment\n`);
  await chmod(deno, 0o700);
  const before = await readdir(folder);
  return {
    /** Runs make; gives the words after the script's name, and the environment. */
    async run(words: string[], environment: Record<string, string> = {}) {
      const options = {
        quiet: true,
        nothrow: true,
        cwd: folder,
        env: { ...process.env, ...environment },
      };
      const { exitCode, stderr } = await $(options)`make --no-print-directory ${words}`;
      const read = async (name: string) =>
        (await readFile(join(folder, name), "utf8").catch(() => "")).split("\0").slice(0, -1);
      const [all, variables] = [await read("words"), await read("environment")];
      const script = all.findIndex((word) => word.startsWith("scripts/"));
      const pairs = variables.map((line) =>
        /^([^=]*)=([^]*)$/.exec(line)!.slice(1) as [string, string]
      );
      const left = (await readdir(folder)).filter((name) => !before.includes(name));
      for (const name of left) await rm(join(folder, name));
      const made = left.filter((name) => name !== "words" && name !== "environment");
      return {
        exitCode,
        stderr,
        words: all.slice(script + 1),
        env: Object.fromEntries(pairs),
        made,
      };
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

/** Each would make a file, were it read by make or a shell. */
const HOSTILE = [
  "197; touch made-1",
  "$(shell touch made-2)",
  "${shell touch made-3}",
  "`touch made-4`",
  `'; touch made-5; '`,
  `"; touch made-6; "`,
  "a && touch made-7 # $$HOME $1 %",
  "x\ntouch made-8\n\ttouch made-9",
  "*",
];

/** Every name that the recipes take words from, but for the id of a target, and GROUP, which counts only typed. */
const WORDS = [...new Set([...MAKEFILE.matchAll(/\$\$\{?([A-Z_]+)\b/g)].map(([, name]) => name!))]
  .filter((name) => name !== "STEM" && name !== "GROUP");

/** Every target that starts a script; `plan-196` of `plan-%`. */
const TARGETS = [
  ...MAKEFILE.matchAll(
    /^([a-z$][\w$()%-]*):[^=\n]*\n(?:#.*\n)*\t@\$\((?:RUN|DEMO)\) scripts\/(?!tools|settings)/gm,
  ),
]
  .map(([, name]) => name === "$(STEPS)" ? "30-thanos" : name!.replace("%", "196"));

/** Beside which GROUP and CLUSTER would not count. */
const refuses = (target: string) => /-196$|^(rotate-s3|pin|certificates)$/.test(target);

Deno.test("E15, X3: no word of the command line or the environment is read by make or a shell", async () => {
  assert.ok(WORDS.includes("ARGS") && WORDS.includes("CLUSTER") && TARGETS.length > 20);
  await using shop = await workshop();
  for (const target of TARGETS) {
    for (const [index, value] of HOSTILE.entries()) {
      const given = WORDS.filter((_, n) => (n + index) % 3 === 0).concat(
        "ARGS",
        "CLUSTER",
        "QUERY",
      );
      const all = [...given, "GROUP"]
        .filter((name) => !refuses(target) || !["CLUSTER", "GROUP"].includes(name));
      const typed = await shop.run([target, ...all.map((name) => `${name}=${value}`)]);
      assert.deepEqual(typed.made, [], `${target} ${value}`);
      for (const name of all) assert.equal(typed.env[name], value, `${target} ${name}`);
      const handed = await shop.run(
        [target],
        Object.fromEntries(given.map((name) => [name, value])),
      );
      assert.deepEqual(handed.made, [], `${target} with ${value} in the environment`);
      for (const name of given) assert.equal(handed.env[name], value, `${target} ${name}`);
    }
  }
});

Deno.test("X3: what stands in the place of a cluster's id is one word", async () => {
  await using shop = await workshop();
  for (const target of TARGETS.filter((name) => name.endsWith("-196"))) {
    for (const value of HOSTILE.filter((value) => !value.includes("\n"))) {
      const { words, made } = await shop.run([target.replace("196", () => value)]);
      assert.deepEqual([made, words.includes(value)], [[], true], `${target} ${value}`);
    }
  }
});

Deno.test("E15, X3: make takes what its recipes are made of from nowhere but the Makefile", async () => {
  const names = [...MAKEFILE.matchAll(/^(?:override )?(?:export )?(\w+) *:?= /gm)].map(([, name]) =>
    name!
  );
  assert.ok(names.includes("RUN") && names.includes("STEM"));
  await using shop = await workshop();
  for (const target of ["help", "plan-196", "30-thanos"]) {
    const { words: wanted } = await shop.run([target]);
    for (const name of [...names, "MAKEFILE_LIST"]) {
      for (const value of HOSTILE.filter((value) => !value.includes("\n"))) {
        const typed = await shop.run([target, `${name}=${value}`]);
        const handed = await shop.run(["-e", target], { [name]: value });
        const got = [typed, handed].flatMap(({ exitCode, made, words }) => [exitCode, made, words]);
        assert.deepEqual(got, [0, [], wanted, 0, [], wanted], `${target} ${name}=${value}`);
      }
    }
  }
});

Deno.test("X3: make looks for no files that fit a word", async () => {
  await using shop = await workshop();
  const { words } = await shop.run(["30-thanos", "CLUSTER=*", "ARGS=env/* scripts/?eno"]);
  assert.deepEqual(words, ["*", "env/*", "scripts/?eno"]);
});

Deno.test("E15: every setting arrives from the command line as typed", async () => {
  await using shop = await workshop();
  const value = "admin:$apr1$x$y.z $(HOME) ${HOME} # 'a' \"b\" \\ $$";
  const { env } = await shop.run(["plan", ...SETTINGS.map((name) => `${name}=${value}`)]);
  for (const name of SETTINGS) assert.equal(env[name], value, name);
});

Deno.test("make splits ARGS, CLUSTER and CLUSTERS at blanks, and hands the rest over whole", async () => {
  await using shop = await workshop();
  const words = async (...typed: string[]) => (await shop.run(typed)).words;
  assert.deepEqual(await words("30-thanos", "CLUSTER=197", "ARGS=--prune --json"), [
    "197",
    "--prune",
    "--json",
  ]);
  assert.deepEqual(await words("compare", "CLUSTERS=197 198"), ["197", "198"]);
  assert.deepEqual(await words("cluster-196"), ["deploy", "196"]);
  const { env } = await shop.run(["new-cluster", "NAME=a b", "NODE_IP=1.2.3.4"]);
  assert.deepEqual([env.NAME, env.NODE_IP], ["a b", "1.2.3.4"]);
});

/** Targets that take no cluster. */
const WITHOUT = ["demo", "demo-down", "certificates", "new-cluster", "rotate-s3", "pin"];

Deno.test("every target that takes clusters takes GROUP, and means all of them only where nothing is typed", async () => {
  await using shop = await workshop();
  const wide: string[] = [];
  for (const target of TARGETS.filter((one) => !one.endsWith("-196") && !WITHOUT.includes(one))) {
    const plain = (await shop.run([target])).words;
    const chosen = async (...typed: string[]) => {
      const { words, exitCode } = await shop.run([target, ...typed]);
      assert.equal(exitCode, 0);
      return words.filter((word) => !plain.includes(word) || word === "all");
    };
    if (plain.includes("all")) wide.push(target);
    assert.deepEqual(await chosen("GROUP=pilot seoul"), ["pilot", "seoul"], target);
    assert.deepEqual(await chosen("GROUP=pilot", "CLUSTER=197"), ["pilot"], target);
    const none = (await shop.run([target, "GROUP="])).words;
    assert.ok(!none.some((word) => ["all", "edges", ""].includes(word)), `${target}: ${none}`);
    assert.deepEqual(await chosen("CLUSTER=197"), ["197"], target);
    // What csh calls the group of the user.
    assert.deepEqual((await shop.run([target], { GROUP: "staff" })).words, plain, target);
  }
  for (const target of ["all", "plan", "drift", "verify", "preflight"]) {
    assert.ok(wide.includes(target), target);
  }
  assert.deepEqual((await shop.run(["all"], { CLUSTER: "197" })).words, ["deploy", "all"]);
});

Deno.test("GROUP and CLUSTER are refused where they would not count, before anything starts", async () => {
  await using shop = await workshop();
  for (const target of TARGETS.filter(refuses)) {
    for (const name of ["GROUP", "CLUSTER"]) {
      const { exitCode, stderr, words } = await shop.run(["plan", target, `${name}=197`]);
      assert.deepEqual([exitCode, words], [2, []], target);
      assert.match(
        stderr,
        new RegExp(`\\*\\*\\* ${target} (works|says) .*: ${name}= would not count`),
      );
    }
    assert.equal(
      (await shop.run([target], { GROUP: "staff", CLUSTER: "197" })).exitCode,
      0,
      target,
    );
  }
});

Deno.test("E21: YES counts only where it is typed behind make", async () => {
  await using shop = await workshop();
  const typed = await shop.run(["remove-197", "YES=197"]);
  assert.equal(typed.env.YES, "197");
  const left = await shop.run(["remove-197"], { YES: "197" });
  assert.equal(left.env.YES, undefined);
  // Nor does the name of the site that is broken on purpose.
  assert.equal((await shop.run(["plan", "SITE=a"])).env.SITE, "a");
  assert.equal((await shop.run(["plan"], { SITE: "a" })).env.SITE, undefined);
});
