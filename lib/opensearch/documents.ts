// Documents of OpenSearch's REST API that should exist. Each is read first and written only when it
// differs: a blind write conflicts, or resets what the server keeps with the document.
import { isFields } from "../core/object.ts";
import { type Added, compared, differing, type Look, type Resource } from "../core/resource.ts";
import { answerRefusal, read, request, TRIES, wait, write } from "./client.ts";
import type { Answer, Json, OpenSearch } from "./client.ts";

/** How the documents of a kind are read and written. */
interface Kind {
  path: string;
  /** What is sent, of what is wanted. */
  body?: (wanted: Json) => Json;
  /** The part of an answer to GET that is compared, and what it is to be; default: as it is sent. */
  part: (live: Answer["body"], name: string) => unknown;
  wanted?: (body: Json) => Json;
  /** What of that part the server adds. */
  added?: Added;
  /** Query of the call that writes it, where the server gives no version of what is there. */
  query?: string;
  /** Method of the call that makes it (PUT). */
  create?: "POST";
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

/** When and by whom the plugin says that a policy was written, and in which version of its form. */
function stamps(path = ""): Added {
  const names = ["last_updated_time", "schema_version", "user"];
  return Object.fromEntries(names.map((name) => [path + name, undefined]));
}

/** The look at an answer to GET, undefined where there is none: a document that is wanted so, and says no more. */
export function documentLook(
  kind: keyof typeof KINDS,
  name: string,
  spec: Json,
  live: Answer["body"] | undefined,
): Look {
  const { part, added, ...of }: Kind = KINDS[kind];
  const body = of.body?.(spec) ?? spec;
  return compared(live && part(live, name), of.wanted?.(body) ?? body, added);
}

/** A document of that kind and name as a resource. While a snapshot runs, some changes are refused and tried again. */
export function document(kind: keyof typeof KINDS, name: string, spec: Json): Resource<OpenSearch> {
  const { query = "", create, ...of }: Kind = KINDS[kind];
  const path = of.path + name, body = of.body?.(spec) ?? spec;
  return {
    id: `${kind}/${name}`,
    look: async (os) => documentLook(kind, name, spec, await read(os, path)),
    async put(os) {
      for (let tries = 1;; tries++) {
        const live = await read(os, path);
        if (documentLook(kind, name, spec, live).state === "as wanted") return false;
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
export function* handfuls(names: string[], size = 50): Generator<string> {
  for (let first = 0; first < names.length; first += size) {
    yield names.slice(first, first + size).join(",");
  }
}

/**
 * This number of replicas for the indices of a pattern, hidden ones too; indices that expand by themselves are
 * left alone.
 */
export function wantedReplicas(pattern: string, replicas: number): Resource<OpenSearch> {
  const now = String(replicas);
  const wrong = async (os: OpenSearch) => {
    const live = await read(os, `/${pattern}/_settings?flat_settings=true&expand_wildcards=all`);
    return Object.entries<{ settings: Json }>(live ?? {}).flatMap(([path, { settings }]) => {
      const expands = settings["index.auto_expand_replicas"] ?? "false";
      const old = settings["index.number_of_replicas"];
      return expands !== "false" || old === now ? [] : [{ path, old, now }];
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
    Object.entries(node).flatMap(([key, value]) => {
      const below = path + key;
      if (isFields(value)) return flat(value, `${below}.`);
      return [[below.replace(/^(index\.)?/, "index."), value]];
    });
  return { ...template, template: { ...rest, settings: Object.fromEntries(flat(settings, "")) } };
}
