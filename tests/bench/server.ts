// Bare API servers: etcd and kube-apiserver alone, fresh, with a log of every request. For make bench and
// make apiserver, where nothing else may take time or change an object.
import { Buffer } from "node:buffer";
import { mkdir, open, readFile, rm, stat, writeFile } from "node:fs/promises";
import { Agent, type AgentOptions } from "node:https";
import { join } from "node:path";
import type { Cluster } from "../../lib/core/cluster.ts";
import {
  type Access,
  accessTo,
  type Playground,
  startControlPlanes,
  writeKubeconfig,
} from "../../scripts/demo/control_plane.ts";
import { killProcessesOf } from "../../scripts/demo/daemon.ts";

/** The programs that are needed. */
export const TOOLS = ["kubectl", "kwokctl", "etcd", "kube-apiserver"];

const POLICY = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
`;

/** Connections to a server with its administrator's rights. */
export async function agentTo(access: Access, options: AgentOptions): Promise<Agent> {
  const [ca, cert, key] = await Promise.all(
    [access.ca, access.certificate, access.key].map((path) => readFile(path)),
  );
  return new Agent({ ca, cert, key, ...options });
}

/** A request in the log; https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/. */
export interface AuditEvent {
  verb: string;
  requestURI: string;
  requestReceivedTimestamp: string;
  user: { username: string };
  impersonatedUser?: { username: string };
}

/** API servers below one folder, each with the id of the cluster whose place it takes. */
export class Servers {
  readonly #playground: Playground;
  readonly #folder: string;

  /** `folder` is absolute and theirs alone. */
  constructor(folder: string, tools: Record<string, string>) {
    const auditPolicy = join(folder, "audit-policy.yaml");
    this.#folder = folder;
    this.#playground = { folder: join(folder, "kwok"), tools, auditPolicy };
  }

  /** Where {@link start} writes how to reach them. */
  get kubeconfig(): string {
    return join(this.#folder, "kubeconfig");
  }

  /** Starts a server for each cluster in place of those that were there; nothing was ever deployed on them. */
  async start(clusters: Cluster[]): Promise<void> {
    await this.stop();
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    await writeFile(this.#playground.auditPolicy!, POLICY);
    await startControlPlanes(this.#playground, clusters.map(({ id }) => id));
    const access = clusters.map(async (cluster): Promise<[Cluster, Access]> => [
      cluster,
      await this.accessTo(cluster),
    ]);
    await writeKubeconfig(this.kubeconfig, await Promise.all(access));
  }

  /** Ends them, waits until they are gone (their memory counts for the next ones) and removes their data. */
  async stop(): Promise<void> {
    await killProcessesOf(this.#playground.folder);
    await rm(this.#playground.folder, { recursive: true, force: true });
  }

  accessTo({ id }: Cluster): Promise<Access> {
    return accessTo(this.#playground, id);
  }

  /** What the API server was asked, one JSON object per line. */
  #auditLog(id: string): string {
    return join(this.#playground.folder, "clusters", id, "logs", "audit.log");
  }

  /** A place in the log of requests. */
  async mark({ id }: Cluster): Promise<number> {
    return (await stat(this.#auditLog(id))).size;
  }

  /** How many requests people's programs have made since the mark. */
  async requestsSince(mark: number, cluster: Cluster): Promise<number> {
    return (await this.eventsSince(mark, cluster)).length;
  }

  /** These requests, as the server has written them down. */
  async eventsSince(mark: number, { id }: Cluster): Promise<AuditEvent[]> {
    await using file = await open(this.#auditLog(id));
    const length = (await file.stat()).size - mark;
    const { buffer } = await file.read(Buffer.alloc(length), 0, length, mark);
    return buffer.toString().split("\n").filter(Boolean).map((line) => JSON.parse(line))
      // The server's own loops ask it, too.
      .filter(({ stage, user }) =>
        stage === "ResponseComplete" && !user.username.startsWith("system:")
      );
  }
}
