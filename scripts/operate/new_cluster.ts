// new-cluster: writes env/cluster-<id>.env for one more edge, after every check that needs no deploy:
// `scripts/operate/new_cluster.ts NAME=cluster-199-edge NODE_IP=192.168.101.199 [CONTEXT=...] [DOMAIN=...]`.
// What is not given follows the pattern of the edges there are. A host that is not up yet is a warning.
import "../needs.ts";
import { once } from "node:events";
import { rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { resolve } from "node:path";
import process from "node:process";
import {
  chooseClusters,
  type FleetOptions,
  loadFleet,
  secretsOf,
} from "../../lib/config/cluster.ts";
import { type Cluster, projectPath, text } from "../../lib/core/cluster.ts";
import { command } from "../../lib/cli/command.ts";
import { DeployError, ExitCode } from "../../lib/core/error.ts";
import { contextServers, refuseOtherServer } from "../../lib/kube/target.ts";
import { clusterFiles } from "../../lib/config/files.ts";
import { maskSecrets, print, Report } from "../../lib/io/report.ts";

const WORDS = ["NAME", "NODE_IP", "CONTEXT", "DOMAIN"];
const EXAMPLE = "make new-cluster NAME=cluster-199-edge NODE_IP=192.168.101.199";

/** What the operator says of the new edge; an empty word follows the pattern of the other edges. */
type Wish = Record<string, string>;

/** `NAME=value` words as a wish. @throws {DeployError} exit 2 for another word, or a missing one. */
function wishOf(words: string[]): Wish {
  const nameIn = (word: string) => word.split("=", 1)[0]!;
  const valueIn = (word: string) => word.slice(word.indexOf("=") + 1).trim();
  const wish = Object.fromEntries(words.map((word) => [nameIn(word), valueIn(word)]));
  const strange = words.filter((word) => !WORDS.includes(nameIn(word)));
  const missing = ["NAME", "NODE_IP"].filter((name) => !wish[name]);
  // A line of an env file would end, or begin another one, there.
  const cut = Object.entries(wish).filter(([, value]) => /[\s'"`#]/.test(value));
  if (strange.length === 0 && missing.length === 0 && cut.length === 0) return wish;
  throw refusal("Cannot understand what to add", [
    ...strange.map((word) => `${word}: known words are ${WORDS.join(", ")}`),
    ...cut.map(([name]) => `${name} holds a blank, a line break, a quote or a #`),
    ...missing.map((name) => `${name} is missing`),
  ]);
}

/** The number in `cluster-199` or `cluster-199-edge`. @throws {DeployError} exit 2 for another name. */
function newId({ NAME }: Wish): string {
  const [, id] = /^cluster-([1-9][0-9]{0,4})(-[a-z0-9-]*[a-z0-9])?$/.exec(NAME!) ?? [];
  if (id) return id;
  throw refusal("Cannot tell the number of the new cluster", [
    `NAME is "${NAME}": expected cluster-<number>, or cluster-<number>-<word>`,
  ]);
}

/** Text of the env file of an edge; `model` is a cluster whose names it follows. */
function envFile(id: string, wish: Wish, model: Cluster): string {
  const like = (name: string) => {
    const old = text(model, name);
    const named = old.replace(new RegExp(`(?<![0-9])${model.id}(?![0-9])`), id);
    if (named !== old) return named;
    throw refusal(`Cannot derive ${name} of ${id}`, [
      `${model.sources[name]}  ${name} is "${old}": there is no ${model.id} in it`,
    ], `give ${name === "KUBE_CONTEXT" ? "CONTEXT" : name}=...`);
  };
  const bare = wish.NAME === `cluster-${id}`;
  return `# ${id}: edge on ${wish.NODE_IP}
CLUSTER_ID=${id}
CLUSTER_NAME=${bare ? like("CLUSTER_NAME").replace(model.role, "edge") : wish.NAME}
CLUSTER_ROLE=edge
KUBE_CONTEXT=${wish.CONTEXT || like("KUBE_CONTEXT")}
NODE_IP=${wish.NODE_IP}
DOMAIN=${wish.DOMAIN || like("DOMAIN")}
`;
}

/**
 * Writes the env file of a new edge below `root` once the whole fleet with it is found well; `missing` is what a
 * deploy will need that is not there yet, one line each.
 * @throws {DeployError} exit 2 for what does not fit, exit 4 when the context leads elsewhere; nothing
 * is written then.
 */
export async function addCluster(
  words: string[],
  { root = projectPath("."), environment }: FleetOptions = {},
): Promise<{ id: string; file: string; text: string; missing: string[] }> {
  const wish = wishOf(words);
  const id = newId(wish);
  const file = `env/cluster-${id}.env`;
  if ((await clusterFiles(resolve(root, "env"))).ids.includes(id)) throw taken(file);

  const fleet = await loadFleet({ root, environment, withoutSecrets: true });
  maskSecrets(fleet.flatMap(secretsOf));
  const model = fleet.find(({ role }) => role === "edge") ?? fleet[0]!;
  const text = envFile(id, wish, model);
  const planned = { id, text };
  const whole = await loadFleet({ root, environment, planned, withoutSecrets: true })
    .catch((error) => {
      if (!(error instanceof DeployError)) throw error;
      const fix = "nothing was written: change what the lines name, and type it again";
      throw refusal(`Cannot add cluster ${id}`, error.where, fix);
    });
  const missing = await missingYet(chooseClusters(whole, [id])[0]!);
  await writeNew(root, file, text);
  return { id, file, text, missing };
}

async function missingYet(cluster: Cluster): Promise<string[]> {
  const context = text(cluster, "KUBE_CONTEXT");
  const server = (await contextServers(cluster)).get(context);
  if (server === undefined) {
    return [`the kubeconfig has no context ${context} yet (kubectl config get-contexts)`];
  }
  refuseOtherServer(cluster, server);
  if (URL.canParse(server) && await answers(new URL(server))) return [];
  return [`nobody answers at ${server} yet (kubectl --context ${context} get nodes)`];
}

async function answers({ hostname, port }: URL): Promise<boolean> {
  const socket = connect({ host: hostname, port: Number(port || 443) });
  try {
    await once(socket, "connect", { signal: AbortSignal.timeout(3000) });
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** Writes a file that must not be there; what cannot be written whole is taken away again. */
async function writeNew(root: string, file: string, text: string): Promise<void> {
  const path = resolve(root, file);
  try {
    await writeFile(path, text, { flag: "wx" });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "EEXIST") throw taken(file);
    await rm(path, { force: true });
    throw new DeployError(`Cannot write ${file}: ${code}`, {
      exitCode: ExitCode.prerequisite,
      fix: "look at the folder's owner, mode and room, and type it again",
      cause: error,
    });
  }
}

function taken(file: string): DeployError {
  return refusal("Cannot add the cluster: it is there already", [file], "take another number");
}

function refusal(what: string, where: string[], fix = EXAMPLE): DeployError {
  return new DeployError(what, { exitCode: ExitCode.config, where, fix });
}

async function newCluster(words: string[]): Promise<void> {
  // make puts its words into the environment too, where they would mean every cluster.
  const { NODE_IP: _ip, DOMAIN: _domain, ...environment } = process.env as Record<string, string>;
  const { id, file, text, missing } = await addCluster(words, { environment });
  print(`${file}\n\n${text}`);
  const report = new Report();
  for (const line of missing) report.warn(line);
  report.say(`\nnext  make plan-${id}\n      make cluster-${id}`);
}

if (import.meta.main) {
  const usage = `new-cluster.ts ${WORDS.map((word) => `${word}=...`).join(" ")}`;
  await command(usage, {}, newCluster);
}
