// Writes the table of env/README.md from env/schema.json: `deno run -A scripts/settings.ts`.
import "./needs.ts";
import { readFile, writeFile } from "node:fs/promises";
import { projectPath } from "../lib/core/cluster.ts";
import { command } from "../lib/cli/command.ts";
import { print } from "../lib/io/report.ts";
import { describeKind, isRequired, type Setting, SETTINGS } from "../lib/config/schema.ts";

/** The text of env/README.md with the rows of its table as the schema has them. */
export function settingsPage(page: string): string {
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
  if (isRequired(name)) return "**required**";
  return setting.default === undefined || setting.default === "" ? "" : `\`${setting.default}\``;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("<", "&lt;");
}

if (import.meta.main) {
  await command("settings.ts", {}, async () => {
    const path = projectPath("env/README.md");
    await writeFile(path, settingsPage(await readFile(path, "utf8")));
    print("env/README.md");
  });
}
