// Documents of OpenSearch's REST API that should exist. Each is read first and written only when it
// differs: a blind write conflicts, or resets what the server keeps with the document.
import { isFields } from "../core/object.ts";
import { compared, differing, type Resource } from "../core/resource.ts";
import { answerRefusal, read, request, TRIES, wait, write } from "./client.ts";
import type { Answer, Json, OpenSearch } from "./client.ts";

/** How a document is read and written. */
export interface Document {
  id: string;
  path: string;
  body: Json;
  /** The body as an answer to GET has it; default: as it is sent. */
  wanted?: Json;
  /** The part of an answer to GET that is compared. */
  part: (live: Answer["body"]) => unknown;
  /** Query of the call that writes it, where the server gives no version of what is there. */
  query?: string;
  /** Method of the call that makes it (PUT). */
  create?: "POST";
}

/** A document as a resource. While a snapshot runs, some changes are refused and tried again. */
export function document(
  { id, path, body, wanted = body, part, query = "", create }: Document,
): Resource<OpenSearch> {
  const judge = (live: Answer["body"] | undefined) => compared(live && part(live), wanted);
  return {
    id,
    look: async (os) => judge(await read(os, path)),
    async put(os) {
      for (let tries = 1;; tries++) {
        const live = await read(os, path);
        if (judge(live).state === "as wanted") return false;
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

/** An index template. */
export function wantedTemplate(name: string, body: Json): Resource<OpenSearch> {
  return document({
    id: `IndexTemplate/${name}`,
    path: `/_index_template/${name}`,
    body,
    wanted: flatSettings(body),
    part: ({ index_templates: [{ index_template }] }) => flatSettings(index_template),
  });
}

/** A snapshot repository; it is registered without trying it. */
export function wantedRepository(name: string, body: Json): Resource<OpenSearch> {
  return document({
    id: `SnapshotRepository/${name}`,
    path: `/_snapshot/${name}`,
    body,
    part: (live) => live[name],
    query: "?verify=false",
  });
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
