// What simulated clusters have beside their control planes: secrets, an S3, nodes, prometheus-operators.
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sendList } from "../../lib/apply/live.ts";
import { type Cluster, projectPath, text } from "../../lib/core/cluster.ts";
import { idOf, type Manifest } from "../../lib/core/object.ts";
import { replaceFile } from "../../lib/io/files.ts";
import { kubectl, targetArgs } from "../../lib/kube/kubectl.ts";
import { renderFile } from "../../lib/render/render.ts";
import { s3Of } from "../../lib/s3/client.ts";
import { prometheus } from "../20-prometheus.ts";
import { PROGRAMS } from "../components/minio/buckets.ts";
import type { Access } from "./control_plane.ts";
import { pidOf, refuseTaken, startDaemon } from "./daemon.ts";

/** Writes a file of random secrets with mode 0600, unless it is there. */
export async function writeSecrets(file: string): Promise<void> {
  if (existsSync(file)) return;
  const random = () => randomBytes(12).toString("hex");
  const password = random();
  // The only form of an htpasswd line that needs no other program; ingress-nginx takes it.
  const hash = createHash("sha1").update(password).digest("base64");
  const lines = [
    `# User admin, password ${password}, for Longhorn and OpenSearch`,
    `UI_BASIC_AUTH='admin:{SHA}${hash}'`,
    ...["", ...PROGRAMS.map((program) => `${program}_`)].flatMap((program) => [
      `${program}S3_ACCESS_KEY=demo-${random()}`,
      `${program}S3_SECRET_KEY=${random()}`,
    ]),
    `GRAFANA_ADMIN_PASSWORD=${random()}`,
  ];
  await replaceFile(file, (path) => writeFile(path, lines.join("\n") + "\n", { mode: 0o600 }));
}

/** Gives MinIO a control plane's certificate, a server's for 127.0.0.1; once, for the S3 is that of all clusters. */
export async function copyCertificates(folder: string, access: Access): Promise<void> {
  const own = join(folder, "minio-certs"), ca = join(folder, "ca.crt");
  if (existsSync(ca)) return;
  await mkdir(own, { recursive: true, mode: 0o700 });
  await copyFile(access.certificate, join(own, "public.crt"));
  await copyFile(access.key, join(own, "private.key"));
  await copyFile(access.ca, ca);
}

/** Starts a MinIO with TLS on the port that the profile names. Throws exit 3 when another program has it. */
export async function startMinio(folder: string, program: string, cluster: Cluster): Promise<void> {
  const { host, port } = new URL(text(cluster, "S3_ENDPOINT"));
  const fix = "end that program, or change S3_ENDPOINT in env/profiles/demo.env";
  if (!await pidOf(folder, "minio")) await refuseTaken("MinIO", [Number(port)], fix);
  await startDaemon(folder, {
    name: "minio",
    command: [program, "server", "--quiet", "--address", host, "--console-address"]
      .concat("127.0.0.1:0", "--certs-dir", join(folder, "minio-certs"), join(folder, "minio")),
    environment: {
      MINIO_ROOT_USER: text(cluster, "S3_ACCESS_KEY"),
      MINIO_ROOT_PASSWORD: text(cluster, "S3_SECRET_KEY"),
      HOME: folder, // it makes a folder .minio there, whatever its flags say
      MINIO_BROWSER: "off",
      MINIO_UPDATE: "off",
    },
    async ready() {
      using s3 = s3Of(cluster, { seconds: 2 });
      const about = { what: "ask for MinIO's health", action: "none" };
      return await s3.send({ method: "GET", bucket: "", path: "minio/health/ready", ...about })
        .then(({ status }) => status === 200, () => false);
    },
  });
}

const VOLUMES = 20; // more than the claims of a cluster

/** Makes the cluster's one node, its StorageClass, and volumes of it. */
export async function createNodes(cluster: Cluster): Promise<void> {
  const items = Array.from({ length: VOLUMES }, (_, INDEX): Manifest[] => {
    const { items } = renderFile("demo/simulated.yaml", cluster, { INDEX });
    return INDEX === 0 ? items : items.slice(-1);
  }).flat();
  const words = ["get", "nodes,storageclasses,persistentvolumes", "-o", "name"];
  const there = (await kubectl(words, { cluster })).split("\n");
  const isThere = ({ metadata }: Manifest) => there.some((id) => id.endsWith(`/${metadata.name}`));
  if (!items.every(isThere)) await sendList(cluster, items);
}

const OPERATOR = "Deployment/monitoring/kube-prometheus-stack-operator";

/** Starts the operator, whose pod only pretends, with arguments and rights of its Deployment: they are tried too. */
export async function startOperator(
  folder: string,
  tools: Record<string, string>,
  cluster: Cluster,
  { server, ca, certificate, key }: Access,
): Promise<void> {
  const objects = await prometheus.objects(cluster);
  const { metadata, spec } = objects.find((object) => idOf(object) === OPERATOR)!;
  const { name, namespace } = metadata;
  const { containers, serviceAccountName } = spec.template.spec;
  const script = await readFile(projectPath("scripts/demo/kubelet.sh"), "utf8");
  await startDaemon(folder, {
    name: `prometheus-operator-${cluster.id}`,
    command: [
      ...["sh", "-c", script, "kubelet", tools.kubectl!, name, namespace!, ...targetArgs(cluster)],
      tools["prometheus-operator"]!,
      `--apiserver=${server}`,
      `--ca-file=${ca}`,
      `--cert-file=${certificate}`,
      `--key-file=${key}`,
      `--as=system:serviceaccount:${namespace}:${serviceAccountName}`,
      "--web.listen-address=127.0.0.1:0",
      ...containers[0].args,
    ],
  });
}
