// Real OpenSearch nodes on loopback, each started as its pod starts: with the rendered opensearch.yml, copy.sh and
// environment, as uid 1000, on a root file system like the image's (`make lab` assembles one: opensearch/rootfs in
// its folder of the cache). Only the address is another: every node has one of its own. Linux, as root.
// By itself: scripts/deno run --allow-all tests/support/opensearch_nodes.ts ROOT [NAME=value …] runs what these
// settings make, with the template of 40-logging, until Ctrl-C.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { openSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { idOf, type Manifest } from "../../lib/core/object.ts";
import { ensure } from "../../lib/core/resource.ts";
import type { OpenSearch } from "../../lib/opensearch/client.ts";
import { document } from "../../lib/opensearch/documents.ts";
import { logging } from "../../scripts/40-logging.ts";
import { documentSpec } from "../../scripts/components/logging/objects.ts";
import { fixtureCluster } from "./cluster_fixture.ts";

/** From an empty root to the process: root file system, the pod's folder, address, size of a disk of its own or 0. */
const POD = `set -euo pipefail
root=$1 pod=$2 address=$3 disk=$4; shift 4
mkdir -p "$pod"/{layer,data,founded}
mount -t tmpfs -o mode=755 tmpfs "$pod/layer"
mkdir "$pod"/layer/{upper,work,root}
mount -t overlay overlay "$pod/layer/root" \\
  -o "lowerdir=$root,upperdir=$pod/layer/upper,workdir=$pod/layer/work"
cd "$pod/layer/root"
mount -t proc proc proc; mount --rbind /dev dev; mount -t tmpfs tmpfs tmp
cp "$pod/hosts" etc/hosts
mkdir -p prepared/{config,truststore,plugins} init opensearch-config founded
for folder in init opensearch-config founded; do mount --bind "$pod/$folder" "$folder"; done
chown -R 1000:1000 prepared "$pod/data"
chroot --userspec=1000:1000 . /bin/bash /init/copy.sh
home=usr/share/opensearch
mount --bind prepared/config "$home/config"
mount --bind "$pod/data" "$home/data"
if [ "$disk" != 0 ]; then mount -t tmpfs -o "size=$disk,uid=1000,gid=1000" tmpfs "$home/data"; fi
exec chroot --userspec=1000:1000 . setpriv --pdeathsig KILL env -i PATH=/usr/bin:/bin "$@" \\
  "/$home/opensearch-docker-entrypoint.sh" opensearch "-Enetwork.host=$address"
`;

/** For nodes that do not live long enough to gain by what the JVM's second compiler costs. */
const BRIEF = "-XX:TieredStopAtLevel=1";

const DATA = "/usr/share/opensearch/data";

/** One node. Its volume outlives its process, unless it is a disk of its own. */
export class LiveNode implements OpenSearch {
  readonly pause = 200;
  #process: ChildProcess | undefined;

  constructor(
    readonly name: string,
    readonly address: string,
    /** Its pod's, with the volume. */
    readonly folder: string,
    readonly start: (node: LiveNode) => ChildProcess,
  ) {}

  get url(): string {
    return `http://${this.address}:9200`;
  }

  fetch(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(this.url + path, init);
  }

  /** The answer as JSON, whatever its status. */
  // deno-lint-ignore no-explicit-any
  async call(method: string, path: string, body?: unknown): Promise<any> {
    const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
    const headers = { "content-type": "application/json" };
    return await (await this.fetch(path, { method, headers, body: text })).json();
  }

  /** Starts the process and waits until HTTP answers, with or without a cluster; at most twenty minutes. */
  async up(): Promise<void> {
    assert.equal(this.#process, undefined, `${this.name} runs`);
    const process = this.#process = this.start(this);
    for (let tries = 0; tries < 1200 && process.exitCode === null; tries++) {
      if (await this.fetch("/").then((answer) => answer.text()).catch(() => "")) return;
      await sleep(1000);
    }
    const log = await readFile(join(this.folder, "log"), "utf8");
    assert.fail(`${this.name} does not answer:\n${log.slice(-4000)}`);
  }

  /** Ends the process as an eviction (SIGTERM) or a crash (SIGKILL) does. */
  async down(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    const process = this.#process;
    this.#process = undefined;
    if (!process || process.exitCode !== null || process.signalCode !== null) return;
    const ended = new Promise((resolve) => process.once("exit", resolve));
    process.kill(signal);
    await ended;
  }

  /** The next start finds an empty volume. */
  async loseVolume(): Promise<void> {
    assert.equal(this.#process, undefined, `${this.name} runs`);
    await rm(join(this.folder, "data"), { recursive: true });
  }

  /** Its volume, as seen from here while it runs. */
  get data(): string {
    return `/proc/${this.#process!.pid}/root${DATA}`;
  }

  /** Processor time that it has used, in seconds. */
  async cpuSeconds(): Promise<number> {
    const stat = await readFile(`/proc/${this.#process!.pid}/stat`, "utf8");
    const [utime, stime] = stat.slice(stat.lastIndexOf(")") + 2).split(" ").slice(11, 13);
    return (Number(utime) + Number(stime)) / 100; // USER_HZ of every Linux
  }
}

/** What a site of nodes is made of. */
export interface LiveOptions {
  /** Root file system of the image. */
  root: string;
  /** Rendered objects of 40-logging. */
  objects: Manifest[];
  /** Size of a disk for each node, as mount(8) takes it; without it this machine's. */
  disk?: string;
  /** Flags for the JVM beside the rendered ones ({@link BRIEF}). */
  flags?: string;
}

/** Three nodes at most, none of which has started yet. */
export class LiveSite {
  readonly nodes: LiveNode[];
  #environment: string[] = [];

  private constructor(readonly folder: string, readonly options: LiveOptions) {
    const { root, disk = "0" } = options;
    this.nodes = [0, 1, 2].map((at) => {
      const name = `opensearch-${at}`, address = `127.77.${Deno.pid % 250}.1${at}`;
      return new LiveNode(name, address, join(folder, name), (node) => {
        const flags = ["--mount", "--propagation", "private", "bash", "-c", POD, "-"];
        const args = [root, node.folder, address, disk, `HOSTNAME=${name}`, ...this.#environment];
        const log = openSync(join(node.folder, "log"), "a");
        return spawn("unshare", [...flags, ...args], { stdio: ["ignore", log, log] });
      });
    });
  }

  static async of(options: LiveOptions): Promise<LiveSite> {
    const site = new LiveSite(await mkdtemp(join(tmpdir(), "opensearch-")), options);
    await site.use(options.objects);
    return site;
  }

  /** What pods that start from now on are given. */
  async use(objects: Manifest[]): Promise<void> {
    const { flags = BRIEF } = this.options;
    const byId = (id: string) => objects.find((one) => idOf(one) === id)!;
    const { containers } = byId("StatefulSet/logging/opensearch").spec.template.spec;
    this.#environment = containers[0].env
      .map(({ name, value }: { name: string; value: string }) =>
        `${name}=${value}${name === "OPENSEARCH_JAVA_OPTS" ? ` ${flags}` : ""}`
      );
    const headless = this.nodes.map(({ address }) => `${address} opensearch-headless`);
    const maps = {
      init: byId("ConfigMap/logging/opensearch-init").data,
      "opensearch-config": byId("ConfigMap/logging/opensearch-config").data,
    };
    for (const { folder } of this.nodes) {
      for (const [map, data] of Object.entries(maps)) await this.#put(join(folder, map), data);
      await this.#put(folder, { hosts: `127.0.0.1 localhost\n${headless.join("\n")}\n` });
    }
  }

  /** What a deploy notes once OpenSearch has taken documents. */
  async note(founded: Manifest): Promise<void> {
    for (const { folder } of this.nodes) await this.#put(join(folder, "founded"), founded.data);
  }

  async #put(folder: string, files: Record<string, string>): Promise<void> {
    await mkdir(folder, { recursive: true });
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.down("SIGKILL")));
    await rm(this.folder, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const [root, ...settings] = Deno.args;
  const environment = Object.fromEntries(settings.map((one) => one.split(/=(.*)/s)));
  const cluster = await fixtureCluster("197", { OPENSEARCH_HEAP: "512m", ...environment });
  await using site = await LiveSite.of({ root: root!, objects: await logging.objects(cluster) });
  const nodes = site.nodes.slice(0, Number(cluster.vars.OPENSEARCH_NODES));
  await Promise.all(nodes.map((node) => node.up()));
  await ensure(
    document("IndexTemplate", "logs", documentSpec("index-template", cluster)),
    nodes[0]!,
  );
  await Deno.stdout.write(new TextEncoder().encode(`LIVE_OPENSEARCH=${nodes[0]!.url}\n`));
  await new Promise<void>((resolve) => Deno.addSignalListener("SIGINT", resolve));
}
