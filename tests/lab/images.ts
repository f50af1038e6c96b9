// The images of images.txt that upstream.ts has not copied, built from the programs of the laboratory into the store
// of its registry: one layer with the program, certificate authorities, users, /tmp. A tag names the same digest
// whenever it is built anew.
import { existsSync } from "node:fs";
import {
  chown,
  mkdir,
  mkdtemp,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { dirname, join } from "node:path";
import process from "node:process";
import { $ } from "zx";
import { type Cluster, projectPath, text } from "../../lib/core/cluster.ts";
import { hashOf } from "../../lib/core/hash.ts";
import { PLATFORM } from "../../lib/core/version.ts";
import { sha256Of } from "../../lib/io/files.ts";
import {
  blobPath,
  isCopied,
  linkImage,
  placeInStore,
  readRecord,
  type StoreRecord,
  writeRecord,
} from "./store.ts";

const KEYS = ["name", "made", "content", "entrypoint", "user", "workdir", "cmd", "env"] as const;
const OCI = "application/vnd.oci.image";
const CA = "/etc/ssl/certs/ca-certificates.crt";
const USERS = {
  "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n",
  "etc/group": "root:x:0:\nnobody:x:65534:\n",
  "etc/nsswitch.conf": "hosts: files dns\n",
};
const BUSYBOX = "/bin/busybox";
const sh = $({ quiet: true });

/** Content of an image: a file and its place, or the whole root. */
interface Part {
  source: string;
  place?: string;
}

/** A row of images.txt; its name has settings in it, as `{NAME}`. */
export type Image = Record<(typeof KEYS)[number], string>;

/** The rows of images.txt. */
export async function imageTable(): Promise<Image[]> {
  const lines = (await readFile(projectPath("tests/lab/images.txt"), "utf8")).split("\n");
  return lines.filter((line) => line && !line.startsWith("#")).map((line) => {
    const cells = line.split("|").map((cell) => cell.trim());
    return Object.fromEntries(KEYS.map((key, index) => [key, cells[index] ?? ""])) as Image;
  });
}

/** What of the laboratory's programs the content of an image names. */
export function programsIn({ content }: Image): string[] {
  return [...content.matchAll(/bin\/([\w-]+):/g)].map(([, program]) => program!);
}

/** The name of an image, with the settings of a cluster. */
export function imageName({ name }: Pick<Image, "name">, cluster: Cluster): string {
  return name.replace(/\{(\w+)\}/, (_, setting) => text(cluster, setting));
}

/** Builds into `store` what is new or of changed content, and forgets what it has and is no more in the table. */
export async function buildImages(
  cluster: Cluster,
  { home, store, say }: { home: string; store: string; say: (line: string) => void },
): Promise<void> {
  const known = await readRecord(store), built: StoreRecord = {};
  for (const { made: _, ...row } of await imageTable()) {
    const image = imageName(row, cluster);
    if (isCopied(known[image])) built[image] = known[image]!;
    if (isCopied(known[image]) || !row.content) continue;
    const parts = row.content.split(" ").map((part): Part => {
      if (part === "busybox") return { source: "/usr/bin/busybox", place: BUSYBOX };
      const [source, place] = part.replace(/^dir:/, "").split(":") as [string, string?];
      // Content lies beside this module, or among what was made.
      const own = projectPath(join("tests/lab", source));
      const made = join(home, source.replace(/^bin\//, ".tools/bin/"));
      return { source: existsSync(own) ? own : made, place };
    });
    const sources = [CA, ...parts.map(({ source }) => source)];
    const found = await sh`find -H ${sources} -printf ${"%p %l %s %T@ %m\n"}`;
    const stamp = hashOf([row, found.stdout.split("\n").sort()]);
    built[image] = stamp;
    if (known[image] === stamp) continue;
    const started = performance.now();
    // A run that is cut short leaves it known: the next one can forget it, and collects what is left.
    known[image] = "unfinished";
    await writeRecord(store, known);
    const layer = join(store, "layer");
    await makeLayer(layer, row, parts);
    const size = await put(store, image, row, layer);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    say(`  built ${image}: ${Math.ceil(size / 1e6)} MB, ${seconds} s`);
  }
  if (hashOf(built) === hashOf(known)) return;
  for (const image of Object.keys(known).filter((image) => !(image in built))) {
    await rm(placeInStore(store, image).tag, { recursive: true, force: true });
  }
  const env = {
    ...process.env,
    OTEL_TRACES_EXPORTER: "none",
    REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY: store,
  };
  const collect = [
    "garbage-collect",
    "--delete-untagged",
    projectPath("tests/lab/conf/registry.yml"),
  ];
  await $({ quiet: true, env })`${home}/.tools/bin/registry ${collect}`;
  await writeRecord(store, built);
}

async function makeLayer(
  layer: string,
  { user, workdir }: Omit<Image, "made">,
  parts: Part[],
): Promise<void> {
  await mkdir(dirname(layer), { recursive: true });
  const tar = ["--create", "--sort=name", "--numeric-owner", `--file=${layer}`];
  // Java knows its archive of classes by their times.
  const whole = parts.find(({ place }) => !place);
  if (whole) return void await sh`tar ${tar} -C ${whole.source} .`;
  const root = await mkdtemp(`${layer}.`);
  try {
    await sh`install -d -m 755 ${["", "etc", "bin", "home"].map((name) => join(root, name))}`;
    await sh`install -d -m 1777 ${root}/tmp`;
    await sh`install -d -m 700 ${root}/root`;
    await sh`install -D -m 644 ${CA} ${root}${CA}`;
    await chown(join(root, "home"), 65534, 65534);
    for (const [path, text] of Object.entries(USERS)) await writeFile(join(root, path), text);
    if (workdir !== "/") {
      const uid = user === "nobody" ? 65534 : Number(user.split(":")[0]);
      await sh`install -d -m 775 -o ${uid} -g ${uid} ${root}${workdir}`;
    }
    if (parts.some(({ place }) => place === BUSYBOX)) {
      const applets = (await sh`busybox --list`).stdout.trim().split("\n");
      for (const name of applets.filter((name) => name !== "busybox")) {
        await symlink("busybox", join(root, "bin", name));
      }
    }
    for (const { source, place } of parts) await sh`install -D -m 755 ${source} ${root}${place}`;
    await sh`tar ${tar} --mtime=@0 -C ${root} .`;
  } finally {
    await rm(root, { recursive: true });
  }
}

/** Moves the layer and what describes it to where the registry looks for an image's; gives the layer's bytes. */
async function put(
  store: string,
  image: string,
  row: Omit<Image, "made">,
  layer: string,
): Promise<number> {
  async function blob(file: string, mediaType: string) {
    const digest = `sha256:${await sha256Of(file)}`, { size } = await stat(file);
    const path = blobPath(store, digest);
    await mkdir(dirname(path), { recursive: true });
    await rename(file, path);
    return { mediaType: `${OCI}.${mediaType}`, digest, size };
  }
  async function json(value: unknown, mediaType: string) {
    const file = join(store, "json");
    await writeFile(file, JSON.stringify(value));
    return await blob(file, mediaType);
  }
  const words = (text: string) => text ? text.split(" ") : undefined;
  const content = await blob(layer, "layer.v1.tar");
  const config = await json({
    architecture: PLATFORM.arch,
    os: "linux",
    rootfs: { type: "layers", diff_ids: [content.digest] },
    config: {
      Entrypoint: words(row.entrypoint),
      Cmd: words(row.cmd),
      User: row.user || undefined,
      WorkingDir: row.workdir,
      Env: [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ...words(row.env) ?? [],
      ],
    },
  }, "config.v1+json");
  const mediaType = `${OCI}.manifest.v1+json`;
  const manifest = { schemaVersion: 2, mediaType, config, layers: [content] };
  const { digest } = await json(manifest, "manifest.v1+json");
  await linkImage(store, image, { manifests: [digest], blobs: [config.digest, content.digest] });
  return content.size;
}
