// A made-up Monday in Chromium, where PICTURES=1 asks for it: the page of the report, no wider than its window, and
// what `make status` writes on a terminal, for docs/pictures.
import assert from "node:assert/strict";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { $ } from "zx";
import { projectPath } from "../../lib/core/cluster.ts";
import { fleetStatus } from "../../scripts/operate/centre/status.ts";
import { statusPage } from "../../scripts/operate/status.ts";
import { centreWith, fleetOf, NOW, WELL } from "../support/centre.ts";
import { mondayOf, pageOf, seenOf } from "../support/monday.ts";

/** The page of so many clusters, a week after one on which all of them were well. */
async function monday(count: number): Promise<string> {
  const seen = seenOf(count);
  const calm = Object.fromEntries(Object.keys(seen).map((id) => [id, WELL]));
  const drift: [string, number][] = [["196", 0], ["197", 12]];
  const last = { ...await mondayOf(calm, { drift: [["197", 0]] }), at: "2027-01-08T08:00:00.000Z" };
  return await pageOf(await mondayOf(seen, { previous: last, drift }));
}

/** A terminal of 80 columns and 24 lines after `make status` with thirty clusters. */
async function terminal(): Promise<string> {
  const clusters = fleetOf(30);
  const said = statusPage(await fleetStatus(centreWith(seenOf(30)), clusters), {
    now: new Date(NOW * 1000),
  });
  const style =
    "margin:0;width:80ch;height:24lh;font:14px/1.25 monospace;background:#111;color:#ddd";
  return `<title>80</title><body style="margin:0;background:#111"><pre style="${style}">$ make status\n${said}</pre>`;
}

Deno.test({
  name: "reportPage() fits a phone, a laptop and a sheet of paper, and statusPage() a terminal",
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
      // What a printer is given: Chromium shows a page as on paper in PDF only.
      const paper = (await monday(3))
        .replaceAll("@media screen", "@media speech").replaceAll("@media print", "@media all");
      await writeFile(`${folder}/paper.html`, paper);
      await writeFile(`${folder}/terminal.html`, await terminal());
      for (
        const [name, of, width, height, dark] of [
          ["report", "30", 1280, 960, false],
          ["report-phone", "3", 390, 844, true],
          ["report-paper", "paper", 794, 1123, false],
          ["status", "terminal", 675, 420, false],
        ] as const
      ) {
        // Chromium's own window is never as narrow as a phone.
        const frame = `<body style="margin:0"><iframe src="${of}.html" onload="document.title =
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
