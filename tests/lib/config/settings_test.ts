// The table of env/README.md is env/schema.json in words; `make golden` rewrites it.
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import schema from "../../../env/schema.json" with { type: "json" };
import { describeKind, type Setting, SETTINGS } from "../../../lib/config/schema.ts";

/** The text of env/README.md with the rows of its table as the schema has them. */
function settingsPage(page: string): string {
  const rows = Object.entries(SETTINGS).map(([name, setting]) =>
    `| \`${name}\` | ${kind(setting)} | ${fallback(name, setting)} | ${cell(setting.description)} |`
  );
  return page.replace(/(^\| --- .*\n)(\|.*\n)*/m, (_, head) => `${head}${rows.join("\n")}\n`);
}

function kind(setting: Setting): string {
  if (setting.writeOnly) return "secret";
  if (setting.enum) return setting.enum.map((value) => `\`${value}\``).join(" or ");
  return (describeKind(setting) ?? "text").replace(/^an? /, "");
}

function fallback(name: string, setting: Setting): string {
  if (schema.required.includes(name)) return "**required**";
  return setting.default === undefined || setting.default === "" ? "" : `\`${setting.default}\``;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("<", "&lt;");
}

Deno.test("env/README.md lists the settings of env/schema.json", async () => {
  const path = new URL("../../../env/README.md", import.meta.url);
  const page = await readFile(path, "utf8");
  const wanted = settingsPage(page.replace(/^\| `.*\n/gm, ""));
  if (Deno.env.get("UPDATE_GOLDEN")) return await writeFile(path, wanted);
  assert.ok(page === wanted, "env/README.md is stale: make golden");
});
