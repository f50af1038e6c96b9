// Sites of any number of clusters, made of the env files of this project.
import { cp, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { type Cluster, projectPath } from "../../lib/core/cluster.ts";
import { benchFleet, FOLDER } from "./corpus.ts";

/** Of a large site the clusters whose server never answers, and takes 200 ms longer for each request. */
export const TROUBLED = { dead: "197", slow: "198" };

/** A project folder with the env files of one centre and edges, so many (3 or more) in all. */
export async function site(count: number): Promise<string> {
  const root = projectPath(join(FOLDER, `site-${count}`)), env = join(root, "env");
  // No secret of the operator is copied.
  const filter = (path: string) => !/secret|kubeconfig|tls/.test(basename(path));
  await cp(projectPath("env"), env, { recursive: true, filter });
  const edge = await readFile(projectPath("env/cluster-197.env"), "utf8");
  for (let id = 200; id < 200 + count - 3; id++) {
    const text = edge.replaceAll("197", String(id));
    const address = text.replaceAll(`192.168.101.${id}`, `10.0.${id >> 8}.${id & 255}`);
    await writeFile(join(env, `cluster-${id}.env`), address);
  }
  return root;
}

/** The clusters of such a site, with more settings. */
export async function fleetOf(
  count: number,
  settings: Record<string, string> = {},
): Promise<Cluster[]> {
  return await benchFleet(await site(count), settings);
}
