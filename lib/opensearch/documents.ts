// Documents of OpenSearch's REST API that should exist, and what indices have of them. Each is read first and written
// only when it differs: a blind write conflicts, or resets what the server keeps with the document.
import { isFields } from "../core/object.ts";
import { type Added, compared, differing, type Resource } from "../core/resource.ts";
import { answerRefusal, read, request, TRIES, wait, write } from "./client.ts";
import type { Answer, Json, OpenSearch } from "./client.ts";

interface Kind {
  path: string;
  body?: (spec: Json) => Json; // what is sent (the specification itself)
  part: (live: Answer["body"], name: string) => unknown; // of an answer to GET, what is compared
  wanted?: (body: Json) => Json; // what that is to be (as it is sent)
  added?: Added; // what the server adds to it
  query?: string; // of the call that writes it, where the server gives no version of what is there
  create?: "POST"; // the method that makes it (PUT)
}

const KINDS = {
  IndexTemplate: {
    path: "/_index_template/",
    part: ({ index_templates: [{ index_template }] }) => flatSettings(index_template),
    wanted: flatSettings,
  },
  // It is registered without trying it.
  SnapshotRepository: {
    path: "/_snapshot/",
    part: (live, name) => live[name],
    query: "?verify=false",
  },
  IndexPolicy: {
    path: "/_plugins/_ism/policies/",
    body: (policy) => ({ policy }),
    part: ({ policy }) => ({ policy }),
    added: {
      ...stamps("policy."),
      "policy.policy_id": undefined,
      "policy.ism_template[].last_updated_time": undefined,
      "policy.states[].actions[].retry": { count: 3, backoff: "exponential", delay: "1m" },
      "policy.states[].actions[].snapshot.copy_alias": false,
    },
  },
  SnapshotPolicy: {
    path: "/_plugins/_sm/policies/",
    part: ({ sm_policy }) => sm_policy,
    // It is the job that looks every minute whether something is to do.
    added: { ...stamps(), name: undefined, schedule: undefined, enabled_time: undefined },
    create: "POST",
  },
} satisfies Record<string, Kind>;

function stamps(path = ""): Added {
  const names = ["last_updated_time", "schema_version", "user"];
  return Object.fromEntries(names.map((name) => [path + name, undefined]));
}

/** A document of that kind and name as a resource. While a snapshot runs, some changes are refused and tried again. */
export function document(kind: keyof typeof KINDS, name: string, spec: Json): Resource<OpenSearch> {
  const { part, added, query = "", create, ...of }: Kind = KINDS[kind];
  const path = of.path + name, body = of.body?.(spec) ?? spec, wanted = of.wanted?.(body) ?? body;
  const lookAt = (live?: Answer["body"]) => compared(live && part(live, name), wanted, added);
  return {
    id: `${kind}/${name}`,
    look: async (os) => lookAt(await read(os, path)),
    async put(os) {
      for (let tries = 1;; tries++) {
        const live = await read(os, path);
        if (lookAt(live).state === "as wanted") return false;
        const method = live ? "PUT" : create ?? "PUT";
        const at = live?._seq_no === undefined
          ? query
          : `?if_seq_no=${live._seq_no}&if_primary_term=${live._primary_term}`;
        const answer = await request(os, method, path + at, body);
        if (answer.status < 300) return true;
        // Somebody else wrote in between: look again.
        if (answer.status !== 409 || tries === TRIES) throw answerRefusal(method, path, answer);
        await wait(os, tries);
      }
    },
  };
}

/** Names that fit into one request line, of which OpenSearch reads 4 KiB. */
function* handfuls(names: string[]): Generator<string> {
  for (; names.length > 0; names = names.slice(50)) yield names.slice(0, 50).join(",");
}

/** This number of replicas for the indices of a pattern, hidden ones too, but for those that expand by themselves. */
export function wantedReplicas(pattern: string, replicas: number): Resource<OpenSearch> {
  const now = String(replicas);
  const wrong = async (os: OpenSearch) => {
    const live = await read(os, `/${pattern}/_settings?flat_settings=true&expand_wildcards=all`);
    return Object.entries<{ settings: Json }>(live ?? {}).flatMap(([path, { settings }]) => {
      const expands = settings["index.auto_expand_replicas"] ?? "false";
      const old = settings["index.number_of_replicas"];
      return expands === "false" && old !== now ? [{ path, old, now }] : [];
    });
  };
  return {
    id: `IndexReplicas/${pattern}`,
    look: async (os) => differing(await wrong(os)),
    async put(os) {
      const names = (await wrong(os)).map(({ path }) => path);
      const body = { index: { number_of_replicas: replicas } };
      for (const some of handfuls(names)) {
        await write(os, "PUT", `/${some}/_settings?expand_wildcards=all`, body);
      }
      return names.length > 0;
    },
  };
}

/** The template with its settings as the server gives them back: `index.` and dots, one level. */
function flatSettings(template: Json): Json {
  const { settings = {}, ...rest } = (template.template ?? {}) as { settings?: Json };
  const flat = (node: Json, path: string): [string, unknown][] =>
    Object.entries(node).flatMap(([key, value]) =>
      isFields(value)
        ? flat(value, `${path}${key}.`)
        : [[`${path}${key}`.replace(/^(index\.)?/, "index."), value]]
    );
  return { ...template, template: { ...rest, settings: Object.fromEntries(flat(settings, "")) } };
}

/** The indices of a pattern under the present version of a policy, which by itself reaches only those made after it. */
export function managedIndices(pattern: string, policy: string, spec: Json): Resource<OpenSearch> {
  /** Indices without a policy, and those with an old version of it that do not wait for the present one. */
  async function astray(os: OpenSearch) {
    const [{ state }, stored, indices] = await Promise.all([
      document("IndexPolicy", policy, spec).look(os),
      read(os, `/_plugins/_ism/policies/${policy}`),
      explained(os, pattern),
    ]);
    const goal = stored && state === "as wanted"
      ? `${stored._seq_no} of term ${stored._primary_term}`
      : "the one of the settings";
    const free = indices.filter((about) => !about[POLICY_OF_INDEX]).map(({ index }) => (
      { verb: "add", index, path: `${index} policy`, old: undefined, now: policy }
    ));
    const ours = indices.filter((about) => about[POLICY_OF_INDEX] === policy);
    const kept = await keptOf(os, ours);
    const old = ours.flatMap(({ index, transition_to }, at) => {
      const { policy_seq_no, policy_primary_term, change_policy } = kept[at];
      const version = `${policy_seq_no} of term ${policy_primary_term}`;
      // One that waits takes the version that is there at its next run.
      if (version === goal || change_policy?.policy_id === policy) return [];
      // Until it is in that state its policy cannot be changed.
      const end = transition_to ? ` (once it is in state ${transition_to})` : "";
      const path = `${index} version of its policy${end}`;
      return [{ verb: "change_policy", index, path, old: version, now: goal }];
    });
    return [...free, ...old];
  }

  return {
    id: `ManagedIndices/${policy}`,
    look: async (os) => differing(await astray(os)),
    async put(os, warn) {
      let updated = 0;
      const late: string[] = [];
      for (const [verb, indices] of Map.groupBy(await astray(os), ({ verb }) => verb)) {
        for (const names of handfuls(indices.map(({ index }) => index))) {
          const path = `/_plugins/_ism/${verb}/${names}`;
          const answer = await write(os, "POST", path, { policy_id: policy });
          updated += answer.updated_indices;
          const reasons: string[] = [];
          // These calls answer 200 with failures inside.
          for (const { index_name, reason } of answer.failed_indices) {
            if (/while transitioning/.test(reason)) late.push(index_name);
            // The policy's own template was faster.
            else if (!/already has a policy/.test(reason)) reasons.push(`${index_name}: ${reason}`);
          }
          const error = reasons.join("; ");
          if (error) throw answerRefusal("POST", path, { status: 200, body: { error } });
        }
      }
      const why =
        `under an old version of ${policy}, and on their way to another state, in which ` +
        "it cannot be changed; run again in some minutes";
      if (late.length > 0) warn(`${why}: ${late.join(", ")}`);
      return updated > 0;
    },
  };
}

const POLICY_OF_INDEX = "index.plugins.index_state_management.policy_id";

async function explained(os: OpenSearch, pattern: string): Promise<Answer["body"][]> {
  const path = `/_plugins/_ism/explain/${pattern}`;
  const answer = await request(os, "GET", path);
  // No index matches yet: "no documents to get".
  if (answer.status === 400 && answer.body?.error?.type) return [];
  if (answer.status >= 300) throw answerRefusal("GET", path, answer);
  return Object.entries<Json>(answer.body).filter(([, about]) => isFields(about))
    .map(([index, about]) => ({ ...about, index }));
}

// `explain` is late: it tells the version of the last run, and never of a change that waits.
async function keptOf(os: OpenSearch, indices: Answer["body"][]): Promise<Answer["body"][]> {
  if (indices.length === 0) return [];
  const _source = ["policy_seq_no", "policy_primary_term", "change_policy"]
    .map((field) => `managed_index.${field}`);
  const { docs } = await write(os, "POST", "/.opendistro-ism-config/_mget", {
    docs: indices.map(({ index_uuid: _id }) => ({ _id, _source })),
  });
  return docs.map((doc: Answer["body"]) => doc._source?.managed_index ?? {});
}
