// One call to OpenSearch: what passes by itself is waited for, the rest is told with its reasons.
import { setTimeout as sleep } from "node:timers/promises";
import { DeployError, ExitCode } from "../core/error.ts";

/** A way to one OpenSearch cluster. */
export interface OpenSearch {
  /** As the global fetch; `path` starts with a slash. */
  fetch(path: string, init?: RequestInit): Promise<Response>;
  /** Milliseconds before the second try (1000); each later wait is twice as long. */
  pause?: number;
  /** Calls before we give up ({@link TRIES}). */
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

/** The body of a call that must succeed. @throws {DeployError} exit 8, with `fix`. */
export async function write(
  os: OpenSearch,
  method: string,
  path: string,
  body?: Json,
  fix?: string,
) {
  const answer = await request(os, method, path, body);
  if (answer.status >= 300) throw answerRefusal(method, path, answer, fix);
  return answer.body;
}

/** One call; answers that pass by themselves are waited for. */
export async function request(
  os: OpenSearch,
  method: string,
  path: string,
  body?: Json,
): Promise<Answer> {
  for (let tries = 1;; tries++) {
    const response = await os.fetch(path, {
      method,
      headers: { "content-type": "application/json" },
      body: body && JSON.stringify(body),
    });
    const answer = { status: response.status, body: parsed(await response.text()) };
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

function parsed(text: string): Answer["body"] {
  try {
    return JSON.parse(text);
  } catch {
    return { error: text.slice(0, 300) };
  }
}

/** What was asked, the status, every reason in the answer, and the fix. */
export function answerRefusal(
  method: string,
  path: string,
  answer: Answer,
  fix?: string,
): DeployError {
  const [address] = path.split("?");
  return new DeployError(`Cannot ${method} ${address} of OpenSearch: it answers ${answer.status}`, {
    exitCode: ExitCode.service,
    where: reasons(answer.body),
    fix: fix ?? "look at the reason above and at OpenSearch's log, then run again",
  });
}

/** Every reason of an error from the outermost to its cause, each once. */
function reasons(body: Answer["body"]): string[] {
  const found = new Set<string>();
  // `message` is the API server's own word, when the request did not get further.
  if (body?.message) found.add(String(body.message));
  if (typeof body?.error === "string") found.add(body.error);
  for (let error = body?.error; error && typeof error === "object"; error = error.caused_by) {
    if (error.reason) found.add(String(error.reason));
  }
  return [...found];
}
