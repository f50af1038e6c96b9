// What a cluster has of ours: which objects these are is kept there in a ConfigMap; how they are is looked at.
// What no step wants any more is deleted only when asked for.
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
import type { Change } from "../io/report.ts";
import { reading } from "../kube/api.ts";
import type { Api } from "../kube/discovery.ts";
import { type Connection, KEPT } from "../kube/target.ts";
import { type Delta, judge, withHash } from "./diff.ts";
import { type ById, byId, deleted, listed, sendList, type Tell } from "./live.ts";
import { isPerson, ownFields } from "./managers.ts";

// A look is good for so many ms: steps with nothing to do follow each other within seconds.
const YOUNG = 20_000;

/** What a run may do to what is there, and who hears of it. */
export interface Powers {
  take?: string[]; // programs whose fields, beside ours, are taken away as those of people are
  replace?: ReadonlySet<string>; // ids of what may be made anew for a field that cannot change
  say?: Tell; // of what is taken back or replaced
}

/** What is known of ours on one cluster, and what its run may do there; the looks of one run share it. */
export class Inventory {
  readonly cluster: Cluster;
  readonly takes: (manager: string) => boolean; // what a program of this name has written beside us
  readonly replace: ReadonlySet<string>;
  readonly say: Tell;
  changedAt = 0; // when the run last began to change something there, which may mend what crashes
  #text = ""; // of the ConfigMap
  #kept?: ById; // undefined: they are lost, or an older revision has kept kinds alone
  #kinds?: Set<string>; // undefined: it may be any
  #last?: { at: number; live: Promise<ById> };

  constructor(
    { cluster, kept, isNew }: Connection,
    { take = [], replace = new Set(), say = () => {} }: Powers = {},
  ) {
    this.cluster = cluster;
    this.replace = replace;
    this.say = say;
    this.takes = (manager) => isPerson(manager) || take.includes(manager);
    this.#keeps(isNew ? { objects: "" } : kept?.data);
  }

  #keeps({ kinds, objects }: Manifest["data"] = {}): void {
    const kept = matched(objects, LINE)?.map(objectIn);
    const told = matched(kinds, /^\w+\.v\w+\..*/)?.map(([kind]) => kind!);
    this.#text = objects ?? "";
    this.#kept = kept && byId(kept);
    // Where lines are lost the kinds may still be there, and the other way round.
    if (told || kept) this.#kinds = new Set([...told ?? [], ...kindsOf(kept ?? [])]);
  }

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
    live.catch(() => this.#last === mine && this.refresh());
    return await live;
  }

  async deltas(objects: Manifest[]): Promise<Map<string, Delta>> {
    if (objects.length === 0) return new Map();
    const live = await this.live();
    return new Map(
      objects.map((one) => [idOf(one), this.judge(live.get(idOf(one)), withHash(one))]),
    );
  }

  judge(live: Manifest | undefined, wanted: Manifest): Delta {
    return judge(live, wanted, this.takes);
  }

  /** What a deploy of these finds: all of ours, `others` of them without our label, and those of kinds not served. */
  async before(objects: Manifest[]): Promise<{ live: ById; others: ById; unserved: Manifest[] }> {
    const live = await this.live();
    const missing = objects.filter((object) => !live.has(idOf(object)));
    if (missing.length === 0) return { live, others: new Map(), unserved: [] };
    return await reading(this.cluster, async (api) => {
      const absent = await api.absent(kindsOf(missing));
      const unserved = missing.filter((object) => absent.includes(resourceOf(object)));
      return { live, others: byId(await api.named(missing)), unserved };
    });
  }

  /** The step that an object belongs to, also where somebody has taken the label away; "" for none. */
  stepOf(object: Manifest): string {
    const kept = this.#kept?.get(idOf(object));
    return object.metadata.labels?.[STEP_LABEL] ?? kept?.metadata.labels?.[STEP_LABEL] ?? "";
  }

  /** What these steps have there and is not `wanted` (ids); with `all`, also what a step that is no more has left. */
  async unwanted(steps: string[], wanted: Set<string>, all = false): Promise<Manifest[]> {
    if (steps.length === 0) return [];
    return [...(await this.live()).values()].filter((object) => {
      const { deletionTimestamp, ownerReferences } = object.metadata;
      const step = this.stepOf(object);
      // Controllers copy labels to what they make.
      return step && (all || steps.includes(step)) && !wanted.has(idOf(object)) &&
        !isDefinition(object) && !deletionTimestamp && !ownerReferences?.length &&
        ownFields(object) !== undefined;
    });
  }

  /** Deletes the objects but those that are kept, and waits until they are gone. @throws exit 7 of what stays. */
  async prune(objects: Manifest[], say?: Tell): Promise<Change[]> {
    const doomed = objects.filter((object) => !isKept(object));
    if (doomed.length === 0) return [];
    // While the operators that clean up after them still run.
    await deleted(this.cluster, doomed.filter(isCustom), say);
    await deleted(this.cluster, doomed.filter((object) => !isCustom(object)), say);
    this.refresh();
    // They are gone all the same, and the next run keeps that.
    await this.keep().catch(() => {});
    return doomed.map((object) => ({ id: idOf(object), action: "deleted" }));
  }

  refresh(): void {
    this.#last = undefined;
  }

  /** The objects as they are now that they were applied. */
  async note(applied: ById): Promise<void> {
    const live = await this.#last?.live;
    for (const [id, object] of applied) live?.set(id, object);
  }

  /** Keeps on the cluster which objects are ours, if it does not yet: those there, and these, to be sent next. */
  async keep(objects: Manifest[] = []): Promise<void> {
    const wanted = byId(objects), kept: ById = this.#kept ?? new Map();
    const there = [...await this.live()].filter(([id, object]) =>
      !wanted.has(id) && (kept.has(id) || isMadeByStep(object))
    ).map(([id, object]) => kept.get(id) ?? object);
    const all = [...there, ...wanted.values()];
    const data = { kinds: kindsOf(all).join("\n"), objects: all.map(lineOf).sort().join("\n") };
    if (data.objects === this.#text) return;
    const map = configMap(KEPT, "kube-system", data, { labels: OWNED_LABELS });
    // It is ours alone, whoever may have put it back from a backup.
    await sendList(this.cluster, [withHash(map)], ["--force-conflicts"]);
    this.#keeps(data);
  }

  async #look(api: Api): Promise<ById> {
    const names = this.#kinds ?? new Set(await everyKind(api));
    const absent = await api.absent([...names]);
    const kept = [...this.#kept?.values() ?? []];
    // While definitions arrive the first list with a selector of a new kind waits for the server, and what is kept is
    // found by its name.
    const fresh = absent.length > 0 ? kindsOf(kept.filter(isCustom)) : [];
    const live = await listed(api, [...names.difference(new Set([...absent, ...fresh]))]);
    // What is kept as ours and was not listed, as far as it is there: somebody has taken its label away.
    const unlabelled = await api.named(kept.filter((object) => !live.has(idOf(object))));
    return new Map([...live, ...byId(unlabelled.filter(ownFields))]);
  }
}

// Made by controllers only, or many: of any other kind may be ours where nothing is kept.
const SKIPPED =
  /^(endpoints|endpointslices?|events?|pods?|replicasets?|controllerrevisions?|leases?)\./;

async function everyKind(api: Api): Promise<string[]> {
  return [...await api.served()].filter(([kind, { verbs, isFirst }]) =>
    isFirst && verbs.includes("list") && verbs.includes("delete") && !SKIPPED.test(kind)
  ).map(([kind]) => kind);
}

/** An object as it is kept: `30-thanos apps/v1 Deployment/monitoring/thanos-query`. */
const LINE = /^(\S+) (\S+) ([A-Z]\w*)(?:\/([\w.:-]+))?\/([\w.:-]+)$/;

function lineOf(object: Manifest): string {
  return `${object.metadata.labels?.[STEP_LABEL]} ${object.apiVersion} ${idOf(object)}`;
}

function objectIn([, step, apiVersion, kind, namespace, name]: string[]): Manifest {
  const labels = { [STEP_LABEL]: step! };
  return { apiVersion: apiVersion!, kind: kind!, metadata: { name: name!, namespace, labels } };
}

/** A label alone may be a copy, but of definitions only labels are listed. */
function isMadeByStep(object: Manifest): boolean {
  return object.metadata.labels?.[STEP_LABEL] !== undefined &&
    (isDefinition(object) || ownFields(object) !== undefined);
}

/** Undefined where there is no text, or a line is damaged. */
function matched(text: string | undefined, form: RegExp): string[][] | undefined {
  const lines = text?.split("\n").filter(Boolean).map((line) => form.exec(line));
  return lines?.every((line) => line !== null) ? lines : undefined;
}

// Their loss would lose data or other people's objects; they are named and stay.
const STAYS = ["Namespace", "PersistentVolumeClaim", "PersistentVolume", "StorageClass"]
  .concat("CustomResourceDefinition");

/** True for a live object that no deploy deletes, wanted or not: for its kind, or because a person has marked it. */
export function isKept({ kind, metadata: { annotations } }: Manifest): boolean {
  return STAYS.includes(kind) || annotations?.["deploy.miribit.lab/keep"] === "true";
}

/** What a person types to have deleted what no step wants any more on the clusters with these ids. */
export function pruneCommand(...ids: string[]): string {
  const target = ids.length === 1 ? `cluster-${ids}` : `all GROUP="${ids.join(" ")}"`;
  return `make ${target} ARGS=--prune`;
}
