// An HTTP server on this machine that takes what Alertmanager sends to a webhook.
import assert from "node:assert/strict";
import { $ } from "zx";
import { text } from "../../lib/core/cluster.ts";
import { WEBHOOK_PORT } from "./hooks.ts";
import { central } from "./site.ts";

/** One alert of a notification. */
export interface Notified {
  status: "firing" | "resolved";
  labels: Record<string, string>;
  annotations: Record<string, string>;
}

/** Everything that has come in, oldest first. */
export const received: Notified[] = [];

let refuses = false;
const server = Deno.serve({ port: WEBHOOK_PORT, onListen() {} }, async (request) => {
  if (refuses) return new Response(null, { status: 400 });
  received.push(...(await request.json()).alerts);
  return new Response();
});
server.unref();

/** Whether what comes from now on is turned away. */
export function refuse(all: boolean): void {
  refuses = all;
}

/** The server's address as the clusters reach it: this machine's own on the way to them. */
export const address = `http://${await ownAddress()}:${WEBHOOK_PORT}/hook`;

/** This machine as the clusters reach it: its address on the way to them. */
export async function ownAddress(): Promise<string> {
  const route = await $({ quiet: true })`ip -json route get ${text(central, "NODE_IP")}`;
  const [{ prefsrc }] = JSON.parse(route.stdout);
  return prefsrc;
}

/** A received alert with these labels; fails while there is none. */
export function arrived(labels: Record<string, string>): Notified {
  const found = received.find((alert) =>
    Object.entries(labels).every(([name, value]) => alert.labels[name] === value)
  );
  assert.ok(found, `no ${JSON.stringify(labels)} among ${received.length} alerts received`);
  return found;
}
