// A bad line to an API server: slow, cut now and then, and the server behind it too busy. kubectl speaks
// plain HTTP to it, so that its faults are those of real answers; the same seed makes the same ones.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { request } from "node:https";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Access } from "../../scripts/demo/control_plane.ts";
import { agentTo } from "./server.ts";

export interface Faults {
  /** Share of requests whose connection is cut: every other one only when the server has done its work. */
  cut?: number;
  /** Share of requests answered with 429. */
  busy?: number;
  /** Share of requests answered with 503. */
  away?: number;
  /** Milliseconds that every request takes longer. */
  latency?: number;
  /** Seconds from the first of them on in which the webhook of objects of this path (`/services/`) is not up. */
  webhook?: { path: string; seconds: number };
}

/** What the line has done so far. */
export interface BadLine extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`, to be used in place of the API server's own address. */
  server: string;
  requests: number;
  faults: number;
}

/** Opens a line to the API server with its administrator's rights; it listens on the loopback interface. */
export async function badLine(access: Access, faults: Faults, seed = 1): Promise<BadLine> {
  // Not kept: Deno now and then writes a large body to a kept connection and hears nothing any more.
  const agent = await agentTo(access, { keepAlive: false });
  const random = randomFrom(seed);
  let webhookUp = 0;
  const { cut = 0, busy = 0, away = 0, latency = 0, webhook } = faults;

  const listener = createServer(async (asked, answer) => {
    line.requests += 1;
    const luck = random();
    const late = random() < 0.5;
    if (latency > 0) await sleep(latency);
    const writes = asked.method !== "GET";
    if (webhook && writes && asked.url!.includes(webhook.path)) {
      webhookUp ||= Date.now() + webhook.seconds * 1000;
      if (Date.now() < webhookUp) return refuse(asked, answer, 500, WEBHOOK);
    }
    if (luck < cut) {
      line.faults += 1;
      if (late && writes) await new Promise((resolve) => forward(asked, undefined, resolve));
      asked.socket.destroy();
    } else if (luck < cut + busy) {
      refuse(asked, answer, 429, "too many requests, please try again later");
    } else if (luck < cut + busy + away) {
      refuse(asked, answer, 503, "the server is currently unable to handle the request");
    } else forward(asked, answer);
  });

  function refuse(
    asked: IncomingMessage,
    answer: ServerResponse,
    code: number,
    message: string,
  ): void {
    line.faults += 1;
    // Whoever still sends would wait for ever.
    asked.resume();
    const reason = REASONS[code];
    const status = { kind: "Status", apiVersion: "v1", status: "Failure", reason, code, message };
    const headers = { "Content-Type": "application/json" };
    answer.writeHead(code, code === 429 ? { ...headers, "Retry-After": "1" } : headers);
    answer.end(JSON.stringify(status));
  }

  function forward(asked: IncomingMessage, answer?: ServerResponse, done?: (_: unknown) => void) {
    const { method, headers } = asked;
    const onward = request(access.server + asked.url, { agent, method, headers }, (reply) => {
      if (answer) {
        answer.writeHead(reply.statusCode!, reply.headers);
        reply.pipe(answer);
      } else reply.resume().on("end", () => done!(undefined));
    });
    onward.on("error", () => {
      asked.socket.destroy();
      done?.(undefined);
    });
    asked.pipe(onward);
  }

  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  const { port } = listener.address() as AddressInfo;
  const line: BadLine = {
    server: `http://127.0.0.1:${port}`,
    requests: 0,
    faults: 0,
    async [Symbol.asyncDispose]() {
      listener.closeAllConnections();
      await new Promise((resolve) => listener.close(resolve));
      agent.destroy();
    },
  };
  return line;
}

const REASONS: Record<number, string> = {
  429: "TooManyRequests",
  500: "InternalError",
  503: "ServiceUnavailable",
};

const WEBHOOK = 'Internal error occurred: failed calling webhook "check.bad.line": ' +
  'failed to call webhook: Post "https://check.bad.svc:443/": service unavailable (503)';

/** Numbers from 0 to 1 that look random (mulberry32). */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
