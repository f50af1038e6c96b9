// `make scan`: checkov over everything that is rendered for every cluster with defaults, without Longhorn's own
// release. Nothing is skipped and no earlier result counts. Ends with 1 below the bar, or with a failure that
// docs/scan.md does not explain.
import { existsSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { $ } from "zx";
import { projectPath } from "../../lib/core/cluster.ts";
import { cacheDir, temporaryFolder } from "../../lib/io/files.ts";
import { print, table } from "../../lib/io/report.ts";
import { toYaml } from "../../lib/render/yaml.ts";
import { renderedFleet } from "../support/rendered_fixture.ts";

const VERSION = "3.3.30";
const BAR = 95;

interface Check {
  check_id: string;
  check_name: string;
  resource: string;
}

const home = join(cacheDir(), "tools", `checkov-${VERSION}`);
const checkov = join(home, "bin", "checkov");
if (!existsSync(checkov)) {
  print(`getting checkov ${VERSION} from PyPI (once; some minutes)`);
  const pip = ["--quiet", "--disable-pip-version-check", "--no-input", "--only-binary", ":all:"];
  await $`python3 -m venv ${home}`;
  await $`${join(home, "bin", "python")} -m pip install ${pip} checkov==${VERSION}`;
}

const folder = await temporaryFolder("scan-");
const failed = new Map<string, { name: string; at: Set<string> }>();
const rows = [["cluster", "passed", "failed", "%"]];
let low = false;
try {
  for (const { cluster, step, objects } of await renderedFleet()) {
    await mkdir(join(folder, cluster.id), { recursive: true });
    const text = objects.map((object) => toYaml(object)).join("---\n");
    await writeFile(join(folder, cluster.id, `${step}.yaml`), text);
  }
  for await (const { name: id } of Deno.readDir(folder)) {
    const words = ["--framework", "kubernetes", "--skip-download", "--compact", "-o", "json"];
    const { stdout } = await $({ quiet: true, nothrow: true })`${checkov} -d ${
      join(folder, id)
    } ${words}`;
    const { results }: { results: Record<string, Check[]> } = JSON.parse(stdout);
    const passed = results.passed_checks!.length;
    for (const { check_id, check_name, resource } of results.failed_checks!) {
      failed.getOrInsertComputed(check_id, () => ({ name: check_name, at: new Set() }))
        .at.add(resource);
    }
    const share = 100 * passed / (passed + results.failed_checks!.length);
    if (share < BAR || results.skipped_checks!.length > 0) low = true;
    rows.push([id, `${passed}`, `${results.failed_checks!.length}`, share.toFixed(1)]);
  }
} finally {
  await rm(folder, { recursive: true });
}
const ranked = [...failed].sort(([, a], [, b]) => b.at.size - a.at.size);
print(table([
  ["check", "objects", "says"],
  ...ranked.map(([id, { name, at }]) => [id, `${at.size}`, name]),
]));
if (Deno.args.includes("--all")) {
  for (const [id, { at }] of ranked) print(`${id}  ${[...at].sort().join("\n            ")}`);
}
print(table(rows));
const page = await readFile(projectPath("docs/scan.md"), "utf8");
const unexplained = ranked.map(([id]) => id).filter((id) => !new RegExp(`${id}\\b`).test(page));
if (unexplained.length > 0) print(`docs/scan.md has no reason for ${unexplained.join(", ")}`);
Deno.exit(low || unexplained.length > 0 ? 1 : 0);
