// An OpenSearch in this process that keeps the rules of its API as running servers showed them
// (index-management 3.8): conflicts, refused fields, what it adds to documents, how GET nests them.
import type { OpenSearch } from "../../lib/opensearch/client.ts";

// deno-lint-ignore no-explicit-any
type Body = any;

interface Policy {
  seq: number;
  body: Body;
}

interface Index {
  /** Policy it is under, and the version of it that it keeps a copy of. */
  policy?: string;
  policySeq?: number;
  /** The version with which index management ran last: what `explain` tells. */
  ranSeq?: number;
  /** A policy that it takes when index management runs. */
  takes?: string;
  /** The state that it goes to when index management runs. */
  movesTo?: string;
  settings: Record<string, string>;
}

interface Reply {
  status: number;
  body: Body;
}

type Handler = (match: string[], body: Body, query: URLSearchParams) => Reply;

const ok = (body: Body, status = 200): Reply => ({ status, body });
const refused = (status: number, type: string, reason: string, cause?: string): Reply => ({
  status,
  body: {
    error: {
      type,
      reason,
      ...(cause ? { caused_by: { type: "sdk_exception", reason: cause } } : {}),
    },
    status,
  },
});

/** A setting as OpenSearch gives it back: text, in lists and objects too. */
function asStored(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(asStored);
  if (value === null || typeof value !== "object") return String(value);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, asStored(inner)]));
}

/** Its state is open to tests: what they put there was done by somebody else. */
export class FakeOpenSearch implements OpenSearch {
  readonly pause = 1;
  /** Calls that change something, in order; `_verify` only tries. */
  readonly writes: string[] = [];
  readonly templates = new Map<string, Body>();
  readonly repositories = new Map<string, Body>();
  readonly policies = new Map<string, Policy>();
  readonly snapshotPolicies = new Map<string, Policy>();
  readonly indices = new Map<string, Index>();
  /** What S3 says to every attempt, if it is broken. */
  s3Fault?: string;
  /** Answers that come before the real ones. */
  readonly before: Reply[] = [];
  /** Runs before each write: a race with another client. */
  onWrite: (call: string) => void = () => {};
  #seq = 0;

  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const method = init.method ?? "GET";
    const { pathname, searchParams } = new URL(path, "http://opensearch");
    if (init.body && new Headers(init.headers).get("content-type") !== "application/json") {
      return Response.json(refused(406, "media_type", "Content-Type is not supported").body, {
        status: 406,
      });
    }
    if (method !== "GET" && !/\/_(verify|mget)$/.test(pathname)) {
      this.writes.push(`${method} ${decodeURIComponent(pathname)}`);
      this.onWrite(`${method} ${pathname}`);
    }
    const early = this.before.shift();
    const body = init.body ? JSON.parse(String(init.body)) : undefined;
    const reply = early ??
      this.#answer(`${method} ${decodeURIComponent(pathname)}`, body, searchParams);
    return await Promise.resolve(Response.json(reply.body, { status: reply.status }));
  }

  #answer(call: string, body: Body, query: URLSearchParams): Reply {
    const routes: [RegExp, Handler][] = [
      [/^GET \/_cluster\/settings$/, () => ok({ persistent: {}, transient: {} })],
      [/^GET \/_cluster\/state\/metadata$/, () => ok({})], // filtered to what is not there
      [/^GET \/_index_template\/(\S+)$/, ([name]) => this.#getTemplate(name!)],
      [/^PUT \/_index_template\/(\S+)$/, ([name], body) => this.#putTemplate(name!, body)],
      [/^GET \/_snapshot\/(\w[\w-]*)$/, ([name]) => this.#getRepository(name!)],
      [
        /^PUT \/_snapshot\/(\w[\w-]*)$/,
        ([name], body, query) => this.#putRepository(name!, body, query),
      ],
      [/^POST \/_snapshot\/(\w[\w-]*)\/_verify$/, ([name]) => this.#verify(name!)],
      [
        /^GET \/_plugins\/_ism\/policies\/(\S+)$/,
        ([name]) => this.#getPolicy(this.policies, name!, "policy", "Policy not found"),
      ],
      [
        /^PUT \/_plugins\/_ism\/policies\/(\S+)$/,
        ([name], body, query) => this.#putIndexPolicy(name!, body, query),
      ],
      [/^GET \/_plugins\/_sm\/policies\/(\S+)$/, ([name]) =>
        this.#getPolicy(
          this.snapshotPolicies,
          name!,
          "sm_policy",
          "Snapshot management policy not found",
        )],
      [
        /^(POST|PUT) \/_plugins\/_sm\/policies\/(\S+)$/,
        ([method, name], body, query) => this.#putSnapshotPolicy(method!, name!, body, query),
      ],
      [/^GET \/_plugins\/_ism\/explain\/(\S+)$/, ([pattern]) => this.#explain(pattern!)],
      [
        /^POST \/_plugins\/_ism\/(add|change_policy)\/(\S+)$/,
        ([verb, names], body) => this.#hand(verb!, names!, body),
      ],
      [/^POST \/\.opendistro-ism-config\/_mget$/, (_, { docs }) => this.#configs(docs)],
      [/^GET \/(\S+)\/_settings$/, ([pattern]) => this.#getSettings(pattern!)],
      [/^PUT \/(\S+)\/_settings$/, ([pattern], body) => this.#putSettings(pattern!, body)],
    ];
    for (const [route, handler] of routes) {
      const match = route.exec(call);
      if (match) return handler(match.slice(1), body, query);
    }
    return ok({ error: `no handler found for uri [${call}]` }, 400);
  }

  #getTemplate(name: string): Reply {
    const found = this.templates.get(name);
    if (!found) {
      return refused(404, "resource_not_found_exception", `index template [${name}] missing`);
    }
    return ok({ index_templates: [{ name, index_template: found }] });
  }

  #putTemplate(name: string, body: Body): Reply {
    const fault = unknown(body, ["index_patterns", "priority", "template", "version", "_meta"]) ??
      unknown(body.template, ["settings", "mappings", "aliases"]);
    if (fault) return fault;
    const settings: Body = {};
    for (const [key, value] of Object.entries(body.template.settings ?? {})) {
      const path = `index.${key.replace(/^index\./, "")}`.split(".");
      const last = path.pop()!;
      const node = path.reduce((node, part) => node[part] ??= {}, settings);
      node[last] = asStored(value);
    }
    const template = { ...body.template, settings };
    this.templates.set(name, structuredClone({ ...body, template, composed_of: [] }));
    return ok({ acknowledged: true });
  }

  #getRepository(name: string): Reply {
    const found = this.repositories.get(name);
    if (!found) return refused(404, "repository_missing_exception", `[${name}] missing`);
    return ok({ [name]: found });
  }

  #putRepository(name: string, body: Body, query: URLSearchParams): Reply {
    const fault = unknown(body, ["type", "settings"]);
    if (fault) return fault;
    const settings = Object.fromEntries(
      Object.entries(body.settings).map(([key, value]) => [key, String(value)]),
    );
    this.repositories.set(name, { type: body.type, settings });
    return query.get("verify") === "false" ? ok({ acknowledged: true }) : this.#verify(name);
  }

  #verify(name: string): Reply {
    if (!this.repositories.has(name)) return this.#getRepository(name);
    if (this.s3Fault) {
      const reason = `[${name}] path [cluster-196] is not accessible on cluster-manager node`;
      return refused(500, "repository_verification_exception", reason, this.s3Fault);
    }
    return ok({ nodes: { "h3Xq": { name: "opensearch-0" } } });
  }

  #getPolicy(store: Map<string, Policy>, name: string, key: string, missing: string): Reply {
    if (store.size === 0) return refused(404, "index_not_found_exception", "no such index");
    const found = store.get(name);
    if (!found) return refused(404, "status_exception", missing);
    return ok({
      _id: name,
      _version: 1,
      _seq_no: found.seq,
      _primary_term: 1,
      [key]: found.body,
    });
  }

  #putIndexPolicy(name: string, body: Body, query: URLSearchParams): Reply {
    const fault = unknown(body, ["policy"]) ?? indexPolicyFault(body.policy);
    if (fault) return fault;
    const conflict = this.#conflict(this.policies.get(name), query, true) ??
      this.#overlap(name, body.policy);
    if (conflict) return conflict;
    const policy = structuredClone(body.policy);
    for (const { actions } of policy.states) {
      for (const action of actions) {
        action.retry ??= { count: 3, backoff: "exponential", delay: "1m" };
        if (action.snapshot) action.snapshot.copy_alias = false;
      }
    }
    for (const template of policy.ism_template ?? []) template.last_updated_time = 1781000000000;
    const added = {
      policy_id: name,
      last_updated_time: 1781000000000,
      schema_version: 21,
      error_notification: null,
    };
    return this.#store(this.policies, name, { ...policy, ...added }, (stored) => ({
      policy: { policy: stored },
    }));
  }

  #putSnapshotPolicy(method: string, name: string, body: Body, query: URLSearchParams): Reply {
    const fields = ["description", "enabled", "snapshot_config", "creation", "deletion"];
    const fault = unknown(body, fields) ??
      (body.deletion?.condition
        ? undefined
        : refused(400, "illegal_argument", "condition must not be null"));
    if (fault) return fault;
    const conflict = this.#conflict(this.snapshotPolicies.get(name), query, method === "POST");
    if (conflict) return conflict;
    const added = {
      name: `${name}-sm-policy`,
      schema_version: 21,
      schedule: { interval: { start_time: 1, period: 1, unit: "Minutes" } },
      last_updated_time: 1781000000000,
      enabled_time: 1781000000000,
    };
    return this.#store(this.snapshotPolicies, name, { ...body, ...added }, (stored) => ({
      sm_policy: stored,
    }));
  }

  /** Two policies of one priority may not want the same index. */
  #overlap(name: string, policy: Body): Reply | undefined {
    for (const [other, { body }] of this.policies) {
      if (other === name) continue;
      for (const mine of policy.ism_template ?? []) {
        for (const theirs of body.ism_template ?? []) {
          if (mine.priority !== theirs.priority) continue;
          const shared = mine.index_patterns.find((pattern: string) =>
            theirs.index_patterns.some((their: string) =>
              wildcard(pattern).test(their) || wildcard(their).test(pattern)
            )
          );
          if (!shared) continue;
          const reason = `New policy ${name} has an ISM template with index pattern [${shared}] ` +
            `matching existing policy templates, please use a different priority than ${theirs.priority}`;
          return refused(400, "illegal_argument_exception", reason);
        }
      }
    }
  }

  /** `creates`: whether this method without a seq_no means a new document. */
  #conflict(live: Policy | undefined, query: URLSearchParams, creates: boolean): Reply | undefined {
    const seq = query.get("if_seq_no");
    if (seq === null && creates) {
      return live && refused(409, "version_conflict_engine_exception", "document already exists");
    }
    if (seq === null) {
      return refused(400, "illegal_argument", "if_seq_no and if_primary_term needed");
    }
    return live?.seq === Number(seq) && query.get("if_primary_term") === "1"
      ? undefined
      : refused(409, "version_conflict_engine_exception", `required seqNo [${seq}]`);
  }

  #store(
    store: Map<string, Policy>,
    name: string,
    body: Body,
    shape: (stored: Body) => Body,
  ): Reply {
    const existed = store.has(name);
    const stored = { seq: this.#seq++, body: structuredClone(body) };
    store.set(name, stored);
    const head = { _id: name, _version: 1, _seq_no: stored.seq, _primary_term: 1 };
    return ok({ ...head, ...shape(stored.body) }, existed ? 200 : 201);
  }

  /** A run of index management over all indices, of which it does one step each. */
  tick(): void {
    for (const index of this.indices.values()) {
      index.movesTo = undefined;
      // It takes the version that is there now, not the one of the call.
      const taken = index.takes && this.policies.get(index.takes);
      if (taken) {
        Object.assign(index, { policy: index.takes, policySeq: taken.seq, takes: undefined });
      }
      index.ranSeq = index.policySeq;
    }
  }

  #explain(pattern: string): Reply {
    const found = this.#matching(pattern);
    if (found.length === 0) {
      const reason = "Validation Failed: 1: no documents to get;";
      return refused(400, "action_request_validation_exception", reason);
    }
    const entries = found.map(([name, { policy, ranSeq, movesTo }]) => [name, {
      "index.plugins.index_state_management.policy_id": policy ?? null,
      "index.opendistro.index_state_management.policy_id": policy ?? null,
      ...(policy ? { index: name, index_uuid: uuidOf(name), policy_id: policy } : {}),
      ...(ranSeq === undefined ? {} : { policy_seq_no: ranSeq, policy_primary_term: 1 }),
      ...(movesTo ? { transition_to: movesTo } : {}),
      enabled: policy ? true : null,
    }]);
    const managed = found.filter(([, { policy }]) => policy).length;
    return ok({ ...Object.fromEntries(entries), total_managed_indices: managed });
  }

  /** What index management keeps of indices, by their UUIDs. */
  #configs(docs: Body[]): Reply {
    const found = docs.map(({ _id }) => {
      const index = [...this.indices].find(([name]) => uuidOf(name) === _id)?.[1];
      if (!index?.policy) return { _index: ".opendistro-ism-config", _id, found: false };
      const { policySeq = -2, takes } = index;
      const managed_index = {
        policy_seq_no: policySeq,
        policy_primary_term: 1,
        change_policy: takes ? { policy_id: takes, state: null, is_safe: true } : null,
      };
      return { _index: ".opendistro-ism-config", _id, found: true, _source: { managed_index } };
    });
    return ok({ docs: found });
  }

  #hand(verb: string, names: string, body: Body): Reply {
    const fault = unknown(body, ["policy_id", "state", "include", "is_safe"]);
    if (fault) return fault;
    const failed: Body[] = [];
    const found = this.#matching(names);
    for (const [index_name, index] of found) {
      const reason = verb === "add"
        ? index.policy && "This index already has a policy, use the update policy API to update " +
            "index policies"
        : !index.policy
        ? "This index is not being managed"
        : index.movesTo && "Cannot change policy while transitioning to new state";
      if (reason) {
        failed.push({ index_name, index_uuid: uuidOf(index_name), reason });
        continue;
      }
      if (verb === "change_policy") index.takes = body.policy_id;
      else {
        index.policy = body.policy_id;
        index.policySeq = this.policies.get(body.policy_id)?.seq;
      }
    }
    const updated_indices = found.length - failed.length;
    return ok({ updated_indices, failures: failed.length > 0, failed_indices: failed });
  }

  #getSettings(pattern: string): Reply {
    return ok(Object.fromEntries(
      this.#matching(pattern).map(([name, { settings }]) => [name, { settings }]),
    ));
  }

  #putSettings(pattern: string, body: Body): Reply {
    for (const [, { settings }] of this.#matching(pattern)) {
      for (const [key, value] of Object.entries(body.index)) {
        settings[`index.${key}`] = String(value);
      }
    }
    return ok({ acknowledged: true });
  }

  #matching(patterns: string): [string, Index][] {
    const tests = patterns.split(",").map(wildcard);
    return [...this.indices].filter(([name]) => tests.some((test) => test.test(name)));
  }
}

function uuidOf(index: string): string {
  return `uuid-of-${index}`;
}

function wildcard(pattern: string): RegExp {
  return new RegExp(`^${pattern.replaceAll(".", "\\.").replaceAll("*", ".*")}$`);
}

function unknown(body: Body, known: string[]): Reply | undefined {
  const field = Object.keys(body ?? {}).find((key) => !known.includes(key));
  return field ? refused(400, "illegal_argument_exception", `unknown field [${field}]`) : undefined;
}

function indexPolicyFault(policy: Body): Reply | undefined {
  const top = ["description", "default_state", "states", "ism_template", "error_notification"];
  const fault = unknown(policy, top) ??
    (policy.description ? undefined : refused(400, "illegal_argument", "description is null"));
  if (fault) return fault;
  for (const state of policy.states) {
    const found = unknown(state, ["name", "actions", "transitions"]) ??
      state.actions.map((action: Body) =>
        unknown(action, ["timeout", "retry", "snapshot", "delete"])
      )
        .find(Boolean) ??
      state.transitions.map((move: Body) => unknown(move, ["state_name", "conditions"])).find(
        Boolean,
      );
    if (found) return found;
  }
}
