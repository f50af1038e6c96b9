// A project folder made for one test: env/ with three good clusters, and what the test changes.
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadFleet } from "../../lib/config/cluster.ts";
import type { Cluster } from "../../lib/core/cluster.ts";
import { DeployError } from "../../lib/core/error.ts";

/** Folder of the env fixtures. */
export const FIXTURES = fileURLToPath(new URL("../fixtures/env", import.meta.url));

/** Made-up secrets; every one holds the word "hush", which no message may contain. The login's password is hush-hush. */
export const SECRET_ENV = `S3_ACCESS_KEY=AKIA-hush
S3_SECRET_KEY='hush-secret-key'
GRAFANA_ADMIN_PASSWORD='hush-grafana'
UI_BASIC_AUTH='admin:$apr1$hushhush$CoI/oaMSX7kDo0L4/VfNe1'
`;

/** A temporary project; `await using` removes it. */
export interface Project extends AsyncDisposable {
  root: string;
  load(environment?: Record<string, string>, profile?: string): Promise<Cluster[]>;
  /** The refusal of a fleet that must not load. */
  refusal(environment?: Record<string, string>, profile?: string): Promise<DeployError>;
}

/** The good fleet with `files` (by path below env/) written over it; null leaves one out. */
export async function project(files: Record<string, string | null> = {}): Promise<Project> {
  const root = await mkdtemp(join(tmpdir(), "fleet-"));
  const good = await folder(join(FIXTURES, "fleet"));
  for (const [name, text] of Object.entries({ ...good, "secret.env": SECRET_ENV, ...files })) {
    if (text === null) continue;
    const path = join(root, "env", name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text, { mode: 0o600 });
  }
  const load = (environment = {}, profile = "") =>
    loadFleet({ root, environment: { ...environment, PROFILE: profile } });
  return {
    root,
    load,
    async refusal(environment, profile) {
      try {
        await load(environment, profile);
      } catch (error) {
        if (error instanceof DeployError) return error;
        throw error;
      }
      throw new Error("expected the fleet to be refused");
    },
    [Symbol.asyncDispose]: () => rm(root, { recursive: true, force: true }),
  };
}

/** The good fleet with more lines in the files of some clusters (by id), and these settings of the environment. */
export async function fleetWith(
  lines: Record<string, string>,
  environment: Record<string, string> = {},
): Promise<Cluster[]> {
  const good = await folder(join(FIXTURES, "fleet"));
  const files = Object.entries(lines).map(([id, more]) => {
    const name = `cluster-${id}.env`;
    return [name, `${good[name]}\n${more}\n`];
  });
  await using place = await project(Object.fromEntries(files));
  return await place.load(environment);
}

/** Everything that an error shows to people. */
export function wording(error: DeployError): string {
  return [error.message, ...error.where, error.fix].join("\n");
}

/** Fixtures of a kind: a folder of env files, or one named `<file it replaces>--<rule>.env`. */
export async function cases(
  kind: "valid" | "invalid",
): Promise<[string, Record<string, string>][]> {
  const dir = join(FIXTURES, kind);
  return await Promise.all(
    (await readdir(dir)).sort().map(async (name) => {
      const path = join(dir, name);
      if ((await stat(path)).isDirectory()) return [name, await folder(path)];
      return [name, { [`${name.split("--")[0]}.env`]: await readFile(path, "utf8") }];
    }),
  );
}

async function folder(dir: string): Promise<Record<string, string>> {
  const names = await readdir(dir);
  const texts = names.map(async (name) => [name, await readFile(join(dir, name), "utf8")]);
  return Object.fromEntries(await Promise.all(texts));
}
