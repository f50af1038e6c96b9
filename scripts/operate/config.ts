// Every effective setting of a cluster, `NAME=value  # source`; contacts nothing, and secrets are shown as ***.
import "../needs.ts";
import { type Cluster, fillIn, text } from "../../lib/core/cluster.ts";
import { choiceFor, command, LOOKS, tellWarnings, WITHOUT_SECRETS } from "../../lib/cli/command.ts";
import { print, Report } from "../../lib/io/report.ts";
import { isSecret } from "../../lib/config/schema.ts";
import { openDoors } from "../../lib/cli/deploy.ts";
import { STEPS } from "../steps.ts";

/** The lines of these settings (default: of all) of a cluster, sorted by name; no secret value is in them. */
export function settingLines(
  cluster: Cluster,
  names = [...Object.keys(cluster.vars), ...cluster.missing],
): string[] {
  return names.sort().map((name) => {
    if (cluster.missing.includes(name)) return `${name}=  # missing`;
    const value = isSecret(name) ? "***" : text(cluster, name);
    return `${name}=${value}  # ${cluster.sources[name]}`;
  });
}

await command("config.ts CLUSTER... | GROUP... | edges | all", {}, async (ids) => {
  const choice = await choiceFor(ids, { ...WITHOUT_SECRETS, ...LOOKS });
  const clusters = [...choice.clusters, ...choice.paused];
  for (const one of clusters) print(`# ${one.id}\n${settingLines(one).join("\n")}\n`);
  tellWarnings(clusters);
  const doors = openDoors(clusters.map((cluster) => ({ cluster, steps: STEPS })));
  if (doors) new Report().say(doors);
  const lacking = clusters.find(({ missing }) => missing.length > 0);
  if (lacking) {
    const fix = fillIn(String(lacking.vars.SECRET_FILE));
    new Report().warn(`a deploy needs ${lacking.missing.join(", ")}: ${fix}`);
  }
}, import.meta.main);
