// Our own rules as rendered, and promtool to run them.
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { $ } from "zx";
import type { Manifest } from "../../lib/core/object.ts";
import { ensureTools } from "../../scripts/tools/tool.ts";
import { renderedFleet } from "../support/rendered_fixture.ts";

const { promtool } = await ensureTools(["promtool"]);

/**
 * Seconds that a Prometheus can look back in any case with the retention of 2h: one block of two hours
 * stays until the next is cut, and an hour is then in no block yet.
 */
export const HELD = 3 * 3600;

export interface Rule {
  alert?: string;
  record?: string;
  expr: string;
  for?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

export interface Group {
  name: string;
  rules: Rule[];
}

/** Rule files of a cluster by object name: of PrometheusRules, and of ConfigMaps for the Ruler. */
export async function ownRules(id: string, settings = {}): Promise<Map<string, Group[]>> {
  const rendered = await renderedFleet(settings);
  const objects = rendered.filter(({ cluster }) => cluster.id === id).flatMap((one) => one.objects);
  const files = objects.flatMap((object): [string, Group[]][] => {
    if (object.kind === "PrometheusRule") return [[object.metadata.name, object.spec.groups]];
    return rulerFiles(object).map(([name, text]) => [name, parse(text).groups]);
  });
  return new Map(files.filter(([, groups]) => groups.length > 0));
}

function rulerFiles({ kind, metadata, data }: Manifest): [string, string][] {
  return kind === "ConfigMap" && /^thanos-ruler-.*rules$/.test(metadata.name)
    ? Object.entries(data)
    : [];
}

export function rulesOf(files: Map<string, Group[]>): Rule[] {
  return [...files.values()].flat().flatMap(({ rules }) => rules);
}

/** Runs promtool on files of these contents. */
export async function promtoolAccepts(
  args: string[],
  contents: [name: string, unknown][],
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "tmc-rules-"));
  try {
    for (const [name, content] of contents) await writeFile(join(folder, name), stringify(content));
    const run = $({ quiet: true, nothrow: true, cwd: folder });
    const result = await run`exec ${promtool!} ${args}`;
    assert.equal(result.exitCode, 0, result.stdout + result.stderr);
  } finally {
    await rm(folder, { recursive: true });
  }
}
