import assert from "node:assert/strict";
import { Ingress } from "kubernetes-models/networking.k8s.io/v1";
import { StorageClass } from "kubernetes-models/storage.k8s.io/v1";
import { Namespace, Secret } from "kubernetes-models/v1";
import {
  PrometheusRule,
  ServiceMonitor,
} from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";
import { parse } from "yaml";
import type { Cluster } from "../../../lib/core/cluster.ts";
import { DeployError } from "../../../lib/core/error.ts";
import { idOf, type Manifest } from "../../../lib/core/object.ts";
import { render } from "../../../lib/render/render.ts";
import { longhorn } from "../../../scripts/10-longhorn.ts";
import {
  backupTargetMissing,
  checkUpgrade,
  driverMissing,
  keepsFromPrune,
  nodesMissing,
  replicasFor,
  takesPods,
} from "../../../scripts/components/longhorn/state.ts";
import { backupJobs } from "../../../scripts/components/longhorn/backups.ts";
import { longhornPolicies, patchLonghorn } from "../../../scripts/components/longhorn/objects.ts";
import { backupTarget } from "../../../scripts/checks/storage.ts";
import { note, type Subject } from "../../../lib/core/check.ts";
import { fixtureCluster } from "../../support/cluster_fixture.ts";
import { fakeKubectl } from "../../support/fake_kubectl.ts";
import { targetSpec } from "../../support/world.ts";

const NAMESPACE = "longhorn-system";
const cluster = await fixtureCluster("197", { KUBECONFIG_FILE: "tests/fixtures/kubeconfig" });

function object(kind: string, name: string, rest: Record<string, unknown> = {}): Manifest {
  const namespace = kind === "Namespace" ? undefined : NAMESPACE;
  return { apiVersion: "v1", kind, metadata: { name, namespace }, ...rest };
}

/** The objects that we change, in the shapes of v1.12.1, and one that we leave alone. */
function bundle(): Manifest[] {
  return [
    object("Namespace", NAMESPACE),
    ...["backing-image-data-source", "backing-image-manager", "instance-manager"]
      .concat("longhorn-manager", "longhorn-recovery-backend", "longhorn-webhook")
      .map((name) => object("NetworkPolicy", name)),
    object("ConfigMap", "longhorn-default-resource", { data: { "default-resource.yaml": "" } }),
    object("ConfigMap", "longhorn-default-setting", {
      data: { "default-setting.yaml": 'priority-class: "longhorn-critical"' },
    }),
    object("ConfigMap", "longhorn-storageclass", {
      data: {
        "storageclass.yaml": `kind: StorageClass
apiVersion: storage.k8s.io/v1
metadata:
  name: longhorn
  annotations:
    storageclass.kubernetes.io/is-default-class: "true"
provisioner: driver.longhorn.io
allowVolumeExpansion: true
parameters:
  numberOfReplicas: "3"
  fromBackup: ""
  disableRevisionCounter: "true"
`,
      },
    }),
    object("Service", "longhorn-frontend", {
      spec: { ports: [{ name: "http", port: 80, nodePort: null }] },
    }),
    object("DaemonSet", "longhorn-manager", { spec: {} }),
    object("Deployment", "longhorn-ui", { spec: { replicas: 2 } }),
    object("Deployment", "longhorn-driver-deployer", {
      spec: {
        template: {
          spec: {
            containers: [{
              name: "longhorn-driver-deployer",
              env: ["ATTACHER", "PROVISIONER", "RESIZER", "SNAPSHOTTER"].map((name) => ({
                name: `CSI_${name}_IMAGE`,
                value: "docker.io/longhornio/csi:v1",
              })),
            }],
          },
        },
      },
    }),
  ];
}

function byId(objects: Manifest[], id: string): Manifest {
  const object = objects.find((object) => idOf(object) === id);
  assert.ok(object, `${id} is missing`);
  return object;
}

function dataOf(name: string, key: string, of: Cluster = cluster, replicas = 2): string {
  const patched = patchLonghorn(bundle(), of, replicas);
  return byId(patched, `ConfigMap/${NAMESPACE}/${name}`).data[key];
}

function refusal(objects: Manifest[]): DeployError {
  try {
    patchLonghorn(objects, cluster, 1);
  } catch (error) {
    assert.ok(error instanceof DeployError);
    return error;
  }
  assert.fail("nothing was thrown");
}

Deno.test("patchLonghorn() fits the bundle to one node and leaves its input alone", () => {
  const input = bundle();
  const patched = patchLonghorn(input, cluster, 1);
  assert.deepEqual(input, bundle());
  assert.equal(patched.filter(({ kind }) => /NetworkPolicy|Namespace/.test(kind)).length, 0);
  assert.equal(byId(patched, `Deployment/${NAMESPACE}/longhorn-ui`).spec.replicas, 1);
  const service = byId(patched, `Service/${NAMESPACE}/longhorn-frontend`);
  assert.deepEqual(service.spec.ports, [{ name: "http", port: 80 }]);
  const driver = byId(patched, `Deployment/${NAMESPACE}/longhorn-driver-deployer`);
  const { env } = driver.spec.template.spec.containers[0];
  const added = env.slice(4).map(({ name, value }: Record<string, string>) => `${name}=${value}`);
  assert.deepEqual(added, [
    "CSI_ATTACHER_REPLICA_COUNT=1",
    "CSI_PROVISIONER_REPLICA_COUNT=1",
    "CSI_RESIZER_REPLICA_COUNT=1",
    "CSI_SNAPSHOTTER_REPLICA_COUNT=1",
    "KUBELET_ROOT_DIR=/var/lib/kubelet",
  ]);
});

Deno.test("patchLonghorn() gives each cluster a backup path of its own, and no settings for it", async () => {
  const target = parse(dataOf("longhorn-default-resource", "default-resource.yaml"));
  assert.deepEqual(target, {
    "backup-target": "s3://longhorn-backups@us-east-1/cluster-197/",
    "backup-target-credential-secret": "longhorn-s3-secret",
    "backupstore-poll-interval": "300",
  });
  const other = dataOf(
    "longhorn-default-resource",
    "default-resource.yaml",
    await fixtureCluster("198"),
  );
  assert.match(other, /cluster-198\//);
  const settings = parse(dataOf("longhorn-default-setting", "default-setting.yaml"));
  // Longhorn logs them as undefined there and skips them.
  assert.deepEqual(Object.keys(settings).filter((name) => name.startsWith("backup")), []);
});

Deno.test("patchLonghorn() writes settings as quoted texts and keeps upstream's", () => {
  const text = dataOf("longhorn-default-setting", "default-setting.yaml");
  for (const line of text.trim().split("\n")) assert.match(line, /^[a-z0-9-]+: ".*"$/);
  const settings = parse(text);
  assert.equal(settings["priority-class"], "longhorn-critical");
  assert.equal(settings["default-replica-count"], '{"v1":"2","v2":"2"}');
  assert.equal(settings["default-data-path"], "/var/lib/longhorn/");
});

Deno.test("B45: never more replicas than schedulable nodes, and none share a node", () => {
  assert.deepEqual([[2, 1], [2, 3], [3, 2], [2, 0]].map(([w, n]) => replicasFor(w!, n!)), [
    1,
    2,
    2,
    1,
  ]);
  const node = (spec: unknown) => ({ ...object("Node", "n"), spec });
  const taints = [{ key: "node-role.kubernetes.io/control-plane", effect: "NoSchedule" }];
  const nodes = [node({}), node({ unschedulable: true }), node({ taints })];
  assert.deepEqual(nodes.map(takesPods), [true, false, false]);
  const settings = parse(dataOf("longhorn-default-setting", "default-setting.yaml", cluster, 1));
  assert.equal(settings["default-replica-count"], '{"v1":"1","v2":"1"}');
  assert.equal(settings["replica-soft-anti-affinity"], "false");
  const storageClass = parse(dataOf("longhorn-storageclass", "storageclass.yaml", cluster, 1));
  assert.equal(storageClass.parameters.numberOfReplicas, "1");
});

Deno.test("backupJobs() writes every field, and nothing without a time", async () => {
  const [job] = backupJobs(cluster);
  assert.deepEqual(job!.spec, {
    name: "backup",
    task: "backup",
    cron: "0 3 * * *",
    retain: 14,
    concurrency: 1,
    groups: ["thanos-multi-cluster"],
    labels: {},
    parameters: {},
  });
  assert.deepEqual(backupJobs(await fixtureCluster("197", { LONGHORN_BACKUP_CRON: "never" })), []);
});

Deno.test("patchLonghorn() gives a valid StorageClass that is the default", () => {
  const storageClass = parse(dataOf("longhorn-storageclass", "storageclass.yaml"));
  new StorageClass(storageClass).validate();
  assert.equal(storageClass.parameters.disableRevisionCounter, "true");
  assert.equal(
    storageClass.metadata.annotations["storageclass.kubernetes.io/is-default-class"],
    "true",
  );
});

Deno.test("A71: patchLonghorn() names every object that upstream no longer has, exit 2", () => {
  const gone = ["longhorn-ui", "longhorn-frontend"];
  const error = refusal(bundle().filter(({ metadata }) => !gone.includes(metadata.name)));
  assert.equal(error.exitCode, 2);
  assert.equal(error.where.length, 2);
  assert.match(error.where.join(), /Service\/longhorn-system\/longhorn-frontend/);
});

Deno.test("A71: patchLonghorn() names a field that upstream no longer has, exit 2", () => {
  const objects = bundle();
  byId(objects, `ConfigMap/${NAMESPACE}/longhorn-default-setting`).data = {};
  const error = refusal(objects);
  assert.equal(error.exitCode, 2);
  assert.match(error.where.join(), /longhorn-default-setting: no key default-setting.yaml/);
});

Deno.test("patchLonghorn() leaves a bundle that could not be had empty", () => {
  assert.deepEqual(patchLonghorn([], cluster, 1), []);
});

Deno.test("10-longhorn renders objects that Kubernetes' schemas accept", async () => {
  const models = { Ingress, Namespace, PrometheusRule, Secret, ServiceMonitor };
  const objects = [
    ...await longhorn.objects(cluster),
    ...await render("longhorn/monitors", cluster),
  ];
  assert.deepEqual(objects.map(({ kind }) => kind).sort(), [
    "Ingress",
    "Namespace",
    "PrometheusRule",
    "Secret",
    "Secret",
    "ServiceMonitor",
  ]);
  for (const object of objects) {
    new models[object.kind as keyof typeof models](object as never).validate();
  }
  const ui = byId(objects, `Ingress/${NAMESPACE}/longhorn`);
  assert.equal(ui.spec.rules[0].host, "longhorn.mkube-197.miribit.lab");
  const login = ui.metadata.annotations!["nginx.ingress.kubernetes.io/auth-secret"];
  assert.deepEqual(Object.keys(byId(objects, `Secret/${NAMESPACE}/${login}`).data), ["auth"]);
});

Deno.test("10-longhorn trims what it hands to Longhorn, which refuses a trailing newline", async () => {
  const pem = "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n";
  const objects = await longhorn.objects({ ...cluster, s3Ca: pem });
  const { data } = byId(objects, `Secret/${NAMESPACE}/longhorn-s3-secret`);
  assert.equal(atob(data.AWS_CERT), pem.trim());
  assert.equal(atob(data.AWS_ENDPOINTS), "https://172.20.40.21:30001");
  for (const value of Object.values<string>(data)) assert.equal(atob(value), atob(value).trim());
  const without = await longhorn.objects({ ...cluster, s3Ca: undefined });
  assert.ok(!("AWS_CERT" in byId(without, `Secret/${NAMESPACE}/longhorn-s3-secret`).data));
});

Deno.test("10-longhorn does nothing where storage exists", async () => {
  const existing = await fixtureCluster("197", { STORAGE: "existing", STORAGE_CLASS: "standard" });
  assert.match(longhorn.skips!(existing)!, /standard/);
  assert.equal(longhorn.skips!(cluster), undefined);
});

async function answering(items: unknown[]): Promise<void> {
  await fakeKubectl([{ on: "get", stdout: JSON.stringify({ items }) }]);
}

const ROLLED_OUT = {
  metadata: { namespace: NAMESPACE, generation: 1 },
  spec: { replicas: 1 },
  status: { observedGeneration: 1, replicas: 1, updatedReplicas: 1, availableReplicas: 1 },
};

Deno.test("driverMissing() names what the driver deployer has not made, and what does not run", async () => {
  await answering([
    ...["csi-attacher", "csi-provisioner", "csi-resizer"].map((name) => ({
      ...ROLLED_OUT,
      kind: "Deployment",
      metadata: { ...ROLLED_OUT.metadata, name },
    })),
    {
      kind: "DaemonSet",
      metadata: { namespace: NAMESPACE, name: "longhorn-csi-plugin", generation: 1 },
      status: { observedGeneration: 1, updatedNumberScheduled: 1, desiredNumberScheduled: 1 },
    },
  ]);
  const missing = await driverMissing(cluster);
  assert.equal(missing.length, 2);
  assert.match(missing[0]!, /csi-snapshotter: not made yet/);
  assert.match(missing[1]!, /longhorn-csi-plugin: 0 of 1 available/);
});

Deno.test("nodesMissing() repeats why Longhorn takes no volumes on a node", async () => {
  await answering([
    { kind: "EngineImage", metadata: { name: "ei-1" }, status: { state: "deploying" } },
    {
      kind: "Node",
      metadata: { name: "mkube" },
      status: {
        conditions: [
          { type: "Ready", status: "True" },
          { type: "Schedulable", status: "False", reason: "DiskPressure", message: "disk is full" },
        ],
      },
    },
  ]);
  const missing = await nodesMissing(cluster);
  assert.deepEqual(missing, [
    "EngineImage/ei-1: state deploying",
    "Node/mkube of Longhorn is not Schedulable: DiskPressure: disk is full",
  ]);
});

Deno.test("backupTargetMissing() gives Longhorn's own words", async () => {
  const target = {
    kind: "BackupTarget",
    metadata: { name: "default" },
    spec: targetSpec("197"),
    status: { available: false, conditions: [{ type: "Unavailable", message: "AccessDenied" }] },
  };
  await answering([target]);
  assert.match((await backupTargetMissing(cluster))[0]!, /cluster-197\/: AccessDenied/);
  await answering([{ ...target, status: { available: true } }]);
  assert.deepEqual(await backupTargetMissing(cluster), []);
});

Deno.test("V3: backupTargetMissing() does not go by what Longhorn saw before its target or key was another", async () => {
  const secret = (time: string) => ({
    kind: "Secret",
    metadata: {
      name: "longhorn-s3-secret",
      managedFields: [{ manager: "thanos-multi-cluster", operation: "Apply", time }],
    },
  });
  const look = async (spec: object, lastSyncedAt: string, changed = "2026-11-29T11:00:00Z") => {
    const status = { available: true, lastSyncedAt };
    const metadata = { name: "default" };
    const target = {
      kind: "BackupTarget",
      metadata,
      spec: { ...targetSpec("197"), ...spec },
      status,
    };
    await answering([target, secret(changed)]);
    return (await backupTargetMissing(cluster)).join();
  };
  const noon = "2026-11-29T12:00:00Z", later = "2026-11-29T12:00:01Z";
  assert.equal(await look({}, noon), "");
  assert.match(
    await look({ backupTargetURL: "s3://x@y/" }, noon),
    /default is s3:\/\/x@y\/ by longhorn-s3-secret, wanted s3:.*cluster-197/,
  );
  assert.match(
    await look({ credentialSecret: "other" }, noon),
    /default is s3:\S+ by other, wanted s3:/,
  );
  assert.match(await look({ syncRequestedAt: later }, noon), /not looked at it since .*12:00:00Z/);
  assert.equal(await look({ syncRequestedAt: noon }, noon), "");
  assert.equal(await look({}, noon, later), "");
  assert.match(await look({}, noon, "2026-11-29T12:01:00Z"), /not looked at it since .*12:00:00Z/);
  assert.match(await look({}, ""), /not looked at it since ever/);
});

Deno.test("B46, B47, B48, B49: what can befall a volume has an alert, and pods of a dead node go by themselves", async () => {
  const [rules] = (await render("longhorn/monitors", cluster))
    .filter(({ kind }) => kind === "PrometheusRule");
  const expressions = Object.fromEntries(
    rules!.spec.groups[0].rules.map(({ alert, expr }: Record<string, string>) => [alert, expr]),
  );
  assert.equal(
    expressions.LonghornVolumeFaulted,
    'longhorn_volume_robustness{state="faulted"} == 1',
  );
  assert.equal(expressions.LonghornVolumeReadOnly, "longhorn_volume_file_system_read_only == 1");
  assert.match(expressions.LonghornDiskAlmostFull, /longhorn_disk_usage_bytes/);
  assert.equal(expressions.LonghornBackupFailed, "longhorn_backup_state == 4");
  const settings = parse(dataOf("longhorn-default-setting", "default-setting.yaml"));
  assert.equal(
    settings["node-down-pod-deletion-policy"],
    "delete-both-statefulset-and-deployment-pod",
  );
});

Deno.test("keepsFromPrune() counts Longhorn's volumes, then names the way to uninstall", async () => {
  const volume = { spec: { csi: { driver: "driver.longhorn.io" } } };
  await answering([volume, volume, { spec: { hostPath: {} } }]);
  assert.equal(await keepsFromPrune(cluster), "2 volumes are still there");
  await answering([{ spec: { hostPath: {} } }]);
  assert.match((await keepsFromPrune(cluster))!, /longhorn.md#uninstall-longhorn/);
});

Deno.test("checkUpgrade() refuses to go back, or over a minor version, and notes what is left to do", async () => {
  const manager = (image: string) => ({
    ...object("DaemonSet", "longhorn-manager"),
    spec: { template: { spec: { containers: [{ image }] } } },
  });
  const to = (live: string) => async () => {
    await fakeKubectl([{
      on: "get daemonsets.apps -n longhorn-system",
      stdout: JSON.stringify({ items: [manager(live)] }),
    }]);
    return await checkUpgrade(cluster, [manager("longhornio/longhorn-manager:v1.12.1")]);
  };
  for (const live of ["v1.12.1", "v1.12.1@sha256:0"]) {
    assert.equal(await to(`r:5000/longhorn-manager:${live}`)(), undefined);
  }
  assert.match((await to("longhornio/longhorn-manager:v1.11.3")())!, /from v1.11.3 to v1.12.1/);
  for (const live of ["v1.10.2", "v1.12.2", "v1.13.0", "v2.0.0"]) {
    await assert.rejects(
      to(`longhornio/longhorn-manager:${live}`),
      (error: DeployError) => error.exitCode === 4,
    );
  }
});

Deno.test("B50: with NETWORK_POLICIES Prometheus still reaches Longhorn, and upstream's policies stay", async () => {
  const fenced = await fixtureCluster("197", { NETWORK_POLICIES: "true" });
  const kept = patchLonghorn(bundle(), fenced, 1).filter(({ kind }) => kind === "NetworkPolicy");
  assert.equal(kept.length, 6);
  const [scrape, iscsi] = longhornPolicies(fenced);
  assert.deepEqual(scrape!.spec.podSelector.matchLabels, { app: "longhorn-manager" });
  assert.equal(scrape!.spec.ingress[0].ports[0].port, 9500);
  assert.deepEqual(iscsi!.spec.ingress[0].from, [{ ipBlock: { cidr: "192.168.101.197/32" } }]);
  assert.deepEqual(longhornPolicies(cluster), []);
});

Deno.test("B49: verify repeats why Longhorn does not reach its backups, and asks nothing of other storage", async () => {
  await answering([{
    kind: "BackupTarget",
    metadata: { name: "default" },
    spec: targetSpec("197"),
    status: { available: false, conditions: [{ type: "Unavailable", message: "AccessDenied" }] },
  }]);
  const [problem] = [await backupTarget({ cluster } as Subject)].flat();
  assert.match(problem!.what, /s3:\/\/longhorn-backups.*AccessDenied/);
  const existing = await fixtureCluster("197", { STORAGE: "existing", STORAGE_CLASS: "standard" });
  assert.deepEqual(
    await backupTarget({ cluster: existing } as Subject),
    note("none: STORAGE=existing"),
  );
});
