// A GRPC_TLS_DIR made for one test: outside of git, with keys that only we may read.
import { chmod, copyFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const FIXTURES = new URL("../fixtures/grpc-tls/", import.meta.url);

/** Text of a file in fixtures/grpc-tls. */
export function grpcFile(name: string): Promise<string> {
  return readFile(new URL(name, FIXTURES), "utf8");
}

/** The good files with `changes` over them: a text, or null for one that is left out. */
export async function grpcFolder(
  changes: Record<string, string | null> = {},
): Promise<{ environment: Record<string, string> } & AsyncDisposable> {
  const folder = await mkdtemp(join(tmpdir(), "grpc-tls-"));
  for (const name of await readdir(FIXTURES)) {
    await copyFile(new URL(name, FIXTURES), join(folder, name));
  }
  for (const [name, text] of Object.entries(changes)) {
    if (text === null) await rm(join(folder, name));
    else await writeFile(join(folder, name), text);
  }
  for (const name of await readdir(folder)) await chmod(join(folder, name), 0o600);
  return {
    environment: { THANOS_GRPC_MTLS: "true", GRPC_TLS_DIR: folder },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}
