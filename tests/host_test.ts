// What this machine may lack, with real processes: bash, a place to write, a terminal, permissions.
import assert from "node:assert/strict";
import { mkdtemp, readdir, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { replaceFile } from "../lib/cache.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const secrets = {
  SECRET_FILE: "tests/fixtures/no-such-secret.env",
  S3_ACCESS_KEY: "hush-access",
  S3_SECRET_KEY: "hush-secret-key",
  UI_BASIC_AUTH: "admin:hush-hash",
  KUBECONFIG: join(root, "tests/fixtures/kubeconfig"),
};

function deno(args: string[], env: Record<string, string> = {}): Deno.Command {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", ...args],
    cwd: root,
    env: { ...secrets, PROFILE: "", NO_COLOR: "1", ...env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  });
}

async function ended(command: Deno.Command): Promise<{ code: number; stderr: string }> {
  const { code, stderr } = await command.output();
  return { code, stderr: new TextDecoder().decode(stderr) };
}

const CONFIG = ["--allow-all", "scripts/config.ts", "196"];

Deno.test("A17: without bash the first kubectl call ends with exit 3 and says so", async () => {
  const PATH = await mkdtemp(join(tmpdir(), "no-bash-"));
  await symlink("/bin/sh", join(PATH, "sh"));
  const { code, stderr } = await ended(
    deno(["--allow-all", "scripts/fleet.ts", "plan", "196"], { PATH }),
  );
  assert.equal(code, 3, stderr);
  assert.match(stderr, /there is no bash on PATH/);
});

Deno.test("A18: where nothing need be written, no folder is needed", async () => {
  const nowhere = "/nonexistent";
  const { code, stderr } = await ended(deno(CONFIG, { TMPDIR: nowhere, TMC_CACHE: nowhere }));
  assert.equal(code, 0, stderr);
});

Deno.test("A18: a disk that refuses ends with exit 3, and leaves no half-written file", async () => {
  const folder = await mkdtemp(join(tmpdir(), "full-"));
  const full = replaceFile(join(folder, "file"), () => {
    return Promise.reject(Object.assign(new Error("no space left"), { code: "ENOSPC" }));
  });
  await assert.rejects(full, { exitCode: 3 });
  assert.deepEqual(await readdir(folder), []);
});

Deno.test("A19: a reader that goes away changes nothing about the run and its exit code", async () => {
  const running = deno(CONFIG).spawn();
  await running.stdout.cancel();
  await running.stderr.cancel();
  assert.equal((await running.status).code, 0);
});

Deno.test("A20: without a terminal nothing asks: what would need a yes is only shown", async () => {
  const { code, stderr } = await ended(
    deno(["--allow-all", "scripts/fleet.ts", "remove", "196"], { CI: "true", YES: "" }),
  );
  // The kubeconfig of the fixtures leads nowhere; what matters is that it ends.
  assert.ok(code === 4 || code === 5, stderr);
});

Deno.test("A21: without a permission Deno names the flag and ends, and never asks", async () => {
  const { code, stderr } = await ended(deno(["scripts/config.ts", "196"]));
  assert.equal(code, 1); // Deno's own, before any line of ours
  assert.match(stderr, /--allow-/);
});
