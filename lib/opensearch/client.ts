// One call to OpenSearch: what passes by itself is waited for, the rest is told with its reasons.
import { setTimeout as sleep } from "node:timers/promises";
import { type DeployError, serviceError } from "../core/error.ts";
import { parsedJson } from "../core/object.ts";

/** A way to one OpenSearch cluster; `fetch` as the global one, but for its path. */
export interface OpenSearch {
  fetch(path: string, init?: RequestInit): Promise<Response>;
  pause?: number; // milliseconds before the second try (1000); each later wait is twice as long
  tries?: number;
}

/** A JSON object. */
export type Json = Record<string, unknown>;

/** An answer; texts that are not JSON are under `error`. */
export interface Answer {
  status: number;
  // deno-lint-ignore no-explicit-any
  body: any;
}

/** Calls before we give up; with a pause of 1 s the last is 31 s after the first. */
export const TRIES = 6;

/** The body of a GET, undefined when the document does not exist. @throws {DeployError} exit 8. */
export async function read(os: OpenSearch, path: string): Promise<Answer["body"] | undefined> {
  const answer = await request(os, "GET", path);
  // The API server's own: it is OpenSearch that does not exist.
  if (answer.status === 404 && answer.body?.kind !== "Status") return undefined;
  if (answer.status >= 300) throw answerRefusal("GET", path, answer);
  return answer.body;
}

/** The body of a call that must succeed. @throws {DeployError} exit 8. */
export async function write(os: OpenSearch, method: string, path: string, body?: Json) {
  const answer = await request(os, method, path, body);
  if (answer.status >= 300) throw answerRefusal(method, path, answer);
  return answer.body;
}

/** One call; answers that pass by themselves are waited for. */
export async function request(os: OpenSearch, method: string, path: string, body?: Json) {
  const headers = { "content-type": "application/json" };
  for (let tries = 1;; tries++) {
    const init = { method, headers, body: body && JSON.stringify(body) };
    const response = await os.fetch(path, init), text = await response.text();
    const error = text.slice(0, 300);
    const answer: Answer = { status: response.status, body: parsedJson(text) ?? { error } };
    if (!passes(answer) || tries >= (os.tries ?? TRIES)) return answer;
    await wait(os, tries);
  }
}

function passes({ status, body }: Answer): boolean {
  // The last: a repository cannot be changed during a snapshot; OpenSearch calls that a 500.
  return [429, 502, 503, 504].includes(status) ||
    status >= 400 && /currently used/.test(JSON.stringify(body));
}

/** The pause after the given try. */
export function wait({ pause = 1000 }: OpenSearch, tries: number): Promise<void> {
  return sleep(pause * 2 ** (tries - 1));
}

/** What was asked, the status, every reason from the outermost to its cause, and the fix; exit 8. */
export function answerRefusal(
  method: string,
  path: string,
  { status, body }: Answer,
  fix = "look at the reason above and at OpenSearch's log, then run again",
): DeployError {
  // `message` is the API server's own word, when the request did not get further.
  const reasons = [body?.message, typeof body?.error === "string" && body.error];
  for (let error = body?.error; error; error = error.caused_by) reasons.push(error.reason);
  const where = [...new Set(reasons.filter(Boolean).map(String))];
  const [address] = path.split("?");
  const what = `Cannot ${method} ${address} of OpenSearch: it answers ${status}`;
  return serviceError(what, { where, fix });
}
