// What a cluster has of ours. Which objects these are is kept there, in one ConfigMap; how they are now is looked
// at, with a list of each of their kinds.
import type { Cluster } from "../core/cluster.ts";
import {
  configMap,
  idOf,
  isCustom,
  isDefinition,
  kindsOf,
  type Manifest,
  OWNED_LABELS,
  resourceOf,
  STEP_LABEL,
} from "../core/object.ts";
import { type Api, reading } from "../kube/api.ts";
import { type Connection, KEPT } from "../kube/target.ts";
import { type Delta, judge, withHash } from "./diff.ts";
import { type ById, byId, everyKind, listed } from "./live.ts";
import { isPerson, ownFields } from "./managers.ts";

/** How long a look is good for, in ms: steps with nothing to do follow each other within seconds. */
const YOUNG = 20_000;

/** What a run may do to what is there, and who hears of it. */
export interface Powers {
  /** Programs whose fields, beside ours, are taken away as those of people are. */
  take?: string[];
  /** Ids of objects that may be deleted and created where a field of them cannot change. */
  replace?: ReadonlySet<string>;
  /** Told what is taken back or replaced. */
  say?: (text: string) => void;
}

/** What is known of ours on one cluster, and what its run may do there; the looks of one run share it. */
export class Inventory {
  readonly cluster: Cluster;
  /** Whether what a program of this name has written beside us is taken away. */
  readonly takes: (manager: string) => boolean;
  readonly replace: ReadonlySet<string>;
  readonly say: (text: string) => void;
  /** What is kept, a line for each object; undefined: it is lost, or an older revision has kept kinds alone. */
  #kept?: string[];
  /** Every kind that was deployed; undefined: nobody knows, so it may be any. */
  #kinds?: Set<string>;
  #last?: { at: number; live: Promise<ById> };

  /** Of a cluster that {@link connect} has seen. */
  constructor(
    { cluster, kept, isNew }: Connection,
    { take = [], replace = new Set(), say = () => {} }: Powers = {},
  ) {
    this.cluster = cluster;
    this.replace = replace;
    this.say = say;
    this.takes = (manager) => isPerson(manager) || take.includes(manager);
    this.keeps(isNew ? { objects: "" } : kept?.data);
  }

  /** This is kept on the cluster from now on; see {@link keeping}. */
  keeps(data: Manifest["data"]): void {
    this.#kept = linesOf(data?.objects, /^\S+ \S+ [A-Z]\w*(\/[\w.:-]+){1,2}$/);
    const kinds = linesOf(data?.kinds, /^\w+\.v\w+\./);
    // Where lines are lost the kinds may still be there, and the other way round.
    if (kinds || this.#kept) this.#kinds = new Set([...kinds ?? [], ...kindsIn(this.#kept ?? [])]);
  }

  /** Every kind that what is ours may be of. */
  async kinds(): Promise<string[]> {
    return [...this.#kinds ?? await reading(this.cluster, everyKind)];
  }

  /** All that is ours, by id, as it was within the last 20 s and as this run has changed it since. */
  async live(): Promise<ById> {
    const last = this.#last;
    if (last && Date.now() - last.at < YOUNG) return await last.live;
    const live = this.#kinds?.size === 0
      ? Promise.resolve(new Map())
      : reading(this.cluster, (api) => this.#look(api));
    const mine = this.#last = { at: Date.now(), live };
    // One that failed is no look that others could share.
    live.catch(() => this.#last === mine && this.refresh());
    return await live;
  }

  /** What is to be said of each of these wanted objects, by id. */
  async deltas(objects: Manifest[]): Promise<Map<string, Delta>> {
    if (objects.length === 0) return new Map();
    const live = await this.live();
    return new Map(
      objects.map((one) => [idOf(one), this.judge(live.get(idOf(one)), withHash(one))]),
    );
  }

  /** As {@link judge}, where fields are taken away as this inventory {@link takes} them. */
  judge(live: Manifest | undefined, wanted: Manifest): Delta {
    return judge(live, wanted, this.takes);
  }

  /** Of objects that are not ours: those that are there all the same, by id, and those whose kinds are not served. */
  async others(objects: Manifest[]): Promise<{ there: ById; unserved: Manifest[] }> {
    const live = await this.live();
    const missing = objects.filter((object) => !live.has(idOf(object)));
    if (missing.length === 0) return { there: new Map(), unserved: [] };
    return await reading(this.cluster, async (api) => {
      const absent = await api.absent(kindsOf(missing));
      const unserved = missing.filter((object) => absent.includes(resourceOf(object)));
      return { there: byId(await api.named(missing)), unserved };
    });
  }

  /** The step that an object belongs to, also where somebody has taken the label away; "" for none. */
  stepOf(object: Manifest): string {
    return object.metadata.labels?.[STEP_LABEL] ??
      this.#kept?.find((line) => idIn(line) === idOf(object))?.split(" ")[0] ?? "";
  }

  /** What was looked at counts no longer. */
  refresh(): void {
    this.#last = undefined;
  }

  /** The objects as they are now that they were applied. */
  async note(applied: Iterable<Manifest>): Promise<void> {
    const live = await this.#last?.live;
    for (const object of applied) live?.set(idOf(object), object);
  }

  /**
   * The ConfigMap that keeps these objects beside those that are there, to be applied before the first of them is
   * sent (and then told to {@link keeps}); undefined where it keeps just that already.
   */
  async keeping(objects: Manifest[]): Promise<Manifest | undefined> {
    const wanted = new Map(objects.map((object) => [idOf(object), lineOf(object)]));
    const live = await this.live();
    const kept = new Map(this.#kept?.map((line) => [idIn(line), line]));
    const there = [...live].filter(([id, object]) =>
      !wanted.has(id) && (kept.has(id) || isMadeByStep(object))
    ).map(([id, object]) => kept.get(id) ?? lineOf(object));
    const lines = [...there, ...wanted.values()].sort();
    if (lines.join() === (this.#kept ?? []).join()) return undefined;
    const data = { kinds: kindsIn(lines).join("\n"), objects: lines.join("\n") };
    return configMap(KEPT, "kube-system", data, { labels: OWNED_LABELS });
  }

  /** Whole objects with the managers of their fields; of definitions, which are megabytes, name and labels. */
  async #look(api: Api): Promise<ById> {
    const names = this.#kinds ?? new Set(await everyKind(api));
    const absent = await api.absent([...names]), kinds = names.difference(new Set(absent));
    // While definitions arrive the first list with a selector of a new kind waits for the server, and what is kept is
    // found by its name.
    const kept = (this.#kept ?? []).map(objectIn);
    const fresh = new Set(absent.length > 0 ? kindsOf(kept.filter(isCustom)) : []);
    const live = await listed(api, [...kinds].filter((kind) => !fresh.has(kind)));
    // What is kept as ours and was not listed, as far as it is there: somebody has taken its label away.
    const unlabelled = await api.named(kept.filter((object) => !live.has(idOf(object))));
    for (const object of unlabelled) {
      if (ownFields(object) !== undefined) live.set(idOf(object), object);
    }
    return live;
  }
}

/** `30-thanos apps/v1 Deployment/monitoring/thanos-query`: an object as it is kept. */
function lineOf(object: Manifest): string {
  return `${object.metadata.labels?.[STEP_LABEL]} ${object.apiVersion} ${idOf(object)}`;
}

function idIn(line: string): string {
  return line.split(" ").at(-1)!;
}

function objectIn(line: string): Manifest {
  const [step, apiVersion = "", id = ""] = line.split(" ");
  const [kind = "", ...names] = id.split("/");
  const [name = "", namespace] = names.toReversed();
  const metadata = { name, ...(namespace ? { namespace } : {}), labels: { [STEP_LABEL]: step! } };
  return { apiVersion, kind, metadata };
}

function kindsIn(lines: string[]): string[] {
  return kindsOf(lines.map(objectIn));
}

/** Whether a step's apply has made it: a label alone may be a copy, but of definitions only labels are listed. */
function isMadeByStep(object: Manifest): boolean {
  return object.metadata.labels?.[STEP_LABEL] !== undefined &&
    (isDefinition(object) || ownFields(object) !== undefined);
}

/** The lines of a text; undefined where there is none, or one of them is not of that form. */
function linesOf(text: string | undefined, form: RegExp): string[] | undefined {
  const lines = text?.split("\n").filter(Boolean);
  return lines?.every((line) => form.test(line)) ? lines : undefined;
}
