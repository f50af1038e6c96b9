// new-cluster: writes env/cluster-<id>.env for one more edge; what is not given follows the pattern of the others.
import "../needs.ts";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { chooseClusters, loadFleet, secretsOf } from "../../lib/config/cluster.ts";
import { WITHOUT_PAIRS } from "../../lib/config/certificates.ts";
import { type Cluster, flag, projectPath, text } from "../../lib/core/cluster.ts";
import { command } from "../../lib/cli/command.ts";
import { configError, DeployError } from "../../lib/core/error.ts";
import { contextServers, refuseOtherServer } from "../../lib/kube/target.ts";
import { replaceFile } from "../../lib/io/files.ts";
import { maskSecrets, print, Report } from "../../lib/io/report.ts";

const EXAMPLE = "make new-cluster NAME=cluster-199-edge NODE_IP=192.168.101.199";

/** What the operator says of the new edge; what is empty follows the pattern of the other edges. */
export type Wish = Partial<Record<"NAME" | "NODE_IP" | "CONTEXT" | "DOMAIN", string>>;

function newId(wish: Wish): string {
  const { NAME = "", NODE_IP } = wish;
  const [, id] = /^cluster-([1-9][0-9]{0,4})(-[a-z0-9-]*[a-z0-9])?$/.exec(NAME) ?? [];
  // A line of an env file would end there.
  const where = Object.entries(wish).filter(([, value]) => /[\s'"`#]/.test(value))
    .map(([name]) => `${name} holds a blank, a line break, a quote or a #`);
  if (!NODE_IP) where.push("NODE_IP is missing");
  if (!id) where.push(`NAME is "${NAME}": expected cluster-<number>, or cluster-<number>-<word>`);
  if (id && where.length === 0) return id;
  throw refusal("Cannot understand what to add", where);
}

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
  // Where each has a kubeconfig of its own, so has this one.
  const ownFile = model.sources.KUBECONFIG_FILE?.startsWith(`env/cluster-${model.id}.env`);
  return `# ${id}: edge on ${wish.NODE_IP}
CLUSTER_ID=${id}
CLUSTER_NAME=${bare ? like("CLUSTER_NAME").replace(model.role, "edge") : wish.NAME}
CLUSTER_ROLE=edge
KUBE_CONTEXT=${wish.CONTEXT || like("KUBE_CONTEXT")}
NODE_IP=${wish.NODE_IP}
DOMAIN=${wish.DOMAIN || like("DOMAIN")}
${ownFile ? `KUBECONFIG_FILE=${like("KUBECONFIG_FILE")}\n` : ""}`;
}

/** Writes the env file of an edge that fits. @throws {DeployError} exit 2: it does not, 4: its context leads elsewhere. */
export async function addCluster(
  wish: Wish,
  { root = projectPath("."), environment = Deno.env.toObject() } = {},
) {
  const id = newId(wish), file = `env/cluster-${id}.env`, path = resolve(root, file);
  const refuseTaken = () => {
    if (!existsSync(path)) return;
    throw refusal("Cannot add the cluster: it is there already", [file], "take another number");
  };
  refuseTaken();
  const fleet = await loadFleet({ root, environment, withoutSecrets: true });
  maskSecrets(fleet.flatMap(secretsOf));
  const model = fleet.find(({ role }) => role === "edge") ?? fleet[0]!;
  const text = envFile(id, wish, model);
  // Its certificates are made when it is one of the clusters.
  const withoutPairs = { ...environment, ...WITHOUT_PAIRS }, planned = { id, text };
  const whole = await loadFleet({ root, environment: withoutPairs, planned, withoutSecrets: true })
    .catch((error) => {
      if (!(error instanceof DeployError)) throw error;
      const fix = "nothing was written: change what the lines name, and type it again";
      throw refusal(`Cannot add cluster ${id}`, error.where, fix);
    });
  const [cluster] = chooseClusters(whole, [id]) as [Cluster];
  // Its kubeconfig may come later: make preflight asks for it.
  const server = (await contextServers(cluster)).get(String(cluster.vars.KUBE_CONTEXT));
  if (server !== undefined) refuseOtherServer(cluster, server);
  refuseTaken(); // somebody may have made it meanwhile
  const write = (temporary: string) => writeFile(temporary, text);
  await replaceFile(path, write, "look at the folder's owner and mode");
  const needsPair = Object.keys(WITHOUT_PAIRS).some((name) => flag(model, name));
  return { id, file, text, needsPair };
}

function refusal(what: string, where: string[], fix = EXAMPLE): DeployError {
  return configError(what, { where, fix });
}

await command("[CONTEXT=...] [DOMAIN=...] NAME=... NODE_IP=... new_cluster.ts", {}, async () => {
  // For the fleet that there is they would mean every cluster.
  const { NAME, NODE_IP, CONTEXT, DOMAIN, ...environment } = Deno.env.toObject();
  const wish = { NAME, NODE_IP, CONTEXT, DOMAIN };
  const { id, file, text, needsPair } = await addCluster(wish, { environment });
  print(`${file}\n\n${text}`);
  const next = [...needsPair ? ["certificates"] : [], `preflight-${id}`, `cluster-${id}`];
  new Report().say(`\nnext  ${next.map((goal) => `make ${goal}`).join("\n      ")}`);
}, import.meta.main);
