// docs/runbooks as pages that Grafana serves: the links of alerts lead there unless RUNBOOK_URL says where else.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Cluster, projectPath } from "../../../lib/core/cluster.ts";
import type { Manifest } from "../../../lib/core/object.ts";
import { packed } from "./dashboards.ts";
import { grafanaLabels } from "./labels.ts";

/** The ConfigMap with a page for each runbook, under the name of its file. */
export async function packRunbooks(cluster: Cluster): Promise<Manifest> {
  const folder = projectPath("docs/runbooks");
  const pages = (await readdir(folder)).map(async (file) =>
    [file, page(await readFile(join(folder, file), "utf8"))] as const
  );
  return packed("grafana-runbooks", grafanaLabels(cluster), await Promise.all(pages));
}

/** Markdown as it is written, in which the sections can be jumped to. Begins as browsers know a page. */
function page(markdown: string): string {
  const body = markdown.replaceAll("&", "&amp;").replaceAll("<", "&lt;")
    .replace(/^## (.*)$/gm, (line, title: string) => `<b id="${title.toLowerCase()}">${line}</b>`);
  return `<!doctype html>\n<meta charset="utf-8">\n<pre style="white-space: pre-wrap">\n${body}</pre>\n`;
}
