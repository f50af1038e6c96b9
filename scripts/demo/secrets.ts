// Secrets of one demo, made up when it starts and kept while it lives.
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { PROGRAMS } from "../components/minio/buckets.ts";
import { replaceFile } from "../../lib/io/files.ts";

/** Writes a file of random secrets with mode 0600, unless it is there. */
export async function writeSecrets(file: string): Promise<void> {
  if (existsSync(file)) return;
  const password = random();
  // The only form of an htpasswd line that needs no other program; ingress-nginx takes it.
  const hash = createHash("sha1").update(password).digest("base64");
  const lines = [
    `# User admin, password ${password}, for Longhorn and OpenSearch`,
    `UI_BASIC_AUTH='admin:{SHA}${hash}'`,
    `S3_ACCESS_KEY=demo-${random()}`,
    `S3_SECRET_KEY=${random()}`,
    ...PROGRAMS.flatMap((program) => [
      `${program}_S3_ACCESS_KEY=demo-${random()}`,
      `${program}_S3_SECRET_KEY=${random()}`,
    ]),
    `GRAFANA_ADMIN_PASSWORD=${random()}`,
  ];
  await replaceFile(file, (path) => writeFile(path, lines.join("\n") + "\n", { mode: 0o600 }));
}

function random(): string {
  return randomBytes(12).toString("hex");
}
