// Looking for log lines as a person does: words, a time, a namespace; lines that a terminal can show.
import { configError, type DeployError } from "../../../lib/core/error.ts";
import { clockOf } from "../../../lib/core/time.ts";
import { answerRefusal, request } from "../../../lib/opensearch/client.ts";
import type { Answer, Json, OpenSearch } from "../../../lib/opensearch/client.ts";
import { EVENTS } from "./objects.ts";

const INDICES = { line: "logs-*,restored-*", event: `${EVENTS},restored-*${EVENTS}` };
/** OpenSearch gives no more at once (index.max_result_window). */
export const MOST = 10_000;

/** What QUERY, SINCE, DAY (UTC, before SINCE), LIMIT, NAMESPACE and POD ask for. @throws {DeployError} exit 2. */
export function searchOf(environment: Record<string, string | undefined>, events = false) {
  const { QUERY, SINCE = "", LIMIT = "", DAY, NAMESPACE, POD } = environment;
  const limit = Number(LIMIT || 200);
  if (!Number.isInteger(limit) || limit < 1 || limit > MOST) {
    throw unreadable("LIMIT", LIMIT, `a number from 1 to ${MOST}`, "LIMIT=1000");
  }
  if (!/^([1-9]\d{0,5}[smhdw])?$/.test(SINCE)) {
    throw unreadable("SINCE", SINCE, "a number with s, m, h, d or w", "SINCE=2h");
  }
  return {
    what: events ? "event" as const : "line" as const,
    query: QUERY?.trim() || undefined,
    since: SINCE || "15m",
    day: DAY ? utcDay(DAY) : undefined,
    limit,
    namespace: NAMESPACE || undefined,
    pod: POD || undefined,
  };
}

/** What to look for. */
export type Search = ReturnType<typeof searchOf>;

/** A day as index names have it: `2026.11.08`, also from `2026-11-08`. @throws {DeployError} exit 2. */
export function utcDay(text: string): string {
  const iso = text.replaceAll(".", "-");
  const time = /^\d{4}-\d{2}-\d{2}$/.test(iso) ? Date.parse(iso) : NaN;
  // 30 February would quietly be another day.
  if (Number.isNaN(time) || !new Date(time).toISOString().startsWith(iso)) {
    throw unreadable("DAY", text, "a day (UTC)", "DAY=2026.11.08");
  }
  return iso.replaceAll("-", ".");
}

function unreadable(name: string, value: string, wanted: string, fix: string): DeployError {
  const what = `Cannot read ${name} "${value}": expected ${wanted}`;
  return configError(what, { fix });
}

/** The newest lines that match, how many there are, why indices are silent. @throws {DeployError} exit 2: QUERY, 8. */
export async function searchLogs(os: OpenSearch, search: Search, cluster: string, zone: string) {
  const path = `/${INDICES[search.what]}/_search?ignore_unavailable=true`;
  const answer = await request(os, "POST", path, searchBody(search));
  if (answer.status === 400 && search.query) throw misunderstood(search.query, answer);
  if (answer.status >= 300) throw answerRefusal("POST", path, answer);
  const { hits, _shards: shards } = answer.body;
  const clock = clockOf(zone);
  const lines: Line[] = hits.hits.map((hit: Hit) => lineOf(hit, cluster, clock));
  const total: number = hits.total.value;
  return { lines, total, silent: shards.failed === 0 ? [] : failures(shards.failures) };
}

/** The body of `_search`: newest first, because the limit cuts at the end. */
export function searchBody({ query, since, day, limit, namespace, pod }: Search): Json {
  const time = day ? boundsOf(day) : { gte: `now-${since}` };
  const filter: Json[] = [{ range: { "@timestamp": time } }];
  // What pods say, and what is said about them and all else whose name begins so.
  const either = (kind: string, value: string, ...fields: string[]) =>
    filter.push({ bool: { should: fields.map((field) => ({ [kind]: { [field]: value } })) } });
  if (namespace) either("term", namespace, "kubernetes.namespace_name", "involvedObject.namespace");
  if (pod) either("prefix", pod, "kubernetes.pod_name", "involvedObject.name");
  // Two words mean both of them, unless OR stands between. Older indices have no sub-field.
  const fields = ["log", "message", "log.cjk", "message.cjk", "reason"];
  if (query) filter.push({ query_string: { query, fields, default_operator: "AND" } });
  // An index that has no line yet knows no such field.
  const newest = { order: "desc", unmapped_type: "date_nanos", numeric_type: "date_nanos" };
  const sort = [{ "@timestamp": newest }];
  return { size: limit, track_total_hits: true, sort, query: { bool: { filter } } };
}

function boundsOf(day: string): Json {
  const start = Date.parse(day.replaceAll(".", "-"));
  const [gte, lt] = [start, start + 86_400_000].map((time) => new Date(time).toISOString());
  return { gte, lt };
}

function misunderstood(query: string, { body }: Answer): DeployError {
  const what = `Cannot search for "${printable(query)}": OpenSearch does not understand it`;
  return configError(what, {
    where: failures(body?.error?.failed_shards ?? [{ reason: body?.error }]),
    fix:
      'QUERY="two words" means both, QUERY=\'"a phrase"\' means that; also a OR b, NOT a, err*, ' +
      "field:value. Put \\ before + - = & | > < ! ( ) { } [ ] ^ ~ * ? : \\ / that are meant as such",
  });
}

type Reason = { reason?: string; caused_by?: Reason };

/** Every reason of shards that failed, from the inmost, which is the precise one; each once. */
function failures(shards: { reason?: Reason }[]): string[] {
  const reasons = shards.map(({ reason }) => {
    let inmost = reason;
    while (inmost?.caused_by?.reason) inmost = inmost.caused_by;
    // The parser goes on to list whatever could have stood there, a line for each.
    return printable(inmost?.reason?.split("\nWas expecting")[0] ?? "no reason given");
  });
  return [...new Set(reasons)];
}

type Hit = { _source: Answer["body"]; sort: [number] };

/** A hit as a line safe to print, its time (ns since 1970, some 100 ns coarse: for order), and its cluster. */
export function lineOf(hit: Hit, cluster: string, clock: (time: Date) => string) {
  const { _source: source, sort: [at] } = hit;
  const stamp = new Date(String(source["@timestamp"]));
  const time = Number.isNaN(stamp.getTime()) ? source["@timestamp"] : clock(stamp);
  const said = source.log ?? source.message ?? JSON.stringify(source);
  const text = printable(`${time}  ${originOf(source)}  ${said}`);
  return { at, cluster: printable(String(source.cluster ?? cluster)), text };
}

/** A line that matches. */
export type Line = ReturnType<typeof lineOf>;

/** Pod and container, unit of a host, or what an event is about: `Pod/shop/web-0  Warning BackOff (12 times)`. */
function originOf({ kubernetes, involvedObject, ...rest }: Hit["_source"]): string {
  if (kubernetes) {
    return `${kubernetes.namespace_name}/${kubernetes.pod_name} ${kubernetes.container_name}`;
  }
  if (!involvedObject) {
    const { hostname = "host", systemd_unit, syslog_identifier, path } = rest;
    return `${hostname} ${systemd_unit ?? syslog_identifier ?? path ?? "-"}`;
  }
  const { kind, namespace, name } = involvedObject, { type, reason, count, series } = rest;
  const times = series?.count ?? count;
  const often = times > 1 ? ` (${times} times)` : "";
  return `${[kind, namespace, name].filter(Boolean).join("/")}  ${type} ${reason}${often}`;
}

/** Text that does nothing to a terminal, in which no further line passes for one of its own. */
export function printable(text: string): string {
  return text.trimEnd()
    .replace(/\p{Cc}\[[\d;]*m/gu, "")
    .replace(/\r?\n/g, "\n    ")
    // Also those that turn the direction of writing.
    .replace(/[^\P{Cc}\t\n]|[\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, (character) => {
      const code = character.codePointAt(0)!.toString(16);
      return code.length > 2 ? `\\u${code}` : `\\x${code.padStart(2, "0")}`;
    });
}
