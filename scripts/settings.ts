// Writes env/README.md from env/schema.json: `deno run -A scripts/settings.ts`.
import "./needs.ts";
import { writeFile } from "node:fs/promises";
import { projectPath } from "../lib/core/cluster.ts";
import { command } from "../lib/cli/command.ts";
import { print } from "../lib/io/report.ts";
import { describeKind, isRequired, type Setting, SETTINGS } from "../lib/config/schema.ts";

const HEAD = `<!-- Written by scripts/settings.ts from env/schema.json; edit those. -->
# Settings

One file per cluster, \`cluster-<id>.env\`, holds what makes it this cluster; adding an edge is adding
one file. A later place wins:

1. the defaults below (\`schema.json\`)
2. \`common.env\`: facts of the site
3. \`cluster-<id>.env\`: facts of one cluster
4. \`profiles/<PROFILE>.env\`, or the file whose path \`PROFILE\` is (\`tests/lab/site.env\`), when \`PROFILE\` is set in the environment
5. \`SECRET_FILE\`: the only file for secrets; git never sees it
6. the process environment: any name below, but the ones that say which cluster it is
   (\`CLUSTER_*\`, \`KUBE_CONTEXT\`, \`NODE_IP\`, \`NODE_NETWORKS\`, \`API_HOST\`, \`SIDECAR_ADDRESS\`, \`DOMAIN\`, \`REGION\`, \`GROUPS\`), which are refused there

An empty value means missing: the default holds, and a setting without one is asked for.
\`make config-197\` prints every value and who gave it.

## How to write a value

\`NAME=value\`, one per line; \`#\` starts a comment at the start of a line or after a blank. Nothing is
expanded. A value with a \`#\` goes in quotes: single quotes and backquotes keep every character, in
double quotes \`\\n\` becomes a line break. Write secrets in single quotes. Line breaks and other
characters that nobody sees are refused in every value, and so are numbers with leading zeros. A line
that dotenv would drop, cut or overwrite in silence is refused, too, and all problems of all files are
told at once, before any cluster is contacted.

Durations are \`30s\`, \`2h\`, \`14d\`; sizes \`10Gi\`; CPU \`300m\` or \`1\`. Relative paths start at the
project folder.

## All settings

| Name | Kind | Default | Meaning |
| --- | --- | --- | --- |
`;

const TAIL = `
## Computed

Manifests may also use \`S3_HOST\` (host and port of \`S3_ENDPOINT\`), \`S3_BASE_PATH\` (\`cluster-<id>\`),
\`S3_CHECKSUM\` (of the centre: changes with the endpoint, its key and the CA), \`RATE_WINDOW\` (5m, or four times
\`SCRAPE_INTERVAL\`), \`CENTRAL_DOOR\` (\`DOMAIN:HTTP_NODE_PORT\` of the centre), \`NODE_PORT_POLICY\` (Local, or Cluster with
\`NODE_NETWORKS\`) and \`STORE_SHARD_LABELS\` (what
tells a shard of Store its blocks). They cannot be set.

Versions are not set here either: \`THANOS_VERSION\` and the like stand in \`manifests/versions.json\`, those
of upstream bundles (\`LONGHORN_VERSION\`) in \`manifests/upstream.lock.json\`, and that of an image above
(\`TRAEFIK_VERSION\`) is its tag. \`THANOS_SEMVER\` is the same without the v.
`;

/** The text of env/README.md. */
export function settingsPage(): string {
  const rows = Object.entries(SETTINGS).map(([name, setting]) =>
    `| \`${name}\` | ${kind(setting)} | ${fallback(name, setting)} | ${cell(setting.description)} |`
  );
  return `${HEAD}${rows.join("\n")}\n${TAIL}`;
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
    await writeFile(projectPath("env/README.md"), settingsPage());
    print("env/README.md");
  });
}
