// Gets every tool of tools.json and shows where each came from: `make tools [names...]`.
import "../needs.ts";
import { command } from "../../lib/cli/command.ts";
import { print, Report, table } from "../../lib/io/report.ts";
import { allTools, findTools } from "./tool.ts";

await command("tools [NAME...]", {}, async (words) => {
  const names = words.length > 0 ? words : allTools().map(({ name }) => name);
  const report = new Report();
  const found = Object.entries(await findTools(names, { say: report.say }));
  const rows = found.map((
    [name, { version, from, path }],
  ) => [name, version, from === "PATH" ? path : from]);
  print(table([["tool", "version", "from"], ...rows]));
});
