// Logins of fixtures, of the demo and of the laboratory are hashes of real passwords.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { $ } from "zx";
import { projectPath } from "../../lib/core/cluster.ts";
import { writeSecrets } from "../../scripts/demo/demo.ts";

const PASSWORDS = ["dummy-password", "hush-hush", "bench-password", "other-password"];

/** Whether a hash is one of the password, by OpenSSL where it is salted. */
async function isOf(hash: string, password: string): Promise<boolean> {
  const [, plain] = /^\{SHA\}(.*)/.exec(hash) ?? [];
  if (plain) return createHash("sha1").update(password).digest("base64") === plain;
  const [, kind, salt] = /^\$(apr1|1)\$([^$]+)\$/.exec(hash)!;
  const words = ["passwd", `-${kind}`, "-salt", salt!, "-stdin"];
  const { stdout } = await $({ quiet: true, input: password })`openssl ${words}`;
  return stdout.trim() === hash;
}

Deno.test("P15: every login that a test sets is the hash of a password", async () => {
  // Those that are refused, or told apart, are in there.
  const exempt = /values_test\.ts$|schema\.json$|invalid\/secret--no-colon\.env$/;
  let found = 0;
  for (const folder of ["tests", "scripts", "env"]) {
    const root = projectPath(folder);
    for (const name of await readdir(root, { recursive: true })) {
      if (!/\.(ts|env|yaml)$/.test(name) || exempt.test(name)) continue;
      const text = await readFile(join(root, name), "utf8");
      const set = text.matchAll(/:(\{SHA\}[\w+/]+=+|\$(?:apr)?1\$\w{8}\$[\w./]{3,})/g);
      for (const [, hash] of set) {
        const known = await Promise.all(PASSWORDS.map((password) => isOf(hash!, password)));
        assert.ok(known.includes(true), `${folder}/${name}: ${hash}`);
        found += 1;
      }
    }
  }
  assert.ok(found > 10, String(found));
});

Deno.test("P15: the demo's login is the hash of the password that it tells", async () => {
  const file = join(await mkdtemp(join(tmpdir(), "demo-secrets-")), "secret.env");
  await writeSecrets(file);
  const text = await readFile(file, "utf8");
  const [, password] = /password (\w+),/.exec(text)!;
  const [, hash] = /^UI_BASIC_AUTH='admin:(.*)'$/m.exec(text)!;
  assert.ok(await isOf(hash!, password!));
});
