// What a run does on a machine that lacks something, with real processes: bash, disk, reader, terminal,
// permissions.
import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Ended, ended, root } from "../support/script_fixture.ts";

const FLAGS = ["read", "write", "env", "sys", "run", "net"].map((name) => `--allow-${name}`);
const RUN = [Deno.execPath(), "run", "--frozen", "--no-prompt"];
const CONFIG = [...RUN, ...FLAGS, "scripts/operate/config.ts", "all"];

/** Runs bash with the words as its `"$@"`. */
function shell(line: string, words: string[], env: Record<string, string> = {}): Promise<Ended> {
  return ended(["bash", "-c", line, "bash", ...words], env);
}

async function folder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), "host-faults-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** A kubeconfig whose context for 196 leads elsewhere, so that every run is refused before a call. */
async function elsewhere(path: string): Promise<string> {
  const file = join(path, "kubeconfig");
  const config = {
    contexts: [{ name: "mkube-196", context: { cluster: "c", user: "" } }],
    clusters: [{ name: "c", cluster: { server: "https://192.0.2.1:8443" } }],
  };
  await writeFile(file, JSON.stringify(config));
  return file;
}

Deno.test("A17: without bash a run ends with 3 before anything else, and says what to install", async () => {
  await using own = await folder();
  for (const name of ["sh", "env"]) await symlink(`/bin/${name}`, join(own.path, name));
  const words = [...RUN, ...FLAGS, "tests/faults/faults.ts"];
  const { code, stdout, stderr } = await ended(words, { PATH: own.path });
  assert.deepEqual([code, stdout], [3, ""]);
  assert.match(stderr, /Cannot start: there is no bash on PATH\n +fix: install bash/);
});

Deno.test("A18: what only reads needs no place to write", async () => {
  const nowhere = { TMPDIR: "/dev/null/tmp", TMC_CACHE: "/dev/null/cache" };
  const { code, stdout, stderr } = await ended(CONFIG, nowhere);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^# 198$/m);
});

const WRITING = [...RUN, "--allow-all", "tests/fixtures/writing.ts"];
/** In KiB; Deno's own caches stay below it. */
const LIMIT = 65536;

Deno.test("A18: a disk that ends in the middle of a file: exit 3, the old file, and no other", async () => {
  await using own = await folder();
  const file = join(own.path, "file");
  await writeFile(file, "old");
  // Writes beyond the limit fail, as on a disk without room; else the system would end the program.
  const line = `ulimit -f ${LIMIT}; trap "" XFSZ; exec "$@"`;
  const { code, stderr } = await shell(line, [...WRITING, file, String(LIMIT * 1024 + 1)]);
  assert.equal(code, 3, stderr);
  assert.match(stderr, /Cannot write ".*\/file": E[A-Z]+\n +fix: make room there/);
  assert.equal(await readFile(file, "utf8"), "old");
  assert.deepEqual(await readdir(own.path), ["file"]);
});

Deno.test("A18: a cache folder that cannot be made ends with 3 and its path", async () => {
  const { code, stderr } = await ended([...WRITING, "/dev/null/cache/file", "1"]);
  assert.equal(code, 3, stderr);
  assert.match(stderr, /Cannot write "\/dev\/null\/cache\/file": ENOTDIR/);
});

Deno.test("A18: openProxy() without a TMPDIR ends with 3 and the folder", async () => {
  const words = [...RUN, "--allow-all", "tests/fixtures/proxying.ts"];
  const { code, stderr } = await ended(words, { TMPDIR: "/dev/null/tmp" });
  assert.equal(code, 3, stderr);
  assert.match(stderr, /Cannot write "\/dev\/null\/tmp\/proxy-": ENOTDIR\n +fix: .*TMPDIR/);
});

Deno.test("A19: with a reader that goes away, or no output at all, a run goes on to its own code", async () => {
  await using own = await folder();
  const KUBECONFIG = await elsewhere(own.path);
  const refused = [...RUN, ...FLAGS, "scripts/fleet.ts", "drift", "196"];
  const read = await shell('"$@" | head -n 1; echo "code ${PIPESTATUS[0]}" >&2', CONFIG);
  assert.deepEqual([read.stdout, read.stderr.split("\n").at(-2)], ["# 196\n", "code 0"]);
  for (const line of ['"$@" 2>&1 | true; exit ${PIPESTATUS[0]}', 'exec "$@" >&- 2>&-']) {
    assert.equal((await shell(line, CONFIG)).code, 0, line);
    assert.equal((await shell(line, refused, { KUBECONFIG })).code, 4, line);
  }
});

Deno.test("A20: without a terminal, as in CI, a refusal ends by itself with 4 and what to do", async () => {
  await using own = await folder();
  const env = { KUBECONFIG: await elsewhere(own.path), CI: "true" };
  for (const verb of ["deploy", "remove"]) {
    const words = [...RUN, ...FLAGS, "scripts/fleet.ts", verb, "196"];
    // setsid: no terminal to open either.
    const { code, stderr } = await shell('exec setsid --wait "$@" <&-', words, env);
    assert.equal(code, 4, stderr);
    assert.match(stderr, /192\.0\.2\.1/);
    assert.match(stderr, /fix: /);
  }
});

Deno.test("A20: nothing of ours asks: no prompt, and nobody reads what is typed", async () => {
  const asking: string[] = [];
  for (const place of ["lib", "scripts"]) {
    const files = await readdir(join(root, place), { recursive: true });
    for (const file of files.filter((name) => name.endsWith(".ts"))) {
      const text = await readFile(join(root, place, file), "utf8");
      if (/\b(prompt|confirm|question)\(|process\.stdin|Deno\.stdin/.test(text)) {
        asking.push(`${place}/${file}`);
      }
    }
  }
  assert.deepEqual(asking, []);
});

Deno.test("A21: without a permission a run ends with 3 and the flag to use, and never asks", async () => {
  for (const flag of ["--allow-read", "--allow-env", "--allow-sys", "--allow-run"]) {
    const others = FLAGS.filter((other) => other !== flag);
    // As somebody types it: without --no-prompt, where Deno might ask on a terminal.
    const words = [Deno.execPath(), "run", "--frozen", ...others, "tests/faults/faults.ts"];
    const { code, stdout, stderr } = await ended(words);
    assert.deepEqual([code, stdout], [3, ""], stderr);
    assert.match(stderr, new RegExp(`missing: ${flag}\n +fix: use make`));
  }
});
