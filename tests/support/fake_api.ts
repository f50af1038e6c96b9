// An API server that is read by way of a fake kubectl: its table of replies is that of all that a cluster says.
import type { Cluster } from "../../lib/core/cluster.ts";
import { namesOf } from "../../lib/apply/live.ts";
import { idOf, kindsOf, type Manifest, resourceOf } from "../../lib/core/object.ts";
import type { Api } from "../../lib/kube/api.ts";
import type { Served } from "../../lib/kube/discovery.ts";
import { kubectl } from "../../lib/kube/kubectl.ts";

/** The kinds of the rows that `api-resources` prints; `isAny`: what is asked for is served all the same. */
class Kinds extends Map<string, Served> {
  readonly isAny: boolean;

  constructor(rows: string, isAny: boolean) {
    super();
    this.isAny = isAny;
    for (const row of rows.split("\n").filter(Boolean)) {
      const [apiVersion, , kind] = row.trim().split(/\s+/).slice(-3) as [string, string, string];
      const rest = {
        root: "",
        plural: row.split(" ")[0]!,
        verbs: ["list", "delete"],
        isFirst: true,
      };
      this.set(resourceOf({ apiVersion, kind }), { ...rest, apiVersion, kind });
    }
  }

  override has(kind: string): boolean {
    return this.isAny || super.has(kind);
  }
}

const KINDS = "api-resources";

/** The API of a cluster; `tells`: the words for which a reply says what it serves. */
export function fakeApi(cluster: Cluster, tells?: string): Api {
  const flags = ["--show-managed-fields", "--output", "json"];
  const get = async (words: string[], input?: string): Promise<Manifest[]> => {
    const answer = await kubectl(["get", ...words, ...flags], { cluster, input });
    if (!answer.trim()) return [];
    const whole = JSON.parse(answer);
    return whole.items ?? [whole];
  };
  const served = async () => {
    const words = tells?.split(" ") ?? [];
    const rows = tells && await kubectl([...words, "--no-headers"], { cluster });
    return new Kinds(rows ?? "", words.length !== 1);
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
      const having = tells === KINDS ? await served() : undefined;
      objects = objects.filter((one) => having?.has(resourceOf(one)) ?? true);
      if (objects.length === 0) return [];
      const names = new Set(objects.map(idOf));
      const [{ metadata: { name, namespace } }, ...more] = objects as [Manifest, ...Manifest[]];
      const alone = more.length > 0 ? [] : [name, ...namespace ? ["--namespace", namespace] : []];
      const words = [kindsOf(objects).join(","), ...alone, "--filename", "-", "--ignore-not-found"];
      const found = await get(words, namesOf(objects));
      return found.filter((one) => names.has(idOf(one)));
    },
  };
}
