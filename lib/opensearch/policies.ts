// The copies of OpenSearch's index policies that indices keep.
import { isFields } from "../core/object.ts";
import { differing, type Resource } from "../core/resource.ts";
import { answerRefusal, read, request, write } from "./client.ts";
import type { Answer, Json, OpenSearch } from "./client.ts";
import { documentLook, handfuls } from "./documents.ts";

/**
 * The indices of a pattern under the present version of a policy: its own template reaches only indices made
 * after it, and those under it keep the copy they once got. Indices under other policies are left alone.
 */
export function managedIndices(
  pattern: string,
  policy: string,
  wanted: Json,
): Resource<OpenSearch> {
  /** Indices without a policy, and those with another version than `goal`. */
  async function astray(os: OpenSearch) {
    const [stored, indices] = await Promise.all([
      read(os, `/_plugins/_ism/policies/${policy}`),
      managed(os, pattern),
    ]);
    const { state } = documentLook("IndexPolicy", policy, wanted, stored);
    const goal = state === "as wanted" ? versionOf(stored!) : "the one of the settings";
    const free = indices.filter((one) => !one.policy);
    const old = indices.filter((one) =>
      one.policy === policy && one.takes !== policy && one.version !== goal
    );
    return { free, old, goal };
  }
  return {
    id: `ManagedIndices/${policy}`,
    async look(os) {
      const { free, old, goal } = await astray(os);
      const end = (movesTo?: string) => movesTo ? ` (once it is in state ${movesTo})` : "";
      return differing([
        ...free.map(({ index }) => ({ path: `${index} policy`, old: undefined, now: policy })),
        ...old.map(({ index, version, movesTo }) => ({
          path: `${index} version of its policy${end(movesTo)}`,
          old: version,
          now: goal,
        })),
      ]);
    },
    async put(os, warn) {
      const { free, old } = await astray(os);
      const added = await hand(os, "add", free, policy);
      const changed = await hand(os, "change_policy", old, policy);
      if (changed.late.length > 0) {
        warn(
          `under an old version of ${policy}, and on their way to another state, in which it cannot be ` +
            `changed; run again in some minutes: ${changed.late.join(", ")}`,
        );
      }
      return added.updated + changed.updated > 0;
    },
  };
}

function versionOf({ _seq_no, _primary_term }: Json): string {
  return `${_seq_no} of term ${_primary_term}`;
}

const POLICY_OF_INDEX = "index.plugins.index_state_management.policy_id";
/** Where index management keeps, by the UUID of an index, what it does to it. */
const CONFIG = "/.opendistro-ism-config/_mget";

/**
 * The indices of a pattern. Which version of its policy an index has is asked of its own document: what
 * `explain` says of it moves only when index management has run, and never tells of a change that waits.
 */
async function managed(os: OpenSearch, pattern: string) {
  const path = `/_plugins/_ism/explain/${pattern}`;
  const answer = await request(os, "GET", path);
  // No index matches yet: "no documents to get".
  if (answer.status === 400 && answer.body?.error?.type) return [];
  if (answer.status >= 300) throw answerRefusal("GET", path, answer);
  const found = Object.entries<Answer["body"]>(answer.body).filter(([, it]) => isFields(it));
  const uuids = found.map(([, about]) => about.index_uuid).filter(Boolean);
  const { docs } = uuids.length === 0 ? { docs: [] } : await write(os, "POST", CONFIG, {
    docs: uuids.map((_id) => ({ _id, _source: KEPT })),
  });
  const kept = new Map<unknown, Answer["body"]>(
    docs.map(({ _id, _source }: Answer["body"]) => [_id, _source?.managed_index]),
  );
  return found.map(([index, about]) => {
    const { policy_seq_no, policy_primary_term, change_policy } = kept.get(about.index_uuid) ?? {};
    return {
      index,
      /** None: it is free. */
      policy: about[POLICY_OF_INDEX] as string | undefined,
      /** The one that it keeps a copy of. */
      version: versionOf({ _seq_no: policy_seq_no, _primary_term: policy_primary_term }),
      /** The policy that it takes at its next run, in the version that is there then. */
      takes: change_policy?.policy_id as string | undefined,
      /** The state that it goes to at its next run; until then its policy cannot be changed. */
      movesTo: about.transition_to as string | undefined,
    };
  });
}

const KEPT = ["policy_seq_no", "policy_primary_term", "change_policy"]
  .map((field) => `managed_index.${field}`);

/** Gives indices a policy, or its present version; `late` are in transition, in which that is refused. */
async function hand(os: OpenSearch, verb: string, indices: { index: string }[], policy: string) {
  const late: string[] = [];
  let updated = 0;
  for (const names of handfuls(indices.map(({ index }) => index))) {
    const path = `/_plugins/_ism/${verb}/${names}`;
    const { updated_indices, failed_indices } = await write(os, "POST", path, {
      policy_id: policy,
    });
    updated += updated_indices;
    const reasons: string[] = [];
    // These calls answer 200 with failures inside.
    for (const { index_name, reason } of failed_indices) {
      if (/while transitioning/.test(reason)) late.push(index_name);
      // The policy's own template was faster.
      else if (!/already has a policy/.test(reason)) reasons.push(`${index_name}: ${reason}`);
    }
    if (reasons.length === 0) continue;
    throw answerRefusal("POST", path, { status: 200, body: { error: reasons.join("; ") } });
  }
  return { updated, late };
}
