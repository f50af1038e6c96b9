// The page of a made-up Monday in Chromium, where PICTURES=1 asks for it: nothing is wider than its window, and
// docs/pictures shows it.
import assert from "node:assert/strict";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { $ } from "zx";
import { projectPath } from "../../lib/core/cluster.ts";
import { WELL } from "../support/centre.ts";
import { mondayOf, pageOf, seenOf } from "../support/monday.ts";

/** The page of so many clusters, a week after one on which all of them were well. */
async function monday(count: number): Promise<string> {
  const seen = seenOf(count);
  const calm = Object.fromEntries(Object.keys(seen).map((id) => [id, WELL]));
  const drift: [string, number][] = [["196", 0], ["197", 12]];
  const last = { ...await mondayOf(calm, { drift: [["197", 0]] }), at: "2027-01-08T08:00:00.000Z" };
  return await pageOf(await mondayOf(seen, { previous: last, drift }));
}

Deno.test({
  name: "reportPage() fits a phone and a laptop",
  ignore: process.env.PICTURES !== "1",
  async fn() {
    const folder = await mkdtemp(join(tmpdir(), "pictures-"));
    const always = [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--hide-scrollbars",
      "--disable-lcd-text",
    ];
    const own = ["--allow-file-access-from-files", `--user-data-dir=${folder}/profile`];
    const chromium = (...options: string[]) =>
      $({ quiet: true, timeout: "100s" })`chromium ${[...always, ...own, ...options]}`;
    try {
      for (const count of [3, 30]) await writeFile(`${folder}/${count}.html`, await monday(count));
      for (
        const [name, count, width, height, dark] of [
          ["report", 30, 1280, 960, false],
          ["report-phone", 3, 390, 844, true],
        ] as const
      ) {
        // Chromium's own window is never as narrow as a phone.
        const frame = `<body style="margin:0"><iframe src="${count}.html" onload="document.title =
          this.contentDocument.documentElement.scrollWidth" style="border:0;width:${width}px;height:100vh">`;
        await writeFile(`${folder}/${name}.html`, frame);
        const url = `file://${folder}/${name}.html`;
        const { stdout } = await chromium("--dump-dom", url);
        assert.match(stdout, new RegExp(`<title>${width}</title>`), name);
        const path = projectPath(`docs/pictures/${name}.webp`);
        const scale = `--force-device-scale-factor=${dark ? 1 : 0.8}`;
        const colours = `--blink-settings=preferredColorScheme=${dark ? 0 : 1}`;
        await chromium(
          scale,
          colours,
          `--window-size=${width},${height}`,
          `--screenshot=${path}`,
          url,
        );
        assert.ok((await stat(path)).size < 60_000, `${(await stat(path)).size}`);
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
});
