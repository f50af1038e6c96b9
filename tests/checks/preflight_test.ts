// make preflight: every judge, and the whole command against a kubectl, an S3 and an API server of ours.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { $ } from "zx";
import { BEFORE, type Check, type Finding, findingsOf, ok } from "../../lib/core/check.ts";
import type { Cluster } from "../../lib/core/cluster.ts";
import { DeployError, SlowError } from "../../lib/core/error.ts";
import type { Manifest } from "../../lib/core/object.ts";
import { Report } from "../../lib/io/report.ts";
import { looksAt, preflight, preflightJson } from "../../scripts/operate/preflight.ts";
import { enforcerOf, policiesEnforced } from "../../scripts/components/network/network.ts";
import { controller, names, ports } from "../../scripts/checks/doors.ts";
import {
  cgroup,
  firewall,
  hostPorts,
  imageRoom,
  iscsi,
  kernel,
  mounts,
  multipath,
  nodeClock,
  onNodes,
  refuseUnfitNodes,
  searchDomains,
} from "../../scripts/checks/node.ts";
import {
  aheadOf,
  clock,
  type NodeFacts,
  nodeFacts,
  parseFacts,
} from "../../scripts/checks/node_facts.ts";
import { claimsOf, demandsOf, disks, requestsOf, room, roomOn } from "../../scripts/checks/room.ts";
import { exitCodeOfRows, type Row, tableOf } from "../../lib/probe/check.ts";
import { ensureBucket } from "../../lib/s3/bucket.ts";
import { s3Of } from "../../lib/s3/client.ts";
import { s3Clock, s3FromHere } from "../../scripts/checks/s3.ts";
import { defaultClass } from "../../scripts/checks/storage.ts";
import {
  apiCertificate,
  clientCertificate,
  judgeCertificates,
  judgeKubectl,
  nodeAddress,
  s3Certificate,
} from "../../scripts/checks/access.ts";
import { fixtureCluster, servedAt } from "../support/cluster_fixture.ts";
import { fleetWith } from "../support/project_fixture.ts";
import { fakeKubectl, identityReply, listOf, type Reply } from "../support/fake_kubectl.ts";
import { countRuns } from "../support/run_names.ts";
import { refuseUndescribed } from "../support/schema.ts";
import { ended } from "../support/script_fixture.ts";
import { fakeS3, KEY, pem } from "../support/s3.ts";
import { found, subjectWith } from "../support/subject.ts";

const LONGHORN = await fixtureCluster("197", { KUBECONFIG_FILE: "kubeconfig" });
const EXISTING = await fixtureCluster("197", {
  KUBECONFIG_FILE: "kubeconfig",
  STORAGE: "existing",
  STORAGE_CLASS: "standard",
});

const GiB = 2 ** 30;

/** Exit code of a preflight that found only this. */
function codeOf(finding: Finding): number {
  const check: Check = { ...BEFORE, name: "", hop: "", run: () => Promise.resolve(finding) };
  return exitCodeOfRows([{ check, state: finding.state ?? "fail", findings: [finding] }]);
}

const NODE: NodeFacts = {
  node: "mkube-197",
  ahead: 0,
  os: "ubuntu debian",
  kernel: "6.8.0",
  mapCount: 262144,
  inotifyInstances: 8192,
  inotifyWatches: 524288,
  cgroup: 2,
  iscsid: true,
  iscsiadm: true,
  iscsiTcp: "loaded",
  multipathd: false,
  timeSync: "chronyd",
  mountsShared: true,
  diskBytes: 100 * GiB,
  diskFreeBytes: 90 * GiB,
  listens: [22, 9100],
  firewall: undefined,
  wildcards: [],
  imagesPath: "/var/lib/containerd",
  imagesBytes: 50 * GiB,
  imagesFreeBytes: 40 * GiB,
};

Deno.test("A16: judgeKubectl() stops for a kubectl that is too old, and warns of a skew", () => {
  assert.equal(judgeKubectl("v1.35.1", "v1.36.3").state, "ok");
  assert.equal(judgeKubectl("v1.35.1", undefined).state, "ok");
  const skewed = judgeKubectl("v1.32.4", "v1.36.3");
  assert.equal(skewed.state, "warn");
  assert.match(skewed.what, /v1\.32\.4.*v1\.36\.3.*4 minor versions apart, 1 is supported/);
  const lines = judgeKubectl("v1.32.4", "v1.34.2+k3s1").fix!;
  assert.match(lines, /release\/v1\.34\.2\/bin\/\w+\/a\w+\/kubectl && install .* \.tools\/bin\/$/);
  const old = judgeKubectl("v1.20.2", "v1.36.3");
  assert.equal(old.state, "fail");
  assert.equal(codeOf(old), 3);
  assert.match(old.what, /v1\.20\.2.*older than v1\.32/);
});

const NOW = Date.parse("2026-11-23T12:00:00Z");

function certificate(days: number, startsIn = -900) {
  const at = (days: number) => new Date(NOW + days * 24 * 3600 * 1000).toUTCString();
  const shown = { validFrom: at(startsIn), validTo: at(days) };
  return { whose: "the certificate", shown, fix: "minikube start" };
}

Deno.test("A28: judgeCertificates() stops (5) for one that has ended or not begun, with both times", () => {
  for (
    const [one, told] of [
      [certificate(-1), /ended on 2026-11-22; here it is 2026-11-23T12:00/],
      [certificate(300, 1), /starts on 2026-11-24T12:00.* here it is 2026-11-23T12:00/],
    ] as const
  ) {
    const row = findingsOf(judgeCertificates([one], "before", NOW))[0]!;
    assert.equal(codeOf(row), 5);
    assert.match(row.what, told);
    assert.match(row.fix!, /minikube start/);
  }
});

Deno.test("B52: judgeCertificates() warns a month ahead, and fails a verification", () => {
  const judge = (when: "before" | "after", ...all: ReturnType<typeof certificate>[]) =>
    findingsOf(judgeCertificates(all, when, NOW));
  assert.equal(judge("before", certificate(31))[0]!.state, "ok");
  const [, soon] = judge("before", certificate(31), certificate(29));
  assert.deepEqual([soon!.state, soon!.what], [
    "warn",
    "the certificate ends in 29 days, on 2026-12-22",
  ]);
  assert.equal(judge("after", certificate(29))[0]!.state, "fail");
  assert.equal(judge("before")[0]!.state, "ok");
});

Deno.test("V2: a short-lived certificate is judged by its life, in hours when there are few", () => {
  const day = (until: number, from: number) =>
    findingsOf(judgeCertificates([certificate(until, from)], "after", NOW))[0]!;
  // 90 days, of which a client that renews itself has 30 left; one of a day, with a third left.
  assert.equal(day(29, -61).state, "ok");
  assert.equal(day(17, -73).state, "fail");
  assert.equal(day(8 / 24, -16 / 24).what, "the certificate: 8 hours left, until 2026-11-23");
  assert.equal(day(4 / 24, -20 / 24).state, "fail");
});

Deno.test("V6: hostPorts() stops for a process or another's pod on a port that ours want", async () => {
  const spec = { hostNetwork: true, containers: [{ ports: [{ containerPort: 9100 }] }] };
  const metadata = { namespace: "node-agents", name: "node-exporter" };
  const ours = { apiVersion: "apps/v1", kind: "DaemonSet", metadata, spec: { template: { spec } } };
  const pod = (namespace: string, name: string, ready = true) => ({
    kind: "Pod",
    metadata: { namespace, name },
    spec: { ...spec, nodeName: NODE.node },
    status: { containerStatuses: [{ ready }] },
  });
  const ask = async (facts: NodeFacts, ...pods: unknown[]) => {
    await fakeKubectl([{ on: "get pods", stdout: listOf(...pods) }]);
    return (await onThese(hostPorts, [facts], [ours]))[0]!;
  };
  assert.deepEqual(await ask({ ...NODE, listens: [22] }), ok("9100 free or ours"));
  assert.equal((await ask(NODE, pod("node-agents", "node-exporter-x"))).state, "ok");
  for (
    const [pods, by] of [
      [[], "a process of the node"],
      [[pod("node-agents", "node-exporter-x", false)], "a process of the node"],
      [[pod("shop", "exporter-1")], "the pod shop/exporter-1"],
    ] as const
  ) {
    const row = await ask(NODE, ...pods);
    assert.equal(codeOf(row), 4);
    assert.equal(row.what, `taken: 9100 of mkube-197 by ${by}`);
  }
});

Deno.test("V6: firewall, search domains and the disk of images are told of with a fix", () => {
  assert.equal(firewall(NODE, LONGHORN).state, "ok");
  const ufw = firewall({ ...NODE, firewall: "ufw" }, LONGHORN);
  assert.equal(ufw.state, "warn");
  assert.match(ufw.fix!, /disable --now ufw, or .*ufw allow 30901\/tcp/);
  assert.equal(searchDomains(NODE).state, "ok");
  assert.match(
    searchDomains({ ...NODE, wildcards: ["corp.lab"] }).what,
    /corp\.lab answers for every/,
  );
  assert.equal(imageRoom(NODE).state, "ok");
  const room = (free: number) => imageRoom({ ...NODE, imagesFreeBytes: free * GiB }).state;
  assert.deepEqual([room(7), room(0.5)], ["warn", "fail"]);
});

Deno.test("V6: nodeAddress() stops where several nodes have NODE_IP, and wonders where none has", async () => {
  const node = (name: string, address: string): Manifest => ({
    apiVersion: "v1",
    kind: "Node",
    metadata: { name },
    status: { addresses: [{ type: "InternalIP", address }] },
  });
  const ask = async (...nodes: Manifest[]) => {
    await fakeKubectl([{ on: "get nodes", stdout: listOf(...nodes) }]);
    return await nodeAddress(subjectWith(EXISTING));
  };
  const [a, b] = [node("a", "192.168.101.197"), node("b", "192.168.101.197")];
  assert.match((await ask(a!, b!)).what, /^a and b all say that 192\.168\.101\.197 is theirs/);
  assert.equal((await ask(b!)).state, "ok");
  assert.equal((await ask(node("a", "10.0.2.15"))).state, "note");
});

Deno.test("P6: nodeAddress() names the nodes of which no setting knows, and the line that tells them", async () => {
  const node = (name: string, ...addresses: string[]) => ({
    kind: "Node",
    metadata: { name },
    status: { addresses: addresses.map((address) => ({ type: "InternalIP", address })) },
  });
  const nodes = [node("a", "192.168.101.197", "fd00::1"), node("b", "192.168.101.207")];
  await fakeKubectl([{ on: "get nodes", stdout: listOf(...nodes) }]);
  const seen = async (networks: string) => {
    const fleet = await fleetWith({ "197": networks && `NODE_NETWORKS=${networks}` }, {
      KUBECONFIG_FILE: "kubeconfig",
    });
    return await nodeAddress(subjectWith(fleet.find(({ id }) => id === "197")!));
  };
  for (const networks of ["", "192.168.101.208/28", "192.168.101.206/32"]) {
    const { state, what, fix } = await seen(networks);
    assert.equal(state, "warn", networks);
    assert.match(what, /: b \(192\.168\.101\.207\)$/);
    assert.match(
      fix!,
      /cluster-197\.env: NODE_NETWORKS=192\.168\.101\.197\/32,192\.168\.101\.207\/32$/,
    );
  }
  for (const networks of ["192.168.101.207/32", "192.168.101.200/29", "0.0.0.0/0"]) {
    assert.equal((await seen(networks)).state, "ok", networks);
  }
});

function service(name: string, ...ports: (number | undefined)[]): Manifest {
  const metadata = { namespace: "shop", name };
  const spec = { ports: ports.map((nodePort) => ({ port: 80, nodePort })) };
  return { apiVersion: "v1", kind: "Service", metadata, spec };
}

Deno.test("A52: ports() stops (4) and names the Service that holds a NodePort", async () => {
  const ask = async (wanted: Manifest, live: Manifest) => {
    await fakeKubectl([{ on: "get services", stdout: listOf(live) }]);
    return (await found(ports, EXISTING, {}, [wanted]))[0]!;
  };
  const wanted = service("ours", 30080, 30443);
  assert.match((await ask(wanted, service("ours", 30080, 30443))).what, /30080, 30443 free or/);
  assert.equal((await ask(wanted, service("other", undefined, 31000))).state, "ok");
  assert.equal((await ask(service("ours", undefined), wanted)).state, "ok");
  const row = await ask(wanted, service("other", 30443));
  assert.equal(row.what, "taken: 30443 by shop/other");
  assert.equal(codeOf(row), 4);
});

/** A Deployment of a controller as the cluster has it. */
function controllerOf(name: string, labels?: Record<string, string>, annotations = {}): Manifest {
  const metadata = { name, namespace: "ingress-nginx", labels, annotations };
  return { apiVersion: "apps/v1", kind: "Deployment", metadata };
}

const OWNED = { "app.kubernetes.io/managed-by": "thanos-multi-cluster" };

Deno.test("controller() stops for Minikube's addon, also over ours", async () => {
  const ask = async (...live: Manifest[]) => {
    await fakeKubectl([{ on: "get deployments.apps", stdout: listOf(...live) }]);
    return (await found(controller, EXISTING))[0]!;
  };
  const name = "ingress-nginx-controller";
  assert.match((await ask()).what, /nothing in its way/);
  assert.match((await ask(controllerOf(name, OWNED))).what, /ours runs/);
  const addon = await ask(controllerOf(name));
  assert.equal(addon.state, "fail");
  assert.match(addon.fix!, /minikube addons disable ingress/);
  const over = { "kubectl.kubernetes.io/last-applied-configuration": "{}" };
  assert.match((await ask(controllerOf(name, OWNED, over))).what, /not ours any more/);
});

Deno.test("U2: controller() says what a change of INGRESS needs, with other people's Ingresses", async () => {
  const traefik = await fixtureCluster("197", {
    KUBECONFIG_FILE: "kubeconfig",
    INGRESS: "traefik",
  });
  const ask = async (...ingresses: Manifest[]) => {
    const deployments = listOf(controllerOf("ingress-nginx-controller", OWNED));
    await fakeKubectl([
      { on: "get deployments.apps", stdout: deployments },
      { on: "get ingresses", stdout: listOf(...ingresses) },
    ]);
    return (await found(controller, traefik))[0]!;
  };
  const ingress = (name: string, spec: Record<string, unknown>, more = {}) => (
    {
      apiVersion: "networking.k8s.io/v1",
      kind: "Ingress",
      spec,
      metadata: { namespace: "shop", name, ...more },
    }
  );
  const alone = await ask(
    ingress("ours", { ingressClassName: "nginx" }, { labels: OWNED }),
    ingress("haproxy", { ingressClassName: "haproxy" }),
  );
  assert.equal(alone.state, "note");
  assert.match(alone.what, /takes over .*: make cluster-197 ARGS=--prune$/);
  const old = { annotations: { "kubernetes.io/ingress.class": "nginx" } };
  const others = await ask(ingress("cart", { ingressClassName: "nginx" }), ingress("old", {}, old));
  assert.equal(others.state, "warn");
  assert.match(others.what, /Ingresses of others: shop\/cart, shop\/old$/);
  assert.match(others.fix!, /annotations nginx\.ingress.*ARGS=--prune$/);
});

Deno.test("names() warns of names that do not lead to the node, with the line for /etc/hosts", async () => {
  const rules = [{ host: "a.mkube-197.miribit.lab" }, { host: "b.mkube-197.miribit.lab" }];
  const metadata = { name: "ui", namespace: "monitoring" };
  const objects = [{ apiVersion: "v1", kind: "Ingress", metadata, spec: { rules } }];
  const subject = subjectWith(EXISTING, { objects });
  const look = async (find: (host: string) => Promise<string>) =>
    findingsOf(await names(subject, find))[0]!;
  assert.equal((await look(() => Promise.resolve("192.168.101.197"))).state, "ok");
  const row = await look((host) =>
    host.startsWith("a") ? Promise.resolve("10.0.0.1") : Promise.reject(new Error("ENOTFOUND"))
  );
  assert.equal(row.state, "warn");
  assert.equal(row.what, "1 of 2 names unknown here, a.mkube-197.miribit.lab is 10.0.0.1");
  assert.match(row.fix!, /192\.168\.101\.197 a\.mkube-197\S+ b\.mkube-197\.miribit\.lab$/);
});

Deno.test("A54: iscsi() stops with the commands of the node's system, only for Longhorn", () => {
  assert.equal(iscsi(NODE, LONGHORN).state, "ok");
  const bare = { ...NODE, iscsid: false, iscsiadm: false };
  assert.equal(iscsi(bare, EXISTING).state, "ok");
  const row = iscsi(bare, LONGHORN);
  assert.equal(codeOf(row), 3);
  assert.match(row.what, /no iscsiadm \(open-iscsi\), iscsid does not run/);
  assert.match(row.fix!, /mkube-197: apt-get install -y open-iscsi .*enable --now iscsid/);
  assert.match(iscsi({ ...bare, os: "rocky rhel centos" }, LONGHORN).fix!, /dnf install -y iscsi-/);
  const unloaded = iscsi({ ...NODE, iscsiTcp: "available" }, LONGHORN);
  assert.equal(unloaded.state, "warn");
  assert.match(unloaded.fix!, /modprobe iscsi_tcp/);
  assert.equal(iscsi({ ...NODE, iscsiTcp: "missing" }, LONGHORN).state, "fail");
});

Deno.test("A55: kernel() stops for OpenSearch that maps files, and warns of few inotify watches", async () => {
  const ask = async (facts: NodeFacts, { maps }: { maps: boolean }) => {
    const data = { "opensearch.yml": maps ? "cluster.name: c" : "node.store.allow_mmap: false" };
    const metadata = { name: "c" };
    const config = { apiVersion: "v1", kind: "ConfigMap", metadata, data };
    return (await onThese(kernel, [facts], [config]))[0]!;
  };
  assert.equal((await ask(NODE, { maps: true })).state, "ok");
  const low = { ...NODE, mapCount: 65530 };
  assert.equal((await ask(low, { maps: false })).state, "ok");
  const row = await ask(low, { maps: true });
  assert.equal(row.state, "fail");
  assert.equal(row.what, "vm.max_map_count is 65530, needed 262144");
  assert.match(row.fix!, /vm\.max_map_count=262144\\n' >\/etc\/sysctl\.d/);
  const watches = { ...NODE, inotifyInstances: 128, inotifyWatches: 8192 };
  const few = await ask(watches, { maps: false });
  assert.equal(few.state, "warn");
  assert.match(few.what, /max_user_instances is 128, needed 512, .*watches is 8192, needed 65536/);
});

/** What a check of nodes finds where these are there. */
async function onThese(
  run: Check["run"],
  facts: NodeFacts[],
  objects: Manifest[] = [],
  cluster = LONGHORN,
) {
  const once = <T>() => Promise.resolve(facts as T);
  const subject = { ...subjectWith(cluster), objects: () => Promise.resolve(objects), once };
  return findingsOf(await run(subject));
}

Deno.test("A55: kernel() reads in opensearch.yml whether files are mapped", async () => {
  const ask = async (...texts: string[]) => {
    const objects = texts.map((text) => (
      {
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { name: "c" },
        data: { "opensearch.yml": text },
      }
    ));
    return (await onThese(kernel, [{ ...NODE, mapCount: 65530 }], objects))[0]!.state;
  };
  assert.equal(await ask(), "ok");
  assert.equal(await ask("cluster.name: c\n"), "fail");
  assert.equal(await ask("node.store.allow_mmap: false\n"), "ok");
});

Deno.test("the other facts of a node: mounts, multipathd, cgroup", async () => {
  assert.equal(mounts(NODE).state, "ok");
  assert.equal(mounts({ ...NODE, mountsShared: false }).state, "fail");
  assert.equal(multipath(NODE, LONGHORN).state, "ok");
  assert.equal(multipath({ ...NODE, multipathd: true }, LONGHORN).state, "warn");
  assert.equal(multipath({ ...NODE, multipathd: true }, EXISTING).state, "ok");
  assert.equal(cgroup(NODE).state, "ok");
  assert.equal(cgroup({ ...NODE, cgroup: 1 }).state, "warn");
  const two = await onThese(onNodes(cgroup), [NODE, { ...NODE, node: "two", cgroup: 1 }]);
  assert.deepEqual(two.map(({ state }) => state), ["ok", "warn"]);
  assert.match(two[1]!.what, /^two: cgroup v1/);
});

Deno.test("B27: clock() warns of seconds and stops for what S3 refuses", () => {
  assert.match(nodeClock(NODE).what, /mkube-197 as here, kept by chronyd/);
  assert.equal(clock("S3", 5, "").state, "ok");
  const row = clock("S3", -6, "set it");
  assert.equal(row.state, "warn");
  assert.equal(row.what, "S3 6 s behind this machine");
  assert.equal(clock("S3", 901, "").state, "fail");
  assert.match(nodeClock({ ...NODE, ahead: 60 }).what, /60 s ahead of this machine/);
});

Deno.test("B27, A63: aheadOf() knows no skew within the time that a question took", () => {
  const from = Date.parse("2026-11-23T12:00:00.500Z");
  const ahead = (date: string, now: string) =>
    aheadOf(Date.parse(date) / 1000, from, Date.parse(now));
  assert.equal(ahead("Mon, 23 Nov 2026 12:00:00 GMT", "2026-11-23T12:00:00.900Z"), 0);
  assert.equal(ahead("Mon, 23 Nov 2026 12:00:04 GMT", "2026-11-23T12:00:05Z"), 0);
  assert.equal(ahead("Mon, 23 Nov 2026 12:20:00 GMT", "2026-11-23T12:00:01Z"), 1199);
  assert.equal(ahead("Mon, 23 Nov 2026 11:59:00 GMT", "2026-11-23T12:00:01Z"), -60.5);
  assert.equal(ahead("", "2026-11-23T12:00:01Z"), 0);
});

Deno.test("s3FromHere() tells buckets and a key of a program that 00-minio has yet to make", async () => {
  await using s3 = fakeS3();
  const fleet = { KUBECONFIG_FILE: "kubeconfig", S3_ENDPOINT: s3.endpoint };
  const good = { ...fleet, S3_ACCESS_KEY: KEY.id, S3_SECRET_KEY: KEY.secret };
  const own = { THANOS_S3_ACCESS_KEY: "thanos-alone", THANOS_S3_SECRET_KEY: "not-there-yet" };
  const ask = async (environment: Record<string, string>) =>
    await s3FromHere(
      subjectWith({ ...await fixtureCluster("197", environment), s3Ca: pem("ca.pem") }),
    );
  const cluster = { ...await fixtureCluster("197", good), s3Ca: pem("ca.pem") };
  using site = s3Of(cluster);
  await ensureBucket(site, "thanos");
  s3.calls.length = 0;
  const well = await ask(good);
  assert.equal(well.state, "ok");
  assert.match(well.what, /^thanos; opensearch-logs, .* not yet \(00-minio makes them\)$/);
  const row = await ask({ ...good, ...own });
  assert.equal(row.state, "warn");
  assert.match(row.what, /refused: THANOS_S3_ACCESS_KEY$/);
  await assert.rejects(ask(fleet), (error) => error instanceof DeployError && error.exitCode === 8);
  assert.ok(s3.calls.every((call) => call.startsWith("GET ")), "nothing is made");
  const unanswered = await s3Clock(subjectWith(await fixtureCluster("197", fleet)));
  assert.equal(unanswered.state, "hidden");
});

const ANSWER = `time=1795435200
kernel=6.8.0
max_map_count=262144
max_user_instances=8192
max_user_watches=524288
cgroup=2
os=ubuntu
os_like=debian
iscsid=no
multipathd=no
iscsi_socket=yes
time_sync=chronyd
iscsiadm=yes
iscsi_tcp=loaded
mounts_shared=yes
disk_kib=${100 * 2 ** 20}
disk_free_kib=${90 * 2 ** 20}
listens=22 9100
wildcards=
images_path=/var/lib/containerd
images_kib=${50 * 2 ** 20}
images_free_kib=${40 * 2 ** 20}
end=yes
`;

Deno.test("parseFacts() reads what node.sh prints; iscsid may be started by systemd", () => {
  const time = 1795435200_000;
  const at = (from: number, to: number) => parseFacts("mkube-197", ANSWER, time + from, time + to);
  assert.deepEqual(at(-1000, 1000), NODE);
  // The node says whole seconds only.
  assert.equal(at(900, 2000).ahead, 0);
  assert.equal(at(60_000, 62_000).ahead, -60);
  assert.equal(at(-62_000, -60_000).ahead, 60);
});

Deno.test("parseFacts() refuses half an answer", () => {
  const cut = ANSWER.replace("end=yes\n", "");
  assert.throws(
    () => parseFacts("mkube-197", cut, 0, 0),
    (error) => error instanceof DeployError && error.exitCode === 3,
  );
});

/** What node.sh says of this very machine, with `files` (by path) as the file system of the node. */
async function localFacts(files: Record<string, string>): Promise<NodeFacts> {
  const folder = await mkdtemp(join(tmpdir(), "host-"));
  try {
    for (const [name, text] of Object.entries(files)) {
      await mkdir(join(folder, dirname(name)), { recursive: true });
      await writeFile(join(folder, name), text, { mode: 0o755 });
    }
    const path = new URL("../../scripts/checks/node.sh", import.meta.url).pathname;
    const script = (await readFile(path, "utf8")).replaceAll("/host", folder);
    const result = await $({ quiet: true })`sh -c ${script} node.sh /var/lib/longhorn/`;
    assert.equal(result.stderr, "");
    return parseFacts("here", result.stdout, Date.now() - 60_000, Date.now());
  } finally {
    await rm(folder, { recursive: true });
  }
}

Deno.test("V6: node.sh sees listeners, a firewall and where images lie, by the real processes", async () => {
  using listener = Deno.listen({ hostname: "0.0.0.0", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const ufw = await localFacts({ "etc/ufw/ufw.conf": "ENABLED=yes\n", "etc/os-release": "ID=x\n" });
  assert.ok(ufw.listens.includes(port));
  assert.equal(ufw.firewall, "ufw");
  const folder = await mkdtemp(join(tmpdir(), "bin-"));
  await $`cp /bin/sleep ${folder}/firewalld && cp /bin/sleep ${folder}/dockerd`;
  const stubs = ["firewalld", "dockerd"]
    .map((name) => new Deno.Command(join(folder, name), { args: ["30"] }).spawn());
  try {
    const facts = await localFacts({
      "etc/os-release": "ID=x\n",
      "etc/docker/daemon.json": '{ "data-root": "/small/docker" }',
      "small/x": "",
    });
    assert.equal(facts.firewall, "firewalld");
    assert.equal(facts.imagesPath, "/small/docker");
    assert.ok(facts.imagesBytes > 0);
  } finally {
    for (const stub of stubs) stub.kill();
    await Promise.all(stubs.map(({ status }) => status));
    await rm(folder, { recursive: true });
  }
});

Deno.test("node.sh says everything that parseFacts() wants", async () => {
  const kernel = (await $({ quiet: true })`uname -r`).stdout.trim();
  const facts = await localFacts({
    "etc/os-release": 'NAME="Rocky Linux"\nID="rocky"\nID_LIKE="rhel centos fedora"\n',
    "usr/sbin/iscsiadm": "",
    [`lib/modules/${kernel}/modules.dep`]: "kernel/drivers/scsi/iscsi_tcp.ko.xz: kernel/x.ko\n",
    "sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
    "var/lib/x": "",
  });
  assert.equal(facts.ahead, 0);
  for (const name of ["mapCount", "inotifyInstances", "inotifyWatches", "diskBytes"] as const) {
    assert.ok(facts[name] > 0, `${name} is ${facts[name]}`);
  }
  assert.equal(facts.os, "rocky rhel centos fedora");
  assert.equal(facts.kernel, kernel);
  assert.equal(facts.cgroup, 2);
  assert.equal(facts.iscsiadm, true);
  assert.notEqual(facts.iscsiTcp, "missing");
});

Deno.test("node.sh looks for a node without any of it", async () => {
  const facts = await localFacts({ "etc/os-release": "ID=alpine\n" });
  assert.equal(facts.os, "alpine");
  assert.equal(facts.iscsiadm, false);
  assert.equal(facts.cgroup, 1);
  assert.ok(facts.diskFreeBytes > 0);
});

function workload(kind: string, name: string, spec: Record<string, unknown>): Manifest {
  return { apiVersion: "apps/v1", kind, metadata: { name, namespace: "monitoring" }, spec };
}

function pod(cpu: string, memory: string) {
  return { containers: [{ resources: { requests: { cpu, memory } } }] };
}

const ALLOCATABLE = { cpu: "4", memory: "8Gi", pods: "110" };
/** A node that can give that, ready or not. */
function nodeOf(name: string, ready = "True", spec = {}): Manifest {
  const status = { allocatable: ALLOCATABLE, conditions: [{ type: "Ready", status: ready }] };
  return { apiVersion: "v1", kind: "Node", metadata: { name }, spec, status };
}

const CLOSED = [
  nodeOf("cordoned", "True", { unschedulable: true }),
  nodeOf("tainted", "True", { taints: [{ key: "x", effect: "NoSchedule" }] }),
  nodeOf("away", "Unknown"),
  nodeOf("ill", "False"),
];
const ROOM = roomOn([nodeOf("mkube-197"), ...CLOSED]);

Deno.test("A56: demandsOf() knows the pods of every kind, operated ones with their helpers", () => {
  assert.deepEqual(ROOM, { nodes: ["mkube-197"], pods: 110, cpu: 4, memory: 8 * GiB });
  const args = ["--config-reloader-cpu-request=10m", "--config-reloader-memory-request=25Mi"];
  const objects = [
    workload("Deployment", "operator", {
      template: { spec: { containers: [{ args, resources: { limits: { memory: "64Mi" } } }] } },
    }),
    workload("DaemonSet", "exporter", { template: { spec: pod("50m", "32Mi") } }),
    workload("StatefulSet", "opensearch", { replicas: 3, template: { spec: pod("1", "1Gi") } }),
    workload("Prometheus", "k8s", {
      resources: { requests: { cpu: "300m", memory: "1Gi" } },
      thanos: { resources: { requests: { cpu: "100m", memory: "64Mi" } } },
    }),
    workload("Service", "none", {}),
  ];
  const found = demandsOf(objects, EXISTING, ROOM).map(({ name, pods, cpu, memory }) =>
    `${name} ${pods} ${cpu.toFixed(2)} ${memory / 2 ** 20}`
  );
  assert.deepEqual(found, [
    "monitoring/operator 1 0.00 64",
    "monitoring/exporter 1 0.05 32",
    "monitoring/opensearch 3 3.00 3072",
    "monitoring/prometheus-k8s 1 0.41 1113",
  ]);
  const longhorn = demandsOf(objects, LONGHORN, ROOM).at(-1)!;
  assert.match(longhorn.name, /instance-manager/);
  assert.ok(longhorn.cpu > 0);
});

Deno.test("A56: requestsOf() counts init containers as the scheduler does", () => {
  const asks = (memory: string, more = {}) => ({ resources: { requests: { memory } }, ...more });
  const of = (initContainers: ReturnType<typeof asks>[]) =>
    requestsOf({ containers: [asks("100Mi"), asks("50Mi")], initContainers }).memory / 2 ** 20;
  assert.equal(of([]), 150);
  assert.equal(of([asks("120Mi")]), 150);
  assert.equal(of([asks("200Mi")]), 200);
  assert.equal(of([asks("30Mi", { restartPolicy: "Always" })]), 180);
});

Deno.test("A56: room() says so where no node is ready and takes pods", async () => {
  await fakeKubectl([
    { on: "get pods", stdout: listOf() },
    { on: "get nodes", stdout: listOf(...CLOSED) },
  ]);
  const [row] = [await room(subjectWith(EXISTING, { objects: [], when: "before" }))].flat();
  assert.deepEqual([row!.state, row!.what], ["fail", "no node is ready and takes pods"]);
});

Deno.test("A56: room() stops with a table per pod, those of others included and ours but once", async () => {
  const live = (namespace: string, name: string, memory: string) => (
    { kind: "Pod", metadata: { namespace, name }, spec: pod("500m", memory) }
  );
  const ask = async (memory: string, ...pods: unknown[]) => {
    await fakeKubectl([
      { on: "get pods", stdout: listOf(...pods) },
      { on: "get nodes", stdout: listOf(nodeOf("n"), ...CLOSED) },
    ]);
    const query = workload("Deployment", "query", { template: { spec: pod("1", memory) } });
    return await room(subjectWith(EXISTING, { objects: [query], when: "before" }));
  };
  assert.equal((await ask("1Gi", live("monitoring", "query-7d-x", "1Gi"))).state, "ok");
  assert.equal((await ask("7680Mi")).state, "warn");
  // They take nothing of the room of the others.
  const [cordoned, here] = ["cordoned", "n"].map((nodeName) => {
    const pod = live("shop", "web-0", "7Gi");
    return { ...pod, spec: { ...pod.spec, nodeName } };
  });
  assert.equal((await ask("1Gi", cordoned)).state, "ok");
  assert.equal((await ask("1Gi", here)).state, "warn");
  const row = await ask("4Gi", live("shop", "web-1", "5Gi"));
  assert.equal(codeOf(row), 3);
  assert.match(row.what, /too small: cpu 1\.5 of 4\.0, memory 9\.0Gi of 8\.0Gi/);
  assert.match(row.fix!, /more memory/);
  assert.deepEqual(row.detail!.map((line) => line.trim()), [
    "1.00 cpu    4.0Gi  asked by monitoring/query",
    "0.50 cpu    5.0Gi  there already: shop/web-1",
  ]);
});

const template = (storage: string) => ({
  metadata: { name: "data" },
  spec: { resources: { requests: { storage } } },
});

Deno.test("B48: claimsOf() finds the claims of every kind under the names they get", () => {
  const claims = claimsOf([
    workload("PersistentVolumeClaim", "grafana", template("5Gi").spec),
    workload("StatefulSet", "os", { replicas: 2, volumeClaimTemplates: [template("30Gi")] }),
    workload("Prometheus", "k8s", { storage: { volumeClaimTemplate: template("10Gi") } }),
  ]);
  assert.deepEqual([...claims].map(([id, bytes]) => `${id} ${bytes / GiB}`), [
    "monitoring/grafana 5",
    "monitoring/data-os-0 30",
    "monitoring/data-os-1 30",
    "monitoring/prometheus-k8s-db-prometheus-k8s-0 10",
  ]);
});

Deno.test("B48: disks() sums claims times replicas against what Longhorn gives", async () => {
  const of = async (gib: number, facts = [NODE], settings = {}) => {
    const vars = {
      ...LONGHORN.vars,
      LONGHORN_REPLICAS: 2,
      LONGHORN_RESERVED: 10,
      LONGHORN_OVER_PROVISIONING: 100,
      LONGHORN_MINIMAL_AVAILABLE: 10,
      ...settings,
    };
    const claim = workload("PersistentVolumeClaim", "data", template(`${gib}Gi`).spec);
    // Ours is smaller there; the other is of another class.
    const smaller = { ...template("1Gi").spec, storageClassName: "longhorn" };
    const other = { ...template("500Gi").spec, storageClassName: "nfs" };
    const live = [{ ...claim, spec: smaller }, { ...claim, spec: other }];
    await fakeKubectl([{ on: "get persistentvolumeclaims", stdout: listOf(...live) }]);
    return (await onThese(disks, facts, [claim], { ...LONGHORN, vars }))[0]!;
  };
  assert.equal((await of(80)).state, "ok");
  const row = await of(95);
  assert.equal(codeOf(row), 3);
  assert.match(row.what, /1 claims x 1 = 95\.0Gi; .*100\.0Gi, free 90\.0Gi, .*90\.0Gi/);
  // Two nodes, two replicas.
  assert.equal((await of(80, [NODE, NODE])).state, "ok");
  assert.equal((await of(95, [NODE, NODE])).state, "fail");
  assert.equal((await of(95, [NODE], { LONGHORN_OVER_PROVISIONING: 200 })).state, "warn");
  assert.match((await of(1, [{ ...NODE, diskFreeBytes: 5 * GiB }])).what, /less than 10 % free/);
});

function storageClass(name: string, provisioner: string, rest = {}, standard = false): Manifest {
  const annotations = { "storageclass.kubernetes.io/is-default-class": String(standard) };
  const metadata = { name, annotations };
  return { apiVersion: "v1", kind: "StorageClass", metadata, provisioner, ...rest };
}

/** What a check of classes finds before a deploy, where these are there. */
async function onClasses(run: Check["run"], cluster: Cluster, ...classes: Manifest[]) {
  await fakeKubectl([{ on: "get storageclasses", stdout: listOf(...classes) }]);
  const objects = [workload("PersistentVolumeClaim", "data", template("1Gi").spec)];
  return findingsOf(await run(subjectWith(cluster, { objects, when: "before" })))[0]!;
}

Deno.test("disks() stops for a class that is not there", async () => {
  const growing = storageClass("standard", "csi", { allowVolumeExpansion: true });
  assert.equal((await onClasses(disks, EXISTING, growing)).state, "ok");
  assert.equal((await onClasses(disks, EXISTING, storageClass("standard", "csi"))).state, "warn");
  const row = await onClasses(disks, EXISTING, storageClass("fast", "csi"));
  assert.equal(row.state, "fail");
  assert.match(row.what, /no class standard \(there: fast\) for 1 claims, 1\.0Gi/);
});

Deno.test("defaultClass() warns before a deploy of Minikube's class, unless it is the wanted one", async () => {
  const addon = storageClass("standard", "k8s.io/minikube-hostpath", {}, true);
  assert.equal((await onClasses(defaultClass, EXISTING, addon)).state, "ok");
  const own = storageClass("longhorn", "driver.longhorn.io");
  const row = await onClasses(defaultClass, LONGHORN, addon, own);
  assert.equal(row.state, "warn");
  assert.match(row.what, /default: standard/);
  assert.match(row.fix!, /minikube addons disable default-storageclass/);
});

Deno.test("enforcerOf() knows the network plugins that do, by their DaemonSets", async () => {
  const strict = await fixtureCluster("197", {
    KUBECONFIG_FILE: "kubeconfig",
    NETWORK_POLICIES: "true",
  });
  const running = (...names: string[]) =>
    fakeKubectl([{
      on: "get daemonsets",
      stdout: items(...names.map((name) => ({ metadata: { name } }))),
    }]);
  await running("kube-proxy", "calico-node");
  assert.equal(await enforcerOf(strict), "calico-node");
  assert.match((await policiesEnforced(subjectWith(strict))).what, /calico-node enforces/);
  await running("kube-proxy", "cilium-envoyish");
  assert.equal(await enforcerOf(strict), "cilium-envoyish");
  await running("kube-proxy");
  assert.equal(await enforcerOf(strict), undefined);
  assert.equal((await policiesEnforced(subjectWith(strict))).state, "warn");
  assert.equal((await policiesEnforced(subjectWith(EXISTING))).state, "ok");
});

/** A TLS server with a certificate for so many days, and the certificate. */
async function tlsServer(days: number): Promise<AsyncDisposable & { port: number; pem: string }> {
  const folder = await mkdtemp(join(tmpdir(), "short-"));
  const file = (name: string) => readFile(join(folder, name), "utf8");
  const words = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    .concat("-days", String(days), "-subj", "/CN=short", "-addext", "subjectAltName=IP:127.0.0.1");
  await $({ quiet: true, cwd: folder })`openssl req -x509 ${words} -keyout key -out crt`;
  const certificate = await file("crt");
  const server = Deno.serve({
    hostname: "127.0.0.1",
    port: 0,
    cert: certificate,
    key: await file("key"),
    onListen: () => {},
  }, () => new Response());
  return {
    port: server.addr.port,
    pem: certificate,
    async [Symbol.asyncDispose]() {
      await server.shutdown();
      await rm(folder, { recursive: true });
    },
  };
}

/** kubectl of a seat whose context leads to that port, with that client certificate. */
function seat(port: number, client: string): Reply[] {
  const contexts = [{ name: "mkube-197", context: { cluster: "c" } }];
  const clusters = [{ name: "c", cluster: { server: `https://127.0.0.1:${port}` } }];
  const users = [{ user: { "client-certificate-data": btoa(client) } }];
  return [
    { on: "config view --raw", stdout: JSON.stringify({ users }) },
    { on: "config view", stdout: JSON.stringify({ contexts, clusters }) },
  ];
}

Deno.test("B28, B52: the checks of certificates tell the days that are left, and fail a month ahead", async () => {
  await using s3 = await tlsServer(30);
  await using api = await tlsServer(300);
  const check = async (cluster: Cluster, client: string) => {
    await fakeKubectl(seat(api.port, client));
    const subject = subjectWith(cluster);
    const checks = [s3Certificate, clientCertificate, apiCertificate];
    const found = findingsOf(await Promise.all(checks.map((check) => check(subject))));
    return found.map(({ state, what }) => `${state} ${what}`.replace(/, until .*|, on .*/, ""));
  };
  const of = (endpoint: string) =>
    fixtureCluster("197", { KUBECONFIG_FILE: "kubeconfig", S3_ENDPOINT: endpoint });
  const fine = await of(`https://127.0.0.1:${api.port}`);
  assert.deepEqual(await check({ ...fine, s3Ca: api.pem }, api.pem), [
    "ok the certificate of the S3 server: 299 days left",
    "ok the CA of the S3 (S3_CA_FILE): 299 days left",
    "ok the client certificate of context mkube-197: 299 days left",
    "ok the certificate of the API server: 299 days left",
  ]);
  const short = await of(`https://127.0.0.1:${s3.port}`);
  // Of their thirty days less than a fifth is left then.
  const { now } = Date;
  Date.now = () => now() + 25 * 24 * 3600 * 1000;
  const found = await check({ ...short, s3Ca: s3.pem }, s3.pem).finally(() => Date.now = now);
  assert.deepEqual(found, [
    "fail the certificate of the S3 server ends in 4 days",
    "fail the CA of the S3 (S3_CA_FILE) ends in 4 days",
    "fail the client certificate of context mkube-197 ends in 4 days",
    "ok the certificate of the API server: 274 days left",
  ]);
  // A seat with a token, an S3 that the world knows.
  assert.equal((await check({ ...fine, s3Ca: undefined }, ""))[1], "ok none (a token, or no TLS)");
});

Deno.test("B28: the check of the S3's certificate says when no server is there", async () => {
  await using api = await tlsServer(100);
  await fakeKubectl(seat(api.port, ""));
  const cluster = await fixtureCluster("197", {
    KUBECONFIG_FILE: "kubeconfig",
    S3_ENDPOINT: "https://127.0.0.1:1",
  });
  const error = await found(s3Certificate, cluster).catch((error) => error);
  assert.match(error.message, /Cannot see the certificate of 127\.0\.0\.1:1/);
  assert.equal(error.exitCode, 8);
});

const READY_NODE = {
  metadata: { name: "mkube-197", labels: { "kubernetes.io/os": "linux" } },
  status: {
    conditions: [{ type: "Ready", status: "True" }],
    allocatable: { cpu: "8", memory: "16Gi", pods: "110" },
  },
};

const items = (...list: unknown[]) => JSON.stringify({ items: list });

const MADE: Reply = { on: " apply ", stdout: JSON.stringify({ metadata: { uid: "1234" } }) };

/** The Job that looks at the node, and its pod; `conditions`: of the Job. */
function looking(status: Record<string, unknown>, conditions: unknown[] = []): Reply {
  const labels = { "batch.kubernetes.io/job-name": "preflight-00000001" };
  const job = { kind: "Job", metadata: { name: "preflight-00000001" }, status: { conditions } };
  const pod = { kind: "Pod", metadata: { name: "facts", labels }, status };
  return { on: " get jobs,pods ", stdout: items(job, pod) };
}

/** A pod that waits for this reason, until its Job is given up. */
function waitingFor(reason: string, message?: string): Reply[] {
  const status = {
    phase: "Pending",
    containerStatuses: [{ name: "facts", state: { waiting: { reason, message } } }],
  };
  const over = [{ type: "Failed", status: "True", message: "its time is over" }];
  // The Job's controller says so of every Job whose time is over.
  const event = {
    type: "Warning",
    reason: "DeadlineExceeded",
    message: "Job was active longer than specified deadline",
    involvedObject: { kind: "Job", name: "preflight-00000001" },
  };
  const said = { on: " get events ", stdout: items(event) };
  return [{ ...looking(status), times: 1 }, looking(status, over), said];
}

/** A cluster in order; replies of a test stand before. */
const HEALTHY: Reply[] = [
  {
    on: "^version --client",
    stdout: JSON.stringify({ clientVersion: { gitVersion: "v1.35.1" } }),
  },
  { on: "get --raw /version", stdout: JSON.stringify({ gitVersion: "v1.35.1" }) },
  identityReply("11111111-2222-3333-4444-555555555555"),
  { on: "auth can-i", stdout: "yes\n" },
  { on: "get nodes", stdout: items(READY_NODE) },
  MADE,
  looking({ phase: "Succeeded" }),
  { on: "logs", stdout: ANSWER.replace(/time=.*/, "time=$NOW") },
  { on: "delete job " },
  { on: "get pods --all-namespaces", stdout: items() },
  {
    on: "get storageclasses",
    stdout: items(storageClass("standard", "csi", { allowVolumeExpansion: true }, true)),
  },
  { on: "get services", stdout: items(service("other", 30081)) },
  { on: "get deployments.apps", stdout: items() },
  { on: "get daemonsets", stdout: items() },
];

/** The table of a cluster behind these replies; `calls` are kubectl's. */
async function run(replies: Reply[], environment: Record<string, string> = {}) {
  countRuns();
  await using s3 = fakeS3();
  await using api = await tlsServer(100);
  const now = String(Math.floor(Date.now() / 1000));
  const calls = await fakeKubectl(
    [...replies, ...seat(api.port, api.pem), ...HEALTHY].map((reply) => (
      { ...reply, stdout: reply.stdout?.replace("$NOW", now) }
    )),
  );
  const cluster = await fixtureCluster("197", {
    KUBECONFIG_FILE: "kubeconfig",
    STORAGE: "existing",
    STORAGE_CLASS: "standard",
    S3_ENDPOINT: s3.endpoint,
    S3_ACCESS_KEY: KEY.id,
    S3_SECRET_KEY: KEY.secret,
    ...environment,
  });
  const said: string[] = [];
  const report = new Report("", (line) => said.push(line));
  const objects = [service("ours", 30080)];
  const here = servedAt({ ...cluster, s3Ca: pem("ca.pem") }, `127.0.0.1:${api.port}`);
  const rows = await preflight(here, report, () => objects);
  return { rows, said: said.join(""), calls: await calls() };
}

const stopped = (rows: Row[]) =>
  rows.filter(({ state }) => state === "fail").map(({ check }) => check.name);

Deno.test("make preflight: a cluster in order has no stop, and keeps nothing of it", async () => {
  const { rows, said, calls } = await run([]);
  assert.deepEqual(stopped(rows), [], tableOf(rows));
  assert.equal(exitCodeOfRows(rows), 0);
  assert.match(said, /looking at \d+ things of cluster-197-edge/);
  const created = calls.filter(({ args }) => / (create|apply|patch|annotate|delete) /.test(args));
  assert.deepEqual(created.map(({ args }) => args.split(" ").slice(2, 4).join(" ")), [
    "apply --server-side",
    "delete job",
  ]);
  const [job] = JSON.parse(created[0]!.stdin).items;
  assert.equal(job.metadata.namespace, "kube-system");
  assert.equal(job.spec.ttlSecondsAfterFinished, 240);
  const { spec } = job.spec.template;
  assert.equal(spec.nodeName, "mkube-197");
  assert.equal(spec.containers[0].volumeMounts[0].readOnly, true);
  assert.ok(created[1]!.args.includes(job.metadata.name));
});

Deno.test("make preflight has eight clusters in work, for each has a kubectl that goes on, and keeps their order", async () => {
  const many = Array.from({ length: 20 }, (_, index) => ({ ...EXISTING, id: `${300 + index}` }));
  let atWork = 0, most = 0;
  const looks = await looksAt(many, async () => {
    most = Math.max(most, atWork += 1);
    await sleep(10 * Math.random());
    atWork -= 1;
    return [];
  });
  assert.equal(most, 8);
  assert.deepEqual(looks.map(({ id }) => id), many.map(({ id }) => id));
});

Deno.test("A54: make preflight with Longhorn ends with 3 where the node has no open-iscsi", async () => {
  const bare = ANSWER.replace("iscsiadm=yes", "iscsiadm=no").replace(/time=.*/, "time=$NOW");
  const longhorn = { STORAGE: "longhorn", STORAGE_CLASS: "longhorn" };
  const claims = { on: "get persistentvolumeclaims", stdout: items() };
  const { rows } = await run([{ on: "logs", stdout: bare }, claims], longhorn);
  assert.deepEqual(stopped(rows), ["iSCSI"], tableOf(rows));
  assert.equal(exitCodeOfRows(rows), 3);
});

Deno.test("A28, A52: every row is tried when others stop, and the worst one is the exit code", async () => {
  const { rows } = await run([
    { on: "auth can-i", stdout: "no\n", code: 1 },
    { on: "get services", stdout: items(service("squatter", 30080)) },
  ]);
  assert.deepEqual(stopped(rows), ["Rights", "NodePorts"], tableOf(rows));
  assert.equal(exitCodeOfRows(rows), 5);
  assert.match(tableOf(rows), /30080 by shop\/squatter/);
  const json = preflightJson([{ id: "197", name: "cluster-197-edge", rows }]);
  const [{ checks }] = (await refuseUndescribed("preflight", json)).clusters;
  const fails = checks.filter(({ state }: { state: string }) => state === "fail");
  assert.deepEqual(fails.map(({ name }: { name: string }) => name), ["Rights", "NodePorts"]);
  assert.equal(fails[1].findings[0].state, "fail");
});

Deno.test("a wrong cluster is told nothing and gets no pod, but the rest is looked at", async () => {
  const other = { id: "198", name: "cluster-198-edge", role: "edge", uid: "u" };
  const { rows, calls } = await run([identityReply("u", other)]);
  assert.deepEqual(stopped(rows), ["Context and address"], tableOf(rows));
  assert.equal(exitCodeOfRows(rows), 4);
  assert.ok(!calls.some(({ args }) => /apply|delete/.test(args)));
  const seen = Object.fromEntries(rows.map(({ check, state }) => [check.name, state]));
  assert.equal(seen["S3 from here"], "ok");
  assert.equal(seen["NodePorts"], "hidden");
});

/** Things that a run says are not well, with their state. */
const unwell = (rows: Row[]) =>
  rows.filter(({ state }) => state === "fail" || state === "warn").map(({ check }) => check.name);

Deno.test("V5: make preflight with a missing context costs one row and ends with 4", async () => {
  for (
    const config of [
      { contexts: [{ name: "other", context: { cluster: "c" } }], clusters: [] },
      { contexts: null, clusters: null, users: null },
      { contexts: [{ name: "mkube-197", context: { cluster: "gone" } }], clusters: null },
    ]
  ) {
    const { rows, calls } = await run([
      { on: "config view -o json", stdout: JSON.stringify(config) },
      { on: "context=mkube-197 ", stderr: 'error: context "mkube-197" does not exist', code: 1 },
    ]);
    assert.deepEqual(unwell(rows), ["Context and address"], tableOf(rows));
    assert.equal(exitCodeOfRows(rows), 4);
    const tools = rows.find(({ check }) => check.name === "Tools")!;
    assert.match(tableOf([tools]), /ok +Tools +kubectl v1\.35\.1; bash/);
    assert.ok(!calls.some(({ args }) => /apply|delete/.test(args)));
  }
});

Deno.test({
  name: "V5: make preflight without any kubeconfig costs one row and ends with 4",
  ignore: Boolean(process.env.KUBECONFIG) || existsSync(join(homedir(), ".kube/config")),
  fn: async () => {
    const stdout = JSON.stringify({ clusters: null, users: null, contexts: null });
    const stderr = "Error in configuration: context was not found for specified context: mkube-197";
    const { rows } = await run(
      [{ on: "config view", stdout }, { on: "context=mkube-197 ", stderr, code: 1 }],
      { KUBECONFIG_FILE: "" },
    );
    assert.deepEqual(unwell(rows), ["Context and address"], tableOf(rows));
    assert.equal(exitCodeOfRows(rows), 4);
  },
});

Deno.test("V5: the program preflight, too, ends with its table and 4 where every context is missing", async () => {
  await using s3 = fakeS3();
  const folder = await mkdtemp(join(tmpdir(), "preflight-"));
  const file = join(folder, "kubeconfig");
  await writeFile(file, "");
  const words = ["run", "--frozen", "--allow-all", "scripts/operate/preflight.ts", "all"];
  const { code, stdout } = await ended([Deno.execPath(), ...words], {
    KUBECONFIG_FILE: file,
    S3_ENDPOINT: s3.endpoint,
    S3_CA_FILE: "tests/fixtures/tls/test-only-ca.pem",
    S3_ACCESS_KEY: KEY.id,
    S3_SECRET_KEY: KEY.secret,
    // Neither Longhorn nor doors of ours: nothing is asked but what is above.
    STORAGE: "existing",
    STORAGE_CLASS: "standard",
  });
  assert.equal(code, 4, stdout);
  assert.equal(
    stdout.match(/^ +fail +Context and address +Refused: there is no context/gm)?.length,
    3,
  );
  assert.equal(stdout.match(/ - +Rights +not looked at: see Context and address$/gm)?.length, 3);
  assert.doesNotMatch(stdout, /bug of ours/);
  await rm(folder, { recursive: true });
});

Deno.test("V5: an error that nobody foresaw is a row with its stack, and the others are there", async () => {
  const { rows } = await run([{ on: "get deployments.apps", stdout: "{no json" }]);
  assert.deepEqual(stopped(rows), ["Ingress controller"], tableOf(rows));
  assert.equal(exitCodeOfRows(rows), 1);
  assert.match(
    tableOf(rows),
    /Ingress controller +cannot be asked: .*JSON.*\n +SyntaxError[^]*fix: this is a bug of ours/,
  );
  assert.equal(rows.find(({ check }) => check.name === "NodePorts")!.state, "ok");
});

Deno.test("V5: nodeFacts() tells a pod that is slow from one that cannot run", async () => {
  for (const [reason, isSlow] of [["ContainerCreating", true], ["ErrImagePull", false]] as const) {
    countRuns();
    await fakeKubectl([
      { on: "get nodes", stdout: items(READY_NODE) },
      MADE,
      ...waitingFor(reason),
      { on: "delete job " },
    ]);
    const error = await nodeFacts(EXISTING).then(() => assert.fail(), (error) => error);
    assert.deepEqual([error instanceof SlowError, error.exitCode], [isSlow, isSlow ? 7 : 3]);
  }
});

Deno.test("simulated nodes are not looked at", async () => {
  const { rows, calls } = await run([], { SIMULATED_NODES: "true" });
  assert.deepEqual(stopped(rows), [], tableOf(rows));
  assert.ok(!calls.some(({ args }) => /apply/.test(args)));
  assert.match(tableOf(rows), /- +iSCSI +not shown here \(simulated nodes\)/);
});

Deno.test("nodeFacts() removes its Jobs also when no pod can run, and says why", async () => {
  countRuns();
  const calls = await fakeKubectl([
    { on: "get nodes", stdout: items(READY_NODE) },
    MADE,
    ...waitingFor("ErrImageNeverPull", "no image"),
    { on: "delete job " },
  ]);
  const error = await nodeFacts(EXISTING).then(() => assert.fail(), (error) => error);
  assert.ok(error instanceof DeployError);
  assert.equal(error.exitCode, 3);
  assert.match(error.where.join(), /ErrImageNeverPull no image/);
  assert.match((await calls()).at(-1)!.args, /delete job preflight-00000001/);
});

Deno.test("A54: refuseUnfitNodes() refuses with 3 before anything is applied", async () => {
  const bare = ANSWER.replace("iscsiadm=yes", "iscsiadm=no");
  const replies = HEALTHY.filter(({ on }) => on !== "logs");
  countRuns();
  await fakeKubectl([{ on: "logs", stdout: bare }, ...replies]);
  const error = await refuseUnfitNodes(LONGHORN).then(() => assert.fail(), (error) => error);
  assert.ok(error instanceof DeployError);
  assert.equal(error.exitCode, 3);
  assert.match(
    error.where.join(),
    /mkube-197: no iscsiadm.*\nfix: .*apt-get install -y open-iscsi/,
  );
  const fine = ANSWER.replace("multipathd=no", "multipathd=yes");
  countRuns();
  await fakeKubectl([{ on: "logs", stdout: fine }, ...replies]);
  await refuseUnfitNodes(LONGHORN);
  countRuns();
  await fakeKubectl([
    { on: "logs", stdout: ANSWER.replace("mounts_shared=yes", "mounts_shared=no") },
    ...replies,
  ]);
  const alone = await refuseUnfitNodes(LONGHORN).catch(({ where }) => where);
  assert.equal(alone.length, 1);
  assert.match(alone[0], /^node mkube-197: mounts .*\nfix: on mkube-197: mount --make-rshared/);
});
