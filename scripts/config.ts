// Every effective setting of a cluster and who gave it, one `NAME=value  # source` per line.
// Contacts nothing; secrets are shown as ***.
import "./needs.ts";
import { type Cluster, text } from "../lib/cluster.ts";
import { clustersFor, command } from "../lib/command.ts";
import { ExitCode } from "../lib/error.ts";
import { print } from "../lib/report.ts";
import { isSecret } from "../lib/settings.ts";

/** The lines for one cluster, sorted by name; no secret value is in them. */
export function settingLines(cluster: Cluster): string[] {
  return Object.keys(cluster.vars).sort().map((name) => {
    const value = isSecret(name) ? "***" : text(cluster, name);
    return `${name}=${value}  # ${cluster.sources[name]}`;
  });
}

if (import.meta.main) {
  await command("config.ts CLUSTER... | all", {}, async (ids) => {
    for (const cluster of await clustersFor(ids)) {
      print(`# ${cluster.id}\n${settingLines(cluster).join("\n")}\n`);
    }
    return ExitCode.done;
  });
}
