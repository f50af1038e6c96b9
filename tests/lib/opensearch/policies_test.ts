// What index management knows of indices: the fake against answers of the real plugin, which a plain server
// recorded (tests/fixtures/ism.jsonl names the versions), and what we make of them.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { ensure } from "../../../lib/core/resource.ts";
import { document, managedIndices } from "../../../lib/opensearch/documents.ts";
import { FakeOpenSearch } from "../../support/opensearch.ts";

// deno-lint-ignore no-explicit-any
type Body = any;

/** A call and its answer, or what came to pass before the next. */
type Entry =
  | { call: string; body?: Body; status: number; answer: Body }
  | { index: string }
  | { tick: true }
  | { moves: string; to: string };

const file = new URL("../../fixtures/ism.jsonl", import.meta.url);
const [, ...calls]: Entry[] = (await readFile(file, "utf8")).trim().split("\n")
  .map((line) => JSON.parse(line));

/** What of an answer our code reads; `ranks` turns sequence numbers and UUIDs into the order of their coming. */
function essence(answer: Body, ranks: unknown[]): Body {
  const rank = (value: unknown) => {
    if (value === undefined || value === null) return value ?? null;
    if (!ranks.includes(value)) ranks.push(value);
    return `#${ranks.indexOf(value)}`;
  };
  if (answer.error) return typeof answer.error === "object" ? "an error with a type" : "an error";
  if (answer._seq_no !== undefined) return { _seq_no: rank(answer._seq_no) };
  if (answer.docs) {
    return answer.docs.map(({ _source: { managed_index: kept } }: Body) => [
      rank(kept.policy_seq_no),
      kept.policy_primary_term,
      kept.change_policy?.policy_id ?? null,
    ]);
  }
  if (answer.failed_indices) {
    return [answer.updated_indices, answer.failed_indices.map(({ reason }: Body) => reason)];
  }
  return Object.entries<Body>(answer).filter(([, about]) => typeof about === "object")
    .map(([name, about]) => [
      name,
      about["index.plugins.index_state_management.policy_id"],
      about.index_uuid === undefined,
      rank(about.policy_seq_no),
      about.transition_to ?? null,
    ]);
}

Deno.test("E10: the fake tells of indices and their policies what the real plugin told", async () => {
  const os = new FakeOpenSearch();
  const [real, fake]: [unknown[], unknown[]] = [[], []];
  let uuids: string[] = [], seq = 0;
  for (const entry of calls) {
    if ("index" in entry) os.indices.set(entry.index, { settings: {} });
    else if ("tick" in entry) os.tick();
    else if ("moves" in entry) os.indices.get(entry.moves)!.movesTo = entry.to;
    else {
      const [method, path] = entry.call.split(" ") as [string, string];
      const docs = entry.body?.docs?.map((doc: Body, at: number) => ({ ...doc, _id: uuids[at] }));
      const response = await os.fetch(path.replace(/if_seq_no=\d+/, `if_seq_no=${seq}`), {
        method,
        headers: { "content-type": "application/json" },
        body: entry.body && JSON.stringify(docs ? { docs } : entry.body),
      });
      const answer = await response.json();
      assert.equal(response.status, entry.status, entry.call);
      assert.deepEqual(essence(answer, fake), essence(entry.answer, real), entry.call);
      if (path.includes("/explain/")) {
        uuids = Object.values<Body>(answer).flatMap(({ index_uuid }) => index_uuid ?? []);
      }
      seq = answer._seq_no ?? seq;
    }
  }
});

/** An OpenSearch that answers as the real one did before a point; what was put is given as GET gives it. */
function recorded(upTo: number) {
  const before = calls.slice(0, upTo).filter((entry) => "call" in entry);
  return {
    fetch(path: string) {
      const { status, answer } = before.findLast(({ call, status }) =>
        call.split(/[ ?]/)[1] === path && status < 500
      )!;
      const body = answer.policy?.policy ? { ...answer, policy: answer.policy.policy } : answer;
      return Promise.resolve(Response.json(body, { status }));
    },
  };
}

Deno.test("E10: managedIndices() reads the real plugin's answers", async () => {
  const states: string[] = [];
  for (const [at, entry] of calls.entries()) {
    if (!("call" in entry) || !entry.call.endsWith("_mget")) continue;
    const policy = calls.slice(0, at).findLast((one) => "call" in one && one.body?.policy) as Body;
    const look = await managedIndices("logs-*", "p", policy.body.policy).look(recorded(at + 1));
    states.push(look.state);
  }
  assert.deepEqual(states, [
    "as wanted", // added
    "as wanted", // and run
    "differs", // the policy is another
    "as wanted", // the change waits
    "as wanted", // for the version that is there then: a third one
    "as wanted", // and is made
    "as wanted", // a fourth, made
  ]);
});

Deno.test("managedIndices() takes free indices, leaves those of others, and finds failures inside a 200", async () => {
  const os = new FakeOpenSearch();
  const policy = {
    description: "keeps",
    default_state: "hot",
    states: [{ name: "hot", actions: [], transitions: [] }],
  };
  const indices = managedIndices("a-*", "p", policy);
  assert.equal((await ensure(indices, os)).outcome, "unchanged");
  await ensure(document("IndexPolicy", "p", policy), os);
  os.indices.set("a-1", { settings: {} });
  os.indices.set("a-2", { settings: {}, policy: "foreign" });
  os.indices.set("b-1", { settings: {} });
  assert.equal((await ensure(indices, os)).outcome, "configured");
  assert.deepEqual(os.writes.slice(1), ["POST /_plugins/_ism/add/a-1"]);
  assert.equal((await ensure(indices, os)).outcome, "unchanged");
});
