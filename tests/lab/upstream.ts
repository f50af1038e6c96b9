// The images of images.txt that are upstream's own: which registries answer, what comes from them into the store of the
// laboratory's, and what that makes of the site's settings.
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { SETTINGS } from "../../lib/config/schema.ts";
import type { Cluster } from "../../lib/core/cluster.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import { replaceFile } from "../../lib/io/files.ts";
import { readLogins, Repository } from "../../scripts/operate/registry/client.ts";
import { causeOf, copyImage, type Copying } from "./copy.ts";
import { type Image, imageName, imageTable } from "./images.ts";
import { isCopied, readRecord, writeRecord } from "./store.ts";

const INSTEAD = "set LAB_UPSTREAM to another registry that has all, or to none";

interface UpstreamOptions extends Omit<Copying, "image"> {
  /** LAB_UPSTREAM: the registry that all are fetched through, or "none", as without it where UPSTREAM_MIRROR is set. */
  environment?: Record<string, string | undefined>;
  /** Seconds in which a registry must answer. */
  seconds?: number;
}

/**
 * Copies what is not there yet of the images whose registry answers. Gives the settings of the site that follow from
 * all that was copied, which `lab exec` finds in the store.
 * @throws {DeployError} exit 5 where LAB_UPSTREAM does not answer, and what {@link copyImage} throws.
 */
export async function copyImages(
  cluster: Cluster,
  { environment = process.env, seconds = 4, ...copying }: UpstreamOptions,
): Promise<Record<string, string>> {
  const { store, say } = copying, { LAB_UPSTREAM, UPSTREAM_MIRROR } = environment;
  const through = LAB_UPSTREAM || (UPSTREAM_MIRROR ? "none" : "");
  const rows = await imageTable(), record = await readRecord(store);
  const options = { logins: await readLogins(), instead: INSTEAD };
  const wanted = rows.filter(({ made }) => !/\bown\b/.test(made))
    .map((row) => imageName(row, cluster)).filter((image) => !isCopied(record[image]));
  const sources = through === "none" ? [] : wanted.map((image) => {
    const name = image.split("@")[0]!;
    const from = new Repository(through ? name.replace(/^[^/]+/, through) : name, options);
    return { image, from };
  });
  if (through === "none" && wanted.length > 0) {
    say(
      "  no registry is asked (UPSTREAM_MIRROR, or LAB_UPSTREAM=none): images are made from programs",
    );
  }
  const answers = await reachable(sources.map(({ from }) => from), { through, seconds, say });
  for (const { image, from } of sources.filter(({ from }) => answers.has(from.host))) {
    const before = record[image];
    // As with those that are built: a run that is cut short leaves it known.
    await writeRecord(store, { ...record, [image]: "unfinished" });
    const digest = await copyImage(from, { ...copying, image });
    if (digest) record[image] = digest;
    await writeRecord(store, record);
    if (digest && before && before !== "unfinished") {
      say("    nodes keep what they have pulled under this name: tests/lab/lab renew");
    }
  }
  await rm(join(store, "partial"), { recursive: true, force: true });
  const copied = rows.filter((row) => isCopied(record[imageName(row, cluster)]));
  const settings = copied.length > 0 ? settingsWith(copied, rows) : {};
  const text = JSON.stringify(settings, null, 1);
  await replaceFile(join(store, "settings.json"), (path) => writeFile(path, text));
  return settings;
}

/** The settings that rows of the table name, where some of these are upstream's own. Pure. */
export function settingsWith(copied: Image[], rows: Image[]): Record<string, string> {
  const found: Record<string, string[]> = {};
  for (const row of rows) {
    for (const [, name, value] of row.made.matchAll(/(\w+)=(\S+)/g)) {
      (found[name!] ??= []).push(...copied.includes(row) ? [] : [value!]);
    }
  }
  return Object.fromEntries(
    Object.entries(found).map((
      [name, values],
    ) => [name, values.join() || String(SETTINGS[name]!.default)]),
  );
}

/** Hosts that answer as a registry does. They are asked side by side, and one line tells of them. */
async function reachable(
  from: Repository[],
  { through, seconds, say }: { through: string; seconds: number; say: Copying["say"] },
): Promise<Set<string>> {
  const reasons = new Map<string, string>();
  const hosts = new Map(from.map(({ host, server }) => [host, `${server}/v2/`]));
  await Promise.all([...hosts].map(async ([host, url]) => {
    try {
      const { status, body } = await fetch(url, { signal: AbortSignal.timeout(seconds * 1000) });
      await body?.cancel();
      if (![200, 401, 429].includes(status)) reasons.set(host, `HTTP ${status}`);
    } catch (error) {
      const late = (error as Error).name === "TimeoutError";
      reasons.set(host, late ? `no answer within ${seconds} s` : causeOf(error));
    }
  }));
  const there = [...hosts.keys()].filter((host) => !reasons.has(host));
  const silent = [...hosts.keys()].filter((host) => reasons.has(host));
  const away = [...Map.groupBy(silent, (host) => reasons.get(host))]
    .map(([why, hosts]) => `no way to ${hosts.join(", ")} (${why})`).join("; ");
  if (through && away) {
    throw new DeployError("Cannot fetch images through LAB_UPSTREAM", {
      exitCode: ExitCode.unreachable,
      where: away,
      fix: `let this machine reach it (docs/lab.md, Images), or ${INSTEAD}`,
    });
  }
  if (there.length > 0) say(`  images come from ${there.join(", ")}`);
  if (away) say(`  ${away}: what they have is made from programs, or stays away`);
  return new Set(there);
}
