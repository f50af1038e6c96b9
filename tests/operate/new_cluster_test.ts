import assert from "node:assert/strict";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DeployError } from "../../lib/core/error.ts";
import { addCluster, type Wish } from "../../scripts/operate/new_cluster.ts";
import { fakeKubectl, type Reply } from "../support/fake_kubectl.ts";
import { grpcFolder } from "../support/grpc_fixture.ts";
import { type Project, project, wording } from "../support/project_fixture.ts";

const EDGE: Wish = { NAME: "cluster-199-edge", NODE_IP: "192.168.101.199", CONTEXT: "" };
const FILE = `# 199: edge on 192.168.101.199
CLUSTER_ID=199
CLUSTER_NAME=cluster-199-edge
CLUSTER_ROLE=edge
KUBE_CONTEXT=mkube-199
NODE_IP=192.168.101.199
DOMAIN=mkube-199.miribit.lab
`;

/** A kubeconfig whose context `name` leads to `server`. */
function kubeconfig(name: string, server: string): Reply[] {
  const config = {
    contexts: [{ name, context: { cluster: "c" } }],
    clusters: [{ name: "c", cluster: { server } }],
  };
  return [{ on: "config view", stdout: JSON.stringify(config) }];
}

function options({ root }: Project, environment: Record<string, string> = {}) {
  return { root, environment: { KUBECONFIG_FILE: "kubeconfig", ...environment } };
}

/** The refusal of a cluster that must not be added; env/ is as before. */
async function refusal(
  place: Project,
  wish: Wish,
  environment: Record<string, string> = {},
): Promise<DeployError> {
  const before = await readdir(join(place.root, "env"));
  const error = await addCluster(wish, options(place, environment)).catch((error) => error);
  assert.ok(error instanceof DeployError, `not refused: ${error}`);
  assert.deepEqual(await readdir(join(place.root, "env")), before);
  return error;
}

Deno.test("addCluster() writes the file of an edge after the pattern of the others", async () => {
  await fakeKubectl(kubeconfig("mkube-197", "https://192.168.101.197:8443"));
  await using place = await project();
  const { file, text } = await addCluster(EDGE, options(place));
  assert.deepEqual([file, text], ["env/cluster-199.env", FILE]);
  assert.equal(await readFile(join(place.root, file), "utf8"), FILE);
  assert.deepEqual(
    (await readdir(join(place.root, "env"))).filter((name) => /part/.test(name)),
    [],
  );
  assert.equal((await place.load()).at(-1)?.id, "199");
});

Deno.test("addCluster() names a kubeconfig where each cluster has its own, and needs none", async () => {
  await fakeKubectl(kubeconfig("x", "https://192.168.101.197:8443"));
  await using place = await project();
  for (const id of ["196", "197", "198"]) {
    const file = join(place.root, `env/cluster-${id}.env`);
    await writeFile(file, `KUBECONFIG_FILE=env/kubeconfig-${id}\n`, { flag: "a" });
  }
  const { text } = await addCluster(EDGE, { root: place.root, environment: {} });
  assert.equal(text, `${FILE}KUBECONFIG_FILE=env/kubeconfig-199\n`);

  const home = Deno.env.get("HOME")!;
  await using bare = await project();
  try {
    Deno.env.set("HOME", bare.root);
    assert.equal((await addCluster(EDGE, { root: bare.root, environment: {} })).text, FILE);
  } finally {
    Deno.env.set("HOME", home);
  }
});

Deno.test("addCluster() completes a bare name, and takes CONTEXT and DOMAIN as given", async () => {
  await fakeKubectl(kubeconfig("x", "https://192.168.101.197:8443"));
  await using place = await project();
  const wish = { ...EDGE, NAME: "cluster-199", CONTEXT: "site-a", DOMAIN: "a.lab" };
  const { text } = await addCluster(wish, options(place));
  assert.match(text, /^CLUSTER_NAME=cluster-199-edge\nCLUSTER_ROLE=edge\nKUBE_CONTEXT=site-a$/m);
  assert.match(text, /^DOMAIN=a\.lab$/m);
});

Deno.test("addCluster() finds the pattern at the centre of a fleet without an edge", async () => {
  await fakeKubectl(kubeconfig("x", "https://192.168.101.197:8443"));
  await using place = await project({ "cluster-197.env": null, "cluster-198.env": null });
  const { text } = await addCluster({ ...EDGE, NAME: "cluster-199" }, options(place));
  assert.equal(text, FILE);
});

Deno.test("addCluster() refuses what lacks a word, and other names", async () => {
  await using place = await project();
  const words = wording(await refusal(place, { NAME: "cluster-199" }));
  assert.match(words, /NODE_IP is missing/);
  for (const name of ["edge-199", "cluster-0", "cluster-199_a", "cluster-199-", "cluster-999999"]) {
    const error = await refusal(place, { ...EDGE, NAME: name });
    assert.equal(error.exitCode, 2);
    assert.match(wording(error), new RegExp(`NAME is "${name}": expected cluster-<number>`));
  }
});

Deno.test("addCluster() never writes over a cluster", async () => {
  await using place = await project();
  const error = await refusal(place, { ...EDGE, NAME: "cluster-197-edge" });
  assert.equal(error.exitCode, 2);
  assert.match(wording(error), /there already[^]*env\/cluster-197\.env/);
});

const CLASHES: [wish: Wish, told: RegExp][] = [
  [{ NODE_IP: "192.168.101.197" }, /NODE_IP is "192\.168\.101\.197", as in env\/cluster-197/],
  [{ NODE_IP: "192.168.101.299" }, /NODE_IP is "192\.168\.101\.299": expected an IPv4 address/],
  [
    { DOMAIN: "mkube-198.miribit.lab" },
    /DOMAIN is "mkube-198\.miribit\.lab", as in env\/cluster-198/,
  ],
  [{ CONTEXT: "mkube-196" }, /KUBE_CONTEXT is "mkube-196", as in env\/cluster-196/],
];

for (const [wish, told] of CLASHES) {
  Deno.test(`addCluster() refuses ${Object.entries(wish).join()} of another cluster, or of none`, async () => {
    await using place = await project();
    const error = await refusal(place, { ...EDGE, ...wish });
    assert.equal(error.exitCode, 2);
    assert.match(wording(error), told);
    assert.match(wording(error), /nothing was written/);
  });
}

Deno.test("addCluster() refuses a name that another cluster has", async () => {
  const central = "CLUSTER_ID=196\nCLUSTER_NAME=cluster-199-edge\nCLUSTER_ROLE=central\n" +
    "KUBE_CONTEXT=mkube-196\nNODE_IP=192.168.101.196\nDOMAIN=mkube-196.miribit.lab\n";
  await using place = await project({ "cluster-196.env": central });
  assert.match(wording(await refusal(place, EDGE)), /CLUSTER_NAME is "cluster-199-edge", as in/);
});

Deno.test("addCluster() says which name it cannot derive", async () => {
  const edge = "CLUSTER_ID=197\nCLUSTER_NAME=cluster-197-edge\nCLUSTER_ROLE=edge\n" +
    "KUBE_CONTEXT=paris\nNODE_IP=192.168.101.197\nDOMAIN=mkube-197.miribit.lab\n";
  await using place = await project({ "cluster-197.env": edge });
  const error = await refusal(place, EDGE);
  assert.match(wording(error), /env\/cluster-197\.env:4 {2}KUBE_CONTEXT is "paris"[^]*CONTEXT=/);
});

Deno.test("P11: addCluster() refuses words that would write lines of their own, or that no shell takes as they are", async () => {
  await using place = await project();
  for (const CONTEXT of ["a\nSTORAGE=existing", "a\u200b", "a$HOME`id`", "'q uoted'", "a #x;y"]) {
    assert.equal((await refusal(place, { ...EDGE, CONTEXT })).exitCode, 2, CONTEXT);
  }
  for (
    const address of [
      "0.0.0.0",
      "127.0.0.1",
      "224.0.0.1",
      "255.255.255.255",
      "172.20.40.21",
      "fe80::1",
    ]
  ) {
    const error = await refusal(place, { ...EDGE, NODE_IP: address });
    assert.match(wording(error), /env\/cluster-199\.env:6 {2}NODE_IP is/, address);
  }
});

Deno.test("A24: addCluster() refuses a context that leads to another address", async () => {
  await fakeKubectl(kubeconfig("mkube-199", "https://192.168.101.198:8443"));
  await using place = await project();
  const error = await refusal(place, EDGE);
  assert.equal(error.exitCode, 4);
  assert.match(wording(error), /expected 192\.168\.101\.199, the kubeconfig says \S+198/);
});

Deno.test("addCluster() needs no certificate of an edge that make certificates does not know yet", async () => {
  await fakeKubectl(kubeconfig("x", "https://192.168.101.197:8443"));
  await using place = await project();
  await using folder = await grpcFolder();
  const { needsPair } = await addCluster(EDGE, options(place, folder.environment));
  assert.equal(needsPair, true);
  await assert.rejects(place.load(folder.environment), /Cannot load/);
});
