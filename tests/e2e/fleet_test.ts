// The fleet grows by one file, and its links can be closed to strangers.
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { $ } from "zx";
import { type Cluster, text } from "../../lib/core/cluster.ts";
import { changesOf, typeMake } from "../support/make.ts";
import { readStores } from "../../scripts/components/thanos/stores.ts";
import {
  central,
  check,
  copyProject,
  edges,
  eventually,
  figure,
  fleet,
  kube,
  make,
  names,
  pods,
  seconds,
  way,
} from "./site.ts";

const newest = edges.at(-1)!;

/** Clusters whose sidecars Query is in touch with. */
async function seen(): Promise<string[]> {
  const { sidecar = [] } = await readStores(await way(central));
  return sidecar.filter(({ lastError }) => !lastError)
    .flatMap(({ labelSets }) => labelSets.map(({ cluster }) => cluster!)).sort();
}

const queryPods = async () =>
  (await pods(central, "app.kubernetes.io/name=thanos-query")).map((
    { uid, restarts },
  ) => [uid, restarts]);

check("a new edge is one file: Query sees it without a restart", async () => {
  const folder = await mkdtemp(join(tmpdir(), "fleet-"));
  const there = (words: string[]) => make(words, {}, folder);
  try {
    // The same project as it was before this edge came.
    await copyProject(folder);
    const file = `env/cluster-${newest.id}.env`;
    const before = await readFile(join(folder, file), "utf8");
    await rm(join(folder, file));
    const unmoved = await queryPods();
    await there(["30-thanos", `CLUSTER=${central.id}`]);
    const without = names.filter((name) => name !== text(newest, "CLUSTER_NAME"));
    await eventually(5, async () => assert.deepEqual(await seen(), without));

    await there([
      "new-cluster",
      `NAME=${text(newest, "CLUSTER_NAME")}`,
      `NODE_IP=${text(newest, "NODE_IP")}`,
    ]);
    assert.deepEqual(settings(await readFile(join(folder, file), "utf8")), settings(before));
    const told = eventually(15, async () => {
      const { data } = await kube(central, "configmap/thanos-query-endpoints", "-n", "monitoring");
      assert.ok(data["endpoints.yml"].includes(text(newest, "NODE_IP")), "the centre is not told");
      return performance.now();
    });
    const noticed = told.then(() =>
      eventually(10, async () => {
        assert.deepEqual(await seen(), names);
        return performance.now();
      })
    );
    await there([`cluster-${newest.id}`]);
    const took = (await noticed - await told) / 1000;
    figure("a new edge: told to the centre, seen by Query after", `${took.toFixed(0)} s`);
    assert.deepEqual(await queryPods(), unmoved);
    assert.equal(changesOf(await make(["30-thanos", "CLUSTER=all"])), 0);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

function settings(file: string): string[] {
  return file.split("\n").filter((line) => /^[A-Z]/.test(line)).sort();
}

check("WAVES: one after the other, and none after one that is not well", async () => {
  const [first] = edges;
  const waves = { WAVES: `${first!.id} 50% all` };
  const well = await make(["all"], waves);
  const [last] = well.output.match(/^wave (\d) of \1: /gm) ?? [];
  assert.ok(last && changesOf(well) === 0, well.output);

  const folder = await mkdtemp(join(tmpdir(), "waves-"));
  try {
    await copyProject(folder);
    const file = join(folder, `env/cluster-${first!.id}.env`);
    const before = await readFile(file, "utf8");
    // Another server than that of its context: it is refused before anything is asked of it.
    await writeFile(file, `${before.replace(/^API_HOST=.*\n/m, "")}API_HOST=192.0.2.1\n`);
    const { code, output } = await typeMake(["all"], waves, folder);
    assert.equal(code, 4, output);
    assert.match(output, /^ {2}50% .*\n {2}all /m);
    assert.doesNotMatch(output, /^wave 2/m);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

check(
  "a paused edge is left alone and not missed, and a group is deployed by its name",
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "fleet-"));
    const file = join(folder, `env/cluster-${newest.id}.env`);
    const there = (words: string[]) => typeMake(words, {}, folder);
    const alerts = () => kube(central, "prometheusrule/thanos-fleet", "-n", "monitoring");
    try {
      await copyProject(folder);
      const before = await readFile(file, "utf8"), unmoved = await queryPods();
      const pause = 'GROUPS="pilot"\nPAUSED="rack move"\nPAUSED_UNTIL=2099-12-31\n';
      await writeFile(file, `${before}\n${pause}`);
      assert.equal((await there([`cluster-${central.id}`])).code, 0);
      const told = JSON.stringify(await alerts());
      assert.equal(told.split("vector(time())").length - 1, 1, told);
      assert.deepEqual([await seen(), await queryPods()], [names, unmoved]);

      const all = await there(["all"]), drift = await there(["drift"]);
      const reason = `paused until 2099-12-31 (rack move): ${newest.id}`;
      for (const { code, output } of [all, drift]) {
        assert.ok(code === 0 && output.includes(reason), output);
        assert.doesNotMatch(output, new RegExp(`^${newest.id} (\\||  )`, "m"));
      }
      assert.equal((await there([`cluster-${newest.id}`])).code, 4);
      assert.equal((await there([`drift-${newest.id}`])).code, 0);

      await writeFile(file, `${before}\nGROUPS="pilot"\n`);
      const pilot = await there(["all", "GROUP=pilot"]);
      assert.equal(pilot.code, 0, pilot.output);
      // It tells the centre, where the alerts are the old ones again.
      assert.doesNotMatch(JSON.stringify(await alerts()), /vector\(time/);
    } finally {
      await rm(folder, { recursive: true, force: true });
      assert.equal((await make([`cluster-${central.id}`])).code, 0);
    }
  },
);

check(
  "mutual TLS on the edges: Query with its certificate goes on, a stranger is turned away",
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "grpc-tls-"));
    try {
      await certificates(folder);
      const closed = { THANOS_GRPC_MTLS: "true", GRPC_TLS_DIR: folder };
      await make(["20-prometheus", "CLUSTER=all"], closed);
      await make(["30-thanos", "CLUSTER=all"], closed);
      const took = await seconds(() =>
        eventually(5, async () => assert.deepEqual(await seen(), names))
      );
      figure("mutual TLS: all edges seen after the deploy", `${took.toFixed(0)} s`);
      for (const edge of edges) {
        assert.match(
          await greeting(edge),
          /certificate required|bad certificate|alert/i,
        );
      }
    } finally {
      // With the certificates, which nothing wants any more.
      await make(["20-prometheus", "CLUSTER=all", "ARGS=--prune"]);
      await make(["30-thanos", "CLUSTER=all", "ARGS=--prune"]);
      await rm(folder, { recursive: true, force: true });
    }
    await eventually(5, async () => assert.deepEqual(await seen(), names));
    assert.doesNotMatch((await make(["drift"])).output, /unwanted/);
  },
);

/** A CA and one certificate per cluster, as docs/certificates.md makes them. */
async function certificates(folder: string): Promise<void> {
  const certificate = (file: string, name: string, ...more: string[]) => {
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    const out = ["-keyout", `${file}.key`, "-out", `${file}.crt`];
    const words = ["-x509", ...key, "-days", "30", "-subj", `/CN=${name}`, ...more, ...out];
    return $({ quiet: true, cwd: folder })`openssl req ${words}`;
  };
  await certificate("ca", "e2e CA");
  const signed = ["-CA", "ca.crt", "-CAkey", "ca.key"];
  const leaf = ["-addext", "basicConstraints=critical,CA:FALSE"];
  for (const { id, vars } of fleet) {
    const name = String(vars.CLUSTER_NAME);
    await certificate(id, name, ...signed, ...leaf, "-addext", `subjectAltName=DNS:${name}`);
  }
}

/** What an edge says to somebody who calls without a certificate. */
async function greeting(edge: Cluster): Promise<string> {
  const door = edge.fleet.find(({ id }) => id === edge.id)!.sidecar;
  const { stdout, stderr } = await $({ quiet: true, nothrow: true, input: "\n", timeout: "10s" })`
    openssl s_client -connect ${door} -alpn h2 -ign_eof`;
  return stdout + stderr;
}
