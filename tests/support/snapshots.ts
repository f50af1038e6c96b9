// Snapshots in S3 and an OpenSearch that restores from them, in this process. It keeps the rules that
// a running 3.8 showed: what it refuses, what a restore goes through, and how it ends when it fails.
import type { OpenSearch } from "../../lib/opensearch/client.ts";

// deno-lint-ignore no-explicit-any
type Body = any;

/** A snapshot in a folder of the bucket. */
export interface Stored {
  snapshot: string;
  state: string;
  /** Unix milliseconds. */
  start: number;
  /** Bytes and lines of each index; `goesOn`: an earlier snapshot has most of its files. */
  indices: Record<string, { bytes: number; lines: number; goesOn?: boolean }>;
}

interface Index {
  bytes: number;
  lines: number;
  settings: Body;
  /** Looks until its shard has started; none ever when it failed. */
  looks: number;
  /** Why its shard has no node. */
  failed?: string;
  /** How its shard came to be, as `_recovery` says. */
  type: "SNAPSHOT" | "EMPTY_STORE" | "EXISTING_STORE";
}

const reply = (body: Body, status = 200) => Response.json(body, { status });
const refused = (status: number, type: string, reason: string) =>
  reply({ error: { root_cause: [{ type, reason }], type, reason }, status }, status);

/** Its state is open to tests. */
export class FakeSnapshots implements OpenSearch {
  readonly pause = 1;
  /** Calls that change something, in order. */
  readonly writes: string[] = [];
  readonly repositories = new Map<string, Body>();
  /** By folder (base_path). */
  readonly stored = new Map<string, Stored[]>();
  readonly indices = new Map<string, Index>();
  disk = { total_in_bytes: 30e9, free_in_bytes: 28e9, available_in_bytes: 28e9 };
  /** Looks that a restore takes. */
  looks = 3;
  /** Why no node takes a shard, if so. */
  shardFault?: string;

  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const method = init.method ?? "GET";
    // Split before decoding: a name may hold what separates.
    const [address, query = ""] = path.split("?");
    const parts = address!.slice(1).split("/").map(decodeURIComponent);
    const body = init.body ? JSON.parse(String(init.body)) : undefined;
    if (/[:]/.test(address!)) return refused(400, "parse", "a colon that is not encoded");
    if (method !== "GET" && address !== "/_cluster/allocation/explain") {
      this.writes.push(`${method} /${parts.join("/")}`);
    }
    return await Promise.resolve(this.#answer(method, parts, body, new URLSearchParams(query)));
  }

  #answer(method: string, parts: string[], body: Body, query: URLSearchParams): Response {
    const [first, second = "", third, fourth] = parts;
    switch (`${method} ${first}`) {
      case "GET _snapshot":
        return third === undefined ? this.#repository(second) : this.#list(second, third, fourth);
      case "PUT _snapshot":
        this.repositories.set(second, body);
        return reply({ acknowledged: true });
      case "POST _snapshot":
        return this.#restore(second, third!, body, query);
      case "GET _cat":
        return second === "indices" ? this.#indices(third!) : this.#shards(third!);
      case "POST _cluster":
        return this.#explain(body);
      case "GET _nodes":
        return reply({
          nodes: { q1: { name: "opensearch-0", roles: ["data"], fs: { total: this.disk } } },
        });
    }
    if (method === "DELETE") return this.#delete(first!);
    if (second === "_recovery") return this.#recovery(first!);
    const missing = first!.split(",").find((name) => !this.indices.has(name));
    if (missing) return refused(404, "index_not_found_exception", `no such index [${missing}]`);
    const lines = first!.split(",").map((name) => this.indices.get(name)!.lines);
    return reply({ count: lines.reduce((sum, one) => sum + one, 0) });
  }

  #repository(name: string): Response {
    const found = this.repositories.get(name);
    if (!found) return refused(404, "repository_missing_exception", `[${name}] missing`);
    const settings = Object.fromEntries(
      Object.entries(found.settings).map(([key, value]) => [key, String(value)]),
    );
    return reply({ [name]: { type: found.type, settings } });
  }

  #list(name: string, names: string, status?: string): Response {
    const repository = this.repositories.get(name);
    if (!repository) return refused(404, "repository_missing_exception", `[${name}] missing`);
    const all = this.stored.get(repository.settings.base_path) ?? [];
    if (names === "_all") {
      return reply({
        snapshots: all.map(({ snapshot, state, indices }) => ({
          snapshot,
          state,
          indices: Object.keys(indices),
          data_streams: [],
        })),
      });
    }
    const wanted = names.split(",").map((one) => all.find(({ snapshot }) => snapshot === one));
    if (status !== "_status" || wanted.includes(undefined)) {
      return refused(404, "snapshot_missing_exception", `[${name}:${names}] is missing`);
    }
    return reply({
      snapshots: wanted.map((one) => ({
        snapshot: one!.snapshot,
        state: one!.state,
        stats: { start_time_in_millis: one!.start },
        indices: Object.fromEntries(
          Object.entries(one!.indices).map(([index, { bytes, goesOn }]) => [index, {
            // What is new in it can be less than what it holds.
            stats: {
              incremental: { size_in_bytes: goesOn ? 1 : bytes },
              total: { size_in_bytes: bytes },
            },
          }]),
        ),
      })),
    });
  }

  #restore(name: string, snapshot: string, body: Body, query: URLSearchParams): Response {
    const fields = ["indices", "include_global_state", "include_aliases", "rename_pattern"]
      .concat("rename_replacement", "index_settings", "partial", "ignore_unavailable");
    const odd = Object.keys(body).find((key) => !fields.includes(key));
    if (odd) return refused(400, "illegal_argument_exception", `Unknown parameter ${odd}`);
    const folder = this.repositories.get(name)?.settings.base_path;
    const stored = this.stored.get(folder)?.find((one) => one.snapshot === snapshot);
    if (!stored) {
      return refused(404, "snapshot_missing_exception", `[${name}:${snapshot}] is missing`);
    }
    for (const [index, { bytes, lines }] of Object.entries(stored.indices)) {
      if (!body.indices.split(",").includes(index)) continue;
      const target = index.replace(
        new RegExp(body.rename_pattern, "g"),
        body.rename_replacement,
      );
      const about = `[${name}:${snapshot}]`;
      if (stored.state !== "SUCCESS") {
        const reason = `${about} index [${index}] wasn't fully snapshotted - cannot restore`;
        return refused(500, "snapshot_restore_exception", reason);
      }
      if (this.indices.has(target)) {
        const reason =
          `${about} cannot restore index [${target}] because an open index with same ` +
          "name already exists in the cluster";
        return refused(500, "snapshot_restore_exception", reason);
      }
      const failed = this.shardFault;
      const settings = body.index_settings;
      this.indices.set(target, {
        bytes,
        lines,
        settings,
        looks: this.looks,
        failed,
        type: "SNAPSHOT",
      });
    }
    return query.get("wait_for_completion") === "false" ? reply({ accepted: true }) : reply({});
  }

  /** An index that a person or an earlier run left behind. */
  leave(name: string, index: Partial<Index>): void {
    this.indices.set(name, {
      bytes: 0,
      lines: 0,
      settings: {},
      looks: 0,
      type: "EXISTING_STORE",
      ...index,
    });
  }

  #indices(pattern: string): Response {
    const test = new RegExp(`^${pattern.replaceAll(".", "\\.").replaceAll("*", ".*")}$`);
    const found = [...this.indices].filter(([name]) => test.test(name));
    if (found.length === 0 && !pattern.includes("*")) {
      return refused(404, "index_not_found_exception", `no such index [${pattern}]`);
    }
    return reply(found.map(([index]) => ({ index })));
  }

  /** Each look brings a restore one step on. */
  #shards(name: string): Response {
    const index = this.indices.get(name);
    if (!index) return refused(404, "index_not_found_exception", `no such index [${name}]`);
    const coming = index.looks > 0 ? "INITIALIZING" : "STARTED";
    const state = index.failed ? "UNASSIGNED" : coming;
    if (coming !== "STARTED") index.looks -= 1;
    const store = state === "STARTED" ? String(index.bytes) : null;
    const node = state === "UNASSIGNED" ? null : "opensearch-0";
    return reply([{ index: name, shard: "0", prirep: "p", state, node, store }]);
  }

  #explain({ index }: Body): Response {
    const explanation = this.indices.get(index)!.failed;
    return reply({
      index,
      can_allocate: "no",
      allocate_explanation:
        "cannot allocate because allocation is not permitted to any of the nodes",
      node_allocation_decisions: [{
        node_name: "opensearch-0",
        deciders: [{ decider: "restore_in_progress", decision: "NO", explanation }],
      }],
    });
  }

  #recovery(name: string): Response {
    const index = this.indices.get(name);
    if (!index) return refused(404, "index_not_found_exception", `no such index [${name}]`);
    if (index.failed) return reply({});
    const size = { recovered_in_bytes: index.bytes * 0.45 ** index.looks };
    return reply({ [name]: { shards: [{ primary: true, type: index.type, index: { size } }] } });
  }

  #delete(name: string): Response {
    if (this.indices.delete(name)) return reply({ acknowledged: true });
    return refused(404, "index_not_found_exception", `no such index [${name}]`);
  }
}
