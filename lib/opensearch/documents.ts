// Documents of OpenSearch's REST API that should exist. Each is read first and written only when it
// differs: a blind write conflicts, or resets what the server keeps with the document.
import {
  answerRefusal,
  type Json,
  type OpenSearch,
  read,
  request,
  TRIES,
  wait,
  write,
} from "./client.ts";

export type { Json, OpenSearch } from "./client.ts";

/** What happened to a document. */
export type Outcome = "created" | "configured" | "unchanged";

/** Makes an index template what `wanted` says. @throws {DeployError} exit 8. */
export async function ensureIndexTemplate(
  os: OpenSearch,
  name: string,
  wanted: Json,
): Promise<Outcome> {
  const path = `/_index_template/${name}`;
  const live = await read(os, path);
  const template = live?.index_templates?.[0]?.index_template;
  if (template && covers(flatSettings(template), flatSettings(wanted))) return "unchanged";
  await write(os, "PUT", path, wanted);
  return live ? "configured" : "created";
}

/**
 * Registers a snapshot repository without trying it, see {@link verifyRepository}. While a snapshot
 * runs, a change is refused and tried again. @throws {DeployError} exit 8.
 */
export async function ensureRepository(
  os: OpenSearch,
  name: string,
  wanted: Json,
): Promise<Outcome> {
  const path = `/_snapshot/${name}`;
  const live = await read(os, path);
  if (live && covers(live[name], wanted)) return "unchanged";
  await write(os, "PUT", `${path}?verify=false`, wanted);
  return live ? "configured" : "created";
}

/**
 * Has every node write to and read from a repository, and gives the nodes' names.
 * @throws {DeployError} exit 8 with every reason on the way down, and `fix`.
 */
export async function verifyRepository(
  os: OpenSearch,
  name: string,
  fix: string,
): Promise<string[]> {
  const { nodes } = await write(os, "POST", `/_snapshot/${name}/_verify`, undefined, fix);
  return Object.values(nodes as Record<string, { name: string }>).map(({ name }) => name);
}

/** Makes an index state policy what `wanted` says. @throws {DeployError} exit 8. */
export function ensureIndexPolicy(os: OpenSearch, name: string, wanted: Json): Promise<Outcome> {
  const path = `/_plugins/_ism/policies/${name}`;
  return ensurePolicy(os, path, { policy: wanted }, { createdBy: "PUT" });
}

/** Makes a snapshot policy what `wanted` says. @throws {DeployError} exit 8. */
export function ensureSnapshotPolicy(os: OpenSearch, name: string, wanted: Json): Promise<Outcome> {
  const path = `/_plugins/_sm/policies/${name}`;
  return ensurePolicy(os, path, wanted, { createdBy: "POST", readAs: "sm_policy" });
}

async function ensurePolicy(
  os: OpenSearch,
  path: string,
  wanted: Json,
  { createdBy, readAs }: { createdBy: string; readAs?: string },
): Promise<Outcome> {
  for (let tries = 1;; tries++) {
    const live = await read(os, path);
    if (live && covers(readAs ? live[readAs] : live, wanted)) return "unchanged";
    const expected = live && `?if_seq_no=${live._seq_no}&if_primary_term=${live._primary_term}`;
    const [method, address] = live ? ["PUT", path + expected] : [createdBy, path];
    const answer = await request(os, method, address, wanted);
    if (answer.status < 300) return live ? "configured" : "created";
    // Somebody else wrote in between: look again.
    if (answer.status !== 409 || tries === TRIES) throw answerRefusal(method, address, answer);
    await wait(os, tries);
  }
}

const POLICY_OF_INDEX = "index.plugins.index_state_management.policy_id";

/**
 * Puts the indices of a pattern that have no policy under one: a policy's own template reaches only
 * indices made after it. With `renew`, those under it get its present version: each keeps the copy it
 * once got. @throws {DeployError} exit 8 naming the indices that could not be taken.
 */
export async function manageIndices(
  os: OpenSearch,
  pattern: string,
  policy: string,
  { renew = false }: { renew?: boolean } = {},
): Promise<Outcome> {
  const path = `/_plugins/_ism/explain/${pattern}`;
  const answer = await request(os, "GET", path);
  // 400, 404: no index matches yet.
  if (answer.status === 400 || answer.status === 404) return "unchanged";
  if (answer.status >= 300) throw answerRefusal("GET", path, answer);
  const policies = Object.entries(answer.body as Record<string, Json | null>)
    .filter(([, about]) => about !== null && typeof about === "object")
    .map(([index, about]) => [index, about![POLICY_OF_INDEX]] as const);
  const free = policies.filter(([, id]) => !id).map(([index]) => index);
  const managed = policies.filter(([, id]) => id === policy).map(([index]) => index);
  await hand(os, "add", free, policy);
  if (renew) await hand(os, "change_policy", managed, policy);
  return free.length > 0 || renew && managed.length > 0 ? "configured" : "unchanged";
}

/** Names that fit into one request line, of which OpenSearch reads 4 KiB. */
function* handfuls(names: string[], size = 50): Generator<string> {
  for (let first = 0; first < names.length; first += size) {
    yield names.slice(first, first + size).join(",");
  }
}

async function hand(os: OpenSearch, verb: string, indices: string[], policy: string) {
  for (const names of handfuls(indices)) {
    const path = `/_plugins/_ism/${verb}/${names}`;
    refuseFailures(path, await write(os, "POST", path, { policy_id: policy }));
  }
}

function refuseFailures(path: string, body: { failed_indices?: Json[] }): void {
  // These calls answer 200 with failures inside. The policy's own template may have been faster.
  const failed = (body.failed_indices ?? []).filter(({ reason }) =>
    !/already has a policy/.test(String(reason))
  );
  if (failed.length === 0) return;
  const reasons = failed.map(({ index_name, reason }: Json) => `${index_name}: ${reason}`);
  throw answerRefusal("POST", path, { status: 200, body: { error: reasons.join("; ") } });
}

/**
 * Gives the indices of a pattern, hidden ones too, this number of replicas; indices that expand by
 * themselves are left alone. @throws {DeployError} exit 8.
 */
export async function ensureReplicas(
  os: OpenSearch,
  pattern: string,
  replicas: number,
): Promise<Outcome> {
  const live = await read(os, `/${pattern}/_settings?flat_settings=true&expand_wildcards=all`);
  const wrong = Object.entries<{ settings: Json }>(live ?? {}).filter(([, { settings }]) =>
    ["false", undefined].includes(settings["index.auto_expand_replicas"] as string) &&
    settings["index.number_of_replicas"] !== String(replicas)
  ).map(([index]) => index);
  if (wrong.length === 0) return "unchanged";
  const body = { index: { number_of_replicas: replicas } };
  for (const names of handfuls(wrong)) {
    await write(os, "PUT", `/${names}/_settings?expand_wildcards=all`, body);
  }
  return "configured";
}

/**
 * Whether `live` says all that `wanted` says. Servers add fields of their own to what they were
 * given and turn numbers into text, so more fields are no difference; more list items are.
 */
export function covers(live: unknown, wanted: unknown): boolean {
  if (Array.isArray(wanted)) {
    const items = live ?? [];
    return Array.isArray(items) && items.length === wanted.length &&
      wanted.every((item, index) => covers(items[index], item));
  }
  if (typeof wanted === "object" && wanted !== null) {
    if (typeof live !== "object" || live === null) return false;
    return Object.entries(wanted).every(([key, value]) => covers((live as Json)[key], value));
  }
  return String(live) === String(wanted);
}

/** The template with its settings as the server gives them back: `index.` and dots, one level. */
function flatSettings(template: Json): Json {
  const { settings = {}, ...rest } = (template.template ?? {}) as { settings?: Json };
  const flat: Json = {};
  const visit = (node: Json, path: string) => {
    for (const [key, value] of Object.entries(node)) {
      const below = path ? `${path}.${key}` : key;
      if (typeof value === "object" && value !== null && !Array.isArray(value)) {
        visit(value as Json, below);
      } else flat[below.replace(/^(index\.)?/, "index.")] = value;
    }
  };
  visit(settings, "");
  return { ...template, template: { ...rest, settings: flat } };
}
