// The copies of OpenSearch's index policies that indices keep: a policy reaches by itself only indices made after it.
import { isFields } from "../core/object.ts";
import { differing, type Resource } from "../core/resource.ts";
import { type Answer, answerRefusal, type OpenSearch, read, request, write } from "./client.ts";
import type { Json } from "./client.ts";
import { document, handfuls } from "./documents.ts";

/** The indices of a pattern under the present version of a policy; those under other policies are left alone. */
export function managedIndices(pattern: string, policy: string, spec: Json): Resource<OpenSearch> {
  /** Indices without a policy, and those that keep an old version of it and do not wait for the present one. */
  async function astray(os: OpenSearch) {
    const [{ state }, stored, indices] = await Promise.all([
      document("IndexPolicy", policy, spec).look(os),
      read(os, `/_plugins/_ism/policies/${policy}`),
      explained(os, pattern),
    ]);
    const goal = stored && state === "as wanted"
      ? versionOf(stored._seq_no, stored._primary_term)
      : "the one of the settings";
    const free = indices.filter((about) => !about[POLICY_OF_INDEX])
      .map(({ index }) => ({ index, path: `${index} policy`, old: undefined, now: policy }));
    const ours = indices.filter((about) => about[POLICY_OF_INDEX] === policy);
    const kept = await keptOf(os, ours);
    const old = ours.flatMap(({ index, transition_to }, at) => {
      const { policy_seq_no, policy_primary_term, change_policy } = kept[at];
      const version = versionOf(policy_seq_no, policy_primary_term);
      // One that waits takes the version that is there at its next run.
      if (version === goal || change_policy?.policy_id === policy) return [];
      // Until it is in that state its policy cannot be changed.
      const end = transition_to ? ` (once it is in state ${transition_to})` : "";
      return [{ index, path: `${index} version of its policy${end}`, old: version, now: goal }];
    });
    return { free, old };
  }

  /** Gives indices the policy, or its present version; how many took it. */
  async function hand(os: OpenSearch, verb: string, indices: { index: string }[], late: string[]) {
    let updated = 0;
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
      if (reasons.length === 0) continue;
      throw answerRefusal("POST", path, { status: 200, body: { error: reasons.join("; ") } });
    }
    return updated;
  }

  return {
    id: `ManagedIndices/${policy}`,
    async look(os) {
      const { free, old } = await astray(os);
      return differing([...free, ...old]);
    },
    async put(os, warn) {
      const { free, old } = await astray(os);
      const late: string[] = [];
      const updated = await hand(os, "add", free, late) +
        await hand(os, "change_policy", old, late);
      if (late.length > 0) {
        warn(
          `under an old version of ${policy}, and on their way to another state, in which it cannot be ` +
            `changed; run again in some minutes: ${late.join(", ")}`,
        );
      }
      return updated > 0;
    },
  };
}

function versionOf(seqNo: number, term: number): string {
  return `${seqNo} of term ${term}`;
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
