// An API server that is read by way of a fake kubectl: its table of replies is that of all that a cluster says.
import assert from "node:assert/strict";
import type { Cluster } from "../../lib/core/cluster.ts";
import { asList, idOf, kindsOf, type Manifest, resourceOf } from "../../lib/core/object.ts";
import type { Api, Served } from "../../lib/kube/discovery.ts";
import { kubectl } from "../../lib/kube/kubectl.ts";

/** The words for which a reply has a row for each kind that the cluster serves, as `kubectl api-resources` prints it. */
export const SERVES = "api-resources";

/** What is served where no reply tells it: nothing that is known of, and all that is asked for. */
class Any extends Map<string, Served> {
  override has(): boolean {
    return true;
  }
}

/** Resources as a server tells of them: of no short names it knows. */
const PLURALS = new Set([
  ..."pods services nodes events jobs statefulsets daemonsets deployments replicasets".split(" "),
  ..."ingresses storageclasses persistentvolumes persistentvolumeclaims".split(" "),
  ..."volumes engines engineimages backups backuptargets".split(" "),
]);

/** The API of a cluster; `tells`: a reply says what it serves. */
export function fakeApi(cluster: Cluster, tells = false): Api {
  const flags = ["--show-managed-fields", "--output", "json"];
  const get = async (words: string[], input?: string): Promise<Manifest[]> => {
    const answer = await kubectl(["get", ...words, ...flags], { cluster, input });
    if (!answer.trim()) return [];
    const whole = JSON.parse(answer);
    return whole.items ?? [whole];
  };
  const served = async () => {
    if (!tells) return new Any();
    const rows = (await kubectl([SERVES], { cluster })).split("\n").filter(Boolean);
    const verbs = ["list", "delete"];
    return new Map(rows.map((row): [string, Served] => {
      const [apiVersion, , kind] = row.split(" ").slice(-3) as [string, string, string];
      const about = { apiVersion, kind, verbs, root: "", plural: "", isFirst: true };
      return [resourceOf(about), about];
    }));
  };
  return {
    served,
    async absent(kinds) {
      const having = await served();
      return kinds.filter((kind) => !having.has(kind));
    },
    async list(kinds, selector, isShort) {
      if (kinds.length === 0) return [];
      const words = [kinds.join(","), "--all-namespaces", "--selector", selector];
      return await get([...words, ...isShort ? ["--short"] : []]);
    },
    async named(objects) {
      if (objects.length === 0) return [];
      const having = await served();
      const there = objects.filter((one) => having.has(resourceOf(one)));
      if (there.length === 0) return [];
      const names = new Set(there.map(idOf));
      const [{ metadata: { name, namespace } }, ...more] = there as [Manifest, ...Manifest[]];
      const alone = more.length > 0 ? [] : [name, ...namespace ? ["--namespace", namespace] : []];
      const words = [kindsOf(there).join(","), ...alone, "--filename", "-", "--ignore-not-found"];
      const found = await get(words, asList(there));
      return found.filter((one) => names.has(idOf(one)));
    },
    async get(resources, { namespace, labels, fields } = {}) {
      const unknown = resources.split(",").filter((one) => !PLURALS.has(one.split(".")[0]!));
      assert.deepEqual(unknown, [], "the server doesn't have such resource types");
      const words = ["get", resources, ...namespace ? ["-n", namespace] : ["--all-namespaces"]];
      if (labels) words.push("--selector", labels);
      if (fields) words.push(`--field-selector=${fields}`);
      const answer = await kubectl([...words, "-o", "json"], { cluster });
      return answer.trim() ? JSON.parse(answer).items : [];
    },
  };
}
