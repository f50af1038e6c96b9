// The programs of the laboratory: the project's own at exactly their versions, and those of tools.json beside this.
import { readFile } from "node:fs/promises";
import { type Cluster, text } from "../../lib/core/cluster.ts";
import type { Tool } from "../../scripts/tools/tool.ts";
import { allTools } from "../../scripts/tools/tool.ts";
import { imageName, imageTable, programsIn } from "./images.ts";
import { isCopied, readRecord } from "./store.ts";

interface Release extends Omit<Tool, "name"> {
  /** A tool of the project whose release this is, too. */
  like?: string;
  tags?: string[];
  programs: Record<string, Partial<Tool>>;
}

/** Every program that runs on the nodes, with the versions that a cluster's images have. */
export async function labTools(cluster: Cluster): Promise<Tool[]> {
  const list = new URL("tools.json", import.meta.url);
  const { shared, releases }: { shared: string[]; releases: Release[] } = JSON.parse(
    await readFile(list, "utf8"),
  );
  const project = allTools();
  const versionOf = (wanted: string) =>
    wanted.replace(/\{(\w+)\}/, (_, name) => text(cluster, name)).replace(/^v/, "");
  return [
    // A newer one on PATH would do for the project, and be another than its image says.
    ...project.filter(({ name }) => shared.includes(name)).map(exactly),
    ...releases.flatMap(({ like, tags, programs, ...own }) => {
      const release = like ? exactly(project.find(({ name }) => name === like)!) : own;
      const go = { ...release.go, ...tags && { tags } };
      const version = versionOf(release.version);
      return Object.entries(programs).map(([name, program]) =>
        ({ ...release, sha256: undefined, ...program, go, version, name }) as Tool
      );
    }),
  ];
}

/** Names of those that run on nodes, or whose image is made from them: not those of upstream's own images alone. */
export async function programsOf(
  tools: Tool[],
  cluster: Cluster,
  store: string,
): Promise<string[]> {
  const record = await readRecord(store);
  const table = await imageTable();
  return tools.map(({ name }) => name).filter((name) => {
    const users = table.filter((row) => programsIn(row).includes(name));
    return users.length === 0 || users.some((row) => !isCopied(record[imageName(row, cluster)]));
  });
}

function exactly(tool: Tool): Tool {
  return { ...tool, atLeast: undefined };
}
