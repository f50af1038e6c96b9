// What the API server alone takes for the same objects: server-side apply over a few kept connections, as
// fast as it answers. No deployer can be faster.
import { request } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import type { Access } from "../../scripts/demo/control_plane.ts";
import { defines, idOf, inWaves, type Manifest } from "../../lib/core/object.ts";
import { agentTo } from "./server.ts";

const CONNECTIONS = 8;

interface Answer {
  code: number;
  // deno-lint-ignore no-explicit-any
  body: any;
}

/** Applies the objects, definitions first, and waits for what needs them. */
export async function applyRaw(access: Access, objects: Manifest[]): Promise<void> {
  const agent = await agentTo(access, { keepAlive: true, maxSockets: CONNECTIONS });
  const served = new Map<string, { name: string; namespaced: boolean }>();

  function ask(method: string, path: string, body?: string): Promise<Answer> {
    const headers = body ? { "Content-Type": "application/apply-patch+yaml" } : {};
    return new Promise((resolve, reject) => {
      const asked = request(access.server + path, { agent, method, headers }, (reply) => {
        let text = "";
        reply.setEncoding("utf8").on("data", (part) => text += part);
        reply.on("end", () => {
          const json = text.startsWith("{");
          resolve({ code: reply.statusCode!, body: json ? JSON.parse(text) : {} });
        });
      });
      asked.on("error", reject);
      asked.end(body);
    });
  }

  /** Path of the API of a version: `/api/v1`, `/apis/apps/v1`. */
  const rootOf = (apiVersion: string) =>
    `/${apiVersion.includes("/") ? "apis" : "api"}/${apiVersion}`;

  async function discover(apiVersion: string): Promise<void> {
    const { body } = await ask("GET", rootOf(apiVersion));
    for (const { name, kind, namespaced } of body.resources ?? []) {
      if (!name.includes("/")) served.set(`${apiVersion} ${kind}`, { name, namespaced });
    }
  }

  async function apply(object: Manifest): Promise<void> {
    const { apiVersion, kind, metadata: { name, namespace } } = object;
    while (!served.has(`${apiVersion} ${kind}`)) {
      await discover(apiVersion);
      if (!served.has(`${apiVersion} ${kind}`)) await sleep(100);
    }
    const resource = served.get(`${apiVersion} ${kind}`)!;
    const within = resource.namespaced ? `/namespaces/${namespace ?? "default"}` : "";
    const path = `${rootOf(apiVersion)}${within}/${resource.name}/${name}`;
    const { code, body } = await ask(
      "PATCH",
      `${path}?fieldManager=floor&force=true`,
      JSON.stringify(object),
    );
    if (code >= 300) throw new Error(`${idOf(object)}: ${code} ${body.message}`);
  }

  const [definitions, rest] = inWaves(objects);
  const isCustom = (object: Manifest) => definitions.some((crd) => defines(crd, object));
  for (const wave of [definitions, rest.filter((one) => !isCustom(one)), rest.filter(isCustom)]) {
    await Promise.all(wave.map(apply));
  }
  agent.destroy();
}
