// MinIO of the demo: a real one, over TLS, on the loopback port that the profile names.
import { existsSync } from "node:fs";
import { copyFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type Cluster, text } from "../../lib/core/cluster.ts";
import { pidOf, refuseTaken, startDaemon } from "./daemon.ts";
import { s3Of } from "../../lib/s3/client.ts";
import type { Access } from "./control_plane.ts";

/**
 * Gives MinIO the certificate of a control plane: it is a server's, and for 127.0.0.1. It is copied
 * once, so that a control plane that is made anew does not change the S3 for all clusters.
 */
export async function copyCertificates(folder: string, access: Access): Promise<void> {
  const own = join(folder, "minio-certs");
  const ca = join(folder, "ca.crt");
  if (existsSync(ca)) return;
  await mkdir(own, { recursive: true, mode: 0o700 });
  await copyFile(access.certificate, join(own, "public.crt"));
  await copyFile(access.key, join(own, "private.key"));
  await copyFile(access.ca, ca);
}

/** Starts MinIO unless it runs. Throws exit 3 when another program has its port. */
export async function startMinio(folder: string, program: string, cluster: Cluster): Promise<void> {
  const { host, port } = new URL(text(cluster, "S3_ENDPOINT"));
  if (!await pidOf(folder, "minio")) {
    const fix = "end that program, or change S3_ENDPOINT in env/profiles/demo.env";
    await refuseTaken("MinIO", [Number(port)], fix);
  }
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
    ready: () => answers(cluster),
  });
}

async function answers(cluster: Cluster): Promise<boolean> {
  using s3 = s3Of(cluster, { seconds: 2 });
  const path = "minio/health/ready", about = { what: "ask for MinIO's health", action: "none" };
  const answer = s3.send({ method: "GET", bucket: "", path, ...about });
  return await answer.then(({ status }) => status === 200, () => false);
}
